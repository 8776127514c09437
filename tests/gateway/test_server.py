"""The HTTP server as any program sees it: doors, shapes of errors, bad bodies, own routes, metrics."""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from served import Served, served

from aiplat_lab.core.errors import (
    AiplatError,
    AuthRefused,
    BudgetExceeded,
    CallCancelled,
    CallLost,
    ConfigError,
    LedgerError,
    ProviderError,
    QueryError,
    RateLimited,
    ResidencyRefused,
    UnknownModel,
    UsageError,
)
from aiplat_lab.core.ids import new_id
from aiplat_lab.gateway.server import fault

CHAT = {"model": "up/echo", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("server") / "home") as found:
        yield found


@pytest.fixture(scope="module")
def key(place: Served) -> str:
    return place.key(team="risk")


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def ask(place: Served, method: str, path: str, body: Any = None, key: str = "", **headers: str) -> Reply:
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    request = urllib.request.Request(place.http + path, data=data, method=method)
    for name, value in {**headers, **({"Authorization": f"Bearer {key}"} if key else {})}.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return Reply(reply.status, {k.lower(): v for k, v in reply.headers.items()}, reply.read().decode(errors="replace"))
    except urllib.error.HTTPError as error:
        return Reply(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read().decode())


# --- who may come in --------------------------------------------------------------------------------------------------


def test_a_key_is_taken_from_either_header(place: Served, key: str):
    for headers in ({"Authorization": f"Bearer {key}"}, {"authorization": f"bearer  {key}"}, {"x-api-key": key}):
        assert ask(place, "POST", "/v1/chat/completions", CHAT, **headers).status == 200


def test_a_revoked_and_an_expired_key(place: Served):
    made = place.client.post("/api/keys", {"team": "risk", "name": "short"})
    assert ask(place, "GET", "/v1/models", key=made["key"]).status == 200
    place.client.post(f"/api/keys/{made['id']}/revoke")
    reply = ask(place, "GET", "/v1/models", key=made["key"])
    assert reply.status == 401 and "revoked" in reply.text and made["key"] not in reply.text
    past = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    with pytest.raises(UsageError, match="in the future"):
        place.client.post("/api/keys", {"expires_at": past})
    with pytest.raises(UsageError, match="write a time"):
        place.client.post("/api/keys", {"expires_at": "tomorrow"})
    listed = place.client.get("/api/keys")["rows"]
    assert all("key" not in row and "sha256" not in row for row in listed)
    assert made["key"] not in place.home.log_file.read_text()


def test_a_key_for_some_models_may_not_use_others(place: Served):
    narrow = place.key(models=["priced"])
    assert [entry["id"] for entry in ask(place, "GET", "/v1/models", key=narrow).json["data"]] == ["priced"]
    reply = ask(place, "POST", "/v1/chat/completions", CHAT, key=narrow)
    assert reply.status == 403 and "may use priced" in reply.json["error"]["message"]


# --- what is sent -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        ("/v1/chat/completions", b"", "is empty"),
        ("/v1/chat/completions", b"{half", "is not JSON"),
        ("/v1/chat/completions", b"[" * 100_000, "is not JSON"),
        ("/v1/chat/completions", b"[1]", "send a JSON object"),
        ("/v1/chat/completions", b"\xff\xfe", "is not JSON"),
        ("/v1/chat/completions", {"messages": []}, "'model' is missing"),
        ("/v1/chat/completions", {"model": "x"}, "'messages' is missing"),
        ("/v1/chat/completions", {"model": "x", "messages": []}, "'messages' must be a list of one or more"),
        ("/v1/chat/completions", {"model": "x", "messages": ["hi"]}, "messages[0] must be an object"),
        ("/v1/chat/completions", {"model": "x", "messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ("/v1/embeddings", {"model": "x"}, "'input' must be"),
        ("/v1/responses", {"model": "x"}, "'input' must be"),
        ("/v1/responses", {"model": "up/echo", "input": [{"type": "computer_call"}]}, "has no word for input[0] (computer_call)"),
        ("/v1/messages", {"model": "x", "messages": []}, "'max_tokens' is missing"),
        ("/v1/messages", {"model": "x", "max_tokens": True, "messages": []}, "'max_tokens' must be"),
        ("/v1/messages", {"model": "x", "max_tokens": 5}, "'messages' is missing"),
    ],
)
def test_a_bad_body_is_told_in_one_sentence(place: Served, key: str, path: str, body: Any, why: str):
    reply = ask(place, "POST", path, body, key=key)
    message = reply.json["error"]["message"]
    assert reply.status == 400 and why in message and len(message.encode()) <= 800
    assert ("type" in reply.json) is (path == "/v1/messages")


