"""The relay, from outside: a real Jupyter server and a real gateway."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faults import FaultServer
from jupyterkit import Jupyter, jupyter

from aiplat_lab.client import connect
from aiplat_lab.core.settings import Home
from aiplat_lab.labapp.routes import BASE, ROUTES

CALL = "01936f0e-7b3a-7c1e-9d2f-0123456789ab"
HEAVY = ("altair", "duckdb", "httpx", "ipywidgets", "pandas", "panel", "papermill", "polars")
MODEL = 'deployments = [{{ provider = "up", model = "{0}", input_usd_per_mtok = 100, output_usd_per_mtok = 200 }}]'


def path_of(pattern: str) -> str:
    """A path that a route's pattern takes."""
    return f"{BASE}/" + re.sub(r"\(.*\)", CALL, pattern)


@pytest.fixture
def ledger(server: Jupyter) -> Home:
    """The home that the server's gateway has."""
    return Home(server.root.parent.parent / "home")


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in ROUTES])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_every_route_refuses_who_is_not_signed_in(server: Jupyter, pattern: str, method: str) -> None:
    status, _ = server.ask(path_of(pattern), method=method, token=None)
    known = method.lower() in vars(dict(ROUTES)[pattern])
    assert status == 403 if known else status in (403, 405)


def test_a_wrong_token_is_refused(server: Jupyter) -> None:
    assert server.ask("aiplat/api/status", token="guess")[0] == 403


def test_every_route_can_be_forbidden_by_an_authoriser(tmp_path: Path) -> None:
    """An authoriser that knows the resource `aiplat` by its name keeps signed-in users out, too."""
    (tmp_path / "config.py").write_text(
        "from jupyter_server.auth import Authorizer\n"
        "class Nobody(Authorizer):\n"
        "    def is_authorized(self, handler, user, action, resource):\n"
        "        return resource != 'aiplat'\n"
        "c.ServerApp.authorizer_class = Nobody\n"
    )
    home = Home(tmp_path / "home").create()
    options = (f"--config={tmp_path / 'config.py'}", "--AiplatLab.start_gateway=False")
    with jupyter(tmp_path / "jupyter", home.path, *options) as server:
        for pattern, route in ROUTES:
            method = "GET" if "get" in vars(route) else "POST"
            assert server.ask(path_of(pattern), method=method)[0] == 403, pattern
    assert not home.gateway_file.exists()


def test_without_a_gateway_the_state_says_stopped_and_nothing_is_started(server: Jupyter, ledger: Home) -> None:
    server.ask("aiplat/api/stop", method="POST")
    status, found = server.ask("aiplat/api/status")
    assert (status, found["state"], found["gateway"]) == (200, "stopped", None)
    status, found = server.ask("aiplat/api/calls?notebook=x.ipynb")
    assert status == 503
    assert found["error"]["type"] == "GatewayUnavailable"
    assert not ledger.gateway_file.exists()


def test_the_gateway_is_started_read_and_stopped(server: Jupyter) -> None:
    status, found = server.ask("aiplat/api/start", method="POST")
    assert (status, found["state"], found["remote"]) == (200, "running", False), found
    assert found["gateway"]["currency"] == "USD"
    assert found["gateway"]["calls_today"] == 0
    status, models = server.ask("aiplat/api/models")
    assert status == 200
    assert models["models"]
    status, found = server.ask("aiplat/api/stop", method="POST")
    assert (status, found["state"]) == (200, "stopped")
    assert server.ask("aiplat/api/stop", method="POST")[1]["state"] == "stopped"


def test_calls_of_a_notebook_and_one_call(server: Jupyter, ledger: Home) -> None:
    with FaultServer() as upstream:
        ledger.settings_file.write_text(
            f'[providers.up]\nkind = "openai"\nbase_url = "{upstream.openai_url}"\n' + "[models.echo]\n" + MODEL.format("echo") + "\n"
        )
        client = connect(ledger)
        here, there = str(server.root / "a folder" / "claims.ipynb"), "other.ipynb"
        one = client.chat("one two three", model="echo", attribution={"surface": "magic", "notebook": here})
        client.chat("four", model="echo", attribution={"surface": "magic", "notebook": there})
        status, found = server.ask("aiplat/api/calls?notebook=a%20folder%2Fclaims.ipynb")
        assert status == 200, found
        assert [(call["call_id"], call["request_model"], call["status"]) for call in found["calls"]] == [(one.call_id, "echo", "ok")]
        assert found["calls"][0]["cost_usd"] == str(one.cost_usd)
        assert len(server.ask("aiplat/api/calls")[1]["calls"]) == 2
        assert len(server.ask("aiplat/api/calls?limit=1")[1]["calls"]) == 1
        assert server.ask("aiplat/api/calls?limit=many")[0] == 400

        status, call = server.ask(f"aiplat/api/calls/{one.call_id}")
        assert status == 200
        assert call["messages"] == [{"role": "user", "content": "one two three"}]
        assert call["text"] == one.text
        state = server.ask("aiplat/api/status")[1]
        assert float(state["spend_month_usd"]) == float(state["gateway"]["spend_today_usd"]) > 0
        status, missing = server.ask(f"aiplat/api/calls/{uuid.uuid4()}")
        assert status >= 400
        assert missing["error"]["message"]


def test_a_broken_settings_file_is_one_sentence(server: Jupyter, ledger: Home) -> None:
    server.ask("aiplat/api/stop", method="POST")
    ledger.settings_file.write_text("currency = 'XXX'\n")
    try:
        status, found = server.ask("aiplat/api/start", method="POST")
        assert (status, found["state"]) == (200, "error")
        assert "currency" in found["message"]
        assert len(found["message"].encode()) <= 800
    finally:
        ledger.settings_file.unlink()
    assert server.ask("aiplat/api/start", method="POST")[1]["state"] == "running"


def test_the_servers_loop_is_free_while_the_gateway_is_slow(server: Jupyter) -> None:
    """Eight who start the gateway at once, and the server still answers others."""
    server.ask("aiplat/api/stop", method="POST")
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(server.ask, "aiplat/api/start", method="POST") for _ in range(8)]
        slowest = 0.0
        while not all(one.done() for one in asked):
            begun = time.monotonic()
            assert server.ask("api")[0] == 200
            slowest = max(slowest, time.monotonic() - begun)
        assert {one.result()[1]["state"] for one in asked} <= {"running", "starting"}
    assert slowest < 2.0
    assert server.until("running")


def test_the_gateway_starts_with_the_server(tmp_path: Path) -> None:
    home = Home(tmp_path / "a höme").create()
    with jupyter(tmp_path / "jupyter", home.path) as server:
        assert server.until("running")["gateway"]["home"] == str(home.path)
        assert server.ask("aiplat/api/stop", method="POST")[1]["state"] == "stopped"


def test_the_server_loads_none_of_the_heavy_libraries() -> None:
    script = (
        "import sys, json\n"
        "from jupyter_server.serverapp import ServerApp\n"
        "before = set(sys.modules)\n"
        "import aiplat_lab\n"
        "[point] = aiplat_lab._jupyter_server_extension_points()\n"
        "module = __import__(point['module'], fromlist=['x'])\n"
        "assert callable(module._load_jupyter_server_extension)\n"
        "module.dashboard_server()\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    added = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not added & set(HEAVY)
