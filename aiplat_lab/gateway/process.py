"""One gateway process for each home: where it is, who starts it, and how it is started.

A client reads `gateway.json`. Where no gateway answers there, the holder of `spawn.lock` starts one and the others wait for
it; the gateway holds `gateway.lock` as long as it lives, so that there is never a second one. Only the standard library is
needed here, since every kernel loads this.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from socket import IPPROTO_TCP, SOCK_STREAM, TCP_NODELAY, create_connection
from socket import socket as Socket
from typing import IO

from aiplat_lab.core.errors import ConfigError, GatewayUnavailable, from_wire
from aiplat_lab.core.settings import Home

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl
    from socket import AF_UNIX

START_S = 30.0
"""The longest that a client waits for a gateway to start."""
STOP_S = 20.0
"""The longest that a client waits for a gateway to stop."""
LOG_BYTES = 5_000_000
"""The size at which `gateway.log` becomes `gateway.log.1`."""
HAS_UNIX_SOCKETS = sys.platform != "win32"
_POLL_S = 0.02
_WAIT_S = 0.05
"""How often a client that waits for another one's start looks; twenty of them must not slow that start down."""
_TAKEN = frozenset({errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK, errno.EDEADLK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What `gateway.json` says about the gateway that runs."""

    pid: int
    socket: str
    """The path of the owner-only socket; empty where there are none, and `token` opens the loopback address."""
    http: str
    """The base URL for SDKs, which ends before `/v1`."""
    version: str
    started_at: str
    token: str = ""

    def dial(self, timeout_s: float | None = None) -> Socket:
        """A connection to it, for the owner.

        Raises:
            OSError: nobody answers there.
        """
        if sys.platform != "win32" and self.socket:
            wire = Socket(AF_UNIX, SOCK_STREAM)
            try:
                wire.settimeout(timeout_s)
                wire.connect(self.socket)
            except BaseException:
                wire.close()
                raise
            return wire
        host, _, port = self.http.removeprefix("http://").partition(":")
        wire = create_connection((host, int(port)), timeout_s)
        wire.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        return wire


class Lock:
    """A file that one process at a time can hold; it is let go when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def take(self) -> bool:
        """Whether the lock is now held; never waits.

        Raises:
            ConfigError: the file cannot be opened, or files cannot be locked there.
        """
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(
                f"{self._path} cannot be opened: {error.strerror or error}. Set AIPLAT_HOME to a folder you can write."
            ) from None
        try:
            if sys.platform == "win32":
                msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            if error.errno in _TAKEN:
                return False
            raise ConfigError(f"{self._path} cannot be locked ({error.strerror}): put AIPLAT_HOME on a disk of this machine") from None
        self._fd = fd
        return True

    def take_within(self, seconds: float) -> bool:
        """Whether the lock could be taken in that time; others hold it for a moment when they look whether it is held."""
        deadline = time.monotonic() + seconds
        while not self.take():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def intact(self) -> bool:
        """Whether the file at the path is still the one that is held, and not another in its place."""
        if self._fd is None:
            return False
        try:
            there, ours = self._path.stat(), os.fstat(self._fd)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    @property
    def fd(self) -> int:
        """The held file, for a process that shall hold the lock too; -1 when it is not held."""
        return -1 if self._fd is None else self._fd

    def release(self) -> None:
        """Lets the lock go, if it is held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def read_address(home: Home) -> Address | None:
    """What `gateway.json` says, or None when it is missing or not readable as such."""
    try:
        data = json.loads(home.gateway_file.read_bytes())
        return Address(
            pid=int(data["pid"]),
            socket=str(data["socket"]),
            http=str(data["http"]),
            version=str(data["version"]),
            started_at=str(data.get("started_at", "")),
            token=str(data.get("token", "")),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_address(home: Home, address: Address) -> None:
    """Writes `gateway.json` in one step, readable by its owner alone."""
    fresh = home.gateway_file.with_suffix(f".{os.getpid()}.new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        json.dump(asdict(address), file, indent=1)
    fresh.replace(home.gateway_file)


def running(home: Home) -> Address | None:
    """The address of the gateway of this home, if one answers there."""
    address = read_address(home)
    if address is None:
        return None
    try:
        address.dial(5.0).close()
    except OSError:
        return None
    return address


def held(home: Home) -> bool:
    """Whether a gateway process of this home lives, whatever state it is in."""
    lock = Lock(home.gateway_lock)
    try:
        free = lock.take()
    except ConfigError:
        return False
    lock.release()
    return not free


def ensure(home: Home, *, timeout_s: float = START_S) -> Address:
    """The address of this home's gateway, which is started if none runs; one process, however many ask at once.

    Raises:
        ConfigError: the home cannot be written, or its settings are wrong.
        GatewayUnavailable: none could be started in time.
    """
    address = running(home)
    if address is not None:
        return address
    home.create()
    home.load()  # a mistake in the settings is told here, before a process is started
    deadline = time.monotonic() + timeout_s
    lock = Lock(home.spawn_lock)
    while not lock.take():
        time.sleep(_WAIT_S)
        address = running(home)
        if address is not None:
            return address
        if time.monotonic() > deadline:
            raise _unavailable(home, f"another process tried to start it for {timeout_s:.0f} s without success")
    try:
        return running(home) or _start(home, deadline)
    finally:
        lock.release()


def stopped(home: Home, *, timeout_s: float = STOP_S) -> bool:
    """Waits until no gateway of this home lives; False when one still does."""
    deadline = time.monotonic() + timeout_s
    while held(home):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def terminate(home: Home) -> bool:
    """Asks a gateway that does not answer to end (SIGTERM), and waits; False when there is none or it stays."""
    address = read_address(home)
    if address is None or not held(home):
        return False
    try:
        os.kill(address.pid, signal.SIGTERM)
    except OSError:
        return False
    return stopped(home)


def _start(home: Home, deadline: float) -> Address:
    """Starts a gateway and waits until it is ready; the caller holds `spawn.lock`."""
    while held(home):  # one is starting or stopping
        address = running(home)
        if address is not None:
            return address
        if time.monotonic() > deadline:
            raise _unavailable(home, "a gateway process lives but does not answer; `aiplat stop` ends it")
        time.sleep(_POLL_S)
    with open_log(home) as log:
        process = subprocess.Popen(  # noqa: S603 (our own module)
            [sys.executable, "-m", "aiplat_lab.gateway", "--home", str(home.path), "--background"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            cwd=Path(__file__).resolve().parents[2],  # the package is importable from there, installed or not
        )
    said = _first_line(process, max(0.1, deadline - time.monotonic()))
    if said is None:
        raise _unavailable(home, "it took too long to start")
    if not said:
        address = running(home)  # one that was started by hand may have come first
        if address is not None:
            return address
        raise _unavailable(home, f"it ended while it started{_last_words(home)}")
    data = json.loads(said)
    if "error" in data:
        raise from_wire(data["error"])
    return Address(**data["ready"])


def open_log(home: Home) -> IO[bytes]:
    """`gateway.log`, open for adding, after a large one was put aside as `gateway.log.1`."""
    try:
        if home.log_file.stat().st_size > LOG_BYTES:
            home.log_file.replace(home.log_file.with_suffix(".log.1"))
    except OSError:
        pass
    fd = os.open(home.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return os.fdopen(fd, "ab", buffering=0)


def _first_line(process: subprocess.Popen[bytes], timeout_s: float) -> bytes | None:
    """The first line that the process writes, empty when it ended without one, None when none came in time."""
    output = process.stdout
    if output is None:
        return b""
    lines: list[bytes] = []
    reader = threading.Thread(target=lambda: lines.append(output.readline()), name="aiplat-start", daemon=True)
    reader.start()
    reader.join(timeout_s)
    if not lines:
        return None
    output.close()
    if sys.platform != "win32":
        process.wait()  # it detached itself and ended; what runs is its child
    return lines[0]


def _last_words(home: Home) -> str:
    try:
        lines = home.log_file.read_bytes()[-4000:].decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return f": {lines[-1]}" if lines else ""


def _unavailable(home: Home, why: str) -> GatewayUnavailable:
    return GatewayUnavailable(f"the local gateway is not available: {why}. Its log is {home.log_file}; `aiplat doctor` looks further.")
