"""An evaluation of 1,000 samples through the gateway: wall time, CPU and memory of the runner, how full the road was.

python tests/bench/bench_eval_runner.py [--samples 1000] [--in-flight 32] [--runs 3]

The model answers after 20 ms, in a process of its own; every answer is durable in the gateway's ledger; the cache is off. The bar: 1,000
samples in at most 6 s with at most 150 MB in the runner.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evals"))
from evalkit import rows, write
from served import KEY, TOML, stop

from aiplat_lab.client import connect
from aiplat_lab.core.settings import Home

_RUNNER = """
import json, resource, sys, time
begun, cpu = time.monotonic(), time.process_time()
from aiplat_lab.client import connect
from aiplat_lab.evals import evaluate
home, data, in_flight = sys.argv[1:4]
client = connect(home)
run = evaluate(data, model="slow", scorers="exact", concurrency=int(in_flight), cache="off", client=client, progress=False)
wall, spent, rss = time.monotonic() - begun, time.process_time() - cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
loaded = [name for name in ("polars", "duckdb", "numpy", "pandas", "httpx", "scipy") if name in sys.modules]
print(json.dumps({"wall_s": round(wall, 2), "cpu_s": round(spent, 2), "peak_rss_mb": round(rss), "loaded": loaded, "run": run.id,
    "mean": run.summary()[0].mean, "status": run.status}))
"""
_SLOW = '[models.slow]\ndeployments = [{ provider = "up", model = "echo-20ms", input_usd_per_mtok = 1, output_usd_per_mtok = 2 }]\n'


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    tests = Path(__file__).resolve().parents[1]
    upstream = subprocess.Popen([sys.executable, str(tests / "faults.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with tempfile.TemporaryDirectory(prefix="aiplat-bench-") as folder:
        home = Home(Path(folder) / "home").create()
        assert upstream.stdout is not None
        key_file = home.path / "upstream.key"
        key_file.write_text(KEY)
        home.settings_file.write_text(TOML.format(url=upstream.stdout.readline().strip(), key_file=key_file, more="") + _SLOW)
        data = write(Path(folder) / "data.jsonl", rows(options.samples))
        client = connect(home)
        client.status()
        found = []
        try:
            for _ in range(options.runs):
                words = [sys.executable, "-c", _RUNNER, str(home.path), str(data), str(options.in_flight)]
                one = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
                calls = client.sql("SELECT started_at, ended_at FROM calls WHERE experiment = ?", [one["run"]])
                assert len(calls) == options.samples and one["mean"] == 0.8 and one["status"] == "complete", one
                marks = sorted([(at, 1) for at in calls["started_at"]] + [(at, -1) for at in calls["ended_at"]])
                flying, most = 0, 0
                for _at, step in marks:
                    flying += step
                    most = max(most, flying)
                one |= {"peak_in_flight": most, "calls_s": round((calls["ended_at"].max() - calls["started_at"].min()).total_seconds(), 2)}
                found.append(one)
                print(json.dumps(one), flush=True)
        finally:
            stop(home)
            if upstream.stdin is not None:
                upstream.stdin.close()
            upstream.wait(10)
    wall = statistics.median(one["wall_s"] for one in found)
    rss = max(one["peak_rss_mb"] for one in found)
    result = {"samples": options.samples, "in_flight": options.in_flight, "median_wall_s": wall, "peak_rss_mb": rss}
    print(json.dumps(result | {"median_cpu_s": statistics.median(one["cpu_s"] for one in found)}))
    return int(options.samples == 1000 and (wall > 6 or rss > 150))


if __name__ == "__main__":
    begun = time.monotonic()
    code = main()
    print(f"{time.monotonic() - begun:.0f} s in all")
    sys.exit(code)
