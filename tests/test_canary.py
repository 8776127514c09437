"""A canary provider key and a canary virtual key: after calls of every ending, neither stands anywhere but where it belongs.

The provider repeats the key that it was sent in its error (401 and 400), answers, hangs and breaks off; then everything that is written
or shown is searched: rows, bodies, logs, metrics, settings, the address file, what commands print, and every answer over HTTP.
"""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from clikit import Line
from faults import FaultServer
from served import Served, write_settings

from aiplat_lab.client import connect
from aiplat_lab.core.errors import AiplatError
from aiplat_lab.core.settings import Home, Secret

CANARY = "sk-proj-canaryCANARY0123456789-canaryCANARY9876543210"
GOOD = "Zq7-upstream-canary-key/without.any+known=shape"
"""A key of no known shape, so that no pattern helps to hide it."""
TABLES = """
[providers.wrong]
kind = "openai"
base_url = "{url}/v1"
api_key = "vault:wrong"
region = "uk"
[providers.wrong-claude]
kind = "anthropic"
base_url = "{url}"
api_key = "vault:wrong"
region = "uk"
[providers.held]
kind = "openai"
base_url = "{url}/v1"
api_key = "vault:held"
region = "uk"
retries = 0
read_timeout_s = 0.5
timeout_s = 2.0
[telemetry]
"""
ENDINGS = ("instant", "leaky", "hang", "stream-5", "cut-stream", "cut-clean", "bad-chunk", "stream-error", "html-reply", "status-500")


@dataclass
class Place:
    """A gateway that holds canaries, and all that it ever said."""

    served: Served
    virtual: str
    said: list[bytes] = field(default_factory=list)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> None:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.served.http + path, data=data, method=method, headers={"x-api-key": self.virtual, **headers})
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                self.said.append(str(reply.headers).encode() + reply.read())
        except urllib.error.HTTPError as error:
            self.said.append(str(error.headers).encode() + error.read())
        except (http.client.HTTPException, OSError) as error:
            self.said.append(repr(error).encode())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("canary")
        patch.setenv("AIPLAT_VAULT_KEYS", str(folder / "masters"))
        home = Home(folder / "home").create()
        home.vault.put("wrong", Secret(CANARY))
        home.vault.put("held", Secret(GOOD))
        with FaultServer(key=GOOD) as upstream:
            write_settings(home, upstream, tables=TABLES.format(url=upstream.url))
            with connect(home) as client:
                virtual = str(client.post("/api/keys", {"team": "risk", "name": "canary"})["key"])
                place = Place(Served(home, upstream, client), virtual)
                _use(place)
                yield place
                client.stop()


def _use(place: Place) -> None:
    """Calls of every ending, by every wire."""
    messages = [{"role": "user", "content": "hello"}]
    for provider in ("held", "wrong"):
        for ending in ENDINGS if provider == "held" else ("instant", "stream-5"):
            for stream in (False, True):
                body = {"model": f"{provider}/{ending}", "messages": messages, "stream": stream}
                place.ask("POST", "/v1/chat/completions", body)
        place.ask("POST", "/v1/embeddings", {"model": f"{provider}/instant", "input": "hello"})
        place.ask("POST", "/v1/responses", {"model": f"{provider}/instant", "input": "hello"})
        place.ask("POST", "/api/calls", {"model": f"{provider}/leaky", "messages": messages})
        try:
            place.served.client.chat("hello", model=f"{provider}/leaky", cache="off")
        except AiplatError as error:
            place.said.append(f"{error!r} {error} {error.details} {error.to_wire()} {error.__cause__!r} {error.__context__!r}".encode())
    place.ask("POST", "/v1/messages", {"model": "wrong-claude/instant", "messages": messages, "max_tokens": 5})
    place.ask("POST", "/v1/messages/count_tokens", {"model": "wrong-claude/instant", "messages": messages})
    for method, path in (
        ("GET", "/v1/models"),
        ("GET", "/api/models"),
        ("GET", "/api/status"),
        ("GET", "/metrics"),
        ("GET", "/api/keys"),
        ("POST", "/nothing"),
    ):
        place.ask(method, path, {} if method == "POST" else None)
    place.ask("GET", "/v1/models", **{"x-api-key": place.virtual[:-1]})
    place.ask("GET", "/v1/models", **{"x-api-key": place.virtual + " "})
    place.ask("GET", "/api/status", **{"x-api-key": CANARY})  # a provider's key where a virtual one belongs
    place.ask("GET", f"/v1/{place.virtual}")


