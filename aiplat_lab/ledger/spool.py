"""The spool: one checksummed JSON line for each thing that happened, in numbered segment files.

A line is `{"crc":"0a1b2c3d",…}`: the CRC-32 of all that follows the checksum stands in front, so a line that was cut, zeroed or
changed is found by itself. One `write()` of a whole line is the acknowledgement; it survives the death of the process. Each
life of a process begins a segment of its own under the next number: numbers, not clocks, give the order.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from aiplat_lab.core.errors import LedgerError

SEGMENT_BYTES = 16 << 20
"""A segment is sealed when it has grown beyond this many bytes."""
ROOM_BYTES = 2 << 20
"""What must be free on the disk before a call begins, so that its end can be written too."""
_SUFFIX = ".jsonl"
_OPEN = b'{"crc":"'
_BODY = len(_OPEN) + 8
"""Where the part that the checksum covers begins."""
Durability = Literal["process", "power"]


HELD = "held_usd"
_HELD_FIRST = b'{"%s":' % HELD.encode()


def frame(body: bytes) -> bytes:
    """A line of the spool.

    Args:
        body: the members of a JSON object as they follow the checksum: `"name":value,…`, without a line break.
    """
    rest = b'",' + body + b"}"
    return b"%s%08x%s\n" % (_OPEN, zlib.crc32(rest), rest)


def is_whole(line: bytes) -> bool:
    """Whether a line, without its line break, is as it was written."""
    if len(line) < _BODY + 3 or not line.startswith(_OPEN):
        return False
    return line[len(_OPEN) : _BODY] == b"%08x" % zlib.crc32(memoryview(line)[_BODY:])


class Line(NamedTuple):
    """One whole line of a segment."""

    offset: int
    """Where it begins in its segment, in bytes."""
    text: bytes
    """The line without its line break."""
    name: str
    """The first member after the checksum: `call`, `record`, `payload` or `begin`."""

    @property
    def hash(self) -> str:
        """The hash that a row or payload line begins with."""
        start = _BODY + 6 + len(self.name)
        return self.text[start : start + 64].decode("ascii")


_NAMES = {ord(name[0]): name for name in ("call", "record", "payload", "begin")}


def _line(offset: int, text: bytes) -> Line:
    return Line(offset, text, _NAMES.get(text[_BODY + 3], ""))


def lines(data: bytes, *, offset: int = 0) -> tuple[list[Line], int]:
    """The whole lines in `data`, and how many others there were; a damaged line takes no other with it."""
    found: list[Line] = []
    bad = 0
    start = 0
    for piece in data.split(b"\n"):
        if is_whole(piece):
            found.append(_line(offset + start, piece))
        elif piece.strip():
            bad += start + len(piece) < len(data)  # a tail without its line break was never acknowledged
            inner = piece.find(_OPEN, 1)
            while inner > 0:  # a line break was damaged, and a whole line follows in the same piece
                if is_whole(piece[inner:]):
                    found.append(_line(offset + start + inner, piece[inner:]))
                    break
                inner = piece.find(_OPEN, inner + 1)
        start += len(piece) + 1
    return found, bad


def segments(folder: Path, suffix: str = _SUFFIX) -> dict[int, Path]:
    """The segment files of a folder by number, in order."""
    found = {int(path.name.removesuffix(suffix)): path for path in _files(folder) if path.name.removesuffix(suffix).isdecimal()}
    return dict(sorted(found.items()))


def _files(folder: Path) -> Iterator[Path]:
    try:
        yield from folder.iterdir()
    except FileNotFoundError:
        return


def segment_name(number: int) -> str:
    """The file name of a segment."""
    return f"{number:012d}{_SUFFIX}"


class Spool:
    """The segment that this process appends to. Every method may be called from any thread, but not after a fork."""

    def __init__(self, folder: Path, *, number: int, durability: Durability = "process") -> None:
        self._folder = folder
        self._power = durability == "power"
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._fd = -1
        self.number = number
        """The number of the segment that is being written."""
        self.size = 0
        """Its length up to the last acknowledged line, in bytes."""
        self._synced = (number, 0)
        self._syncing = threading.Lock()
        self._damaged = False
        self._create(number)

    @property
    def closed(self) -> bool:
        """Whether writing has ended."""
        return self._fd < 0

    @property
    def path(self) -> Path:
        """The file of the segment that is being written."""
        return self._folder / segment_name(self.number)

    def append(self, data: bytes) -> None:
        """Writes whole lines at once; when it returns, they are acknowledged (`sync` adds the disk's own promise).

        Raises:
            LedgerError: nothing was written: the disk is full, the folder is gone, or this is another process.
        """
        if os.getpid() != self._pid:
            raise LedgerError(f"this ledger belongs to process {self._pid}; a forked child cannot write to it. Use a client instead.")
        if self._damaged:
            self.rotate()
        try:
            written = os.write(self._fd, data)
            if written != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._cut_back()
            raise _plain(error, self._folder) from None
        self.size += written

    def need_room(self) -> None:
        """Returns when the disk has room for what follows a line that is written now.

        Raises:
            LedgerError: the disk is as good as full.
        """
        if sys.platform == "win32":
            return
        disk = os.fstatvfs(self._fd)
        if disk.f_bavail * disk.f_frsize < ROOM_BYTES:
            raise _plain(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), self._folder)

    def _cut_back(self) -> None:
        """Takes away the part of a line that a full disk left, so that the next one begins cleanly."""
        try:
            os.ftruncate(self._fd, self.size)
        except OSError:
            self._damaged = True  # the next line goes to a new segment; half a line alone is left out by its checksum

    def sync(self) -> None:
        """With durability `power`, returns once all that was appended before is on the disk; threads share one fdatasync."""
        if not self._power:
            return
        mark = (self.number, self.size)
        with self._syncing:
            if self._synced >= mark:
                return
            with self._lock:
                number, size, copy = self.number, self.size, os.dup(self._fd)
            try:
                _fdatasync(copy)
            except OSError as error:
                raise _plain(error, self._folder) from None
            finally:
                os.close(copy)
            self._synced = (number, size)

    def rotate(self) -> int:
        """Seals the segment and begins the next; gives the number of the sealed one.

        Raises:
            LedgerError: no new segment can be made; the old one stays in use.
        """
        sealed = self.number
        if self._power:
            _fdatasync(self._fd)
        self._create(sealed + 1)
        return sealed

    def is_there(self) -> bool:
        """Whether the file that is being written still stands under its name."""
        with self._lock:  # a rotation between the two would look like a loss
            try:
                seen = self.path.stat()
            except OSError:
                return False
            own = os.fstat(self._fd)
        return (seen.st_ino, seen.st_dev) == (own.st_ino, own.st_dev)

    def read(self, number: int, offset: int, upto: int) -> bytes:
        """Bytes of a segment of this life: of the one being written also when its name was taken away.

        Args:
            number: the segment; another thread may have sealed it since the caller asked where the spool stands.
            offset: the first byte.
            upto: behind the last byte.
        """
        with self._lock:
            fd = os.dup(self._fd) if number == self.number else -1
        if fd < 0:
            return read_segment(self._folder / segment_name(number), offset)[: upto - offset]
        parts = []
        try:
            while offset < upto and (part := os.pread(fd, upto - offset, offset)):
                parts.append(part)
                offset += len(part)
        finally:
            os.close(fd)
        return b"".join(parts)

    def close(self) -> None:
        """Ends writing; an empty segment is taken away."""
        if self._fd < 0:
            return
        if self._power:
            _fdatasync(self._fd)
        self.forget()
        if self.size == 0:
            self.path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Lets go of the file and leaves it as it is."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _create(self, number: int) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(self._folder / segment_name(number), os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600)
        except OSError as error:
            raise _plain(error, self._folder) from None
        with self._lock:
            old, self._fd = self._fd, fd
            self.number, self.size, self._damaged = number, 0, False
        if old >= 0:
            os.close(old)
        if self._power:
            sync_folder(self._folder)


def _fdatasync(fd: int) -> None:
    getattr(os, "fdatasync", os.fsync)(fd)


def sync_folder(folder: Path) -> None:
    """Returns once the names in a folder are on the disk."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _plain(error: OSError, folder: Path) -> LedgerError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LedgerError(
            f"the disk is full, so the ledger in {folder} cannot take another row. Free some space; nothing recorded is lost."
        )
    return LedgerError(f"the ledger in {folder} cannot be written: {error.strerror or error}. Check the folder and its permissions.")


