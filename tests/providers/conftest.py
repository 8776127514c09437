from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import FaultServer

from aiplat_lab.core.settings import ProviderSettings
from aiplat_lab.providers.local import Local


@pytest.fixture(scope="module")
def upstream() -> Iterator[FaultServer]:
    with FaultServer(key="the/odd:key.1") as server:
        yield server


@pytest.fixture(autouse=True)
def fresh(upstream: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream.reset()
    monkeypatch.setenv("TEST_PROVIDER_KEY", "the/odd:key.1")


@pytest.fixture(scope="session")
def local(weights: Path) -> Iterator[Local]:
    """The embedded models with one worker for the whole run; its tests stop and kill no worker of it."""
    provider = Local("local", ProviderSettings(kind="local", region="local"))
    yield provider
    asyncio.run(provider.aclose())