def forms(text: str) -> list[bytes]:
    """A secret as it stands, and as it would stand in JSON, in a URL or in base64."""
    raw = text.encode()
    return [
        raw,
        json.dumps(text).encode()[1:-1],
        urllib.request.pathname2url(text).encode(),
        base64.b64encode(raw)[:-4],
        raw[:24],
        raw[-24:],
    ]


def holds(data: bytes, text: str) -> bool:
    return any(form in data for form in forms(text))


SECRETS = ("canary", "good", "virtual")


def secret_of(place: Place, name: str) -> str:
    return {"canary": CANARY, "good": GOOD, "virtual": place.virtual}[name]


def test_the_canaries_were_really_sent(place: Place):
    sent = " ".join(seen.headers.get("authorization", "") + seen.headers.get("x-api-key", "") for seen in place.served.upstream.requests)
    assert CANARY in sent and GOOD in sent and place.virtual not in sent
    statuses = {(row["status"], row["error_type"]) for row in place.served.rows()}
    assert {("ok", None), ("error", "auth"), ("error", "bad_request"), ("error", "timeout"), ("error", "cut_off")} <= statuses, statuses
    assert len(place.said) > 40


@pytest.mark.parametrize("name", SECRETS)
def test_no_answer_of_the_gateway_holds_one(place: Place, name: str):
    for said in place.said:
        assert not holds(said, secret_of(place, name)), said[:400]


@pytest.mark.parametrize("name", SECRETS)
def test_no_row_and_no_body_holds_one(place: Place, name: str):
    client = place.served.client
    for row in client.view_rows("recent_calls", limit=1000):
        call = json.dumps(client.call(row["call_id"])).encode()
        assert not holds(call, secret_of(place, name)), row
    records = client.sql("SELECT * FROM records").write_json()
    assert not holds(records.encode(), secret_of(place, name))


@pytest.mark.parametrize("name", SECRETS)
def test_no_file_of_the_home_holds_one(place: Place, name: str):
    """The log, the address file, the ledger and its spool, and the vault, which is encrypted."""
    home = place.served.home
    assert home.log_file.exists() and home.gateway_file.exists() and home.vault.path.exists()
    for path in home.path.rglob("*"):
        if path.is_file():
            assert not holds(path.read_bytes(), secret_of(place, name)), path


@pytest.mark.parametrize("words", ["status", "keys list", "calls", "model list", "calls --status error", "budget"])
def test_no_command_prints_one(place: Place, words: str, capsys: pytest.CaptureFixture[str]):
    line = Line(capsys, place.served.home.path)
    for more in ([], ["--json"]):
        said = line(*words.split(), "--home", str(place.served.home.path), *more)
        for name in SECRETS:
            assert not holds((said.out + said.err).encode(), secret_of(place, name)), (words, name)


def test_nothing_that_python_shows_holds_one(place: Place):
    secret = place.served.home.vault.get("held")
    assert f"{secret} {secret!r} {[secret]} {Secret.__doc__}".count(GOOD) == 0
    assert not hasattr(secret, "__dict__")  # which a traceback with locals would print


def test_logs_of_everything_hold_none(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    """In one process with every logger wide open: what libraries log of a request has no key in it either."""
    import asyncio
    import logging

    from gatewaykit import ask, world

    monkeypatch.setenv("AIPLAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UP_KEY", CANARY)
    caplog.set_level(logging.DEBUG)

    async def run(upstream: FaultServer) -> None:
        async with world(Home(tmp_path / "home").create(), upstream) as here:
            for model in ("up/instant", "up/leaky", "up/cut-stream", "claude/leaky"):
                for stream in (False, True):
                    try:
                        if stream:
                            async with here.gateway.stream(ask(model, stream=True)) as pieces:
                                [piece async for piece in pieces]
                        else:
                            await here.gateway.handle(ask(model))
                    except AiplatError as error:
                        logging.getLogger("canary").debug("failed", exc_info=error)

    with FaultServer() as upstream:
        asyncio.run(run(upstream))
        assert any(CANARY in str(seen.headers) for seen in upstream.requests)
    ours = "\n".join(
        record.getMessage() + (caplog.handler.formatter.formatException(record.exc_info) if record.exc_info else "")
        for record in caplog.records
        if caplog.handler.formatter
    )
    assert "failed" in ours and not holds(ours.encode(), CANARY)
