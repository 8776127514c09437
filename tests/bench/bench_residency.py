"""How many of 10,000 random calls under random rules of residency leave their regions: none may.

python tests/bench/bench_residency.py [CASES] [SEED]
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from residencykit import fuzz, told

from aiplat_lab.core.settings import Home


def main(cases: int = 10_000, seed: int = 1) -> int:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AIPLAT_HOME"] = folder
        began = time.process_time()
        account = asyncio.run(fuzz(Home(Path(folder) / "home").create(), seed=seed, cases=cases))
        print(json.dumps({**told(account), "cpu_s": round(time.process_time() - began, 1)}))
        print(*account.outside[:20], sep="\n")
    return int(bool(account.outside))


if __name__ == "__main__":
    sys.exit(main(*(int(word) for word in sys.argv[1:])))
