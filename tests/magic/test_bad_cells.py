"""What goes wrong in a cell, in a real kernel that nobody watches: one short error with a next step, and the next cell works."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import faults
import nbformat
import papermill
import psutil
import pytest
from faults import FaultServer
from livekernel import Kernel, shown
from magickit import CANARY, MIME, SETTINGS, Lab
from papermill.exceptions import PapermillExecutionError

from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import CallCancelled, GatewayUnavailable
from aiplat_lab.core.settings import Home

WORDS = "one two three"
TEN = faults.WORDS
MORE_SETTINGS = """
[gateway]
names = ["127.0.0.1:{port}"]
[models.slow]
deployments = [{{ provider = "up", model = "slow-stream", input_usd_per_mtok = 2, output_usd_per_mtok = 8 }}]
[models.counted]
deployments = [{{ provider = "claude", model = "slow-stream", input_usd_per_mtok = 2, output_usd_per_mtok = 8 }}]
[providers.down]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
retries = 0
[providers.claude]
kind = "anthropic"
base_url = "{anthropic}"
api_key = "env:UP_KEY"
retries = 0
"""
VALUES = """
import os
class Angry:
    def __str__(self): raise RuntimeError("no\\ntext of mine")
    def __repr__(self): raise KeyError("nor this")
    def __format__(self, spec): raise OSError("nor that")
class Leaving:
    def __str__(self): raise SystemExit(3)
class Endless:
    def __str__(self): return str(self)
class Wrong:
    def __str__(self): return 7
class Hidden:
    @property
    def __class__(self): raise ValueError("guess")
    def __str__(self): return "a proxy"
