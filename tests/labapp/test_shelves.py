"""What the panel lists beside calls, from outside: prompts, evalsets, plans, and calls under way."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from faults import FaultServer
from jupyterkit import TOKEN, Jupyter, jupyter

from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import AiplatError
from aiplat_lab.core.settings import Home

MODEL = '[models."{0}"]\ndeployments = [{{ provider = "up", model = "{0}", input_usd_per_mtok = 100, output_usd_per_mtok = 200 }}]\n'


@pytest.fixture(scope="module")
def upstream() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="module")
def jupyter_server(tmp_path_factory: pytest.TempPathFactory, upstream: FaultServer) -> Iterator[Jupyter]:
    folder = tmp_path_factory.mktemp("shelves")
    home = Home(folder / "home").create()
    home.settings_file.write_text(
        f'default_model = "echo"\n[providers.up]\nkind = "openai"\nbase_url = "{upstream.openai_url}"\n'
        + MODEL.format("echo")
        + MODEL.format("slow-stream")
    )
    with jupyter(folder / "jupyter", home.path, "--AiplatLab.start_gateway=False") as running:
        running.ask("aiplat/api/start", method="POST")
        yield running
        running.ask("aiplat/api/stop", method="POST")


@pytest.fixture(scope="module")
def client(jupyter_server: Jupyter) -> Client:
    return connect(Home(jupyter_server.root.parent.parent / "home"))


def post(server: Jupyter, path: str, body: Any) -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(server.url + "aiplat/api/" + path, data=data, headers={"Authorization": f"token {TOKEN}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_a_cell_becomes_a_prompt_that_is_listed_shown_and_asked(jupyter_server: Jupyter, client: Client) -> None:
    text = 'Sum up {letter} for {reader}.\nAs {"a": {"b": 1}} with {{braces}} and {% x %}.'
    status, saved = post(jupyter_server, "prompts", {"name": "sum-up", "text": text, "system": "Be brief.", "model": "echo"})
    assert (status, saved) == (200, {"name": "sum-up", "version": "1.0.0", "new": True})
    assert post(jupyter_server, "prompts", {"name": "sum-up", "text": text, "system": "Be brief.", "model": "echo"})[1]["new"] is False
    listed = jupyter_server.ask("aiplat/api/prompts")[1]["prompts"]
    assert listed[0]["name"] == "sum-up"
    assert {"name": "classify", "shipped": True}.items() <= next(one for one in listed if one["name"] == "classify").items()
    status, shown = jupyter_server.ask("aiplat/api/prompts/sum-up@1.0.0")
    assert status == 200
    assert [one["name"] for one in shown["variables"]] == ["letter", "reader"]
    assert shown["cell"].splitlines()[0] == "%%ai --prompt sum-up@1.0.0"
    from aiplat_lab import prompts

    request = prompts.get("sum-up", client).request({"letter": "L", "reader": "R"})
    assert [message.content for message in request.messages] == [
        "Be brief.",
        'Sum up L for R.\nAs {"a": {"b": 1}} with {braces} and {% x %}.',
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"name": "A B", "text": "x"}, "small letters"),
        ({"name": "x", "text": "  "}, "no text"),
        ({"name": "x", "text": 3}, "must be a text"),
        (b"[]", "object in JSON"),
        (b"{", "object in JSON"),
    ],
    ids=["name", "empty", "number", "list", "broken"],
)
def test_what_makes_no_prompt_is_one_sentence(jupyter_server: Jupyter, body: Any, said: str) -> None:
    status, found = post(jupyter_server, "prompts", body)
    assert status == 400
    assert said in json.dumps(found)


def test_a_prompt_that_is_not_there_is_one_sentence(jupyter_server: Jupyter) -> None:
    status, found = jupyter_server.ask("aiplat/api/prompts/clasify")
    assert status == 400
    assert "classify" in found["error"]["message"]


def test_a_plan_says_replay_live_and_wrong_each_in_its_place(jupyter_server: Jupyter, client: Client) -> None:
    client.chat("known already", model="echo", cache="on")
    asked = [
        {"model": "echo", "messages": [{"role": "user", "content": "not yet asked"}]},
        {"model": "nonesuch", "messages": [{"role": "user", "content": "x"}]},
        {"prompt": "no-such-prompt", "messages": []},
        {"prompt": "classify", "model": "echo", "messages": [{"role": "user", "content": "text: the tap drips"}]},
    ]
    status, found = post(jupyter_server, "plan", {"requests": asked})
    assert status == 200, found
    assert [plan["state"] for plan in found["plans"]] == ["live", "error", "error", "live"]
    assert float(found["plans"][0]["high_usd"]) > 0
    assert found["plans"][3]["input_tokens"] > found["plans"][0]["input_tokens"]
    assert post(jupyter_server, "plan", {"requests": "x"})[0] == 400


def test_evalsets_have_their_last_result(jupyter_server: Jupyter) -> None:
    status, found = jupyter_server.ask("aiplat/api/evalsets")
    assert status == 200
    assert {one["name"] for one in found["evalsets"]} >= {"text-questions", "ticket-sentiment"}
    assert all(one["samples"] > 0 and one["last"] is None for one in found["evalsets"])


def test_a_call_under_way_is_listed_and_cancelled(jupyter_server: Jupyter, client: Client) -> None:
    ended: list[str] = []

    def ask() -> None:
        try:
            with client.stream("tell me slowly", model="slow-stream") as stream:
                for _ in stream:
                    pass
            ended.append("ok")
        except AiplatError as error:
            ended.append(type(error).__name__)

    thread = threading.Thread(target=ask)
    thread.start()
    deadline = time.monotonic() + 10
    while not (running := jupyter_server.ask("aiplat/api/status")[1]["gateway"]["calls_in_flight"]):
        assert time.monotonic() < deadline
    call_id = running[0]["call_id"]
    assert post(jupyter_server, f"calls/{call_id}/cancel", {}) == (200, {"cancelled": True})
    thread.join(10)
    assert ended != ["ok"]
    assert post(jupyter_server, f"calls/{call_id}/cancel", {}) == (200, {"cancelled": False})
