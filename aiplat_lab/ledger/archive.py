"""The archive: sealed segments, compressed, from which a lost or damaged file is rebuilt.

Gzip, because it stands in the standard library of every Python that this package runs on and `zcat` reads it: a segment
shrinks to about a fifth at 30 MB/s. LZMA would halve that again at a tenth of the speed, less than the gateway can record.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path

from aiplat_lab.ledger.spool import Line, lines, segments, sync_folder

SUFFIX = ".jsonl.gz"
_LEVEL = 6


class Archive:
    """The folder of sealed segments."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def files(self) -> dict[int, Path]:
        """The archived segments by number, in order."""
        return segments(self._folder, SUFFIX)

    def keep(self, number: int, data: bytes) -> None:
        """Writes a sealed segment, on the disk and under its name only when it is whole.

        Raises:
            OSError: the disk is full, or the folder is gone.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = self._folder / f"{number:012d}.part"
        try:
            with part.open("wb") as file:
                file.write(gzip.compress(data, _LEVEL, mtime=0))
                file.flush()
                os.fsync(file.fileno())
            part.rename(self._folder / f"{number:012d}{SUFFIX}")
        finally:
            part.unlink(missing_ok=True)
        sync_folder(self._folder)

    def size_of(self, path: Path) -> int:
        """The length of an archived segment before compression, as its last bytes say; 0 when it is damaged."""
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < 18:
                return 0
            file.seek(-4, os.SEEK_END)
            return int(struct.unpack("<I", file.read(4))[0])

    def read(self, path: Path) -> bytes:
        """An archived segment; of a damaged file, what comes before the damage."""
        unzip = zlib.decompressobj(wbits=31)
        raw = path.read_bytes()
        parts = []
        try:
            for start in range(0, len(raw), 65_536):
                parts.append(unzip.decompress(raw[start : start + 65_536]))
        except zlib.error:
            pass  # the checksums of the lines say what is whole
        return b"".join(parts)

    def erase(self, digest: str) -> int:
        """Takes a payload out of every archived segment; gives how many files held it."""
        changed = 0
        for number, path in self.files().items():
            data = self.read(path)
            if digest.encode() not in data:
                continue
            kept = without_payload(data, digest)
            if kept != data:
                self.keep(number, kept)
                changed += 1
        return changed


def without_payload(data: bytes, digest: str) -> bytes:
    """A segment in which one payload's lines are blank, of the same length, so that offsets stay right."""
    found, _ = lines(data)
    gone = [line for line in found if line.name == "payload" and line.hash == digest]
    return _blank(data, gone)


def _blank(data: bytes, gone: list[Line]) -> bytes:
    parts, start = [], 0
    for line in gone:
        parts += [data[start : line.offset], b" " * len(line.text)]
        start = line.offset + len(line.text)
    return b"".join([*parts, data[start:]])
