"""What a caller and the ledger see when a provider fails: a table of scenarios, each through a real gateway process over HTTP."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest
from faults import FIXED_TEXT, FaultServer
from served import KEY, Served, stop, wait_for

from aiplat_lab.client import connect
from aiplat_lab.core.settings import Home

PRICED = "input_usd_per_mtok = 2.5, output_usd_per_mtok = 10"
COST = Decimal("0.0002625")
"""What `instant` costs: 25 tokens in, 20 out."""
PROVIDERS = """
[gateway]
retry_share = 0.2
[providers.q]
kind = "openai"
base_url = "{url}/v1"
api_key = "file:{key}"
region = "uk"
retries = 1
timeout_s = 2.5
first_token_timeout_s = 0.7
read_timeout_s = 0.7
breaker_failures = 3
breaker_open_s = 0.6
[providers.once]
kind = "openai"
base_url = "{url}/v1"
api_key = "file:{key}"
region = "uk"
retries = 0
timeout_s = 1.0
read_timeout_s = 5.0
breaker_failures = 0
[providers.wrongkey]
kind = "openai"
base_url = "{url}/v1"
api_key = "file:{key}.wrong"
region = "uk"
[providers.claude]
kind = "anthropic"
base_url = "{url}"
api_key = "file:{key}"
region = "uk"
retries = 1
read_timeout_s = 0.7
[providers.refused]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
retries = 1
[providers.nowhere]
kind = "openai"
base_url = "http://no-such-host.invalid/v1"
retries = 0
connect_timeout_s = 1.0
[providers.tls]
kind = "openai"
base_url = "https://127.0.0.1:{port}/v1"
retries = 0
connect_timeout_s = 1.0
[teams.narrow]
residency = ["eu"]
"""


@dataclass(frozen=True)
class Scenario:
    """One thing that can go wrong, and what is to be seen of it."""

    name: str
    primary: str
    """`provider/model` of the fault server; `@` and the scenario's place are added, so that no two share a breaker."""
    fallback: str = "q/instant"
    stream: bool = False
    status: int = 200
    """Of HTTP."""
    row: str = "ok"
    error: str | None = None
    """The error's type in the row."""
    text: str = FIXED_TEXT
    """What the caller has of the answer in the end."""
    attempts: int = 2
    flags: frozenset[str] = frozenset({"fallback"})
    not_flags: frozenset[str] = frozenset()
    cost: Decimal | None = COST
    within_s: float = 2.0
    extra: dict[str, Any] = field(default_factory=dict)
    """Further fields of the request."""
    event: str = ""
    """What the error event of a stream holds."""

    def deployments(self, place: int) -> list[tuple[str, str]]:
        names = [name for name in (self.primary, self.fallback) if name]
        return [(provider, f"{model}@{place}") for provider, _, model in (name.partition("/") for name in names)]


