"""Who may use which route: every route, every role, a key that is none, and no key, against one table written by hand."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from served import Served, served

from aiplat_lab.core.errors import AuthRefused
from aiplat_lab.core.ids import new_id
from aiplat_lab.gateway.server import ROUTES
from aiplat_lab.ledger import VIEWS, of_calls

ALL, NOBODY = "owner maintainer member auditor", ""
CALLERS, READERS, KEEPERS = "owner maintainer member", "owner auditor", "owner maintainer"
GEMINI = ("generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents")
TABLE = {
    "POST /v1/chat/completions": CALLERS,
    "POST /v1/embeddings": CALLERS,
    "POST /v1/responses": CALLERS,
    "GET /v1/models": ALL,
    "GET /v1/models/{name:.+}": ALL,
    "POST /v1/messages": CALLERS,
    "POST /v1/messages/count_tokens": CALLERS,
    "POST /v1beta/models/{model:.+}:generateContent": CALLERS,
    "POST /v1beta/models/{model:.+}:streamGenerateContent": CALLERS,
    "POST /v1beta/models/{model:.+}:countTokens": CALLERS,
    "POST /v1beta/models/{model:.+}:embedContent": CALLERS,
    "POST /v1beta/models/{model:.+}:batchEmbedContents": CALLERS,
    "GET /v1beta/models": ALL,
    "GET /v1beta/models/{model:.+}": ALL,
    "POST /api/calls": CALLERS,
    "GET /api/calls/{id}": ALL,
    "POST /api/calls/{id}/cancel": "owner",
    "POST /api/batches": CALLERS,
    "GET /api/batches": ALL,
    "GET /api/batches/{id}": ALL,
    "POST /api/batches/{id}/cancel": CALLERS,
    "POST /api/query": READERS,
    "POST /api/views/{name}": ALL,
    "POST /api/records": "owner",
    "GET /api/prompts": ALL,
    "GET /api/prompts/{reference}": ALL,
    "GET /api/status": ALL,
    "GET /api/models": ALL,
    "POST /api/keys": KEEPERS,
    "GET /api/keys": "owner maintainer auditor",
    "POST /api/keys/{id}/revoke": KEEPERS,
    "POST /api/keys/{id}/rotate": KEEPERS,
    "POST /api/route/explain": CALLERS,
    "POST /api/plan": CALLERS,
    "GET /api/budgets": READERS,
    "POST /api/budgets/what-if": READERS,
    "POST /api/budgets/notebook": CALLERS,
    "POST /api/replay/look": CALLERS,
    "POST /api/replay/export": ALL,
    "POST /api/replay/import": CALLERS,
    "POST /api/replay/clear": CALLERS,
    "GET /api/cache": "owner",
    "POST /api/cache/clear": "owner",
    "POST /api/import": "owner",
    "GET /openapi.json": ALL,
    "POST /api/schedules/{id}/run": "owner",
    "POST /api/snapshot": "owner",
    "POST /api/export": "owner",
    "POST /api/verify": READERS,
    "POST /api/stop": "owner",
    "GET /metrics": ALL,
    "GET /healthz": NOBODY,  # open to everybody, so no role is asked
}
"""A new route is added here by hand, with the roles that may use it."""
CHAT = {"model": "up/instant", "messages": [{"role": "user", "content": "hello"}]}
BODIES: dict[str, Any] = {
    "/v1/chat/completions": CHAT,
    "/v1/embeddings": {"model": "up/instant", "input": "hello"},
    "/v1/responses": {"model": "up/instant", "input": "hello"},
    "/v1/messages": {**CHAT, "model": "claude/instant", "max_tokens": 5},
    "/v1/messages/count_tokens": {**CHAT, "model": "claude/instant"},
    "/api/calls": CHAT,
    "/api/query": {"sql": "SELECT 1"},
}
CALLS = [path for path in BODIES if path not in ("/api/query", "/v1/messages/count_tokens")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("roles") / "home") as found:
        yield found


@pytest.fixture(scope="module")
def keys(place: Served) -> dict[str, str]:
    return {role: place.key(team="risk", role=role) for role in ALL.split()}


def ask(place: Served, method: str, path: str, body: Any = None, key: str = "", **headers: str) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(place.http + path, data=data, method=method)
    for name, value in {**headers, **({"Authorization": f"Bearer {key}"} if key else {})}.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            raw = reply.read()
            return reply.status, json.loads(raw) if raw[:1] in b"{[" else raw.decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def said(answer: Any) -> str:
    return json.dumps(answer)


def test_the_table_holds_every_route():
    assert sorted(f"{method} {path}" for method, path, *_ in ROUTES) == sorted(TABLE)


@pytest.mark.parametrize("route", [route for route in TABLE if route not in ("GET /healthz", "POST /api/stop")])
def test_every_route_for_every_role(place: Served, keys: dict[str, str], route: str):
    """Refused is 401 or 403; whoever may come in gets whatever the route answers."""
    method, _, path = route.partition(" ")
    path = re.sub(r"\{[^}]*\}", new_id(), path.replace("views/{name}", "views/totals"))
    body = BODIES.get(path, {}) if method == "POST" else None
    for nobody in ("", "aiplat-wrong-0000000000", "sk-other-0000000000"):
        status, answer = ask(place, method, path, body, key=nobody)
        assert status == 401 and "key" in said(answer)
    for role, key in keys.items():
        status, answer = ask(place, method, path, body, key=key)
        if role in TABLE[route].split():
            assert status not in (401, 403), (role, answer)
        else:
            assert status == 403, (role, status, answer)
            assert key not in said(answer)


def test_an_owners_key_stops_the_gateway_and_no_other(tmp_path_factory: pytest.TempPathFactory):
    with served(tmp_path_factory.mktemp("stop") / "home") as place:
        made = {role: place.key(team="risk", role=role) for role in ALL.split()}
        for role in ("member", "maintainer", "auditor"):
            assert ask(place, "POST", "/api/stop", {}, key=made[role])[0] == 403
        assert ask(place, "POST", "/api/stop", {})[0] == 401
        assert ask(place, "POST", "/api/stop", {}, key=made["owner"]) == (200, {"stopping": True})


def test_health_is_open_and_says_nothing_else(place: Served):
    status, answer = ask(place, "GET", "/healthz")
    assert status == 200 and answer.keys() == {"status", "version"}


# --- calls that are refused at the door -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CALLS)
def test_a_refused_call_of_a_known_key_is_in_the_ledger(place: Served, keys: dict[str, str], path: str):
    dead = place.client.post("/api/keys", {"team": "risk", "name": "dead"})
    place.client.post(f"/api/keys/{dead['id']}/revoke")
    for key, status, why in ((keys["auditor"], 403, "never calls"), (dead["key"], 401, "revoked")):
        got, answer = ask(place, "POST", path, BODIES[path], key=key, x_aiplat_project="churn")
        assert got == status and why in said(answer), answer
        row = place.rows(limit=1)[0]
        call = place.client.call(row["call_id"])
        assert (row["status"], row["error_type"], call["policy"], row["team"]) == ("refused", "auth_refused", "auth", "risk")
        assert (row["request_model"], row["project"]) == (BODIES[path]["model"], "churn")
        assert "hello" not in said(call)  # who may not call does not fill the ledger
        assert call["attempts"] == 0 and key not in said(call)


@pytest.mark.parametrize("body", [b"", b"{half", b"[1]", b'{"model": 5}', b"\xff"])
def test_a_refused_call_is_recorded_whatever_came_with_it(place: Served, keys: dict[str, str], body: bytes):
    before = place.client.view_rows("totals")[0]["refused"]
    request = urllib.request.Request(place.http + "/v1/chat/completions", data=body, method="POST")
    request.add_header("x-api-key", keys["auditor"])
    request.add_header("x-aiplat-tags", "no equals sign")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=20)
    assert caught.value.code == 403 and caught.value.headers["x-aiplat-call-id"]
    assert place.client.view_rows("totals")[0]["refused"] == before + 1


def test_a_refused_call_by_model_is_recorded(place: Served):
    narrow = place.key(team="narrow", models=["priced"])
    status, answer = ask(place, "POST", "/v1/chat/completions", CHAT, key=narrow)
    assert status == 403 and "may use priced" in said(answer)
    row = place.rows(team="narrow")[0]
    assert (row["status"], row["error_type"], row["request_model"]) == ("refused", "auth_refused", "up/instant")


def test_a_dead_key_does_not_get_an_earlier_answer_again(place: Served):
    made = place.client.post("/api/keys", {"team": "again"})
    call = {**CHAT, "call_id": new_id()}
    assert ask(place, "POST", "/api/calls", call, key=made["key"])[0] == 200
    assert ask(place, "POST", "/api/calls", call, key=made["key"])[0] == 200
    place.client.post(f"/api/keys/{made['id']}/revoke")
    status, answer = ask(place, "POST", "/api/calls", call, key=made["key"])
    assert status == 401 and "revoked" in said(answer) and "Hello" not in said(answer)


@pytest.mark.parametrize("change", ["truncated", "longer", "other case", "inner space", "prefix", "only the prefix"])
def test_a_key_that_is_nearly_one(place: Served, change: str):
    key = place.key(team="risk")
    wrong = {
        "truncated": key[:-1],
        "longer": key + "x",
        "other case": key.swapcase(),
        "inner space": key[:20] + " " + key[20:],
        "prefix": "sk-" + key,
        "only the prefix": "aiplat-",
    }[change]
    status, answer = ask(place, "GET", "/v1/models", key=wrong)
    assert status == 401 and key not in said(answer) and (len(wrong) < 10 or wrong not in said(answer))
    assert ask(place, "GET", "/v1/models", Authorization=f"Bearer   {key}  ")[0] == 200  # space around it is not part of it


# --- what each role reads ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def calls(place: Served, keys: dict[str, str]) -> dict[str, str]:
    """One call of each of two teams, by its id."""
    found = {}
    for team in ("risk", "pricing"):
        found[team] = place.client.chat("hello", model="up/instant", cache="off", attribution={"team": team}).call_id
    return found


def test_what_a_member_reads(place: Served, keys: dict[str, str], calls: dict[str, str]):
    key = keys["member"]
    status, answer = ask(place, "POST", "/api/views/spend_by_team", {}, key=key, Accept="application/json")
    assert status == 200 and [row["team"] for row in answer["rows"]] == ["risk"]
    status, answer = ask(place, "POST", "/api/views/totals", {"team": "pricing"}, key=key, Accept="application/json")
    assert status == 200 and answer["rows"][0]["calls"] == place.client.view_rows("totals", team="risk")[0]["calls"]
    for name in ("breakdown", "call", "filter_values", "live_keys", "record", "nonsense"):
        assert ask(place, "POST", f"/api/views/{name}", {}, key=key)[0] == 403
    for call_id in calls.values():
        assert ask(place, "GET", f"/api/calls/{call_id}", key=key)[0] == 404
    loose = place.key(project="churn")
    assert ask(place, "POST", "/api/views/totals", {}, key=loose)[0] == 403


def test_what_a_maintainer_reads(place: Served, keys: dict[str, str], calls: dict[str, str]):
    key = keys["maintainer"]
    status, answer = ask(place, "POST", "/api/views/recent_calls", {"team": "pricing"}, key=key, Accept="application/json")
    assert status == 200 and {row["team"] for row in answer["rows"]} == {"risk"}
    assert ask(place, "POST", "/api/views/breakdown", {}, key=key)[0] == 200
    assert ask(place, "POST", "/api/views/live_keys", {}, key=key)[0] == 403
    assert ask(place, "GET", f"/api/calls/{calls['risk']}", key=key)[0] == 200
    assert ask(place, "GET", f"/api/calls/{calls['pricing']}", key=key)[0] == 404
    status, answer = ask(place, "POST", "/api/views/call", {"call_id": calls["pricing"]}, key=key, Accept="application/json")
    assert status == 200 and answer["rows"] == []


@pytest.mark.parametrize("name", sorted(name for name in VIEWS if of_calls(name)))
def test_a_maintainers_view_reads_the_filtered_calls_alone(name: str):
    assert "call_rows" not in VIEWS[name].sql


def test_what_an_auditor_reads(place: Served, keys: dict[str, str], calls: dict[str, str]):
    key = keys["auditor"]
    status, answer = ask(place, "POST", "/api/views/spend_by_team", {}, key=key, Accept="application/json")
    assert status == 200 and {"risk", "pricing"} <= {row["team"] for row in answer["rows"]}
    for call_id in calls.values():
        assert ask(place, "GET", f"/api/calls/{call_id}", key=key)[0] == 200
    assert ask(place, "POST", "/api/query", {"sql": "DELETE FROM calls"}, key=key)[0] == 400
    assert ask(place, "POST", "/api/verify", {}, key=key)[1]["ok"] is True
    rows = ask(place, "GET", "/api/keys", key=key)[1]["rows"]
    assert rows and not any("sha256" in row or "key" in row for row in rows)


def test_an_owners_key_is_booked_as_a_key_and_sees_all(place: Served, keys: dict[str, str], calls: dict[str, str]):
    status, answer = ask(place, "POST", "/api/calls", {**CHAT, "attribution": {"team": "pretended"}}, key=keys["owner"])
    assert status == 200
    row = place.client.call(answer["call_id"])
    assert row["team"] == "risk" and row["key_id"].startswith("key-")
    assert ask(place, "GET", f"/api/calls/{calls['pricing']}", key=keys["owner"])[0] == 200
    assert "home" in ask(place, "GET", "/api/status", key=keys["owner"])[1]
    assert "home" not in ask(place, "GET", "/api/status", key=keys["auditor"])[1]


# --- what a maintainer does -------------------------------------------------------------------------------------------


def test_a_maintainer_keeps_the_keys_of_its_team(place: Served, keys: dict[str, str]):
    boss = keys["maintainer"]
    status, made = ask(place, "POST", "/api/keys", {"project": "churn", "models": ["priced"], "limit_usd": 5}, key=boss)
    assert status == 200 and (made["team"], made["role"], made["limit_usd"]) == ("risk", "member", "5")
    rows = ask(place, "GET", "/api/keys", key=boss)[1]["rows"]
    assert {row["team"] for row in rows} == {"risk"} and made["id"] in {row["id"] for row in rows}
    status, new = ask(place, "POST", f"/api/keys/{made['id']}/rotate", {"overlap": "1h"}, key=boss)
    assert status == 200 and new["replaces"] == made["id"] and new["models"] == ["priced"]
    assert ask(place, "POST", f"/api/keys/{new['id']}/revoke", {}, key=boss)[0] == 200
    assert ask(place, "GET", "/v1/models", key=new["key"])[0] == 401


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"team": "pricing"}, "its own team"),
        ({"role": "owner"}, "ask the owner"),
        ({"role": "auditor"}, "ask the owner"),
        ({"role": "nonsense"}, "ask the owner"),
    ],
)
def test_a_maintainer_gives_no_more_than_it_has(place: Served, keys: dict[str, str], body: Any, why: str):
    status, answer = ask(place, "POST", "/api/keys", body, key=keys["maintainer"])
    assert status == 403 and why in said(answer)


def test_a_maintainer_within_models_and_a_project(place: Served):
    boss = place.key(team="risk", project="churn", role="maintainer", models=["priced"])
    assert ask(place, "POST", "/api/keys", {"models": ["priced-claude"]}, key=boss)[0] == 403
    assert ask(place, "POST", "/api/keys", {"project": "other"}, key=boss)[0] == 403
    status, made = ask(place, "POST", "/api/keys", {}, key=boss)
    assert status == 200 and (made["models"], made["project"]) == (["priced"], "churn")


def test_a_maintainer_leaves_other_keys_alone(place: Served, keys: dict[str, str]):
    foreign = place.client.post("/api/keys", {"team": "pricing"})
    owner = place.client.post("/api/keys", {"team": "risk", "role": "owner"})
    for other in (foreign, owner):
        for action in ("revoke", "rotate"):
            assert ask(place, "POST", f"/api/keys/{other['id']}/{action}", {}, key=keys["maintainer"])[0] == 403
        assert ask(place, "GET", "/v1/models", key=other["key"])[0] == 200
    homeless = place.key(role="maintainer")
    assert ask(place, "POST", "/api/keys", {}, key=homeless)[0] == 403
    assert ask(place, "POST", f"/api/keys/{foreign['id']}/revoke", {}, key=homeless)[0] == 403


# --- making keys ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"role": "admin"}, "no role 'admin'"),
        ({"role": "membr"}, "Did you mean member"),
        ({"models": ["pricd"]}, "Did you mean priced"),
        ({"models": [5]}, "no model '5'"),
        ({"models": "priced"}, "'models' must be"),
        ({"limit_usd": 0}, "above 0"),
        ({"limit_usd": "-5"}, "above 0"),
        ({"limit_usd": "NaN"}, "above 0"),
        ({"limit_usd": "Infinity"}, "above 0"),
        ({"limit_usd": "lots"}, "write US dollars"),
        ({"limit_period": "mnth"}, "Did you mean month"),
        ({"rpm": 0}, "above 0"),
        ({"tpm": -1}, "above 0"),
        ({"parallel": 1.5}, "'parallel' must be"),
        ({"expires_at": (datetime.now(UTC) - timedelta(days=1)).isoformat()}, "in the future"),
        ({"expires_at": "tomorrow"}, "write a time"),
        ({"limit_usd": "1e400"}, "at most 999,999,999"),
        ({"limit_usd": 1e300}, "at most"),
        ({"parallel": 10**30}, "at most"),
        ({"team": "x" * 201}, "200 printable"),
        ({"name": "a\x1b[31mred"}, "200 printable"),
        ({"teem": "risk"}, "Did you mean team"),
        ({"team": 5}, "'team' must be"),
    ],
)
def test_a_key_that_cannot_be_made(place: Served, body: Any, why: str):
    owner = place.key(role="owner")
    before = len(place.client.get("/api/keys")["rows"])
    status, answer = ask(place, "POST", "/api/keys", body, key=owner)
    assert status == 400 and why in said(answer), answer
    assert len(place.client.get("/api/keys")["rows"]) == before


def test_a_list_says_state_last_use_and_spend(place: Served):
    made = place.client.post("/api/keys", {"team": "counted", "limit_usd": "2.50", "limit_period": "day"})

    def listed(key_id: str) -> dict[str, Any]:
        return next(row for row in place.client.get("/api/keys")["rows"] if row["id"] == key_id)

    assert (listed(made["id"])["last_used_at"], listed(made["id"])["spent_usd"]) == (None, "0")
    call = {**CHAT, "model": "priced"}
    assert ask(place, "POST", "/v1/chat/completions", call, key=made["key"])[0] == 200
    row = listed(made["id"])
    assert row["last_used_at"] and row["state"] == "live" and float(row["spent_usd"]) == pytest.approx(0.0002625)
    new = place.client.post(f"/api/keys/{made['id']}/rotate", {"overlap": "1h"})
    assert (listed(made["id"])["state"], listed(new["id"])["state"]) == ("rotating", "live")
    assert ask(place, "GET", "/v1/models", key=made["key"])[0] == 200 == ask(place, "GET", "/v1/models", key=new["key"])[0]
    last = place.client.post(f"/api/keys/{new['id']}/rotate", {"overlap": "0h"})
    status, answer = ask(place, "GET", "/v1/models", key=new["key"])
    assert status == 401 and "was replaced" in said(answer) and last["key"][-4:] in said(answer)
    assert listed(new["id"])["state"] == "expired"


def test_over_http_a_refusal_is_an_auth_refused_for_our_own_client(place: Served, keys: dict[str, str]):
    from aiplat_lab.client import connect

    with connect(url=place.http, key=keys["auditor"]) as client, pytest.raises(AuthRefused, match="never calls"):
        client.chat("hello", model="up/instant")
