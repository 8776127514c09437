"""Six kinds of failed report run: how many are published as a success.

python tests/bench/bench_failed_runs.py [--rounds 5]
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
from failedkit import STATUS, failing_home, fill_and_recover, limited_run, small_disk
from served import wait_for


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    begun = time.monotonic()
    ends: Counter[str] = Counter()
    published: list[str] = []
    left: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        with failing_home(Path(folder) / "home") as place:
            for number in range(rounds):
                names = {kind: place.start(kind, number) for kind in STATUS}
                for kind, name in names.items():
                    ends[f"{kind}: {place.end(name)['status']}"] += 1
            published += place.published()
            wait_for(lambda: not place.left(), 10)
            left += place.left()
        for number in range(rounds):
            with small_disk(Path(folder) / f"disk{number}") as disk:
                if disk is None:
                    done, files = limited_run(Path(folder) / f"limited{number}")
                    ends[f"disk: {'ok' if done.returncode == 0 else 'failed'} (limited file size)"] += 1
                    published += map(str, files)
                    continue
                with failing_home(disk / "home") as place:
                    end, meanwhile = fill_and_recover(place, number)
                    ends[f"disk: {end['status']}"] += 1
                    published += [*meanwhile, *place.published()]
                    left += place.left()
    result = {
        "runs": sum(ends.values()),
        "ends": dict(sorted(ends.items())),
        "published_as_success": len(published) + sum(count for end, count in ends.items() if ": ok" in end),
        "left_behind": left,
        "seconds": round(time.monotonic() - begun, 1),
    }
    print(json.dumps(result, indent=1))
    return int(bool(result["published_as_success"] or left))


if __name__ == "__main__":
    sys.exit(main())
