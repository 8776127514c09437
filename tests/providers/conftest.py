from __future__ import annotations

from collections.abc import Iterator

import pytest
from faults import FaultServer


@pytest.fixture(scope="module")
def upstream() -> Iterator[FaultServer]:
    with FaultServer(key="the/odd:key.1") as server:
        yield server


@pytest.fixture(autouse=True)
def fresh(upstream: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream.reset()
    monkeypatch.setenv("TEST_PROVIDER_KEY", "the/odd:key.1")