def read_segment(path: Path, offset: int = 0) -> bytes:
    """The bytes of a sealed segment from `offset` on."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read()


def row_line(name: str, digest: str, canonical_row: bytes) -> bytes:
    """The line of a chained row.

    Args:
        name: `call` or `record`.
        digest: the hash of the row.
        canonical_row: what was hashed.
    """
    return frame(b'"%s":"%s","row":%s' % (name.encode(), digest.encode(), canonical_row))


def payload_line(digest: str, body: bytes) -> bytes:
    """The line of a payload; its bytes are JSON text, so they travel as a text."""
    text = json.encoder.encode_basestring(body.decode("utf-8", "replace"))
    return frame(b'"payload":"%s","body":%s' % (digest.encode(), text.encode()))


def row_of(line: bytes) -> bytes:
    """The canonical JSON in the line of a chained row."""
    return line[line.index(b'"row":') + 6 : -1]


def begin_line(canonical_row: bytes) -> bytes:
    """The line of a call that began and has not ended."""
    return frame(b'"begin":%s' % canonical_row)


def held_line(line: bytes, *, usd: str, provider: str = "") -> bytes:
    """The line of a call that began, with what it may cost at most, in place of an amount that stood there before.

    Args:
        line: what `begin_line` gave.
        usd: US dollars as text.
        provider: where it will go, if that is certain.
    """
    row = line[line.index(b'"begin":') + 8 : -2]
    if row.startswith(_HELD_FIRST):
        row = b"{" + row[row.index(b",") + 1 :]
    named = b'"provider":%s,' % json.dumps(provider).encode() if provider and b'"provider":' not in row else b""
    return begin_line(b'%s"%s",%s%s' % (_HELD_FIRST, usd.encode(), named, row[1:]))
