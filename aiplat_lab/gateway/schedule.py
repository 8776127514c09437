"""Keeps the schedules: what is due is started as a command of its own, once for each slot, and its end is recorded.

A slot is taken by recording that its run started, before it starts; so it is run at most once, whatever happens. Slots that
nobody was there for are caught up with once, or noted as missed. A run outlives the gateway that started it: the next gateway
finds it by the lock that it holds.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock as Mutex
from typing import Any
from zoneinfo import ZoneInfo

from aiplat_lab.core.cron import Cron, parse_cron, time_zone
from aiplat_lab.core.errors import AiplatError, GatewayUnavailable, LedgerError, UsageError, did_you_mean
from aiplat_lab.core.settings import Home, Settings
from aiplat_lab.core.times import moment
from aiplat_lab.core.types import Clock, utc_now
from aiplat_lab.gateway._supervise import LOCK, LOG, PLAN, RESULT
from aiplat_lab.gateway.process import Lock
from aiplat_lab.gateway.reading import plain
from aiplat_lab.ledger import Ledger

logger = logging.getLogger(__name__)
_LONGEST_SLEEP_S = 30.0
"""How long it sleeps at most: a machine that slept, or a clock that was set, is noticed after that."""
_TRY_AGAIN_S = 5.0
_SHORTEST_SLEEP_S = 0.05
_LATE_S = 60.0
"""A slot that is found later than this was missed; whether it is run then is for `catch_up` to say."""
_MOST_MISSED = 100
"""How many missed slots are noted one by one, the newest; there may be half a million in a year."""
_KEPT_FOLDERS = 30
_ADOPTED_LOOK_S = 0.5
_STOP_S = 14.0
"""How long a run may take to end when the gateway does."""
_MARGIN_S = 60.0
"""What a run may take beside its notebook, when it has no time-out of its own."""
_ROOT = Path(__file__).resolve().parents[2]
"""The package is importable from there, installed or not."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_BAD = frozenset({"failed", "timeout", "lost"})
_NOBODY = "no gateway was running then, or the machine slept"
_BUSY = "the run before was still under way"

Command = Callable[[Mapping[str, Any], datetime, Home, Settings, float], list[str]]


def report_command(row: Mapping[str, Any], slot: datetime, home: Home, settings: Settings, timeout_s: float) -> list[str]:
    """What `aiplat report run` starts, for the period that ends with the slot."""
    parameters = dict(row["parameters"])
    period = {name: str(parameters.pop(name, default)) for name, default in (("since", "7d"), ("until", "now"))}
    words = [sys.executable, "-m", "aiplat_lab.reports", "run", str(row["report"]), "--home", str(home.path), "--json"]
    for name, text in period.items():
        words += [f"--{name}", moment(text, now=slot, time_zone=settings.time_zone).isoformat()]
    for name, value in parameters.items():
        words += ["-p", f"{name}={json.dumps(value)}"]
    return [*words, "--timeout-s", f"{timeout_s + _MARGIN_S:g}"]  # the time-out of the run itself comes first


@dataclass(slots=True)
class _Kept:
    """A schedule as it stands."""

    row: dict[str, Any]  # Any: the columns of the view `schedule_state`
    cron: Cron
    zone: ZoneInfo
    seen: datetime
    """Every slot up to here has been dealt with."""
    last: dict[str, Any] = field(default_factory=dict)
    """Its last run that was not merely missed: `slot`, `status`, `error`."""
    running: str = ""
    """The id of the run under way."""
    busy_since: datetime | None = None
    """When the last run began, in the clock's time."""
    busy_until: datetime | None = None

    @property
    def id(self) -> str:
        return str(self.row["id"])

    @property
    def enabled(self) -> bool:
        return bool(self.row["enabled"])

    def why_missed(self, slot: datetime) -> str:
        busy = self.busy_since is not None and self.busy_since <= slot and (self.busy_until is None or slot <= self.busy_until)
        return _BUSY if busy else _NOBODY


