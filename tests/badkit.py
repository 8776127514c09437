"""A home whose gateway can be asked through every door, and what each answer to bad input must hold."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults import FaultServer
from served import stop

from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import AiplatError
from aiplat_lab.core.settings import Home

GOOD = "sk-canary-good-0123456789abcdef0123456789"
WRONG = "sk-canary-wrong-0123456789abcdef0123456789"
CANARIES = (GOOD, WRONG)
SETTINGS = """
default_model = "fine"
[providers.up]
breaker_failures = 0
kind = "openai"
base_url = "{url}/v1"
api_key = "file:{keys}/good"
region = "uk"
retries = 0
[providers.brief]
breaker_failures = 0
kind = "openai"
base_url = "{url}/v1"
api_key = "file:{keys}/good"
timeout_s = 1.0
read_timeout_s = 0.5
retries = 0
[providers.claude]
breaker_failures = 0
kind = "anthropic"
base_url = "{url}"
api_key = "file:{keys}/good"
timeout_s = 1.0
read_timeout_s = 0.5
retries = 0
[providers.again]
breaker_failures = 0
kind = "openai"
base_url = "{url}/v1"
api_key = "file:{keys}/good"
retries = 1
[providers.wrong]
breaker_failures = 0
kind = "openai"
base_url = "{url}/v1"
api_key = "file:{keys}/wrong"
[providers.nokey]
breaker_failures = 0
kind = "openai"
base_url = "{url}/v1"
api_key = "env:AIPLAT_TEST_KEY_THAT_IS_NOT_SET"
[providers.down]
breaker_failures = 0
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
retries = 1
[models.fine]
deployments = [{{ provider = "up", model = "echo", input_usd_per_mtok = 1, output_usd_per_mtok = 2, max_output_tokens = 50 }}]
"""


@dataclass
class Told:
    """An answer by HTTP."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def error(self) -> dict[str, Any]:
        return dict(json.loads(self.body)["error"])

    @property
    def message(self) -> str:
        return str(self.error["message"])

    @property
    def call_id(self) -> str:
        return self.headers.get("x-aiplat-call-id", "")


@dataclass
class Place:
    """A gateway and the doors to it."""

    home: Home
    upstream: FaultServer
    client: Client
    key: str = ""

    def http(self, model: str, text: str = "hello there", *, key: str | None = None, wire: str = "openai", **more: Any) -> Told:
        """One question with a virtual key, as an SDK sends it."""
        path = "/v1/messages" if wire == "anthropic" else "/v1/chat/completions"
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        return self.post(path, json.dumps(body), self.key if key is None else key)

    def post(self, path: str, body: str, key: str) -> Told:
        connection = http.client.HTTPConnection(str(self.client.status()["http"]).removeprefix("http://"), timeout=20)
        try:
            headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
            connection.request("POST", path, body.encode(), headers)
            reply = connection.getresponse()
            return Told(reply.status, {name.lower(): value for name, value in reply.headers.items()}, reply.read().decode())
        finally:
            connection.close()

    def calls(self) -> int:
        return int(self.client.view_rows("totals")[0]["calls"])

    def row(self, call_id: str) -> dict[str, Any]:
        """The one row of a call."""
        rows = self.client.view_rows("call", call_id=call_id)
        assert len(rows) == 1, f"{len(rows)} rows for {call_id!r}"
        clear(str(rows[0]["error_message"] or ""))
        return rows[0]

    def is_well(self) -> None:
        """A good call works, and the chain holds."""
        assert self.client.chat("all is well", cache="off").text == "all is well"
        verified = self.client.verify()
        assert verified["ok"], verified


def clear(text: str) -> str:
    """One line that a person can read, without a key."""
    assert len(text.encode()) <= 800, text
    assert "\n" not in text.strip() and "Traceback" not in text, text
    for canary in CANARIES:
        assert canary not in text and canary[3:] not in text, text
    return text


def said(error: AiplatError) -> str:
    """The text of an error, which is one clear line."""
    assert error.message
    return clear(error.message)


def no_key_in(folder: Path) -> int:
    """Looks through every file of a folder for keys; gives how many files there were."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        data = path.read_bytes()
        for canary in CANARIES:
            assert canary.encode() not in data, path
    return len(files)


@contextmanager
def bad_place(folder: Path, more: str = "", *, name: str = "home") -> Iterator[Place]:
    """A home in `folder` with a gateway, stopped and searched for keys at the end."""
    keys = folder / "keys"
    keys.mkdir(exist_ok=True)
    (keys / "good").write_text(GOOD)
    (keys / "wrong").write_text(WRONG)
    os.environ.pop("AIPLAT_TEST_KEY_THAT_IS_NOT_SET", None)
    home = Home(folder / name).create()
    with FaultServer(key=GOOD) as upstream:
        home.settings_file.write_text(SETTINGS.format(url=upstream.url, keys=keys) + more, encoding="utf-8")
        try:
            with connect(home) as client:
                yield Place(home, upstream, client)
        finally:
            stop(home)
            assert no_key_in(home.path) > 3
