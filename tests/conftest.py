"""Fixtures that every part shares: a fresh home, and no way out beyond loopback."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from aiplat_lab.core.settings import Home

_connect = socket.socket.connect
# a busy machine draws slowly, which says nothing of the strategy
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


def _only_loopback(self: socket.socket, address: Any) -> Any:
    if isinstance(address, tuple) and address and address[0] not in {"127.0.0.1", "::1", "localhost"}:
        raise AssertionError(f"a test tried to reach {address[0]}")
    return _connect(self, address)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuses every connection beyond this machine."""
    monkeypatch.setattr(socket.socket, "connect", _only_loopback)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A fresh `AIPLAT_HOME` that nothing else uses, with the environment pointing at it; its gateway is stopped after."""
    for name in ("AIPLAT_GATEWAY", "AIPLAT_KEY", "AIPLAT_TEAM", "AIPLAT_PROJECT", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)
    fresh = Home(tmp_path / "home").create()
    monkeypatch.setenv("AIPLAT_HOME", str(fresh.path))
    yield fresh
    if fresh.gateway_file.exists():
        from aiplat_lab.client import connect

        connect(fresh, spawn=False).stop()


@pytest.fixture(scope="session")
def weights() -> Iterator[Path]:
    """The folder with the weights of `smollm2`, fetched once and kept for later runs; `AIPLAT_MODELS` points at it."""
    from aiplat_lab.providers.weights import pull

    before = os.environ.get("AIPLAT_MODELS")
    folder = Path(before) if before else Path("~/.cache/aiplat-tests/models").expanduser()
    os.environ["AIPLAT_MODELS"] = str(folder)
    pull("smollm2", folder)
    yield folder
    if before is None:
        del os.environ["AIPLAT_MODELS"]


@pytest.fixture(scope="session")
def embedding_weights(weights: Path) -> Path:
    """The same folder, with the weights of `minilm` too."""
    from aiplat_lab.providers.weights import pull

    pull("minilm", weights)
    return weights


LAB = "tests/ui/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes test (`pytest -n 2`), what drives JupyterLab comes first, since it takes longest."""
    if any(hasattr(item.config, "workerinput") for item in items[:1]):
        items.sort(key=lambda item: not item.nodeid.startswith(LAB))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:  # Any: xdist comes without types for its schedulers
    """A file stays in one process, and all that drives JupyterLab in one: what they start is started once.

    xdist's own groups write into a name that pytest 9.2 no longer reads.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return LAB if nodeid.startswith(LAB) else nodeid.partition("::")[0]

    return ByFile(config, log)
