"""`%%ai` in a real kernel: streaming, interrupting, where the cell stands, and runs that nobody watches."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import papermill
import pytest
from faults import FaultServer
from livekernel import Kernel, shown
from magickit import CANARY, MIME
from papermill.exceptions import PapermillExecutionError

from aiplat_lab.client import Client, connect
from aiplat_lab.core.settings import Home

CODE = "x = 1 Answer with source code only, with no text before or after it."
"""What the echoing model makes of a cell that asks for the code `x = 1`."""


@pytest.fixture(scope="module")
def kernel(magic_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    import os

    root = tmp_path_factory.mktemp("a root with spaces ü")
    (root / "work").mkdir()
    one = Kernel(
        {**os.environ, "JPY_SESSION_NAME": str(root / "work" / "my notes.ipynb"), "JPY_PARENT_PID": str(os.getpid())}, root / "work"
    )
    server = Path(one.manager.connection_file).parent / f"jpserver-{os.getpid()}.json"
    server.write_text(json.dumps({"root_dir": str(root), "token": "unused"}))
    try:
        assert one.run("%load_ext aiplat_lab") == []
        assert one.run("%%ai --fresh\nwarm up")
        yield one
    finally:
        server.unlink()
        one.close()


@pytest.fixture(scope="module")
def client(magic_home: Home) -> Iterator[Client]:
    with connect(magic_home) as one:
        yield one


def test_a_stream_is_one_output_that_grows_and_ends_clean(kernel: Kernel) -> None:
    begun = time.monotonic()
    seen = shown(kernel.run("%%ai up/slow-stream --fresh --max-tokens 60\ncount"))
    took = seen[-1][0] - begun
    assert [kind for _, kind, _ in seen] == ["display_data"] + ["update_display_data"] * (len(seen) - 1)
    assert len({content["transient"]["display_id"] for _, _, content in seen}) == 1
    assert 10 <= len(seen) <= took * 10 + 3, "at most ten updates a second"
    first, last = seen[0][2]["data"], seen[-1][2]["data"]
    assert first[MIME]["status"] == "running" and first[MIME]["text"].startswith("one")
    assert last[MIME]["status"] == "ok" and last[MIME]["text"].startswith(first[MIME]["text"])
    assert set(last) == {MIME, "text/html", "text/markdown", "text/plain"}
    for _, _, content in seen[1:]:
        assert content["data"][MIME]["text"].startswith(first[MIME]["text"])


def test_the_first_piece_is_shown_at_once(kernel: Kernel) -> None:
    begun = time.monotonic()
    seen = shown(kernel.run("%%ai up/slow-stream --fresh --max-tokens 61\ncount"))
    assert seen[0][0] - begun < 1.0 < seen[-1][0] - begun


@pytest.mark.parametrize(
    ("line", "partial"), [("up/slow-stream --fresh", True), ("up/hang --fresh", False), ("up/hang --fresh --no-stream", False)]
)
def test_interrupting_cancels_the_call_at_the_provider(
    kernel: Kernel, client: Client, upstream: FaultServer, line: str, partial: bool
) -> None:
    upstream.reset()
    sent = kernel.send(f"%%ai {line}\nx {time.time()}")
    assert upstream.wait_for(lambda: upstream.requests, 10)
    time.sleep(0.6)
    interrupted = time.monotonic()
    kernel.manager.interrupt_kernel()
    seen = list(kernel.messages(sent))
    back = time.monotonic() - interrupted
    reply = kernel.reply(sent)
    assert upstream.wait_for(lambda: upstream.disconnects, 5)
    assert upstream.disconnects[0] - interrupted <= 0.5 and back <= 2.0
    assert (reply["status"], reply["ename"]) == ("error", "CallCancelled")
    errors = [content for _, kind, content in seen if kind == "error"]
    assert len(errors) == 1 and len(errors[0]["traceback"]) == 1 and "\n" not in errors[0]["traceback"][0]
    assert "interrupted" in errors[0]["evalue"] and len(json.dumps(errors[0]["traceback"])) <= 900
    last = shown(seen)[-1][2]["data"][MIME]
    assert last["status"] == "cancelled" and (last["text"].startswith("one two") if partial else last["text"] == "")
    deadline = time.monotonic() + 5
    while (row := client.call(last["call_id"]))["status"] != "cancelled" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert row["status"] == "cancelled"
    if partial:
        assert row["text"].startswith(last["text"].strip()[:20])
    assert [content["text"] for _, kind, content in kernel.run("print(1 + 1)") if kind == "stream"] == ["2\n"]
    assert shown(kernel.run("%%ai --fresh\nstill usable"))[-1][2]["data"][MIME]["status"] == "ok"


def test_the_ledger_knows_notebook_and_cell(kernel: Kernel, client: Client) -> None:
    seen = shown(kernel.run("%%ai --fresh\nwhere am I", cell_id="cell-7"))
    row = client.call(seen[-1][2]["data"][MIME]["call_id"])
    assert (row["notebook"], row["cell_id"], row["surface"]) == ("work/my notes.ipynb", "cell-7", "magic")


def test_nobody_watches(kernel: Kernel) -> None:
    seen = kernel.run("%%ai up/stream-20 --fresh\ncount", allow_stdin=False)
    assert [kind for _, kind, _ in seen] == ["display_data"]
    assert seen[0][2]["data"][MIME]["status"] == "ok"
    refused = kernel.run("%%ai --fresh\nDear {nobody_of_that_name}", allow_stdin=False)
    assert [(kind, content.get("ename")) for _, kind, content in refused] == [("error", "PromptError")]


def test_a_reply_shown_again_is_whole(kernel: Kernel) -> None:
    kernel.run("%%ai -o answer --quiet\nkeep me")
    seen = [content["data"] for _, kind, content in kernel.run("answer") if kind == "execute_result"]
    assert len(seen) == 1 and seen[0][MIME]["text"] == "keep me" and "keep me" in seen[0]["text/html"]


def test_code_becomes_the_next_cell_when_somebody_watches(kernel: Kernel) -> None:
    for watched in (True, False):
        sent = kernel.send("%%ai -f code --fresh\nx = 1", allow_stdin=watched)
        outputs = shown(list(kernel.messages(sent)))
        payload = kernel.reply(sent).get("payload") or []
        assert [one["text"] for one in payload if one["source"] == "set_next_input"] == ([CODE] if watched else [])
        assert outputs[-1][2]["data"][MIME]["text"] == CODE


def notebook(path: Path, *sources: str) -> Path:
    cells = [nbformat.v4.new_code_cell(source) for source in ("%load_ext aiplat_lab", *sources)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}), path)
    return path


def test_papermill_keeps_the_answer_and_stops_at_a_failure(magic_home: Home, tmp_path: Path) -> None:
    good = papermill.execute_notebook(
        notebook(tmp_path / "good.ipynb", "%%ai -o reply\nall is well", "%%ai -f code\nx = 1", "assert reply == 'all is well'"),
        tmp_path / "good.out.ipynb",
        progress_bar=False,
    )
    answers = [output for cell in good.cells[1:3] for output in cell.outputs]
    assert [answer.output_type for answer in answers] == ["display_data", "display_data"]
    assert [answer.data[MIME]["text"] for answer in answers] == ["all is well", CODE]
    assert CANARY not in (tmp_path / "good.out.ipynb").read_text()
    with pytest.raises(PapermillExecutionError) as caught:
        papermill.execute_notebook(
            notebook(tmp_path / "bad.ipynb", "%%ai up/status-401\nx", "print('never')"), tmp_path / "bad.out.ipynb", progress_bar=False
        )
    assert caught.value.ename == "ProviderError" and len(caught.value.traceback) == 1
    assert len(str(caught.value.evalue).encode()) <= 800
    assert "never" not in json.dumps(nbformat.read(tmp_path / "bad.out.ipynb", 4).cells[-1].get("outputs"))
