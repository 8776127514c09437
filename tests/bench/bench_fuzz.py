"""A long fuzz of the gateway's HTTP surface: bodies from the OpenAPI document, right and wrong, and good bodies with wrong parts.

    python tests/bench/bench_fuzz.py [--minutes 10] [--seed 1]

Prints what came back by status; ends with an error at the first 500, traceback or hang.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "gateway"))
from fuzzkit import fuzz, mutate, sane
from served import served


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    seen: Counter[int] = Counter()
    with tempfile.TemporaryDirectory() as folder, served(Path(folder) / "home") as place:
        key = place.key(team="risk")
        end, seed = time.monotonic() + options.minutes * 60, options.seed
        while time.monotonic() < end:
            seed += 1
            seen += mutate(place, key, count=200, seed=seed)
            if time.monotonic() < end:
                seen += fuzz(place, key, examples=20, random=True, reading=True)
            print(json.dumps({"seed": seed, "requests": seen.total(), "statuses": dict(sorted(seen.items()))}), flush=True)
        sane(place, key)
        status = place.client.status()
        rows = place.client.view_rows("totals")[0]
    print(json.dumps({"first_seed": options.seed, "requests": seen.total(), "rows": rows["calls"], "incidents": status["incidents"]}))


if __name__ == "__main__":
    main()