RETRIED = frozenset({"retried", "fallback"})
NONE: frozenset[str] = frozenset()
TEN = "one two three four five six seven eight nine ten "
SCENARIOS = (
    Scenario("429 with Retry-After in seconds", "q/status-429", not_flags=frozenset({"retried"}), within_s=0.9),
    Scenario("429 with Retry-After as a date", "q/status-429-date", within_s=0.9),
    Scenario("429 without Retry-After", "q/status-429-no-header", within_s=0.9),
    Scenario("429 alone, then well", "q/status-429-after-1", "", attempts=2, flags=frozenset({"retried"}), within_s=2.4),
    Scenario("500 for ever", "q/status-500", attempts=3, flags=RETRIED),
    Scenario("500 once", "q/status-500-once", attempts=2, flags=frozenset({"retried"}), not_flags=frozenset({"fallback"})),
    Scenario("502", "q/status-502", attempts=3, flags=RETRIED),
    Scenario("503", "q/status-503", attempts=3, flags=RETRIED),
    Scenario("529", "q/status-529", attempts=3, flags=RETRIED),
    Scenario("503 in a stream's place", "q/status-503", stream=True, attempts=3, flags=RETRIED),
    Scenario("connection refused", "refused/x", attempts=3, flags=RETRIED),
    Scenario("no such host", "nowhere/x", within_s=3.0),
    Scenario("TLS failure", "tls/x", within_s=3.0),
    Scenario("hang before the headers", "q/hang", within_s=1.7),
    Scenario("hang before the headers of a stream", "q/hang", stream=True, within_s=1.7),
    Scenario("hang after the headers", "q/hang-headers", within_s=1.7),
    Scenario("hang after the headers of a stream", "q/hang-headers", stream=True, within_s=1.7),
    Scenario("whole-call deadline", "once/hang", within_s=2.0),
    Scenario("slow first token", "q/slow-first-3s", stream=True, within_s=1.7),
    Scenario(
        *("slow between tokens", "q/hang-stream"),
        stream=True,
        row="error",
        error="timeout",
        text="Hello from the ",
        attempts=1,
        flags=NONE,
        cost=None,
        event="silent",
    ),
    Scenario("cut before the first chunk", "q/cut-first", stream=True, attempts=3, flags=RETRIED),
    Scenario(
        *("cut after ten chunks", "q/cut-after-10"),
        stream=True,
        row="error",
        error="cut_off",
        text=TEN,
        attempts=1,
        flags=NONE,
        cost=None,
        event="cut off",
    ),
    Scenario(
        *("ended after three chunks, as if whole", "q/cut-clean"),
        stream=True,
        row="error",
        error="cut_off",
        text="Hello from the ",
        attempts=1,
        flags=NONE,
        cost=None,
        event="cut off",
    ),
    Scenario("plain answer cut half-way", "q/cut-json", attempts=3, flags=RETRIED),
    Scenario(
        *("plain answer cut, and nothing to fall back to", "once/cut-json", ""),
        status=502,
        row="error",
        error="cut_off",
        text="",
        attempts=1,
        flags=NONE,
        cost=None,
    ),
    Scenario("half a JSON text", "q/bad-json"),
    Scenario("an empty body", "q/empty-reply"),
    Scenario("an HTML page with status 200", "q/html-reply"),
    Scenario("an HTML page in a stream's place", "q/html-reply", stream=True),
    Scenario("JSON of another shape", "q/list-reply"),
    Scenario("an error event before the first chunk", "q/error-first", stream=True, attempts=3, flags=RETRIED),
    Scenario(
        *("an error event after three chunks", "q/stream-error"),
        stream=True,
        row="error",
        error="unavailable",
        text="Hello from the ",
        attempts=1,
        flags=NONE,
        cost=None,
        event="overloaded",
    ),
    Scenario(
        *("too many requests in the middle of a stream", "q/limited-stream"),
        stream=True,
        row="error",
        error="rate_limited",
        text="Hello from the ",
        attempts=1,
        flags=NONE,
        cost=None,
        event="too many requests",
    ),
    Scenario(
        *("a piece that is not JSON", "q/bad-chunk"),
        stream=True,
        row="error",
        error="bad_reply",
        text="Hello from the ",
        attempts=1,
        flags=NONE,
        cost=None,
        event="not JSON",
    ),
    Scenario("finished without usage", "q/no-usage", stream=True, attempts=1, flags=frozenset({"no_usage"}), cost=None),
    Scenario(
        *("no finish reason", "q/no-finish"),
        stream=True,
        row="error",
        error="cut_off",
        text=FIXED_TEXT,
        attempts=1,
        flags=NONE,
        cost=None,
        event="finish reason",
    ),
    Scenario("finished without the end marker", "q/no-done", stream=True, attempts=1, flags=NONE),
    Scenario("a wrong key at the primary", "wrongkey/instant"),
    Scenario(
        *("a prompt that is too long", "q/context-length"),
        status=400,
        row="error",
        error="context_length",
        text="",
        attempts=1,
        flags=NONE,
        cost=Decimal(0),
        not_flags=frozenset({"fallback"}),
    ),
    Scenario(
        *("a wrong request", "q/status-400"),
        status=400,
        row="error",
        error="bad_request",
        text="",
        attempts=1,
        flags=NONE,
        cost=Decimal(0),
        not_flags=frozenset({"fallback"}),
    ),
    Scenario("no such model at the primary", "q/unknown-model"),
    Scenario("the content filter", "q/filtered", attempts=1, flags=NONE, not_flags=frozenset({"fallback"})),
    Scenario(
        *("both dead", "q/status-500", "q/status-503"),
        status=503,
        row="error",
        error="unavailable",
        text="",
        attempts=4,
        flags=RETRIED,
        cost=Decimal(0),
    ),
    Scenario("a deadline of the caller's own", "once/hang", within_s=1.5, extra={"timeout": 0.9}),
    Scenario("another wire falls back", "claude/status-529", attempts=3, flags=RETRIED),
    Scenario("another wire's stream, cut before the first chunk", "claude/cut-first", stream=True, attempts=3, flags=RETRIED),
    Scenario(
        *("another wire's stream, cut later", "claude/cut-stream"),
        stream=True,
        row="error",
        error="cut_off",
        text="Hello from the ",
        attempts=1,
        flags=NONE,
        cost=None,
        event="cut off",
    ),
)


