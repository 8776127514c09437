"""A real Jupyter server, bare but for our extension, and requests to it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TOKEN = "token-of-the-relay-tests"


@dataclass(frozen=True)
class Jupyter:
    """A running server: its address, and the folder that its notebooks lie in."""

    url: str
    root: Path
    pid: int

    def ask(
        self, path: str, *, method: str = "GET", token: str | None = TOKEN, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """The status and the JSON that a path answers; a body that is not JSON comes as `{"body": …}`."""
        sent = {"Authorization": f"token {token}"} if token else {}
        request = urllib.request.Request(
            self.url + path, method=method, headers={**sent, **(headers or {})}, data=b"{}" if method == "POST" else None
        )
        try:
            with urllib.request.urlopen(request, timeout=70) as response:
                status, body = response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read().decode()
        try:
            return status, json.loads(body)
        except json.JSONDecodeError:
            return status, {"body": body}

    def until(self, state: str, *, within_s: float = 30.0) -> dict[str, Any]:
        """The relay's answer about the gateway, once it is in that state."""
        deadline = time.monotonic() + within_s
        while True:
            status, found = self.ask("aiplat/api/status")
            if status == 200 and found["state"] == state:
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.1)


@contextmanager
def jupyter(folder: Path, home: Path, *options: str) -> Iterator[Jupyter]:
    """A server in `folder` for the `AIPLAT_HOME` at `home`."""
    root = folder / "notebooks"
    root.mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    only = {name: str(folder / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "HOME")}
    environment = {**{k: v for k, v in os.environ.items() if not k.startswith(("AIPLAT_", "JUPYTER"))}, **only, "AIPLAT_HOME": str(home)}
    command = [
        *(sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser", f"--port={port}", "--ServerApp.port_retries=0"),
        *(f"--IdentityProvider.token={TOKEN}", "--ServerApp.base_url=/user/x/"),
        "--ServerApp.jpserver_extensions={'panel.io.jupyter_server_extension': False, 'jupyterlab': False, 'jupyter_lsp': False}",
        *options,
    ]
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=out, stderr=out)
    server = Jupyter(f"http://127.0.0.1:{port}/user/x/", root, process.pid)
    try:
        deadline = time.monotonic() + 40
        while True:
            try:
                assert server.ask("api")[0] == 200
                break
            except (urllib.error.URLError, ConnectionError):
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail("the server did not start:\n" + log.read_text()[-3000:])
                time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
