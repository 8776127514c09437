"""Worker processes of the embedded models: started once when needed, kept while used, ended with their parent.

A native crash must not take the gateway with it, so models compute in processes of their own. A worker's input is its life
line: the operating system closes it when the gateway ends, however it ends, and the worker goes too. Threads and
concurrent futures are used rather than one event loop's own tools, so that a worker serves every loop of its process.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from aiplat_lab.core.errors import AiplatError, ConfigError, ProviderError, shorten
from aiplat_lab.core.types import Json

START_S = 60.0
"""The longest that a worker may take until it is ready."""
IDLE_S = 600.0
"""Seconds without a call after which a worker is ended, to give its memory back."""
_END_S = 3.0
_TAIL_LINES = 20


class Worker:
    """One child process, ready to be asked.

    Args:
        provider: the name under `[providers]`, for error texts.
        model: the model's name there.
        script: the file that the process runs.
        config: its first line of input.

    Raises:
        ConfigError: something is not installed.
        ProviderError: it did not start.
    """

    def __init__(self, *, provider: str, model: str, script: Path, config: Mapping[str, Json]) -> None:
        self.model = model
        self.said: Mapping[str, Json] = {}
        """Its first line of output."""
        self._provider = provider
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._asking = threading.Lock()
        command = [sys.executable, "-P", str(script)]
        try:
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, encoding="utf-8", errors="replace")  # noqa: S603
        except OSError as error:
            raise self._failed(f"the worker process of {model} cannot be started: {error.strerror or error}", retryable=True) from None
        threading.Thread(target=self._listen, args=(self._process.stderr,), name=f"aiplat-{model}-log", daemon=True).start()
        late = threading.Timer(START_S, self._process.kill)
        late.daemon = True
        late.start()
        try:
            self.said = self._exchange(config)
        except (BrokenPipeError, ValueError):
            self.end()
            slow = f"was not ready after {START_S:.0f} s" if not late.is_alive() else f"ended before it was ready{self.why()}"
            text = f"the worker process of {model} {slow}. `aiplat doctor --model {model}` tries it again."
            raise self._failed(text, retryable=True) from None
        finally:
            late.cancel()
        if "error" in self.said:
            self.end()
            raise self._not_started()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def rss_bytes(self) -> int | None:
        """Memory that the process holds, pages of mapped files included; None where the system does not say."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text("ascii", "replace")
        except OSError:
            return None
        return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS")), None)

    def ask(self, question: Mapping[str, Json]) -> Mapping[str, Json]:
        """The line that answers a line; one question at a time.

        Raises:
            ProviderError: the process ended.
        """
        with self._asking:
            try:
                return self._exchange(question)
            except (OSError, ValueError):
                raise self.lost() from None

    def lost(self, *, reason: str = "unavailable") -> ProviderError:
        """What to tell a caller whose worker ended in the middle; waits a moment for the end to be known."""
        try:
            self._process.wait(0.2)
        except subprocess.TimeoutExpired:
            pass
        text = f"the worker process of {self.model} ended in the middle of the call{self.why()}. The next try starts a new one."
        return self._failed(text, retryable=True, reason=reason)

    def why(self) -> str:
        """How the process ended and its last words, in brackets; empty where nothing is known."""
        code = self._process.poll()
        how = "" if code in (None, 0) else f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        words = shorten(next((line for line in reversed(self._tail) if " E " in line or "rror" in line), ""), 160)
        said = ": ".join(part for part in (how, words) if part)
        return f" ({said})" if said else ""

    def end(self) -> None:
        """Ends the process; waits until it is gone."""
        _close(self._process.stdin)
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with self._asking:
            _close(self._process.stdout)

    def _exchange(self, question: Mapping[str, Json]) -> Mapping[str, Json]:
        """Raises a `ValueError` or an `OSError` where no answer comes."""
        writer, reader = self._process.stdin, self._process.stdout
        if writer is None or reader is None:
            raise ValueError("no pipe")
        writer.write(json.dumps(question) + "\n")
        writer.flush()
        answer: Mapping[str, Json] = json.loads(reader.readline())
        return answer

    def _listen(self, source: IO[str]) -> None:
        """Keeps the last lines that the process says."""
        for line in source:
            if line.strip():
                self._tail.append(line.strip())

    def _not_started(self) -> AiplatError:
        message = str(self.said.get("message", ""))
        if self.said["error"] != "import":
            text = f"{self.model} cannot be loaded: {shorten(message, 120)}{self.why()}. Fetch it again with `aiplat model pull`."
            return self._failed(text, retryable=False)
        if "libgomp" in message:
            return ConfigError(
                "the embedded model cannot run: the system library libgomp.so.1 is missing. Install it "
                "(Debian, Ubuntu: apt-get install libgomp1; Fedora: dnf install libgomp), then try again."
            )
        if self.said.get("missing") in {"xllamacpp", "numpy"}:
            return ConfigError(
                f"{self.model} needs the package {self.said['missing']}, which is not installed: "
                'run pip install "aiplat-lab[local]", then try again. (There is none for Alpine Linux and Windows on ARM: '
                "use any OpenAI-compatible server there, see docs/providers.md.)"
            )
        todo = 'Run pip install --force-reinstall "aiplat-lab[local]", then try again.'
        return ConfigError(f"the embedded model cannot run: {shorten(message, 300)}. {todo}")

    def _failed(self, text: str, *, retryable: bool, reason: str = "unavailable") -> ProviderError:
        return ProviderError(f"{self._provider}: {text}", provider=self._provider, model=self.model, retryable=retryable, reason=reason)