def _model(name: str, deployments: list[tuple[str, str]], *, more: str = "") -> str:
    entries = ", ".join(f'{{ provider = "{provider}", model = "{model}", {PRICED} }}' for provider, model in deployments)
    return f'[models."{name}"]\ndeployments = [{entries}]\n{more}'


EXTRA = (
    _model("recovers", [("q", "status-500-first-3@r"), ("q", "instant@r")]),
    _model("alone", [("q", "status-500@alone")]),
    _model("drained", [("once", "status-500@drained"), ("once", "status-503@drained")]),
    _model("held", [("q", "status-429@held"), ("q", "instant@held")]),
    _model("left", [("once", "slow-stream@left")]),
    _model("reasoned", [("q", "instant@w1"), ("q", "instant@w2")], more='strategy = "weighted"\n'),
    _model("unable", [("q", "instant@u")]).replace("output_usd_per_mtok = 10", 'output_usd_per_mtok = 10, lacks = ["tools"]'),
    _model("caller", [("q", "status-400@caller")]),
)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = Home(tmp_path_factory.mktemp("scenarios") / "home").create()
    with FaultServer(key=KEY) as upstream:
        key_file = home.path / "upstream.key"
        key_file.write_text(KEY)
        (home.path / "upstream.key.wrong").write_text("not-the-key-0123456789")
        toml = PROVIDERS.format(url=upstream.url, key=key_file, port=urlsplit(upstream.url).port)
        toml += "".join(_model(one.name, one.deployments(place)) for place, one in enumerate(SCENARIOS)) + "".join(EXTRA)
        home.settings_file.write_text(toml)
        try:
            with connect(home) as client:
                yield Served(home, upstream, client)
        finally:
            stop(home)


@pytest.fixture(scope="module")
def key(here: Served) -> str:
    return here.key(name="scenarios")


@dataclass
class Heard:
    """What the caller has in the end."""

    status: int
    call_id: str
    text: str
    error: dict[str, Any] | None
    seconds: float
    headers: dict[str, str]
    done: bool = True


def post(here: Served, key: str, model: str, *, stream: bool = False, **more: Any) -> Heard:
    """One call over HTTP."""
    at = urlsplit(here.http)
    began = time.monotonic()
    connection = http.client.HTTPConnection(str(at.hostname), at.port, timeout=15)
    try:
        body = {"model": model, "messages": [{"role": "user", "content": "Say something"}], "stream": stream, **more}
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "x-aiplat-cache": "off"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        raw = response.read()
    finally:
        connection.close()
    seconds = time.monotonic() - began
    head = {name.lower(): value for name, value in response.getheaders()}
    call_id = head.get("x-aiplat-call-id", "")
    if "event-stream" in head.get("content-type", ""):
        text, error, done = _events(raw)
        return Heard(response.status, call_id, text, error, seconds, head, done)
    data = json.loads(raw)
    text = data["choices"][0]["message"]["content"] if "choices" in data else ""
    return Heard(response.status, call_id, text, data.get("error"), seconds, head)


