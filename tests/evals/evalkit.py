"""What the tests of evaluation share: samples, a served gateway with a priced echo, a run that is killed and taken up again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from served import Served, served

from aiplat_lab.evals import Run, evaluate

MODELS = """
[models.m]
deployments = [{ provider = "up", model = "echo", input_usd_per_mtok = 1000, output_usd_per_mtok = 2000, max_output_tokens = 50 }]
[models.slow]
deployments = [{ provider = "up", model = "echo-20ms", input_usd_per_mtok = 1000, output_usd_per_mtok = 2000, max_output_tokens = 50 }]
[models.unpriced]
deployments = [{ provider = "up", model = "echo@unpriced" }]
[models.free]
deployments = [{ provider = "up", model = "echo@free", input_usd_per_mtok = 0, output_usd_per_mtok = 0 }]
"""
_SCRIPT = """
import json, sys
from pathlib import Path
from aiplat_lab.client import connect
from aiplat_lab.evals import evaluate
home, data, model, scorers, concurrency = sys.argv[1:6]
client = connect(home)
evaluate(data, model=model, scorers=scorers.split(), concurrency=int(concurrency), cache="off", name="killed", client=client)
"""


def rows(count: int, *, wrong_every: int = 5, **more: Any) -> list[dict[str, Any]]:
    """Samples that an echo answers rightly, but for every fifth."""
    return [
        {
            "id": f"s{index:04}",
            "input": {"text": f"say {index}"},
            "target": f"say {index}" if index % wrong_every else "something else",
            "slices": {"third": str(index % 3)},
            **more,
        }
        for index in range(count)
    ]


def write(path: Path, samples: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in samples), encoding="utf-8")
    return path


@contextmanager
def place(folder: Path) -> Iterator[Served]:
    with served(folder / "home", tables=MODELS) as found:
        yield found


@dataclass
class Killed:
    """What came of a run that was killed and taken up again."""

    run: Run
    samples: int
    asked: int
    """Requests that the model saw."""
    twice: int
    """Samples that the model was asked more than once."""
    lost: int
    """Samples that have no score."""
    at_kill: int
    """Requests that the model had seen when the kernel was killed."""


def kill_and_resume(
    place: Served, data: Path, *, share: float, model: str = "slow", scorers: str = "exact", concurrency: int = 8
) -> Killed:
    """Starts a run in a process of its own, kills it when the model was asked `share` of the samples, and takes it up again."""
    samples = len(data.read_text().splitlines())
    before = len(place.upstream.requests)
    words = [str(place.home.path), str(data), model, scorers, str(concurrency)]
    kernel = subprocess.Popen([sys.executable, "-c", _SCRIPT, *words])
    try:
        end = time.monotonic() + 60
        while len(place.upstream.requests) - before < share * samples:
            assert kernel.poll() is None, f"the run ended before it was killed: {kernel.returncode}"
            assert time.monotonic() < end, "the run did not get so far"
            time.sleep(0.001)
        kernel.send_signal(signal.SIGKILL)
    finally:
        kernel.kill()
        kernel.wait()
    at_kill = len(place.upstream.requests) - before
    run = evaluate(resume="killed", concurrency=concurrency, client=place.client, progress=False)
    asked = [seen.body["messages"][-1]["content"] for seen in place.upstream.requests[before:]]
    return Killed(
        run=run,
        samples=samples,
        asked=len(asked),
        twice=sum(count > 1 for count in Counter(asked).values()),
        lost=samples - len({row["sample_id"] for row in run.rows if row["status"] == "ok"}),
        at_kill=at_kill,
    )
