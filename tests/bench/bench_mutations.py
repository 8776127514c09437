"""Thousands of damaged streams of every wire: `python tests/bench/bench_mutations.py [EACH] [SEED]`.

Prints for each wire how many ended as answers and as errors of which reason, and the slowest; ends with 1 where one crashed, hung or
counted tokens that nobody used.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "providers")]

from mutations import LONGEST_S, WIRES, Wire, asking, damaged, in_pieces, told, within  # noqa: E402


async def run(wire: Wire, each: int, seed: int) -> int:
    ends: Counter[str] = Counter()
    bad, slowest = 0, 0.0
    async with asking(wire) as (upstream, provider):
        right = (await told(upstream, provider, wire, b"".join(wire.events))).usage
        assert right is not None
        for number in range(each):
            dice = random.Random(f"{wire.kind} {seed} {number}")
            done, body = damaged(dice, wire)
            upstream.pieces = in_pieces(dice)
            try:
                seen = await told(upstream, provider, wire, body)
            except Exception as error:
                print(f"  {wire.kind} {number} ({done}): {type(error).__name__}: {error}")
                bad += 1
                continue
            ends[seen.error.reason if seen.error else "answer"] += 1
            slowest = max(slowest, seen.seconds)
            kept = any(word in done for word in ("misshapen", "flipped", "noise")) or within(seen.usage, right)
            if seen.seconds > LONGEST_S or not kept:
                print(f"  {wire.kind} {number} ({done}): {seen.seconds:.2f} s, {seen.usage}")
                bad += 1
    counted = ", ".join(f"{count} {name}" for name, count in ends.most_common())
    print(f"{wire.kind}: {each} streams, {bad} bad; {counted}; slowest {slowest * 1e3:.0f} ms")
    return bad


def main() -> int:
    os.environ["TEST_PROVIDER_KEY"] = "AKIDEXAMPLE:SECRETEXAMPLE"
    each = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    return 1 if sum(asyncio.run(run(wire, each, seed)) for wire in WIRES) else 0


if __name__ == "__main__":
    sys.exit(main())