@pytest.mark.parametrize(
    ("headers", "why"), [({"x-aiplat-cache": "maybe"}, "must be on, off"), ({"x-aiplat-tags": "loose"}, "write name=value")]
)
def test_a_bad_header_is_told_in_one_sentence(place: Served, key: str, headers: dict[str, str], why: str):
    reply = ask(place, "POST", "/v1/chat/completions", CHAT, key=key, **headers)
    assert reply.status == 400 and why in reply.json["error"]["message"]


def test_a_request_of_ours_that_is_none(place: Served, key: str):
    for body in ({"messages": [{"no": "role"}]}, {"messages": 5}, {"attribution": 5}, {"messages": ["x"]}):
        with pytest.raises(UsageError, match=r"must be|not a call id"):
            place.client.post("/api/calls", body)
    with pytest.raises(UsageError, match="not a call id"):
        place.client.post("/api/calls", {"messages": [{"role": "user", "content": "x"}], "call_id": "mine"})


def test_paths_that_are_none(place: Served, key: str):
    reply = ask(place, "POST", "/chat/completions", CHAT, key=key)
    assert reply.status == 404 and "Did you mean /v1/chat/completions?" in reply.json["error"]["message"]
    reply = ask(place, "GET", "/v1/chat/completions", key=key)
    assert reply.status == 405 and "takes POST" in reply.json["error"]["message"]
    assert ask(place, "GET", "/v1/messages/nothing").json["type"] == "error"


def test_a_message_with_parts_is_passed_on(place: Served, key: str):
    parts = [{"type": "text", "text": "what is"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    body = {"model": "up/echo", "messages": [{"role": "user", "content": parts}]}
    assert ask(place, "POST", "/v1/chat/completions", body, key=key).status == 200
    assert place.upstream.requests[-1].body["messages"][0]["content"] == parts
    blocks = [
        {"type": "text", "text": "what is"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
    ]
    body = {"model": "up/echo", "max_tokens": 9, "messages": [{"role": "user", "content": blocks}]}
    assert ask(place, "POST", "/v1/messages", body, key=key).status == 200
    assert place.upstream.requests[-1].body["messages"][0]["content"] == parts
    items = [
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "what is"}, {"type": "input_image", "image_url": "data:image/png;base64,AA=="}],
        }
    ]
    assert ask(place, "POST", "/v1/responses", {"model": "up/echo", "input": items}, key=key).status == 200
    assert place.upstream.requests[-1].body["messages"][0]["content"] == parts


# --- errors in HTTP ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AuthRefused("no", policy="auth"), 401),
        (AuthRefused("no", policy="auth", call_id=new_id()), 403),
        (BudgetExceeded("no", policy="budget"), 402),
        (RateLimited("no", policy="rate", retry_after_s=1.2), 429),
        (ResidencyRefused("no", policy="residency"), 403),
        (UnknownModel("no"), 404),
        (UsageError("no"), 400),
        (ConfigError("no"), 500),
        (LedgerError("no"), 500),
        (QueryError("no"), 400),
        (CallCancelled("no"), 499),
        (CallLost("no"), 410),
        (AiplatError("no"), 500),
        (ProviderError("no", provider="p", reason="auth", status=401), 502),
        (ProviderError("no", provider="p", reason="rate_limited", retry_after_s=7, retryable=True), 429),
        (ProviderError("no", provider="p", reason="unavailable", status=500, retryable=True), 503),
        (ProviderError("no", provider="p", reason="timeout", retryable=True), 504),
        (ProviderError("no", provider="p", reason="bad_reply"), 502),
        (ProviderError("no", provider="p", reason="context_length", status=400), 400),
        (ProviderError("no", provider="p", reason="bad_request", status=404), 404),
    ],
)
def test_each_error_has_its_status(error: AiplatError, status: int):
    told = fault(error)
    assert told.status == status
    assert told.headers.get("x-should-retry") == (None if status == 429 else "false")
    if getattr(error, "retry_after_s", None):
        assert int(told.headers["Retry-After"]) >= error.retry_after_s  # type: ignore[attr-defined]


