"""One design of progress: what it says, how often, and where it goes."""

from __future__ import annotations

import io
import re
import sys
import time
from decimal import Decimal
from typing import Any

import pytest

from aiplat_lab.core import progress
from aiplat_lab.core.progress import Meter, Pace, Progress, html, line, teller


def at(done: int, **more: Any) -> Progress:
    return Progress(**{"done": done, "total": 1000, "unit": "rows", "spent_usd": Decimal("0.42"), **more})


def test_a_line_says_done_failed_cost_and_time_left() -> None:
    said = line(at(500, failed=3, cached=40, left_s=75.0), currency="GBP", rate=Decimal("0.5"))
    assert said == "████████████░░░░░░░░░░░░ 500 of 1,000 rows, 3 failed, 40 known already, £0.210 so far, about 1 min 15 s left"
    assert line(at(1000, left_s=0.0), bar=False) == "1,000 of 1,000 rows, $0.420"
    assert line(at(0, total=0), bar=False) == "0 of 0 rows, $0.420"


def test_html_is_a_progressbar_for_those_who_do_not_see_it() -> None:
    said = html(at(500, failed=100, note="waiting for <b>"), stop="notebook:interrupt-kernel")
    assert 'role="progressbar"' in said and 'aria-valuenow="500"' in said and 'aria-valuemax="1000"' in said
    assert 'aria-valuetext="500 of 1,000 rows, 100 failed, $0.420 so far, waiting for &lt;b&gt;"' in said
    assert "width:40.00%" in said and "width:10.00%" in said
    assert "<button" in said and "<button" not in html(at(500)) and "<button" not in html(at(1000), stop="notebook:interrupt-kernel")
    assert not re.search(r"https?://|url\(", said), "nothing is loaded"


def test_no_more_states_are_written_than_can_be_read_and_always_the_last() -> None:
    seen: list[Progress] = []
    meter = Meter(seen.append, every_s=0.05)
    begun = time.monotonic()
    for index in range(1, 1001):
        meter(at(index))
    took = time.monotonic() - begun
    meter(at(1000))
    assert seen[-1].done == 1000 and len(seen) <= took / 0.05 + 2
    assert sum(one.over for one in seen) == 1


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "log"])
def test_a_terminal_writes_over_its_line_and_a_log_gets_one_now_and_then(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    to = io.StringIO()
    to.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", to)
    monkeypatch.setattr(progress, "LOG_S", 0.05)
    monkeypatch.setattr(progress, "shell_here", lambda: None)
    tell = teller(True)
    tell(at(1))
    time.sleep(0.06)
    tell(at(2))
    tell(at(3))
    tell(at(1000))
    said = to.getvalue()
    if terminal:
        assert said.startswith("\r") and said.count("\n") == 1 and "1,000 of 1,000" in said
        assert max(map(len, said.replace("\x1b[K", "").split("\r"))) <= 80
    else:
        assert said.splitlines() == ["2 of 1,000 rows, $0.420 so far", "1,000 of 1,000 rows, $0.420"]


def test_short_work_leaves_no_line_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    to = io.StringIO()
    monkeypatch.setattr(sys, "stderr", to)
    monkeypatch.setattr(progress, "shell_here", lambda: None)
    tell = teller(True)
    tell(at(1))
    tell(at(1000))
    assert to.getvalue() == ""
    teller(False)(at(1000))
    assert to.getvalue() == ""


def test_the_time_left_follows_the_speed_of_late(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    pace = Pace()
    assert pace.left_s(0, 100) is None
    now[0] = 1.0
    assert pace.left_s(500, 1000) == pytest.approx(1.0), "what was known already went fast"
    for second in range(2, 60):
        now[0] = float(second)
        left = pace.left_s(500 + second, 1000)
    assert left == pytest.approx(1000 - 559, rel=0.05), "one a second by now"
