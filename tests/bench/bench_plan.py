"""What a plan, a dry run and a completion cost in time: `python tests/bench/bench_plan.py [CELLS]`.

Prints milliseconds from one run: `%ai plan` of a notebook of so many cells (50) that is not known yet and one that is all replay, a
dry run beside the same call answered from the cache, and completions with the names in memory.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "magic"), str(ROOT)]

from faults import FaultServer  # noqa: E402
from magickit import CANARY, SETTINGS, make_shell  # noqa: E402

from aiplat_lab.client import connect  # noqa: E402
from aiplat_lab.core.settings import Home  # noqa: E402


def median_ms(what: Callable[[], object], times: int) -> float:
    """The median of so many runs."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        what()
        found.append((time.perf_counter() - began) * 1000)
    return statistics.median(found)


def main(cells: int) -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory() as folder, FaultServer() as upstream:
        home = Home(Path(folder) / "home").create()
        os.environ |= {"AIPLAT_HOME": str(home.path), "IPYTHONDIR": str(Path(folder) / "ipython"), "UP_KEY": CANARY}
        home.settings_file.write_text(SETTINGS.format(url=upstream.openai_url), encoding="utf-8")
        shell = make_shell()
        try:
            import aiplat_lab
            from aiplat_lab.magic import _complete

            client = connect(home)
            sources = [f"%%ai\nquestion {index}: " + "some words " * 40 for index in range(cells)]
            aiplat_lab.plan(cells=sources[:1])
            said = {"cells": cells, "plan_live_ms": median_ms(lambda: aiplat_lab.plan(cells=sources), 5)}
            for index in range(cells):
                shell.run_cell(sources[index].replace("%%ai", "%%ai --quiet", 1))
            said["plan_replay_ms"] = median_ms(lambda: aiplat_lab.plan(cells=sources), 5)
            assert aiplat_lab.plan(cells=sources).counts() == {"replay": cells}
            said["dry_run_ms"] = median_ms(lambda: client.dry_run("hello", model="echo", cache="on"), 50)
            client.chat("hello", model="echo", cache="on")
            said["cached_call_ms"] = median_ms(lambda: client.chat("hello", model="echo", cache="on"), 50)
            magics = shell.magics_manager.registry["AiMagics"]
            _complete.names.renew(within_s=10)
            texts = ("%%ai e", "%%ai --", "%%ai --prompt s", "%%ai\n{se", "%ai p")
            said["completion_ms"] = max(median_ms(lambda text=text: _complete.complete(magics, text, len(text)), 50) for text in texts)
            print(json.dumps({name: round(value, 2) for name, value in said.items()}))
        finally:
            connect(home, spawn=False).stop()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
