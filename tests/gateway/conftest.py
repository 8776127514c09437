"""The upstream of the gateway's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from faults import FaultServer
from gatewaykit import CANARY


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    monkeypatch.setenv("UP_KEY", CANARY)
    with FaultServer() as server:
        yield server
