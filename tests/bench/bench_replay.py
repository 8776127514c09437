"""Restart and Run All of a notebook of 50 cells that were all answered before, and what one replayed cell takes.

    nice python tests/bench/bench_replay.py              # 50 cells, 5 rounds, and 10,000 other answers in the ledger
    python tests/bench/bench_replay.py --cells 50 --rounds 5 --others 10000

Prints one JSON object. Each round is a new kernel that runs every cell of the notebook, one after another, as a front end does; the
kernel's own start is not in the figure, loading the extension is. `restarted` is the first round after the gateway started anew, with
nothing in memory. `upstream_requests` are those of all rounds together, and `identical` says whether every replayed text and hash
was, byte for byte, the first one. `live_s` is the first run of the same notebook against an upstream that answers at once.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "magic")]

from faults import FaultServer  # noqa: E402
from jupyter_client.manager import KernelManager  # noqa: E402

from aiplat_lab.client import Client, connect  # noqa: E402
from aiplat_lab.core.settings import Home  # noqa: E402

MIME = "application/vnd.aiplat.call+json"
SETTINGS = """
[providers.up]
kind = "openai"
base_url = "{url}"
[models.bench]
deployments = [{{ provider = "up", model = "echo", input_usd_per_mtok = 1, output_usd_per_mtok = 4 }}]
"""


class Run:
    """What one Run All gave."""

    def __init__(self, cells: list[str], env: dict[str, str], cwd: Path) -> None:
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel(env=env, cwd=str(cwd))
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=120)
        self.calls: list[dict[str, Any]] = []
        self.cell_s: list[float] = []
        try:
            began = time.perf_counter()
            self._cell(client, "%load_ext aiplat_lab")
            for cell in cells:
                at = time.perf_counter()
                self._cell(client, cell)
                self.cell_s.append(time.perf_counter() - at)
            self.whole_s = time.perf_counter() - began
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)

    def _cell(self, client: Any, code: str) -> None:
        sent = client.execute(code)
        last: dict[str, Any] = {}
        while True:
            message = client.get_iopub_msg(timeout=120)
            if message["parent_header"].get("msg_id") != sent:
                continue
            content = message["content"]
            if message["msg_type"] == "error":
                raise SystemExit("\n".join(content["traceback"]))
            last = (content.get("data") or {}).get(MIME) or last
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                break
        if last:
            self.calls.append(last)


def others(client: Client, count: int) -> None:
    """Fills the ledger with other answers that could be replayed."""
    for number in range(count):
        client.chat(f"another question {number} of the same ledger", model="bench", cache="off", attribution={"surface": "magic"})


def main() -> None:
    """Runs the benchmark."""
    reading = argparse.ArgumentParser(description=__doc__)
    for name, default in (("cells", 50), ("rounds", 5), ("others", 10_000)):
        reading.add_argument(f"--{name}", type=int, default=default)
    given = reading.parse_args()
    with tempfile.TemporaryDirectory() as folder, FaultServer() as upstream:
        home = Home(Path(folder) / "home").create()
        home.settings_file.write_text(SETTINGS.format(url=upstream.openai_url), encoding="utf-8")
        env = {**os.environ, "AIPLAT_HOME": str(home.path), "PYTHONPATH": str(ROOT), "IPYTHONDIR": folder, "JPY_SESSION_NAME": ""}
        client = connect(home)
        try:
            others(client, given.others)
            texts = [f"%%ai bench\nQuestion {number} of a notebook, with some words of its own." for number in range(given.cells)]
            live = Run(texts, env, Path(folder))
            asked = len(upstream.requests)
            client.stop()
            rounds = [Run(texts, env, Path(folder)) for _ in range(given.rounds)]
            same = [(one["text"], one["response_hash"]) for one in live.calls]
            identical = all([(one["text"], one["response_hash"]) for one in run.calls] == same for run in rounds)
            print(
                json.dumps(
                    {
                        "cells": given.cells,
                        "others": given.others,
                        "live_s": round(live.whole_s, 3),
                        "restarted_s": round(rounds[0].whole_s, 3),
                        "replay_s": [round(run.whole_s, 3) for run in rounds[1:]],
                        "cell_ms_median": round(1000 * statistics.median(one for run in rounds[1:] for one in run.cell_s), 2),
                        "cell_ms_p95": round(1000 * statistics.quantiles([one for run in rounds[1:] for one in run.cell_s], n=20)[18], 2),
                        "upstream_requests": len(upstream.requests) - asked,
                        "replayed": all(one["replayed"] for run in rounds for one in run.calls),
                        "identical": identical,
                    }
                )
            )
        finally:
            connect(home, spawn=False).stop()


if __name__ == "__main__":
    main()