def _events(raw: bytes) -> tuple[str, dict[str, Any] | None, bool]:
    text, error, done = "", None, False
    for line in raw.decode().splitlines():
        if line == "data: [DONE]":
            done = True
        elif line.startswith("data: "):
            data = json.loads(line[6:])
            error = data.get("error") or error
            for choice in data.get("choices") or ():
                text += choice["delta"].get("content") or ""
    return text, error, done


def row_of(here: Served, call_id: str) -> dict[str, Any]:
    rows = here.client.view_rows("call", call_id=call_id)
    assert len(rows) == 1
    return rows[0]


@pytest.mark.parametrize("place", range(len(SCENARIOS)), ids=[one.name.replace(" ", "-") for one in SCENARIOS])
def test_a_scenario(here: Served, key: str, place: int) -> None:
    one = SCENARIOS[place]
    heard = post(here, key, one.name, stream=one.stream, **one.extra)
    assert heard.status == one.status, heard
    assert heard.text == one.text and heard.seconds <= one.within_s + 1.0, heard
    row = row_of(here, heard.call_id)
    assert (row["status"], row["error_type"], row["attempts"]) == (one.row, one.error, one.attempts), row
    flags = set(row["flags"] or ())
    assert one.flags <= flags and not one.not_flags & flags, flags
    assert (None if row["cost_usd"] is None else Decimal(str(row["cost_usd"]))) == one.cost, row["cost_usd"]
    names = {model for _, model in one.deployments(place)}
    sent = sum(seen.model in names for seen in here.upstream.requests)
    if one.primary.partition("/")[0] in {"q", "once", "claude", "wrongkey"}:
        assert sent == one.attempts, "every request is an attempt, and every attempt a request"
    if one.row == "ok":
        assert heard.error is None and heard.done
    else:
        assert heard.error is not None and one.event in heard.error["message"], heard.error
        assert not (heard.done and one.stream), "a stream that broke never ends as if it were whole"
    if one.text and one.row == "error":
        assert here.client.call(heard.call_id)["text"] == one.text, "what had come is in the ledger"


def test_there_are_enough_scenarios() -> None:
    assert len(SCENARIOS) + len(EXTRA) >= 24 and len({one.name for one in SCENARIOS}) == len(SCENARIOS)


def test_a_primary_that_recovers_is_tried_by_a_single_call(here: Served, key: str) -> None:
    primary = "status-500-first-3@r"

    def asked() -> int:
        return sum(seen.model == primary for seen in here.upstream.requests)

    for _ in range(3):
        assert post(here, key, "recovers").status == 200
    assert asked() == 3, "it is left alone after three failures in a row"
    breakers = {one["deployment"]: one for one in here.client.status()["breakers"]}
    assert breakers[f"q/{primary}"]["state"] in {"open", "half-open"} and breakers[f"q/{primary}"]["opened"] == 1
    assert any("is left alone" in text for text in here.client.status()["incidents"]) or breakers[f"q/{primary}"]["state"] == "half-open"

    def back() -> bool:
        return "fallback" not in (row_of(here, post(here, key, "recovers").call_id)["flags"] or ())

    assert wait_for(back, 5.0), "after breaker_open_s one call tries it, and it answers"
    assert asked() == 4 and back() and asked() == 5


def test_a_single_deployment_is_left_alone_too(here: Served, key: str) -> None:
    first = [post(here, key, "alone") for _ in range(2)]
    assert [one.status for one in first] == [503, 503]
    sent = len([seen for seen in here.upstream.requests if seen.model == "status-500@alone"])
    assert sent == 3, "two tries, then one: the breaker opened"
    heard = post(here, key, "alone")
    row = row_of(here, heard.call_id)
    assert heard.status == 503 and heard.seconds < 0.3 and "left alone" in heard.error["message"], heard
    assert (row["attempts"], float(row["cost_usd"])) == (0, 0.0) and "breaker_open" in row["flags"]
    assert heard.headers["retry-after"] == "1"
    models = {one["name"]: one for one in here.client.models()}
    assert models["alone"]["deployments"][0]["breaker"] in {"open", "half-open"}


