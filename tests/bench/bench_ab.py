"""A/B comparisons in a real kernel: how soon a vote is stored while answers stream, and what two long columns weigh.

    python tests/bench/bench_ab.py vote     # from the browser's message to the record in the ledger, and to its acknowledgement,
                                            # with both columns streaming; and the same while another cell keeps the kernel busy
    python tests/bench/bench_ab.py bytes    # everything that the kernel publishes for 2 × 1,000 tokens, at several speeds

    python tests/bench/bench_ab.py record   # what a saved record weighs beyond its texts, for 1 and for 30 inputs

Each prints one JSON object. The kernel, the gateway and the upstream are real; the messages are those that JupyterLab sends, on a
shell of their own as it gives controls one. `--rounds N` sets the number of votes of a kind.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "widgets")]

from abkernel import Kernel, control_of, wire_bytes  # noqa: E402
from served import Served, served  # noqa: E402

BEGIN = (
    "import aiplat_lab\nresult = aiplat_lab.ab(['up/{model}', 'up/{model}'], {inputs}, rater='bench', fresh=True, ahead=0, timeout_s=300)"
)
BUSY = "import time\nend = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"
SPEEDS = {
    "at once": "stream-1000",
    "100 tokens/s": "paced-1000-10ms",
    "50 tokens/s": "paced-1000-20ms",
    "20 tokens/s": "paced-1000-50ms",
    "10 tokens/s": "paced-1000-100ms",
}


@contextmanager
def bench() -> Iterator[tuple[Served, Kernel]]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        os.environ["AIPLAT_HOME"] = str(home)
        for name in ("CI", "AIPLAT_HEADLESS", "AIPLAT_GATEWAY"):
            os.environ.pop(name, None)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        with served(home) as place:
            kernel = Kernel(environment, Path(folder))
            try:
                kernel.run("import aiplat_lab.widgets._live")
                kernel.own_shell()
                yield place, kernel
            finally:
                kernel.close()


def state(kernel: Kernel, comm: str, wanted: Any, timeout_s: float = 120.0) -> tuple[float, dict[str, Any]]:
    def found() -> Any:
        return next(((at, one) for at, one in kernel.heard(comm) if one["kind"] == "state" and wanted(one)), None)

    at, content = kernel.wait(found, timeout_s)
    return at, content


def one_vote(place: Served, kernel: Kernel, *, busy: bool) -> tuple[float, float]:
    """Seconds from the message to the record, and to the acknowledgement."""
    comm = control_of(kernel.run(BEGIN.format(model="slow-stream", inputs="'count'")))
    kernel.tell(comm, {"kind": "ready"})
    _, first = state(kernel, comm, lambda one: True)
    kernel.wait(lambda: sum(one["kind"] == "t" and len(one["c"]) == 2 for _, one in kernel.heard(comm)) >= 5)
    sent = kernel.send(BUSY.format(seconds=3)) if busy else ""
    if busy:
        kernel.wait(
            lambda: any(m["msg_type"] == "execute_input" and m["parent_header"].get("msg_id") == sent for _, m in list(kernel.seen))
        )
    voted = kernel.tell(comm, {"kind": "vote", "ballot": first["ballot"], "choice": 0, "reason": ""})
    told, shown = state(kernel, comm, lambda one: one["vote"] and one["vote"]["stored"])
    assert {column["state"] for column in shown["columns"]} == {"running"}, "the vote came while both columns stream"
    assert not busy or not kernel.done(sent), "the other cell was still running"
    (vote,) = place.client.view_rows("vote_list", experiment=first["experiment"])
    if busy:
        kernel.wait(lambda: kernel.done(sent))
    kernel.run("result.stop()")
    return datetime.fromisoformat(vote["recorded_at"]).timestamp() - voted, told - voted


def votes(rounds: int) -> dict[str, Any]:
    with bench() as (place, kernel):
        one_vote(place, kernel, busy=False)
        found: dict[str, Any] = {"load": round(os.getloadavg()[0], 1), "rounds": rounds}
        for name, busy in (("streaming", False), ("streaming, another cell runs", True)):
            took = [one_vote(place, kernel, busy=busy) for _ in range(rounds)]
            for what, place_ in (("stored", 0), ("acknowledged", 1)):
                values = sorted(one[place_] * 1000 for one in took)
                found[f"{name}: {what}_ms"] = {"median": round(statistics.median(values), 1), "worst": round(values[-1], 1)}
        return found


def weights() -> dict[str, Any]:
    found: dict[str, Any] = {"load": round(os.getloadavg()[0], 1)}
    with bench() as (_, kernel):
        for name, model in SPEEDS.items():
            found[name] = one_weight(kernel, model)
    return found


def one_weight(kernel: Kernel, model: str) -> dict[str, int]:
    """What the kernel publishes from the cell to the stored vote and the record that shows it."""
    before = len(kernel.seen)
    comm = control_of(kernel.run(BEGIN.format(model=model, inputs="'count to a thousand'")))
    kernel.tell(comm, {"kind": "ready"})
    _, last = state(kernel, comm, lambda one: all(column["state"] == "ok" for column in one["columns"]))
    kernel.tell(comm, {"kind": "vote", "ballot": last["ballot"], "choice": 0, "reason": ""})
    state(kernel, comm, lambda one: one["vote"] and one["vote"]["stored"])
    kernel.wait(lambda: any("a thousand" in str(m["content"]) and "judged" in str(m["content"]) for m in records(kernel, before)))
    messages = [message for _, message in kernel.seen[before:]]
    pieces = sum(one["kind"] == "t" for _, one in kernel.heard(comm))
    sizes = {kind: sum(wire_bytes(m) for m in messages if m["msg_type"] == kind) for kind in sorted({m["msg_type"] for m in messages})}
    return {"bytes": sum(sizes.values()), "messages": len(messages), "messages of pieces": pieces, **sizes}


def saved() -> dict[str, Any]:
    """Bytes of the saved output, of the texts in it counted once, and the rest; each input judged, so that nothing is hidden."""
    found: dict[str, Any] = {}
    cases = {"1 input, 2 x 1,000 tokens": ("stream-1000", "'count'"), "30 inputs": ("instant", "[f'Question {n}' for n in range(30)]")}
    with bench() as (_, kernel):
        for name, (model, inputs) in cases.items():
            kernel.run(BEGIN.format(model=model, inputs=inputs).replace("ahead=0", "ahead=30"))
            kernel.run("while not result.wait(1): pass\nfor one in result.plan.inputs: result.vote('tie', input_id=one.id)\nresult.wait()")
            shown = next(m["content"]["data"] for m in kernel.run("result") if m["msg_type"] in {"display_data", "execute_result"})
            inputs_of = shown["application/vnd.aiplat.ab+json"]["inputs"]
            texts = sum(len(text.encode()) for one in inputs_of for text in (one["text"], *(a["text"] for a in one["answers"])))
            whole = len(json.dumps(shown, ensure_ascii=False).encode())
            found[name] = {"saved": whole, "texts": texts, "beyond": whole - texts}
    return found


def records(kernel: Kernel, before: int) -> list[Any]:
    return [message for _, message in kernel.seen[before:] if message["msg_type"] == "update_display_data"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("vote", "bytes", "record"))
    parser.add_argument("--rounds", type=int, default=10)
    given = parser.parse_args()
    run = {"vote": lambda: votes(given.rounds), "bytes": weights, "record": saved}[given.what]
    print(json.dumps(run(), indent=1))


if __name__ == "__main__":
    main()
