"""kill -9 of the kernel in the middle of a run, then resume: samples lost, samples paid twice, whether the report is the same.

python tests/bench/bench_eval_resume.py [--samples 1000] [--in-flight 32] [--runs 4]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evals"))
from evalkit import kill_and_resume, place, rows, write

from aiplat_lab.evals import evaluate


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--runs", type=int, default=4)
    options = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory(prefix="aiplat-bench-") as folder, place(Path(folder)) as served:
        data = write(Path(folder) / "data.jsonl", rows(options.samples))
        whole = evaluate(
            str(data), model="slow", scorers="exact", concurrency=options.in_flight, cache="off", client=served.client, name="whole"
        )
        for share in (0.1, 0.5, 0.9):
            for _ in range(options.runs):
                found = kill_and_resume(served, data, share=share, concurrency=options.in_flight)
                same = found.run.report() == whole.report()
                bad += bool(found.lost or found.twice or not same)
                result = {"killed_at": found.at_kill, "of": found.samples, "lost": found.lost, "paid_twice": found.twice}
                print(json.dumps(result | {"cases_reported": len(found.run.rows), "report_identical": same}), flush=True)
    print(json.dumps({"runs": 3 * options.runs, "bad": bad}))
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
