"""False winners when nothing differs and somebody looks after every 20 votes, and what the fixed-size gate finds and fails.

Run: `python tests/bench/bench_sequential.py [--simulations 2000] [--votes 1000] [--every 20] [--seed 0]`

Every verdict comes from the functions that the product uses (`vote_verdict`, `compare_paired`, `gate_verdict`); the plain
z-test beside it is what one would do without them.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stats"))

from statskit import false_winners, gate_rates, share_with_error, z_test_alarms

from aiplat_lab.stats import mcnemar_power


def main() -> int:
    """Prints every figure beside its bar; exit code 1 when one is missed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--simulations", type=int, default=2000)
    options.add_argument("--votes", type=int, default=1000)
    options.add_argument("--every", type=int, default=20)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    began = time.perf_counter()
    size = {"simulations": given.simulations, "votes": given.votes, "every": given.every, "seed": given.seed}
    rows: list[tuple[str, float, str, bool]] = []
    for variants in (2, 3, 4):
        found = false_winners(variants=variants, **size)
        rows.append((f"false winners, {variants} equal variants", found, "<= 0.05", found <= 0.05))
    found = false_winners(variants=2, ties=0.3, **size)
    rows.append(("false winners, 2 equal variants, 30 % ties", found, "<= 0.05", found <= 0.05))
    found = z_test_alarms(**size)
    rows.append(("the same with a plain z-test at every look", found, "for scale", True))
    power = mcnemar_power(100, only_a=0.15, only_b=0.05)
    rows.append(("power of the gate, n = 100, .15/.05, no margin, exact", power, ">= 0.54", power >= 0.54))
    gate = gate_rates(n=100, only_a=0.15, only_b=0.05, margin=0.0, simulations=given.simulations, seed=given.seed)
    rows.append(("  the same, simulated", gate["regression"], "~ 0.54", abs(gate["regression"] - power) < 0.04))
    for n, only_a, only_b in ((100, 0.10, 0.05), (100, 0.15, 0.10), (400, 0.15, 0.10)):
        gate = gate_rates(n=n, only_a=only_a, only_b=only_b, margin=0.05, simulations=given.simulations, seed=given.seed)
        name = f"at the margin of 5 points, n = {n}, {only_a}/{only_b}"
        rows.append((f"false fails {name}", gate["regression"], "<= 0.05", gate["regression"] <= 0.05))
        rows.append((f"false passes {name}", gate["pass"], "<= 0.05", gate["pass"] <= 0.05))
    for name, value, bar, held in rows:
        print(f"{'ok ' if held else 'BAD'} {name:<62} {share_with_error(value, given.simulations)}   {bar}")
    print(f"{given.simulations:,} simulations of {given.votes:,} votes, a look every {given.every}: {time.perf_counter() - began:.1f} s")
    return 0 if all(held for *_, held in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