angry, leaving, endless, wrong, hidden = Angry(), Leaving(), Endless(), Wrong(), Hidden()
customer = "Ann"
env = os.environ
"""


class Failure(NamedTuple):
    """One cell that must fail, and what its line says."""

    cell: str
    kind: str
    said: str
    step: str


# The scenarios in which the other magics raise nothing, or a screenful.
FAILURES = {
    "wrong key": Failure("%%ai up/status-401\nx", "ProviderError", "not accepted (401)", "Correct providers.up.api_key"),
    "429 each time": Failure("%%ai up/status-429\nx", "ProviderError", "429", "Wait 1 s, or add a second deployment"),
    "500": Failure("%%ai up/status-500\nx", "ProviderError", "500", "Try again later"),
    "endpoint down": Failure("%%ai down/any\nx", "ProviderError", "127.0.0.1:9", "providers.down.base_url"),
    "timeout": Failure("%%ai up/hang --timeout 1\nx", "ProviderError", "no answer within 1 s", "Try again, raise the time limit"),
    "interrupt": Failure("%%ai slow --stream\nx", "CallCancelled", "interrupted", "Run the cell again"),
    "empty cell": Failure("%%ai", "UsageError", "no text", "Write the prompt on the lines below"),
    "blank body": Failure("%%ai echo\n   \n\t\n", "UsageError", "nothing was sent", "Write the prompt on the lines below"),
    "unknown model": Failure("%%ai ehco\nx", "UnknownModel", "there is no model 'ehco'", "Did you mean echo?"),
    "bad option": Failure("%%ai --fromat code\nx", "UsageError", "no option '--fromat'", "Did you mean --format"),
    "bad settings": Failure('%%ai -m {"temperature": }\nx', "UsageError", "not JSON", 'write them as {"temperature": 0.2'),
    "undefined name": Failure("%%ai\nDear {custmer}", "PromptError", "Nothing was sent", "Did you mean customer?"),
    "no JSON where it was asked for": Failure("%%ai up/instant -f json\nx", "ProviderError", "not with JSON", "Ask more plainly"),
}
MORE = {
    "no model": Failure("%%ai nobody/nothing\nx", "UnknownModel", "'nobody/nothing'", "aiplat model list"),
    "a key in the cell": Failure('%%ai -m {"api_key": "sk-1"}\nx', "UsageError", "'api_key' does not belong", "aiplat.toml"),
    "an option twice": Failure("%%ai -f code --format code\nx", "UsageError", "given twice", "keep one"),
    "an option without its value": Failure("%%ai -o\nx", "UsageError", "-o needs a value", "-o NAME"),
    "an option before an option": Failure("%%ai --system --quiet\nx", "UsageError", "--system needs a value", "--system TEXT"),
    "a stream that is cut": Failure("%%ai up/cut-stream --stream\nx", "ProviderError", "cut off half-way", "Try again"),
    "str raises": Failure("%%ai\n{angry}", "PromptError", "{angry} cannot be read", "no text of mine"),
    "repr raises": Failure("%%ai\n{angry!r}", "PromptError", "{angry!r} cannot be read", "nor this"),
    "format raises": Failure("%%ai\n{angry:>9}", "PromptError", "{angry:>9} cannot be read", "nor that"),
    "str leaves": Failure("%%ai\n{leaving}", "PromptError", "{leaving} cannot be read", "SystemExit"),
    "str without end": Failure("%%ai\n{endless}", "PromptError", "{endless} cannot be read", "RecursionError"),
    "str gives no text": Failure("%%ai\n{wrong}", "PromptError", "{wrong} cannot be read", "TypeError"),
    "the environment": Failure("%%ai\n{env}", "PromptError", "may hold keys", "Put the one value you need into a variable"),
}


class Wire:
    """A way to the gateway by TCP that can be cut."""

    def __init__(self) -> None:
        self.to = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self.cut()

    def _take(self) -> None:
        while True:
            try:
                one, _ = self._socket.accept()
            except OSError:
                return
            other = socket.create_connection(("127.0.0.1", self.to))
            self._open += [one, other]
            for pair in ((one, other), (other, one)):
                threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while piece := source.recv(65_536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def cut(self) -> None:
        for one in self._open:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._open.clear()


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with Wire() as one:
        yield one


@pytest.fixture(scope="module")
def magic_home(magic_home: Home, upstream: FaultServer, wire: Wire) -> Home:
    """The home of these tests: with a model that has a price and is slow, and a provider that is down."""
    text = SETTINGS.format(url=upstream.openai_url) + MORE_SETTINGS.format(anthropic=upstream.url, port=wire.port)
    magic_home.settings_file.write_text(text, encoding="utf-8")
    return magic_home


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cells")


@contextmanager
def started(folder: Path) -> Iterator[Kernel]:
    one = Kernel(dict(os.environ), folder)
    try:
        one.run("%load_ext aiplat_lab")
        yield one
    finally:
        one.close()


@pytest.fixture(scope="module")
def kernel(magic_home: Home, folder: Path) -> Iterator[Kernel]:
    with started(folder) as one:
        one.run(VALUES)
        assert shown(one.run("%%ai --fresh\nwarm up"))
        yield one


@pytest.fixture(scope="module")
def client(magic_home: Home) -> Iterator[Client]:
    with connect(magic_home) as one:
        yield one


def works(kernel: Kernel, text: str = "still here") -> bool:
    """Whether the next cell of that kernel is answered."""
    last = shown(kernel.run(f"%%ai --fresh\n{text}"))[-1][2]["data"][MIME]
    return (last["status"], last["text"]) == ("ok", text)


def recorded(client: Client, call_id: str) -> dict[str, Any]:
    """The row of a call, once it is there."""
    row = client.ended(call_id, within_s=5)
    assert row is not None, f"no row for {call_id}"
    return row


def begin(kernel: Kernel, upstream: FaultServer, cell: str, *, watched: bool = True) -> str:
    """Sends a cell that streams, and waits until the upstream has sent a few words."""
    upstream.reset()
    sent = kernel.send(cell, allow_stdin=watched)
    assert upstream.wait_for(lambda: upstream.chunks_sent >= 6, 10)
    return sent


def one_error(seen: list[Any], failure: Failure) -> None:
    errors = [content for _, kind, content in seen if kind == "error"]
    assert len(errors) == 1, seen
    (line,) = errors[0]["traceback"]
    plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
    assert errors[0]["ename"] == failure.kind and plain.startswith(f"{failure.kind}: ") and "\n" not in line
    assert failure.said in plain and failure.step in plain, plain
    assert len(line.encode()) <= 800 and CANARY not in json.dumps([content for _, _, content in seen])
    assert not [content for _, kind, content in seen if kind == "stream"], "nothing but the error is printed"


@pytest.mark.parametrize("name", [*FAILURES, *MORE])
def test_each_failure_is_one_short_error_and_stops_the_run(kernel: Kernel, client: Client, upstream: FaultServer, name: str) -> None:
    failure = (FAILURES | MORE)[name]
    upstream.reset()
    if name == "interrupt":
        sent = begin(kernel, upstream, failure.cell, watched=False)
        kernel.manager.interrupt_kernel()
    else:
        sent = kernel.send(failure.cell, allow_stdin=False)
    seen = [one for one in kernel.messages(sent) if one[1] not in {"status", "execute_input"}]
    assert kernel.reply(sent)["status"] == "error"
    one_error(seen, failure)
    if failure.kind in {"UsageError", "PromptError"}:
        assert upstream.requests == [] and shown(seen) == [], "nothing was sent, and there is nothing to show"
    for _, _, content in shown(seen):
        call = content["data"][MIME]
        row = recorded(client, call["call_id"])
        assert (row["status"], row["surface"]) == (call["status"], "magic")


def test_there_are_thirteen_of_them() -> None:
    assert len(FAILURES) == 13


def test_papermill_stops_at_a_wrong_key_and_keeps_no_error_as_an_answer(magic_home: Home, tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in ("%load_ext aiplat_lab", "%%ai up/status-401 -o said\nx", "print('never')")]
    kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernelspec}), tmp_path / "in.ipynb")
    with pytest.raises(PapermillExecutionError) as caught:
        papermill.execute_notebook(tmp_path / "in.ipynb", tmp_path / "out.ipynb", progress_bar=False)
    assert caught.value.ename == "ProviderError" and len(caught.value.traceback) == 1
    assert len(caught.value.evalue.encode()) <= 800 and "Correct providers.up.api_key" in caught.value.evalue
    written = (tmp_path / "out.ipynb").read_text()
    assert CANARY not in written and "execute_result" not in written


def test_what_passes_by_itself_is_waited_for(kernel: Kernel) -> None:
    last = shown(kernel.run("%%ai retried --fresh\nx", allow_stdin=False))[-1][2]["data"][MIME]
    assert last["status"] == "ok"


def test_a_proxy_that_hides_its_class_is_read_as_its_text(kernel: Kernel) -> None:
    assert shown(kernel.run("%%ai --fresh\nsay {hidden}"))[-1][2]["data"][MIME]["text"] == "say a proxy"


# --- interrupts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["slow", "counted", "up/hang"])
def test_an_interrupt_gives_the_cell_back_at_once(kernel: Kernel, client: Client, upstream: FaultServer, model: str) -> None:
    process = psutil.Process(kernel.manager.provisioner.pid)
    if model == "up/hang":
        upstream.reset()
        sent = kernel.send(f"%%ai {model} --fresh\nx")
        assert upstream.wait_for(lambda: upstream.requests, 10)
    else:
        sent = begin(kernel, upstream, f"%%ai {model} --fresh\nx")
    used, begun = sum(process.cpu_times()[:2]), time.monotonic()
    kernel.manager.interrupt_kernel()
    seen = list(kernel.messages(sent))
    took, used = time.monotonic() - begun, sum(process.cpu_times()[:2]) - used
    kernel.reply(sent)
    assert upstream.wait_for(lambda: upstream.disconnects, 5)
    assert upstream.disconnects[0] - begun <= 0.5 and took <= 1.5 and used <= 0.1
    data = shown(seen)[-1][2]["data"]
    call = data[MIME]
    row = recorded(client, call["call_id"])
    assert call["status"] == row["status"] == "cancelled"
    assert call["cost_usd"] == row["cost_usd"] and call["latency_s"] == row["latency_s"]
    assert ("£" in data["text/plain"]) == (row["cost_usd"] is not None)
    assert ("cost unknown" in data["text/plain"]) == (row["cost_usd"] is None), "unknown is not nothing"
    assert model == "up/hang" or (call["text"].startswith(WORDS) and (row["text"] or "").startswith(call["text"].strip()))
    assert works(kernel)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Interrupts count as in a terminal, though whoever started the tests in the background had them ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_interrupt_does_not_lose_what_the_first_kept(lab: Lab, monkeypatch: pytest.MonkeyPatch, interruptible: None) -> None:
    ended = Client.ended

    def again(self: Client, call_id: str, *, within_s: float = 0.3) -> dict[str, Any] | None:
        os.kill(os.getpid(), signal.SIGINT)
        return ended(self, call_id, within_s=within_s)

    def first() -> None:
        lab.upstream.wait_for(lambda: lab.upstream.chunks_sent >= 6, 10)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Client, "ended", again)
    threading.Thread(target=first).start()
    ran = lab.run("%%ai slow --fresh --stream\nx")
    assert isinstance(ran.error, CallCancelled) and len(ran.printed.strip().splitlines()) == 1
    assert ran.call["status"] == "cancelled" and ran.call["text"].startswith(WORDS)
    with pytest.raises(KeyboardInterrupt):  # and the next one counts again
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)


# --- what dies in the middle of a stream ------------------------------------------------------------------------------


def test_a_kernel_that_dies_leaves_a_whole_record(magic_home: Home, folder: Path, client: Client, upstream: FaultServer) -> None:
    with started(folder) as doomed:
        sent = begin(doomed, upstream, "%%ai slow --fresh\nx")
        partial = next(content for _, kind, content in doomed.messages(sent) if kind == "display_data")["data"]
        died = time.monotonic()
        psutil.Process(doomed.manager.provisioner.pid).kill()
        assert upstream.wait_for(lambda: upstream.disconnects, 5) and upstream.disconnects[0] - died <= 0.5
        row = recorded(client, partial[MIME]["call_id"])
        assert row["status"] == "cancelled" and row["text"].startswith(WORDS)
        assert "not the whole answer yet" in partial["text/plain"] and "not the whole answer yet" in partial["text/html"]
        doomed.manager.restart_kernel(now=True)
        doomed.client.wait_for_ready(timeout=60)
        doomed.run("%load_ext aiplat_lab")
        assert works(doomed)


def test_a_gateway_that_is_stopped_lets_a_stream_end(kernel: Kernel, client: Client, upstream: FaultServer) -> None:
    sent = begin(kernel, upstream, "%%ai up/paced-30-50ms --fresh\nx")
    psutil.Process(client.status()["pid"]).terminate()
    seen = list(kernel.messages(sent))
    assert kernel.reply(sent)["status"] == "ok"
    call = shown(seen)[-1][2]["data"][MIME]
    assert call["status"] == "ok" and call["text"] == "".join(f"{word} " for word in TEN * 3)
    assert works(kernel) and client.call(call["call_id"])["status"] == "ok"


def test_a_gateway_that_is_killed_in_the_middle_of_a_stream(kernel: Kernel, client: Client, upstream: FaultServer) -> None:
    sent = begin(kernel, upstream, "%%ai slow --fresh\nx")
    psutil.Process(client.status()["pid"]).kill()
    seen = list(kernel.messages(sent))
    assert kernel.reply(sent)["status"] == "error"
    errors = [content for _, kind, content in seen if kind == "error"]
    assert len(errors) == 1 and len(errors[0]["traceback"]) == 1
    assert errors[0]["ename"] == "GatewayUnavailable"
    assert "Run it again" in errors[0]["evalue"] and len(errors[0]["traceback"][0].encode()) <= 800
    call = shown(seen)[-1][2]["data"][MIME]
    assert call["status"] == "error" and call["text"].startswith(WORDS)
    assert works(kernel), "the next cell starts the gateway"
    row = client.call(call["call_id"])
    assert (row["status"], row["error_type"], row["cost_usd"]) == ("error", "gateway_lost", None)


def test_a_network_that_is_cut_in_the_middle_of_a_stream(lab: Lab, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    wire.to = int(lab.client.status()["http"].rpartition(":")[2])
    key = lab.client.post("/api/keys", {"name": "far away", "team": "risk"})["key"]
    monkeypatch.setenv("AIPLAT_GATEWAY", f"http://127.0.0.1:{wire.port}")
    monkeypatch.setenv("AIPLAT_KEY", key)
    assert lab.run("%%ai --fresh --stream\nfar away").call["text"] == "far away"
    lab.upstream.reset()
    cutter = threading.Thread(target=lambda: (lab.upstream.wait_for(lambda: lab.upstream.chunks_sent >= 8, 10), wire.cut()))
    cutter.start()
    ran = lab.run("%%ai slow --fresh --stream\nx")
    cutter.join()
    assert isinstance(ran.error, GatewayUnavailable) and "Run it again" in ran.printed and len(ran.printed.strip().splitlines()) == 1
    assert ran.call["status"] == "error" and ran.call["text"].startswith(WORDS)
    assert lab.upstream.wait_for(lambda: lab.upstream.disconnects, 2), "the gateway closed the upstream"
    row = recorded(lab.client, ran.call["call_id"])
    assert row["status"] == "cancelled" and row["text"].startswith(ran.call["text"].strip()) and row["team"] == "risk"
    assert lab.run("%%ai --fresh --stream\nagain").call["text"] == "again"


def test_a_connection_to_a_shared_gateway_notices_a_peer_that_vanished(lab: Lab) -> None:
    from aiplat_lab.client._wire import Connection, Target

    with Connection(Target(home=lab.home, url=lab.client.status()["http"]), None) as connection:
        wire = connection._socket
        assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        waits = [wire.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")]
        assert waits[0] + waits[1] * waits[2] <= 30