# --- own routes -------------------------------------------------------------------------------------------------------


def test_query_in_both_forms(place: Served):
    place.client.chat("hello")
    rows = place.client.post("/api/query", {"sql": "SELECT status, count(*) AS n FROM calls GROUP BY 1 ORDER BY 1", "limit": 1})["rows"]
    assert rows[0]["status"] == "error" or rows[0]["n"] >= 1
    assert len(rows) == 1
    frame = place.client.sql("SELECT $a AS a", {"a": 5})
    assert frame["a"].to_list() == [5]


def test_export_and_snapshot_refuse_to_overwrite(place: Served, tmp_path: Path):
    place.client.chat("hello", attribution={"team": "export"})
    made = place.client.post("/api/export", {"path": str(tmp_path), "since": "2020-01-01T00:00:00Z", "team": "export"})
    assert made["rows"] == 1 and Path(made["path"]).exists()
    with pytest.raises(LedgerError):
        place.client.post("/api/export", {"path": made["path"]})
    (tmp_path / "there").write_text("")
    with pytest.raises(LedgerError):
        place.client.post("/api/snapshot", {"path": str(tmp_path / "there")})


def test_reading_a_call(place: Served):
    answer = place.client.chat("hello")
    assert place.client.get(f"/api/calls/{answer.call_id}")["text"] == "hello"
    for wrong in (new_id(), "nonsense", "../../etc"):
        with pytest.raises(UsageError, match="aiplat calls"):
            place.client.call(wrong)


def test_metrics_count_what_happened(place: Served, key: str):
    def value(name: str, text: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    calls = 'aiplat_calls_total{model="priced",provider="up",status="ok",surface="http"}'
    cost = 'aiplat_cost_usd_total{model="priced",provider="up"}'
    tokens = 'aiplat_tokens_total{model="priced",provider="up",class="output"}'
    refused = 'aiplat_calls_total{model="priced",provider="",status="refused",surface="http"}'
    before = ask(place, "GET", "/metrics", key=key)
    assert before.headers["content-type"].startswith("text/plain; version=0.0.4")
    ask(place, "POST", "/v1/chat/completions", {**CHAT, "model": "priced"}, key=key)
    ask(place, "POST", "/v1/chat/completions", {**CHAT, "model": "priced", "stream": True}, key=key)
    ask(place, "POST", "/v1/chat/completions", {**CHAT, "model": "priced"}, key=place.key(team="poor"))
    ask(place, "POST", "/v1/chat/completions", {**CHAT, "model": 'odd"\n\\'}, key=key)
    after = ask(place, "GET", "/metrics", key=key).text
    assert value(calls, after) - value(calls, before.text) == 2
    assert value(cost, after) - value(cost, before.text) == pytest.approx(2 * 0.0002625)
    assert value(tokens, after) - value(tokens, before.text) == 40
    assert value(refused, after) - value(refused, before.text) == 1
    assert value("aiplat_call_seconds_count", after) - value("aiplat_call_seconds_count", before.text) == 4
    assert value("aiplat_in_flight", after) == 0 and value("aiplat_ledger_seq", after) > 0
    assert all(re.match(r"^(# (HELP|TYPE) \S+ .+|\w+(\{.*\})? \S+)$", line) for line in after.splitlines())


def test_streams_send_each_piece_when_it_comes(place: Served, key: str):
    host = place.http.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=20)
    body = json.dumps({**CHAT, "model": "up/slow-stream", "stream": True})
    connection.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {key}"})
    reply = connection.getresponse()
    assert reply.headers["content-type"].startswith("text/event-stream") and reply.headers["x-aiplat-call-id"]
    assert b"one" in reply.readline()  # 199 more come 50 ms apart
    connection.close()


def test_what_breaks_inside_is_told_logged_and_shown(place: Served):
    """A settings file that names a key file which is gone: the call says so, and the process goes on."""
    place.home.path.joinpath("upstream.key").rename(place.home.path / "gone.key")
    try:
        with pytest.raises(ConfigError, match="cannot be read"):
            place.client.chat(f"hello {new_id()}")
    finally:
        place.home.path.joinpath("gone.key").rename(place.home.path / "upstream.key")
    assert place.client.chat("hello").text == "hello"
