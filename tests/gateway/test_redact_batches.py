"""Redaction holds for calls that wait in a provider's batch, over a restart too."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from batchkit import BatchServer

from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import ContentRefused, GatewayUnavailable
from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import Message, Request

MAIL = "jane.doe@example.com"
TOML = """
[redaction]
{redaction}
[gateway]
batch_poll_s = 0.05
[providers.openai]
kind = "openai"
base_url = "{url}/v1"
api_key = "file:{key}"
"""


def begun(home: Home, upstream: BatchServer, redaction: str) -> Client:
    key = home.path / "up.key"
    key.write_text("upstream-key-0123456789")
    home.settings_file.write_text(TOML.format(url=upstream.url, key=key, redaction=redaction))
    return connect(home)


def until(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + 20
    while not (found := what()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
    return found


def over(client: Client, batch_id: str) -> Any:
    return until(lambda: (found := client.batch(batch_id))["status"] not in {"submitting", "running", "cancelling"} and found)


def request(text: str) -> Request:
    return Request(model="openai/gpt-4o-mini", messages=(Message("user", text),), settings={"max_tokens": 60})


@pytest.mark.parametrize("killed", [False, True])
def test_a_batch_is_masked_and_its_caller_gets_the_originals(home: Home, killed: bool) -> None:
    asked = [request(f"write to {MAIL}"), request("nothing in it")]
    with BatchServer() as upstream, begun(home, upstream, 'input = "mask"') as client:
        (batch,) = client.submit_batch(asked)
        if killed:
            os.kill(client.status()["pid"], signal.SIGKILL)
            until(lambda: _up(client))
        upstream.release()
        assert over(client, batch["id"])["done"] == 2
        assert [client.call(one.call_id)["text"] for one in asked] == ["write to <EMAIL_1>", "nothing in it"]
        assert "masked" in client.call(asked[0].call_id)["flags"]
        assert client.chat(asked[0]).text == f"write to {MAIL}"
        assert MAIL not in json.dumps(client.call(asked[0].call_id))


def _up(client: Client) -> bool:
    try:
        return bool(client.status())
    except GatewayUnavailable:
        return False


def test_the_answer_of_a_batch_is_refused_too(home: Home) -> None:
    asked = request(f"write to {MAIL}")
    with BatchServer() as upstream, begun(home, upstream, 'output = "refuse"') as client:
        (batch,) = client.submit_batch([asked])
        upstream.release()
        over(client, batch["id"])
        row = client.call(asked.call_id)
        assert (row["status"], row["policy"], row["findings"]) == ("refused", "redact", {"output email": "1 refused"})
        with pytest.raises(ContentRefused):
            client.chat(asked)