def _close(pipe: IO[str] | None) -> None:
    try:
        if pipe is not None:
            pipe.close()
    except OSError:  # the other end is gone
        pass


@dataclass(slots=True)
class _Place:
    """A worker that runs or is being started, and how many calls use it."""

    coming: Future[Worker] = field(default_factory=Future)
    users: int = 0
    used_at: float = field(default_factory=time.monotonic)

    @property
    def worker(self) -> Worker | None:
        """The worker, where it is ready."""
        return self.coming.result() if self.coming.done() and self.coming.exception() is None else None

    @property
    def usable(self) -> bool:
        """Whether it runs, or may yet."""
        return not self.coming.done() or ((worker := self.worker) is not None and worker.alive)


class Pool:
    """The workers of one gateway: each started once, at most `limit` alive, idle ones ended.

    Args:
        limit: how many may be alive at once; a further model waits until one is not used, and takes its place.
        idle_s: seconds without a call after which a worker is ended.
    """

    def __init__(self, *, limit: int, idle_s: float = IDLE_S) -> None:
        self._limit = limit
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}
        self._waiting: list[Future[None]] = []
        self._starter = ThreadPoolExecutor(limit, "aiplat-worker-start")
        self._closed = threading.Event()
        self._sweeper: threading.Thread | None = None

    @asynccontextmanager
    async def use(self, name: str, start: Callable[[], Worker]) -> AsyncIterator[Worker]:
        """The worker of that name, started by `start` in a thread where none runs.

        Raises:
            AiplatError: what `start` raised.
        """
        place = await self._take(name, start)
        try:
            yield await asyncio.shield(asyncio.wrap_future(place.coming))
        finally:
            with self._lock:
                place.users -= 1
                place.used_at = time.monotonic()
            self._wake()

    def workers(self) -> dict[str, Worker]:
        """The workers that run, by name."""
        with self._lock:
            return {name: place.worker for name, place in self._places.items() if place.worker is not None and place.worker.alive}

    def close(self) -> None:
        """Ends all workers; waits until they are gone."""
        self._closed.set()
        with self._lock:
            places, self._places = list(self._places.values()), {}
        self._wake()
        self._starter.shutdown(wait=True, cancel_futures=True)
        for place in places:
            if place.worker is not None:
                place.worker.end()

    def _wake(self) -> None:
        """Lets those who wait for a place look again."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for one in waiting:
            if one.set_running_or_notify_cancel():
                one.set_result(None)

    async def _take(self, name: str, start: Callable[[], Worker]) -> _Place:
        while True:
            with self._lock:
                if self._closed.is_set():
                    raise ConfigError("the gateway is stopping")
                place = self._places.get(name)
                if place is None or not place.usable:
                    place = self._make_place(name, start)
                if place is not None:
                    place.users += 1
                    return place
                turn: Future[None] = Future()
                self._waiting.append(turn)
            await asyncio.wrap_future(turn)

    def _make_place(self, name: str, start: Callable[[], Worker]) -> _Place | None:
        """A place for a new worker, with the one that has to go for it; None while all are in use."""
        for known in [known for known, place in self._places.items() if not place.usable]:
            dead = self._places.pop(known).worker
            if dead is not None:
                dead.end()
        leaving: Worker | None = None
        if len(self._places) >= self._limit:
            unused = [known for known, place in self._places.items() if place.users == 0 and place.coming.done()]
            if not unused:
                return None
            oldest = min(unused, key=lambda known: self._places[known].used_at)
            leaving = self._places.pop(oldest).worker
        place = self._places[name] = _Place()
        place.coming = self._starter.submit(_replace, leaving, start)
        if self._sweeper is None:
            self._sweeper = threading.Thread(target=self._sweep, name="aiplat-worker-idle", daemon=True)
            self._sweeper.start()
        return place

    def _sweep(self) -> None:
        """Ends workers that nobody has used for a while."""
        while not self._closed.wait(min(30.0, self._idle_s / 2)):
            with self._lock:
                before = time.monotonic() - self._idle_s
                idle = [n for n, p in self._places.items() if p.users == 0 and p.coming.done() and p.used_at < before]
                leaving = [self._places.pop(name).worker for name in idle]
            for worker in leaving:
                if worker is not None:
                    worker.end()


def _replace(leaving: Worker | None, start: Callable[[], Worker]) -> Worker:
    if leaving is not None:
        leaving.end()
    return start()
