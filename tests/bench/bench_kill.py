"""kill -9 of the gateway under load: acknowledged calls lost, calls doubled, chains broken.

python tests/bench/bench_kill.py [--kills 200] [--callers 8]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import storm
from served import served


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--callers", type=int, default=8)
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, served(Path(folder) / "home") as place:
        found = storm.run(place, kills=options.kills, callers=options.callers)
    result = {
        "kills": found.kills,
        "callers": options.callers,
        "acknowledged": len(found.acknowledged),
        "acknowledged_lost": len(found.lost),
        "doubled": len(found.doubled),
        "chains_broken": len(found.broken_chains),
        "chains_broken_why": found.broken_chains[:5],
        "reported_to_the_caller": len(found.reported),
        "unexplained": found.unexplained[:5],
        "rows": dict(found.statuses),
        "kill_to_verified_p50_s": round(statistics.median(found.restart_s), 3),
        "kill_to_verified_max_s": round(max(found.restart_s), 3),
        "seconds": round(time.monotonic() - begun, 1),
    }
    print(json.dumps(result, indent=1))
    return int(bool(found.lost or found.doubled or found.broken_chains or found.unexplained))


if __name__ == "__main__":
    sys.exit(main())
