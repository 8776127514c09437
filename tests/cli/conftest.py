"""A command line on a home of its own, and one on a home whose gateway has answered a few calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clikit import Line
from served import Served, served

from aiplat_lab.core.settings import Home

TABLES = """
[[budgets]]
project = "study"
limit_usd = 1
hard = false
"""


@pytest.fixture
def line(home: Home, capsys: pytest.CaptureFixture[str]) -> Line:
    """The command line on a fresh home."""
    return Line(capsys, home.path)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A home with calls of two teams, one of them failed."""
    folder: Path = tmp_path_factory.mktemp("cli") / "home"
    with served(folder, tables=TABLES) as place:
        place.client.chat("one two three", model="priced", cache="off", attribution={"team": "risk", "project": "study"})
        place.client.chat("four five", attribution={"team": "pricing"})
        try:
            place.client.chat("six", model="up/status-401", attribution={"team": "risk"})
        except Exception as error:
            assert "key" in str(error)
        yield place


@pytest.fixture
def used(busy: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Line:
    """The command line on that home."""
    for name in ("AIPLAT_GATEWAY", "AIPLAT_KEY", "AIPLAT_TEAM", "AIPLAT_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AIPLAT_HOME", str(busy.home.path))
    return Line(capsys, busy.home.path)
