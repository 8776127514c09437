"""`since` and `until` as people write them, wherever the ledger is asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from served import Served, served

import aiplat_lab
from aiplat_lab.client import connect
from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.types import utc_now

ZONE = "Pacific/Kiritimati"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("periods") / "home", f'time_zone = "{ZONE}"') as found:
        found.client.chat("hello")
        yield found


def test_every_way_of_asking_reads_the_same_words(place: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sealed = tmp_path / "sealed.duckdb"
    place.client.post("/api/snapshot", {"path": str(sealed)})
    today = utc_now().astimezone(ZoneInfo(ZONE)).date()
    monkeypatch.setenv("AIPLAT_HOME", str(place.home.path))
    for filters, calls in (
        ({"since": "7d"}, 1),
        ({"since": "today"}, 1),
        ({"since": "24h", "until": "now"}, 1),
        ({"since": today.isoformat()}, 1),
        ({"since": utc_now() - timedelta(hours=1)}, 1),
        ({"until": "today"}, 0),
        ({"until": today.isoformat()}, 0),
        ({"since": (today + timedelta(days=1)).isoformat()}, 0),
        ({"since": "30d", "until": "7d"}, 0),
    ):
        with connect(place.home, snapshot=sealed) as reader:
            for asked in (place.client, reader):
                assert len(asked.view_rows("recent_calls", **filters)) == calls, filters
                assert asked.view("recent_calls", **filters).height == calls, filters
        assert aiplat_lab.calls(**filters).height == calls


def test_a_virtual_key_asks_in_the_zone_of_the_gateway(place: Served):
    place.client.chat("of the team", attribution={"team": "london"})
    with connect(url=place.http, key=place.key(team="london")) as remote:
        assert len(remote.view_rows("recent_calls", since="today")) == 1
        assert remote.view_rows("recent_calls", until="today") == []


@pytest.mark.parametrize("word", ["yesterday", "7 moons", "", "999999w", "0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00"])
def test_what_is_no_time_is_told_with_the_forms_there_are(place: Served, tmp_path: Path, word: str):
    sealed = tmp_path / "sealed.duckdb"
    place.client.post("/api/snapshot", {"path": str(sealed)})
    with connect(place.home, snapshot=sealed) as reader:
        for asked in (place.client, reader):
            with pytest.raises(UsageError, match=r"is not a time; write 7d, 24h, today, 2026-11-01"):
                asked.view_rows("totals", since=word)


def test_an_export_takes_them_too(place: Served, tmp_path: Path):
    before = place.client.post("/api/export", {"path": str(tmp_path / "a.parquet"), "until": "today"})
    after = place.client.post("/api/export", {"path": str(tmp_path / "b.parquet"), "since": "today"})
    assert before["rows"] == 0 and after["rows"] == len(place.rows())


def test_midnight_is_that_of_the_settings(place: Served):
    """In the zone that is 14 hours ahead, a day begins at 10:00 UTC."""
    midnight = datetime.combine(utc_now().astimezone(ZoneInfo(ZONE)).date(), datetime.min.time(), ZoneInfo(ZONE))
    assert midnight.utcoffset() == timedelta(hours=14)
    assert len(place.client.view_rows("recent_calls", since=midnight)) == len(place.client.view_rows("recent_calls", since="today"))
