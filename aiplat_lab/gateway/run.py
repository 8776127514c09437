"""The life of the gateway process: the only one of its home, ready, at work, idle, gone."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
import time
from functools import partial
from typing import Any

from aiplat_lab.core.errors import AiplatError, GatewayUnavailable
from aiplat_lab.core.settings import Home, Settings, enter, open_key_files
from aiplat_lab.core.types import utc_now
from aiplat_lab.core.version import VERSION
from aiplat_lab.gateway import telemetry
from aiplat_lab.gateway._door import Door
from aiplat_lab.gateway.batch import Batches
from aiplat_lab.gateway.pipeline import Gateway
from aiplat_lab.gateway.process import LOG_BYTES, Address, Lock, open_log, read_address, write_address
from aiplat_lab.gateway.reading import plain
from aiplat_lab.gateway.schedule import Scheduler
from aiplat_lab.gateway.server import GRACE_S, Listening, fault, listen
from aiplat_lab.ledger import Ledger

logger = logging.getLogger(__name__)
_LOCK_S = 0.5
"""How long a new process waits for the lock before it says that another one has it."""
_GC_YOUNG = 20_000
"""Objects made since the last look for rubbish: sixty calls at once keep some thousands alive, which is no reason to look."""
_LOOK_S = 1.0
"""How often an idle gateway looks whether it may stop."""


def run(home: Home, *, background: bool) -> int:
    """Runs the gateway of `home` until it is told to end or has been idle for long.

    Args:
        home: the folder with settings and ledger.
        background: say on standard output, in one line of JSON, that it is ready or why not; then let go of it.

    Returns:
        The exit code.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("aiplat_lab").setLevel(logging.INFO)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # it logs each caller who leaves; our own guard logs what breaks
    lock: Lock | None = None
    failed: AiplatError | None = None
    try:
        home.create()
        enter(home)  # references to the vault, and what is started from here, mean this home
        settings = home.load()
        for warning in open_key_files(settings):
            logger.warning("%s", warning)
        lock = _only_one(home)
        ledger = Ledger.open(home, durability=settings.gateway.durability)
        try:
            asyncio.run(_live(home, settings, ledger, lock, background=background))
        finally:
            ledger.close()
    except AiplatError as error:
        failed = error
    finally:
        if lock is not None:
            lock.release()
    return 0 if failed is None else _failed(failed, background=background)  # who is told may start another one at once


def _only_one(home: Home) -> Lock:
    lock = Lock(home.gateway_lock)
    if not lock.take_within(_LOCK_S):
        address = read_address(home)
        who = f"process {address.pid}, {address.http}" if address else "starting or stopping"
        raise GatewayUnavailable(f"a gateway of {home.path} already runs ({who}); `aiplat status` shows it, `aiplat stop` ends it")
    home.gateway_file.unlink(missing_ok=True)
    return lock


async def _live(home: Home, settings: Settings, ledger: Ledger, lock: Lock, *, background: bool) -> None:
    """From the opened ledger to the end of the last call."""
    door = Door(home=home, settings=settings, ledger=ledger, gateway=Gateway(settings, ledger), started_at=utc_now(), fault=fault)
    door.telemetry = telemetry.start(settings)
    if door.telemetry is not None:
        door.gateway.ended = door.telemetry.ended
    door.scheduler = scheduler = Scheduler(home, settings, ledger, recording=door.recording)
    door.batches = batches = Batches(door.gateway, ledger, poll_s=settings.gateway.batch_poll_s)
    tasks: list[asyncio.Task[None]] = []
    listening: Listening | None = None
    try:
        batches.restore()
        await door.read(lambda: door.prompt_files.write(door.gateway.prompts))
        listening = await listen(door)
        door.address = Address(
            pid=os.getpid(),
            socket=listening.socket,
            http=listening.http,
            version=VERSION,
            started_at=str(plain(door.started_at)),
            token=listening.token,
        )
        write_address(home, door.address)
        _say_ready(home, door.address, background=background)
        gc.freeze()
        gc.set_threshold(_GC_YOUNG, 20, 50)
        gc.enable()
        for name in (signal.SIGTERM, signal.SIGINT):
            _on_signal(name, door.stop)
        for what, keeper in (("schedules are", scheduler.run()), ("batches are", batches.run())):
            task = asyncio.create_task(keeper)
            task.add_done_callback(partial(_keeper_ended, door, what))
            tasks.append(task)
        await _until_stopped(door, lock, background=background)
    finally:
        home.gateway_file.unlink(missing_ok=True)  # the next client starts another one, which waits for our lock
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await scheduler.aclose()
        if listening is not None:
            await listening.aclose()
        if door.detached:
            await asyncio.wait(door.detached, timeout=GRACE_S)
        await door.gateway.aclose()
        if door.telemetry is not None:
            await asyncio.to_thread(door.telemetry.close)
        door.readers.shutdown(wait=False, cancel_futures=True)
    logger.info("stopped")


def _keeper_ended(door: Door, what: str, task: asyncio.Task[None]) -> None:
    """What keeps schedules and batches never ends by itself; should it, a person must see that."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        logger.error("%s kept no more", what, exc_info=error)
        door.incidents.append(f"{what} kept no more ({type(error).__name__}); run `aiplat stop`, then `aiplat start`")


async def _until_stopped(door: Door, lock: Lock, *, background: bool) -> None:
    idle_s = door.settings.gateway.idle_s
    door.last_active = time.monotonic()
    while not door.stop.is_set():
        try:
            async with asyncio.timeout(_LOOK_S if not idle_s else min(_LOOK_S, max(0.05, idle_s / 4))):
                await door.stop.wait()
        except TimeoutError:
            pass
        awake = door.active or any(one is not None and one.keeps_awake for one in (door.scheduler, door.batches))
        if idle_s and not awake and time.monotonic() - door.last_active > idle_s:
            logger.info("no client for %.0f s", idle_s)
            return
        if not lock.intact():
            logger.warning("the home %s was taken away or made anew; another gateway may start there, so this one ends", door.home.path)
            return
        if read_address(door.home) is None and door.address is not None:
            write_address(door.home, door.address)  # somebody removed it; without it, nobody finds us
        if background:
            _cap_log(door.home)


def _on_signal(name: signal.Signals, stop: asyncio.Event) -> None:
    if sys.platform == "win32":
        loop = asyncio.get_running_loop()
        signal.signal(name, lambda *_: loop.call_soon_threadsafe(stop.set))
    else:
        asyncio.get_running_loop().add_signal_handler(name, stop.set)


def _say_ready(home: Home, address: Address, *, background: bool) -> None:
    logger.info("version %s ready at %s for %s", VERSION, address.http, home.path)
    if background:
        _say({"ready": {name: getattr(address, name) for name in address.__slots__}})
        _write_to_log(home)


def _failed(error: AiplatError, *, background: bool) -> int:
    logger.error("%s", error.message)
    if background:
        _say({"error": plain(error.to_wire())})
    return 1


def _say(data: dict[str, Any]) -> None:  # Any: JSON
    try:
        os.write(1, json.dumps(data).encode() + b"\n")
    except OSError:
        pass  # whoever started us has not waited


def _write_to_log(home: Home) -> None:
    """Standard output and error into the log, so that nothing of whoever started us is held."""
    with open_log(home) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


def _cap_log(home: Home) -> None:
    try:
        if home.log_file.stat().st_size > LOG_BYTES:
            _write_to_log(home)
    except OSError:
        pass  # the log was removed; the open one goes on
