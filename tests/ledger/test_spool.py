"""The spool: lines that prove themselves, segments that survive cuts, flips and full disks."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiplat_lab.core.errors import LedgerError
from aiplat_lab.ledger.spool import Spool, frame, is_whole, lines, payload_line, row_line, row_of, segments

BODIES = st.lists(st.text(max_size=40), min_size=1, max_size=8)


def _framed(texts: list[str]) -> list[bytes]:
    return [frame(b'"payload":' + json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")) for text in texts]


@given(BODIES)
def test_a_line_is_json_and_proves_itself(texts: list[str]) -> None:
    for text, line in zip(texts, _framed(texts), strict=True):
        assert line.count(b"\n") == 1
        assert is_whole(line[:-1])
        assert json.loads(line)["payload"] == text.encode("utf-8", "replace").decode()


@given(BODIES, st.data())
def test_a_cut_tail_leaves_exactly_the_whole_lines_before_it(texts: list[str], data: st.DataObject) -> None:
    framed = _framed(texts)
    whole = b"".join(framed)
    cut = data.draw(st.integers(0, len(whole)))
    kept = 0
    while kept < len(framed) and len(b"".join(framed[: kept + 1])) - 1 <= cut:  # the last line may lack its line break
        kept += 1
    found, bad = lines(whole[:cut])
    assert [line.text for line in found] == [line[:-1] for line in framed[:kept]]
    assert bad == 0
    zeroed, _ = lines(whole[:cut] + bytes(len(whole) - cut))
    assert [line.text for line in zeroed] in ([line[:-1] for line in framed[:kept]], [line[:-1] for line in framed[: max(kept - 1, 0)]])


@given(BODIES, st.data())
def test_a_flipped_bit_takes_one_line_only(texts: list[str], data: st.DataObject) -> None:
    framed = _framed(texts)
    whole = bytearray(b"".join(framed))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    found, _ = lines(bytes(whole))
    good = {line[:-1] for line in framed}
    assert {line.text for line in found} <= good
    assert len(found) >= len(framed) - 1
    for line in found:
        assert whole[line.offset : line.offset + len(line.text)] == line.text


def test_the_parts_of_a_line() -> None:
    digest = "ab" * 32
    found, bad = lines(row_line("call", digest, b'{"a":1}') + payload_line(digest, b'{"text":"\xc3\xa9"}'))
    assert [(line.name, line.hash) for line in found] == [("call", digest), ("payload", digest)]
    assert row_of(found[0].text) == b'{"a":1}'
    assert json.loads(found[1].text)["body"] == '{"text":"é"}'
    assert bad == 0


def test_segments_are_numbered_and_never_timed(tmp_path: Path) -> None:
    spool = Spool(tmp_path, number=7)
    spool.append(b"one\n")
    os.utime(spool.path, (0, 0))
    spool.rotate()
    spool.append(b"two\n")
    assert list(segments(tmp_path)) == [7, 8]
    (tmp_path / "notes.txt").write_text("mine")
    assert list(segments(tmp_path)) == [7, 8]
    spool.close()
    with pytest.raises(LedgerError, match="cannot be written"):
        Spool(tmp_path, number=8)  # a number is used once


def test_an_unused_segment_leaves_no_file(tmp_path: Path) -> None:
    Spool(tmp_path, number=1).close()
    assert not segments(tmp_path)


_FULL = """
import resource, signal, sys
sys.path[:0] = {path!r}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from pathlib import Path
from aiplat_lab.core.errors import LedgerError
from aiplat_lab.ledger.spool import Spool, frame, lines
spool = Spool(Path({folder!r}), number=1)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
kept = refused = 0
for number in range(100):
    try:
        spool.append(frame(b'"n":%d,"x":"%s"' % (number, b"x" * 150)))
        kept += 1
    except LedgerError:
        refused += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for number in range(10):
    spool.append(frame(b'"n":%d' % number))
found, bad = lines(spool.path.read_bytes())
print(kept, refused, len(found), bad)
"""


def test_a_full_disk_costs_no_line_and_writing_goes_on_when_there_is_room(tmp_path: Path) -> None:
    code = _FULL.format(path=sys.path, folder=str(tmp_path))
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    kept, refused, found, bad = map(int, out.split())
    assert kept > 20 and refused > 20
    assert (found, bad) == (kept + 10, 0)


def test_a_full_disk_is_said_in_one_sentence(tmp_path: Path) -> None:
    spool = Spool(tmp_path, number=1)
    fd = os.open("/dev/full", os.O_WRONLY)
    os.dup2(fd, spool._fd)
    os.close(fd)
    with pytest.raises(LedgerError, match="the disk is full") as error:
        spool.append(b"x" * 100)
    assert len(error.value.message.encode()) <= 800
    spool.append(b"whole\n")  # the file could not be cut back, so the next line has a segment of its own
    assert spool.number == 2 and spool.path.read_bytes() == b"whole\n"


def test_a_forked_child_cannot_write(tmp_path: Path) -> None:
    spool = Spool(tmp_path, number=1)
    spool.append(b"parent\n")
    child = os.fork()
    if child == 0:
        try:
            spool.append(b"child\n")
        except LedgerError:
            os._exit(3)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert spool.path.read_bytes() == b"parent\n"
    spool.close()


def test_threads_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, number=1, durability="power")
    real, calls, lock = os.fdatasync, [], threading.Lock()

    def counted(fd: int) -> None:
        calls.append(fd)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", counted)

    def work() -> None:
        for _ in range(20):
            with lock:
                spool.append(b"x" * 100 + b"\n")
            spool.sync()
            assert spool._synced >= (1, 0)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spool.size == 160 * 101
    assert 1 <= len(calls) <= 160
    spool.close()


def test_process_durability_syncs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, number=1)
    monkeypatch.setattr(os, "fdatasync", lambda _: pytest.fail("synced"))
    spool.append(b"x\n")
    spool.sync()
    spool.close()


def test_limits_of_this_machine_are_put_back() -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