def test_the_retry_budget_ends_a_storm(here: Served, key: str) -> None:
    heard = [post(here, key, "drained") for _ in range(20)]
    assert all(one.status == 503 for one in heard)
    sent = [seen.model for seen in here.upstream.requests if seen.model.endswith("@drained")]
    extra = len(sent) - 20
    assert 10 <= extra <= 10 + 0.2 * 20, "a burst of ten, and a fifth of the calls"
    last = row_of(here, heard[-1].call_id)
    assert last["attempts"] == 1 and "retry_budget" in last["flags"]
    assert "says 500" in heard[-1].error["message"], "the first error is what the caller sees"


def test_a_wait_is_shared_by_all_callers(here: Served, key: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        first = post(here, key, "held")
        rest = list(pool.map(lambda _: post(here, key, "held"), range(8)))
    assert first.status == 200 and all(one.status == 200 for one in rest)
    if sum(one.seconds for one in rest) < 0.7:  # all within the second that the provider asked for
        assert sum(seen.model == "status-429@held" for seen in here.upstream.requests) == 1
    assert not [one for one in here.client.status()["breakers"] if one["deployment"] == "q/status-429@held" and one["opened"]]


def test_a_callers_own_mistakes_open_no_breaker(here: Served, key: str) -> None:
    assert [post(here, key, "caller").status for _ in range(8)] == [400] * 8
    assert sum(seen.model == "status-400@caller" for seen in here.upstream.requests) == 8
    assert not [one for one in here.client.status()["breakers"] if one["deployment"] == "q/status-400@caller"]


def test_a_caller_who_leaves_is_booked_and_speaks_against_nobody(here: Served, key: str) -> None:
    at = urlsplit(here.http)
    connection = http.client.HTTPConnection(str(at.hostname), at.port, timeout=15)
    body = {"model": "left", "messages": [{"role": "user", "content": "x"}], "stream": True}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Authorization": f"Bearer {key}"})
    response = connection.getresponse()
    call_id = str(response.getheader("x-aiplat-call-id"))
    assert b"one" in response.read(300)
    response.close()
    connection.close()
    assert wait_for(lambda: here.client.view_rows("call", call_id=call_id), 5.0)
    row = row_of(here, call_id)
    assert (row["status"], row["attempts"], row["cost_usd"]) == ("cancelled", 1, None)
    assert here.upstream.wait_for(lambda: here.upstream.disconnects, 5.0), "the provider was told"
    assert not [one for one in here.client.status()["breakers"] if "left" in one["deployment"]]


def test_metrics_and_models_show_the_breakers(here: Served, key: str) -> None:
    for _ in range(2):
        post(here, key, "alone")
    at = urlsplit(here.http)
    connection = http.client.HTTPConnection(str(at.hostname), at.port, timeout=15)
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {key}"})
    text = connection.getresponse().read().decode()
    connection.close()
    assert 'aiplat_breaker_opened_total{deployment="q/status-500@alone"}' in text


def test_the_reason_is_in_the_headers_of_streams_too(here: Served, key: str) -> None:
    for stream in (False, True):
        heard = post(here, key, "reasoned", stream=stream)
        assert heard.status == 200 and heard.headers["x-aiplat-route"].startswith("weighted: q/instant@w"), heard.headers
        assert row_of(here, heard.call_id)["route"] == heard.headers["x-aiplat-route"]


def test_a_request_that_no_deployment_can_answer_is_refused(here: Served, key: str) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    heard = post(here, key, "unable", tools=tools)
    row = row_of(here, heard.call_id)
    assert heard.status == 400 and heard.error is not None and "calling tools" in heard.error["message"]
    assert (row["status"], row["policy"], row["error_type"], row["attempts"]) == ("refused", "routing", "capability_refused", 0)
    assert post(here, key, "unable").status == 200