@dataclass(slots=True)
class _Run:
    """One run under way."""

    id: str
    schedule: str
    slot: datetime
    started_at: datetime
    report: str
    folder: Path
    manual: bool
    process: asyncio.subprocess.Process | None = None
    """None for one that an earlier gateway started."""

    def row(self, status: str, **more: Any) -> dict[str, Any]:  # Any: JSON
        """Its record."""
        return {
            "id": self.id,
            "schedule": self.schedule,
            "slot": plain(self.slot),
            "status": status,
            "report": self.report,
            "started_at": plain(self.started_at),
            "manual": self.manual,
            "log": str(self.folder / LOG),
            **more,
        }


class Scheduler:
    """The schedules of one home. All of it runs in the gateway's event loop.

    Args:
        home: the home.
        settings: its settings.
        ledger: its ledger, with the schedules and their runs.
        recording: held while a record is written that must be the first of its id.
        clock: what gives the time.
        command: what a run starts.
    """

    def __init__(
        self, home: Home, settings: Settings, ledger: Ledger, *, recording: Mutex, clock: Clock = utc_now, command: Command = report_command
    ) -> None:
        self._home, self._settings, self._ledger = home, settings, ledger
        self._recording, self._clock, self._command = recording, clock, command
        self._kept: dict[str, _Kept] = {}
        self._runs: dict[str, _Run] = {}
        self._attending: set[asyncio.Task[None]] = set()
        self._unwritten: list[dict[str, Any]] = []
        self._dirty = True
        self._first = True
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._looking = asyncio.Lock()
        self._closing = False
        self._trouble: dict[str, str] = {}
        ledger.watch(("schedule",), self._told)

    # --- what others ask --------------------------------------------------------------------------------------------

    @property
    def keeps_awake(self) -> bool:
        """Whether the gateway must stay for it: a schedule is switched on, or a run is under way."""
        return bool(self._runs) or any(kept.enabled for kept in self._kept.values())

    def state(self) -> dict[str, Any]:
        """For the gateway's status: `enabled`, `running`, and `next`, the schedule that is due next and when."""
        due = [(at, kept.id) for kept in self._kept.values() if kept.enabled and (at := kept.cron.next(self._clock(), kept.zone))]
        first = min(due, default=None)
        return {
            "enabled": sum(kept.enabled for kept in self._kept.values()),
            "running": [{"schedule": run.schedule, "run": run.id, "started_at": plain(run.started_at)} for run in self._runs.values()],
            "next": {"schedule": first[1], "due": plain(first[0])} if first else None,
        }

    def news(self) -> list[str]:
        """Schedules whose last run failed, and what went wrong in keeping them."""
        failing = [
            f"the schedule {kept.id} failed at {plain(kept.last['slot'])} ({kept.last['status']}): {kept.last.get('error') or '?'}; "
            f"`aiplat schedule history {kept.id}` shows more"
            for kept in self._kept.values()
            if kept.enabled and kept.last.get("status") in _BAD
        ]
        return [*failing, *self._trouble.values()]

    async def run_now(self, name: str) -> str:
        """Starts a run of a schedule for a person; gives the run's id.

        Raises:
            UsageError: there is no such schedule, or a run of it is under way.
            LedgerError: its start cannot be recorded.
        """
        async with self._looking:
            if self._closing:
                raise GatewayUnavailable("the gateway is stopping, so no run is started; try again in a moment")
            await self._sync()
            kept = self._kept.get(name)
            if kept is None:
                raise UsageError(f"there is no schedule {name[:60]!r}.{did_you_mean(name, self._kept)} See `aiplat schedule list`.")
            if kept.running:
                raise UsageError(f"the schedule {name} is running now ({kept.running}); `aiplat schedule history {name}` shows it")
            now = self._clock()
            return await self._start(kept, now, now, manual=True)

    # --- the life of it ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keeps the schedules until it is cancelled."""
        while True:
            self._wake.clear()
            sleep_s = await self.look()
            try:
                async with asyncio.timeout(sleep_s):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def look(self) -> float:
        """Deals with whatever is due; gives how many seconds may pass until the next look."""
        async with self._looking:
            try:
                await self._sync()
                await self._flush()
                now = self._clock()
                for kept in list(self._kept.values()):
                    if kept.enabled and not kept.running:
                        await self._deal(kept, now)
                self._trouble.pop("ledger", None)
            except LedgerError as error:  # a full disk: the next look tries again, and nothing was started meanwhile
                if "ledger" not in self._trouble:
                    logger.warning("schedules wait: %s", error.message)
                self._trouble["ledger"] = f"schedules wait: {error.message}"
                return _TRY_AGAIN_S
        due = [at for kept in self._kept.values() if kept.enabled and (at := kept.cron.next(now, kept.zone))]
        until_s = min((at - self._clock()).total_seconds() for at in due) if due else _LONGEST_SLEEP_S
        return min(_LONGEST_SLEEP_S, max(_SHORTEST_SLEEP_S, until_s))

    async def settled(self) -> None:
        """Waits until no run is under way."""
        while self._attending:
            await asyncio.gather(*self._attending)

    async def aclose(self) -> None:
        """Ends the runs that this gateway started, and records that."""
        self._closing = True
        async with self._looking:
            pass  # what is just being started is there to be ended
        for run in self._runs.values():
            if run.process is not None and run.process.returncode is None:
                run.process.terminate()
            elif run.process is None:
                logger.info("the run %s goes on without the gateway", run.id)
        own = [task for task in self._attending if task.get_name() == "own"]
        if own:
            await asyncio.wait(own, timeout=_STOP_S)
        for task in self._attending:
            task.cancel()
        try:
            await self._flush()
        except LedgerError as error:
            logger.warning("the end of a run cannot be recorded: %s", error.message)

    def _told(self, _kind: str, _row: Mapping[str, Any]) -> None:  # in whatever thread recorded it
        self._dirty = True
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:
            pass  # the loop has ended

    # --- the folded state -------------------------------------------------------------------------------------------

    async def _sync(self) -> None:
        """Reads the schedules anew when one was set, and the first time also the runs that earlier gateways left."""
        if not self._dirty:
            return
        self._dirty = False
        try:
            rows = await asyncio.to_thread(self._ledger.view_rows, "schedule_state", {})
            if self._first:
                begun = await asyncio.to_thread(self._ledger.view_rows, "schedule_run_list", {"limit": 10_000})
        except BaseException:
            self._dirty = True
            raise
        fresh: dict[str, _Kept] = {}
        for row in rows:
            kept = self._keep({**row, "parameters": _parsed(row["parameters"]), "enabled": row["enabled"] is not False})
            if kept is not None:
                fresh[kept.id] = kept
        self._kept = fresh
        if self._first:
            self._first = False
            self._take_up(begun)

    def _keep(self, row: dict[str, Any]) -> _Kept | None:  # Any: the view's columns
        name = str(row["id"])
        try:
            cron, zone = parse_cron(str(row["cron"])), time_zone(str(row["time_zone"]))
        except UsageError as error:
            self._trouble[name] = f"the schedule {name} cannot be kept: {error.message}"
            return None
        self._trouble.pop(name, None)
        known = self._kept.get(name)
        same = known is not None and known.enabled and (known.cron, known.zone.key) == (cron, zone.key)
        if known is not None:
            known.row, known.cron, known.zone = row, cron, zone
            if not same:
                known.seen = max(known.seen, row["recorded_at"])
            return known
        last = {"slot": row["last_slot"], "status": row["last_status"], "error": row["last_error"]} if row["last_status"] else {}
        return _Kept(row, cron, zone, seen=row["recorded_at"], last=last)

    def _take_up(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Goes on from where earlier gateways ended."""
        for row in rows:
            kept = self._kept.get(str(row["schedule"]))
            if kept is not None and not row["manual"]:
                kept.seen = max(kept.seen, row["slot"])
            if row["status"] != "started":
                continue
            folder = Path(row["log"]).parent if row["log"] else self._folder(str(row["schedule"]), row["slot"])
            begun = row["started_at"] or row["slot"]
            run = _Run(str(row["id"]), str(row["schedule"]), row["slot"], begun, str(row["report"]), folder, bool(row["manual"]))
            self._attend(run)

    def _folder(self, schedule: str, slot: datetime) -> Path:
        return self._home.path / "schedules" / _UNSAFE.sub("_", schedule) / f"{slot.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"

    # --- slots ------------------------------------------------------------------------------------------------------

    async def _deal(self, kept: _Kept, now: datetime) -> None:
        """Runs or notes the slots of one schedule that have passed since the last look."""
        slots: list[datetime] = []
        for slot in kept.cron.slots_back(now, kept.zone):
            if slot <= kept.seen or len(slots) > _MOST_MISSED:
                break
            slots.append(slot)
        if not slots:
            return
        newest = slots[0]
        runs = (now - newest).total_seconds() <= _LATE_S or kept.row["catch_up"] != "none"
        missed = slots[1:] if runs else slots
        for slot in reversed(missed[:_MOST_MISSED]):
            await self._miss(kept, slot)
        if len(missed) > _MOST_MISSED:
            logger.warning("the schedule %s missed more than %d slots; the earlier ones are not noted", kept.id, _MOST_MISSED)
        if runs:
            await self._start(kept, newest, now, manual=False)
        kept.seen = newest

    async def _miss(self, kept: _Kept, slot: datetime) -> None:
        name = f"{kept.id}/{plain(slot)}"
        row = {"id": name, "schedule": kept.id, "slot": plain(slot), "status": "missed", "report": kept.row["report"]}
        await self._claim({**row, "manual": False, "error": kept.why_missed(slot)})

    async def _claim(self, row: Mapping[str, Any]) -> bool:
        """Whether this is the first record of that run."""

        def work() -> bool:
            with self._recording:
                if self._ledger.view_rows("record", {"kind": "schedule_run", "id": row["id"]}):
                    return False
                self._ledger.record("schedule_run", row)
                return True

        return await asyncio.to_thread(work)

    async def _start(self, kept: _Kept, slot: datetime, now: datetime, *, manual: bool) -> str:
        name = f"{kept.id}/{plain(slot)}"
        run = _Run(name, kept.id, slot, now, str(kept.row["report"]), self._folder(kept.id, slot), manual)
        if not await self._claim(run.row("started")):
            return name
        lock = Lock(run.folder / LOCK)
        try:
            timeout_s = float(kept.row["timeout_s"] or self._settings.reports.timeout_s + _MARGIN_S)
            command = self._command(kept.row, slot, self._home, self._settings, timeout_s)
            run.folder.mkdir(parents=True, exist_ok=True)
            plan = {"command": command, "timeout_s": timeout_s, "home": str(self._home.path)}
            (run.folder / PLAN).write_text(json.dumps(plan), encoding="utf-8")
            lock.take()
            run.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "aiplat_lab.gateway._supervise", str(run.folder), str(lock.fd)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(lock.fd,),
                cwd=_ROOT,
            )
        except (OSError, AiplatError) as error:
            why = error.message if isinstance(error, AiplatError) else f"it cannot be started: {error.strerror or error}"
            self._end(run, {"status": "failed", "error": why})
            await self._flush()
            return name
        finally:
            lock.release()  # the run holds it from here on
        logger.info("started %s", name)
        self._attend(run)
        return name

    # --- the end of a run -------------------------------------------------------------------------------------------

    def _attend(self, run: _Run) -> None:
        self._runs[run.id] = run
        kept = self._kept.get(run.schedule)
        if kept is not None:
            kept.running, kept.busy_since, kept.busy_until = run.id, run.started_at, None
        task = self._loop.create_task(self._watch(run), name="own" if run.process else "adopted")
        self._attending.add(task)
        task.add_done_callback(self._attending.discard)

    async def _watch(self, run: _Run) -> None:
        if run.process is not None:
            await run.process.wait()
        while await asyncio.to_thread(_alive, run.folder):  # noqa: ASYNC110 (another process holds the lock)
            await asyncio.sleep(_ADOPTED_LOOK_S if run.process is None else _SHORTEST_SLEEP_S)
        self._end(run, await asyncio.to_thread(_outcome, run.folder, closing=self._closing))
        try:
            await self._flush()
        except LedgerError as error:
            self._trouble["ledger"] = f"schedules wait: {error.message}"
        await asyncio.to_thread(_prune, run.folder.parent)
        self._wake.set()

    def _end(self, run: _Run, outcome: Mapping[str, Any]) -> None:
        self._runs.pop(run.id, None)
        now = self._clock()
        row = run.row(**{"ended_at": plain(now), **outcome})
        self._unwritten.append(row)
        logger.log(
            logging.INFO if row["status"] == "ok" else logging.WARNING, "%s ended: %s %s", run.id, row["status"], row.get("error") or ""
        )
        kept = self._kept.get(run.schedule)
        if kept is not None:
            kept.running, kept.busy_until = "", now
            kept.last = {"slot": run.slot, "status": row["status"], "error": row.get("error")}

    async def _flush(self) -> None:
        """Records the ends that are not recorded yet."""
        while self._unwritten:
            row = self._unwritten[0]
            await asyncio.to_thread(self._ledger.record, "schedule_run", row)
            if self._unwritten and self._unwritten[0] is row:
                self._unwritten.pop(0)


def _parsed(value: Any) -> dict[str, Any]:  # Any: JSON, as text or read
    found = json.loads(value) if isinstance(value, str) else value
    return found if isinstance(found, dict) else {}


def _alive(folder: Path) -> bool:
    """Whether the run of that folder lives: it holds the lock."""
    if not (folder / LOCK).exists():
        return False
    lock = Lock(folder / LOCK)
    free = lock.take()
    lock.release()
    return not free


def _outcome(folder: Path, *, closing: bool) -> dict[str, Any]:
    """How the run of that folder ended: a success only where the command said so and the report's files are there."""
    try:
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        ended, code, error, rows = result["ended"], int(result["exit_code"]), str(result["error"]), result["rows"]
    except (OSError, ValueError, KeyError, TypeError):
        if closing:
            return {"status": "failed", "error": "the gateway was stopped meanwhile"}
        return {"status": "lost", "error": "the process that ran it is gone, and left no result"}
    facts = {"exit_code": code, "ended_at": result.get("ended_at")}
    if ended == "timeout":
        return {**facts, "status": "timeout", "error": f"it took longer than its time-out and was ended{'; ' + error if error else ''}"}
    if ended == "stopped":
        return {**facts, "status": "failed", "error": "the gateway was stopped meanwhile" if closing else "it was ended from outside"}
    if code != 0:
        return {**facts, "status": "failed", "error": error or f"exit code {code}"}
    made = rows[0] if rows else {}
    gone = [str(made[name]) for name in ("json", "html", "pdf") if name in made and not Path(str(made[name])).is_file()]
    if "json" not in made or gone:
        return {
            **facts,
            "status": "failed",
            "error": f"the command ended well, but {gone[0]} is not there" if gone else "it named no report",
        }
    return {**facts, "status": "ok", "folder": str(made.get("folder") or Path(str(made["json"])).parent)}


def _prune(folder: Path) -> None:
    """Removes what the oldest runs of a schedule said; the ledger keeps how they ended."""
    try:
        runs = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return
    for old in runs[:-_KEPT_FOLDERS]:
        if not _alive(old):
            shutil.rmtree(old, ignore_errors=True)
