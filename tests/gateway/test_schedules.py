"""Schedules as the gateway keeps them: on a clock that the test sets, with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from schedulekit import at, kept, made

from aiplat_lab.core.errors import LedgerError, UsageError
from aiplat_lab.core.settings import Home
from aiplat_lab.gateway import schedule as module


def run(test: Callable[[], object]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


async def until(condition: Callable[[], object], timeout_s: float = 15.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


def test_a_slot_runs_once_and_its_report_is_noted(home: Home):
    async def test() -> None:
        async with kept(home, "2026-11-26T06:00") as place:
            place.set("a", "0 7 * * *", parameters={"team": "risk"})
            assert await place.look("2026-11-26T06:59:50") == pytest.approx(10)
            assert place.runs() == []
            await place.look("2026-11-26T07:00")
            assert place.runs() == [("26 07:00", "ok")]
            row = place.row()
            assert row["exit_code"] == 0 and not row["manual"] and Path(row["folder"], "report.json").read_text() == '{"team": "risk"}'
            await place.look("2026-11-26T07:00:30")
            await place.look("2026-11-26T07:01")
            assert len(place.started) == 1
            assert await place.look("2026-11-26T23:00") == 30, "it looks often, so that a machine that slept is noticed"
            await place.look("2026-11-27T07:00:20")
            assert place.runs() == [("26 07:00", "ok"), ("27 07:00", "ok")]
            state = place.scheduler.state()
            assert state["next"] == {"schedule": "a", "due": "2026-11-28T07:00:00Z"} and state["enabled"] == 1
            assert place.scheduler.keeps_awake and place.scheduler.news() == []

    run(test)


def test_the_clock_may_jump_back(home: Home):
    async def test() -> None:
        async with kept(home, "2026-11-26T06:00") as place:
            place.set("a", "0 7 * * *")
            await place.look("2026-11-26T07:00")
            await place.look("2026-11-26T05:00")
            await place.look("2026-11-26T07:00:01")
            assert place.runs() == [("26 07:00", "ok")]

    run(test)


@pytest.mark.parametrize(("catch_up", "last"), [("latest", "ok"), ("none", "missed")])
def test_slots_missed_while_the_machine_slept(home: Home, catch_up: str, last: str):
    async def test() -> None:
        async with kept(home, "2026-11-26T06:00") as place:
            place.set("a", "0 7 * * *", catch_up=catch_up)
            await place.scheduler.look()
            await place.look("2026-11-29T12:00")
            assert place.runs() == [("26 07:00", "missed"), ("27 07:00", "missed"), ("28 07:00", "missed"), ("29 07:00", last)]
            assert "slept" in place.ledger.view_rows("schedule_run_list", {"status": "missed"})[0]["error"]
            await place.look("2026-11-29T12:01")
            assert len(place.runs()) == 4 and len(made(home)) == (last == "ok")

    run(test)


def test_slots_missed_while_no_gateway_ran(home: Home):
    async def first() -> None:
        async with kept(home, "2026-11-26T06:00") as place:
            place.set("a", "0 7 * * *")
            place.set("off", "0 7 * * *", enabled=False)
            await place.look("2026-11-26T07:00")

    async def second() -> None:
        async with kept(home, "2026-11-28T09:00") as place:
            await place.look("2026-11-28T09:00")
            assert place.runs() == [("26 07:00", "ok"), ("27 07:00", "missed"), ("28 07:00", "ok")]
            assert place.runs("off") == []

    run(first)
    run(second)


def test_at_most_a_hundred_missed_slots_are_noted(home: Home):
    async def test() -> None:
        async with kept(home, "2026-01-01T00:00") as place:
            place.set("a", "* * * * *")
            await place.scheduler.look()
            await place.look("2026-11-26T06:00")
            runs = place.runs()
            assert len(runs) == 101 and runs[-1] == ("26 06:00", "ok") and runs[0] == ("26 04:20", "missed")

    run(test)


def test_one_run_at_a_time(home: Home, tmp_path: Path):
    gate = tmp_path / "gate"
    waits = (
        f"import pathlib, time\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.02)\nraise SystemExit('aiplat: done waiting')"
    )

    async def test() -> None:
        async with kept(home, "2026-11-26T06:59", code={"a": waits}) as place:
            place.set("a", "*/10 * * * *")
            await place.scheduler.look()
            for text in ("2026-11-26T07:00", "2026-11-26T07:10", "2026-11-26T07:20"):
                place.clock.set(text)
                await place.scheduler.look()
            assert place.runs() == [("26 07:00", "started")]
            with pytest.raises(UsageError, match="running now"):
                await place.scheduler.run_now("a")
            gate.touch()
            await place.scheduler.settled()
            await place.look("2026-11-26T07:20:05")
            assert place.runs() == [("26 07:00", "failed"), ("26 07:10", "missed"), ("26 07:20", "failed")]
            assert "still under way" in place.ledger.view_rows("schedule_run_list", {"status": "missed"})[0]["error"]
            assert place.row()["error"] == "done waiting"

    run(test)


def test_a_run_for_a_person(home: Home):
    async def test() -> None:
        async with kept(home, "2026-11-26T06:00") as place:
            place.set("a", "0 7 * * *", enabled=False)
            name = await place.scheduler.run_now("a")
            await place.scheduler.settled()
            row = place.row()
            assert row["id"] == name and row["manual"] and row["status"] == "ok"
            with pytest.raises(UsageError, match=r"no schedule 'aa'\. Did you mean a"):
                await place.scheduler.run_now("aa")
            place.set("a", "0 5 * * *")
            await place.look("2026-11-26T06:30")
            assert len(place.runs()) == 1, "switching it on does not run what was due before"

    run(test)


def test_a_change_counts_at_once(home: Home):
    async def test() -> None:
        async with kept(home, "2026-11-26T06:00") as place:
            keeping = asyncio.create_task(place.scheduler.run())
            place.set("a", "0 7 * * *")
            await until(lambda: place.scheduler.state()["enabled"] == 1)
            place.clock.set("2026-11-26T06:30")
            await asyncio.to_thread(place.set, "a", "0 6 * * *")
            await until(lambda: place.scheduler.state()["next"]["due"] == "2026-11-27T06:00:00Z")
            place.set("a", "0 7 * * *", removed=True)
            await until(lambda: place.scheduler.state()["next"] is None)
            assert not place.scheduler.keeps_awake and place.started == []
            place.set("bad", "never")
            await until(lambda: place.scheduler.news())
            assert "the schedule bad cannot be kept" in place.scheduler.news()[0]
            keeping.cancel()

    run(test)


def test_a_failure_is_seen_and_the_last_good_stays(home: Home):
    async def test() -> None:
        async with kept(home, "2026-11-26T06:00") as place:
            place.set("a", "0 * * * *")
            await place.look("2026-11-26T07:00")
            place.code["a"] = (
                "import sys; sys.stderr.write('noise\\naiplat: cell 3 failed: ValueError: no data; sk-abcdefghijklmnop\\n'); sys.exit(1)"
            )
            await place.look("2026-11-26T08:00")
            state = place.ledger.view_rows("schedule_state", {})[0]
            assert state["last_status"] == "failed" and state["good_slot"] == at("2026-11-26T07:00")
            assert Path(state["good_folder"], "report.html").is_file()
            assert "cell 3 failed" in place.scheduler.news()[0] and "sk-abc" not in place.scheduler.news()[0]
            assert Path(place.row()["log"]).read_text().startswith("noise")
            place.code.pop("a")
            await place.look("2026-11-26T09:00")
            assert place.scheduler.news() == []

    run(test)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("pass", "named no report"),
        ("print('[]')", "named no report"),
        ('print(\'[{"json": "/nowhere/report.json"}]\')', "is not there"),
        ("import sys; print('[' + 'x' * 100_000); sys.exit(0)", "named no report"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "exit code -9"),
    ],
)
def test_only_a_report_that_is_there_is_a_success(home: Home, code: str, said: str):
    async def test() -> None:
        async with kept(home, "2026-11-26T06:59", code={"a": code}) as place:
            place.set("a", "0 7 * * *")
            await place.scheduler.look()
            await place.look("2026-11-26T07:00")
            assert place.row()["status"] == "failed" and said in place.row()["error"]

    run(test)


def test_a_run_that_takes_too_long_is_killed_with_all_it_started(home: Home, tmp_path: Path):
    pids = tmp_path / "pids"
    stubborn = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{other.pid}}')\n"
        "time.sleep(600)\n"
    )

    async def test() -> None:
        async with kept(home, "2026-11-26T06:59", code={"a": stubborn}) as place:
            place.set("a", "0 7 * * *", timeout_s=1.0)
            await place.scheduler.look()
            await place.look("2026-11-26T07:00")
            assert place.row()["status"] == "timeout" and "time-out" in place.row()["error"]
            assert all(gone(int(pid)) for pid in pids.read_text().split()), "a session of its own did not save it, as a kernel has one"

    run(test)


def test_a_flood_of_output_is_cut(home: Home):
    flood = "import sys\nfor _ in range(4000): sys.stderr.write('x' * 1000 + '\\n')\nsys.exit(1)"

    async def test() -> None:
        async with kept(home, "2026-11-26T06:59", code={"a": flood}) as place:
            place.set("a", "0 7 * * *")
            await place.scheduler.look()
            await place.look("2026-11-26T07:00")
            log = Path(place.row()["log"])
            assert log.stat().st_size < 1_000_200 and "left out" in log.read_text()[-100:]
            assert len(place.row()["error"]) <= 400

    run(test)


def test_a_gateway_that_was_killed_neither_doubles_nor_loses_a_run(home: Home, tmp_path: Path):
    gate = tmp_path / "gate"
    from schedulekit import GOOD

    slow = f"import pathlib, time\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.02)\n" + GOOD

    async def first() -> None:
        async with kept(home, "2026-11-26T06:59", code={"a": slow}, end=False) as place:
            place.set("a", "0 7 * * *")
            await place.scheduler.look()
            place.clock.set("2026-11-26T07:00")
            await place.scheduler.look()
            for task in place.scheduler._attending:  # the process goes away without a word
                task.cancel()

    async def second() -> None:
        async with kept(home, "2026-11-26T07:00:30", code={"a": slow}) as place:
            await place.scheduler.look()
            assert place.scheduler.state()["running"][0]["run"] == "a/2026-11-26T07:00:00Z" and place.started == []
            gate.touch()
            await place.scheduler.settled()
            assert place.runs() == [("26 07:00", "ok")] and len(made(home)) == 1

    run(first)
    run(second)


def test_a_run_whose_process_is_gone_is_lost(home: Home):
    async def first() -> None:
        async with kept(home, "2026-11-26T06:59", code={"a": "import time; time.sleep(600)"}, end=False) as place:
            place.set("a", "0 7 * * *")
            await place.scheduler.look()
            place.clock.set("2026-11-26T07:00")
            await place.scheduler.look()
            (one,) = place.scheduler._runs.values()
            for task in place.scheduler._attending:
                task.cancel()
            assert one.process is not None
            children = Path(f"/proc/{one.process.pid}/task/{one.process.pid}/children")
            await until(lambda: children.read_text().split())
            pids = [int(pid) for pid in children.read_text().split()]
            for pid in (one.process.pid, *pids):  # as when the machine is switched off
                os.kill(pid, signal.SIGKILL)
            await until(lambda: all(gone(pid) for pid in pids))

    async def second() -> None:
        async with kept(home, "2026-11-26T07:05") as place:
            await place.look("2026-11-26T07:05")
            assert place.runs() == [("26 07:00", "lost")] and "no result" in place.row()["error"]
            assert place.scheduler.news()

    run(first)
    run(second)


def test_a_gateway_that_stops_ends_its_runs(home: Home):
    async def test() -> None:
        async with kept(home, "2026-11-26T06:59", code={"a": "import time; time.sleep(600)"}) as place:
            place.set("a", "0 7 * * *")
            await place.scheduler.look()
            place.clock.set("2026-11-26T07:00")
            await place.scheduler.look()
            await until(lambda: (place.scheduler._runs["a/2026-11-26T07:00:00Z"].folder / "output.log").exists())
            await place.scheduler.aclose()
            assert place.row()["status"] == "failed" and "gateway was stopped" in place.row()["error"]

    run(test)


def test_a_disk_that_is_full_starts_nothing_and_forgets_nothing(home: Home, monkeypatch: pytest.MonkeyPatch):
    async def test() -> None:
        async with kept(home, "2026-11-26T06:59") as place:
            place.set("a", "0 7 * * *")
            await place.scheduler.look()
            record = place.ledger.record

            def full(*_: object, **__: object) -> None:
                raise LedgerError("the disk is full")

            monkeypatch.setattr(place.ledger, "record", full)
            await place.look("2026-11-26T07:00")
            assert place.started == [] and place.scheduler.news() == ["schedules wait: the disk is full"]
            monkeypatch.setattr(place.ledger, "record", record)
            await place.look("2026-11-26T07:00:30")
            assert place.runs() == [("26 07:00", "ok")] and place.scheduler.news() == []

    run(test)


def test_old_runs_leave_their_output_behind(home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_KEPT_FOLDERS", 2)

    async def test() -> None:
        async with kept(home, "2026-11-26T06:00") as place:
            place.set("a", "0 * * * *")
            for hour in range(7, 11):
                await place.look(f"2026-11-26T{hour:02}:00")
            assert len(list((home.path / "schedules" / "a").iterdir())) == 2 and len(place.runs()) == 4

    run(test)
