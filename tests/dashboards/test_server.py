"""Who may read the page: with the token once, by the cookie from then on, and through an owner-only socket."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from dashkit import Dashboard, dashboard

from aiplat_lab.core.settings import Home


def get(url: str, *, cookie: str = "", method: str = "GET") -> tuple[int, dict[str, str], str]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), headers={"Cookie": cookie} if cookie else {})
    reply = connection.getresponse()
    body = reply.read().decode("utf-8", "replace")
    connection.close()
    return reply.status, {name.lower(): value for name, value in reply.getheaders()}, body


@pytest.fixture
def served(home: Home) -> Iterator[Dashboard]:
    with dashboard(home) as running:
        yield running


def test_nothing_is_served_without_the_token_and_it_opens_once(served: Dashboard) -> None:
    base = served.url.removesuffix("/cost")
    for path in (
        "/",
        "/cost",
        "/cost/ws",
        "/cost/metadata",
        "/evaluation",
        "/evaluation/ws",
        "/prompts",
        "/prompts/ws",
        "/static/js/bokeh.min.js",
        "/static/extensions/panel/panel.min.js",
        "/favicon.ico",
    ):
        assert get(base + path)[0] == 403, path
    assert get(f"{served.url}?token=wrong")[0] == 403
    assert get(f"{served.url}?token={served.token}", method="POST")[0] == 403

    status, headers, _ = get(f"{served.url}?since=7d&token={served.token}")
    assert (status, headers["location"]) == (302, "/cost?since=7d")
    assert "HttpOnly" in headers["set-cookie"] and "SameSite=Strict" in headers["set-cookie"]
    cookie = headers["set-cookie"].split(";")[0]

    status, _, page = get(served.url, cookie=cookie)
    assert status == 200 and "<h1>Cost</h1>" in page
    assert cookie.split("=", 1)[1] not in page
    assert not [
        host
        for host in ("cdn.", "jsdelivr", "unpkg", "googleapis", "https://")
        if host in page.replace("https://vega.github.io/schema", "")
    ]
    for name in ("Evaluation", "Prompts"):
        status, _, page = get(f"{base}/{name.lower()}", cookie=cookie)
        assert status == 200 and f"<h1>{name}</h1>" in page
    status, headers, _ = get(f"{base}/", cookie=cookie)
    assert (status, headers["location"]) == (301, "/cost")
    assert get(f"{served.url}?token={served.token}")[0] == 403
    assert get(served.url, cookie=cookie.split("=")[0] + "=guess")[0] == 403


def test_a_wrong_option_is_refused_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aiplat_lab.dashboards", "serve", "--prot", "1"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and "--prot" in done.stderr and "Traceback" not in done.stderr


def test_a_port_in_use_gives_one_sentence(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "aiplat_lab.dashboards", "serve", "--port", str(port), "--home", str(home.path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.strip() == f"the dashboard cannot listen on 127.0.0.1:{port}: Address already in use"


def test_a_socket_in_a_folder_open_to_others_is_refused(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)
    command = [sys.executable, "-m", "aiplat_lab.dashboards", "serve", "--unix-socket", str(folder / "s"), "--home", str(home.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "is open to others: chmod 700 it" in done.stderr


def test_behind_a_proxy_the_page_stands_under_its_prefix(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir(mode=0o700)
    path = folder / "s"
    command = [sys.executable, "-m", "aiplat_lab.dashboards", "serve", "--unix-socket", str(path), "--home", str(home.path)]
    process = subprocess.Popen([*command, "--prefix", "/user/x/aiplat-dashboard", "--origin", "aiplat-dashboard"])
    try:
        until = time.monotonic() + 60
        while not path.exists() and time.monotonic() < until:
            time.sleep(0.1)
        assert path.stat().st_mode & 0o077 == 0
        assert over(path, "/user/x/aiplat-dashboard/cost?since=7d")[0] == 200
        assert over(path, "/user/x/aiplat-dashboard/evaluation")[0] == 200
        assert over(path, "/user/x/aiplat-dashboard/prompts")[0] == 200
        assert over(path, "/cost")[0] == 404
        ask = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        assert over(path, "/user/x/aiplat-dashboard/cost/ws", {**ask, "Origin": "http://elsewhere.example"})[0] == 403
        assert over(path, "/user/x/aiplat-dashboard/cost/ws", {**ask, "Origin": "http://aiplat-dashboard"})[0] == 101
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def over(path: Path, target: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    connection = _Unix(path)
    connection.request("GET", target, headers=headers or {})
    reply = connection.getresponse()
    body = "" if reply.status == 101 else reply.read().decode("utf-8", "replace")
    connection.close()
    return reply.status, body
