"""A real Jupyter server and a real browser for the tests in this folder: one of each, for the whole run."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from faults import FaultServer
from labdriver import Lab
from playwright.sync_api import Browser, Page, Request, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "token-of-the-ui-tests"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--disable-features=OptimizationHints,MediaRouter,Translate",
]
SETTINGS = """
currency = "GBP"
usd_rate = 0.79
default_model = "echo"
[providers.upstream]
kind = "openai"
base_url = "{url}"
api_key = "file:{key}"
region = "uk"
retries = 0
{models}
[[budgets]]
limit_usd = 500.0
period = "day"
[[budgets]]
project = "tiny"
limit_usd = 0.0000001
period = "month"
"""
MODEL = """
[models."{name}"]
deployments = [{{ provider = "upstream", model = "{name}", input_usd_per_mtok = 400, output_usd_per_mtok = 800 }}]
"""
NAMES = ("echo", "instant", "slow-stream", "stream-1000", "cut-stream", "status-500", "echo-100ms", "echo-1500ms")
CONFIG = """
c.ServerApp.ip = "127.0.0.1"
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
c.ServerApp.allow_root = True
c.ServerApp.jpserver_extensions = {"panel.io.jupyter_server_extension": False, "jupyter_lsp": False}
c.IdentityProvider.token = "TOKEN"
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.extension_manager = "readonly"
c.LabApp.expose_app_in_browser = True
""".replace("TOKEN", TOKEN)
USER_SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "aiplat-lab/plugin": {"lastCalls": 10_000, "refreshSeconds": 5},
}
LOCAL = {"127.0.0.1", "localhost", None}


@pytest.fixture(scope="package")
def upstream() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds all that the server writes: its home, settings, run-time files, and the notebooks."""
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="package")
def server(folder: Path, upstream: FaultServer) -> Iterator[str]:
    """A Jupyter server with our extension, and its URL."""
    home = folder / "aiplat"
    for place in (home, folder / "notebooks", folder / "run"):
        place.mkdir()
    key = home / "key"
    key.write_text("a-key-for-the-upstream")
    models = "".join(MODEL.format(name=name) for name in NAMES)
    (home / "aiplat.toml").write_text(SETTINGS.format(url=upstream.openai_url, key=key, models=models))
    (folder / "config.py").write_text(CONFIG)
    for name, settings in USER_SETTINGS.items():
        file = folder / "config" / "lab" / "user-settings" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))
    # The front end of this tree, whatever is installed in the environment.
    extension = folder / "path" / "labextensions" / "aiplat-lab"
    extension.parent.mkdir(parents=True)
    extension.symlink_to(ROOT / "aiplat_lab" / "labextension", target_is_directory=True)
    port = _free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIPLAT_", "JUPYTER", "JPY_")) and name != "CI"},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "HOME": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "run"),
        "JUPYTER_PATH": str(folder / "path"),
        "AIPLAT_HOME": str(home),
        "AIPLAT_MODELS": os.environ.get("AIPLAT_MODELS") or str(Path("~/.cache/aiplat-tests/models").expanduser()),
    }
    command = [sys.executable, "-m", "jupyterlab", "--config", str(folder / "config.py"), f"--port={port}"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder / "notebooks", env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while not _answers(f"{url}/api?token={TOKEN}"):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail("the Jupyter server did not start:\n" + (folder / "server.log").read_text()[-3000:])
            time.sleep(0.1)
        yield url
    finally:
        subprocess.run([sys.executable, "-m", "aiplat_lab.cli", "stop"], env=environment, capture_output=True, timeout=30, check=False)
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("AIPLAT_REQUIRE_BROWSER"):
            pytest.fail("chromium is not installed, and AIPLAT_REQUIRE_BROWSER is set")
        pytest.skip("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def foreign() -> list[str]:
    """The addresses beyond this machine that a page has asked for."""
    return []


@pytest.fixture(scope="package")
def page(browser: Browser, server: str, foreign: list[str]) -> Iterator[Page]:
    """JupyterLab, opened once."""
    context = browser.new_context(viewport={"width": 1360, "height": 860}, permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()

    def note(request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme in {"http", "https", "ws", "wss"} and address.hostname not in LOCAL:
            foreign.append(request.url)

    context.on("request", note)
    page.goto(f"{server}/lab?reset&token={TOKEN}", wait_until="domcontentloaded")
    page.wait_for_function("window.jupyterapp !== undefined", timeout=60_000)
    page.wait_for_selector("#jupyterlab-splash", state="detached", timeout=60_000)
    yield page
    context.close()


@pytest.fixture(scope="package")
def session(page: Page, folder: Path) -> Lab:
    shots = os.environ.get("AIPLAT_SCREENSHOTS")
    place = Path(shots) if shots else folder / "screenshots"
    place.mkdir(parents=True, exist_ok=True)
    return Lab(page, folder / "notebooks", place)


@pytest.fixture
def lab(session: Lab, foreign: list[str]) -> Iterator[Lab]:
    """JupyterLab with nothing open; the test fails if a page asks for anything beyond this machine."""
    session.clear()
    yield session
    assert foreign == [], f"requests left the machine: {foreign}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.ui)


@pytest.fixture
def axe() -> Any:
    """Gives the serious and critical findings of axe within a selector of the page."""
    from axe_playwright_python.sync_playwright import Axe

    def findings(lab: Lab, selector: str) -> list[str]:
        assert lab.page.locator(selector).count(), f"nothing is at {selector}"
        response = Axe().run(lab.page, context=selector, options={"resultTypes": ["violations"]}).response
        return [
            f"{found['id']} ({found['impact']}): {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
            for found in response["violations"]
            if found["impact"] in {"serious", "critical"}
            for node in found["nodes"]
        ]

    return findings
