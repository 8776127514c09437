"""How well input tokens are estimated from bytes, and what the estimate costs.

Run: `python tests/bench/bench_estimates.py [--calls 20000] [--seeds 5]`

The texts and the tokenizer are `tests/tokenkit.py`'s, whose tokens a byte are those measured with o200k. The bar: 99.5 % covered after 50
calls of a model, and a mean hold of at most 1.5 times what was counted.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tokenkit

from aiplat_lab.core.types import Message, Request
from aiplat_lab.policies._estimates import Estimates, size_of
from aiplat_lab.policies._worst import input_bound

AFTER = 50


def one_stream(seed: int, calls: int) -> tuple[float, float, float]:
    """Share covered, estimate over count, and byte bound over count, of the calls after the first fifty."""
    rng, estimates = random.Random(seed), Estimates()
    covered = seen = held = true = bound = 0
    missed: Counter[str] = Counter()
    for index in range(calls):
        kind, text = tokenkit.a_text(rng)
        request = Request(model="m", messages=(Message("system", "Answer in one sentence."), Message("user", text)))
        size, counted = size_of(request), tokenkit.tokens("Answer in one sentence.") + tokenkit.tokens(text) + rng.randint(8, 14)
        if index >= AFTER:
            guess = estimates.input_tokens("p/m", size)
            seen, covered, held, true = seen + 1, covered + (guess >= counted), held + guess, true + counted
            bound += input_bound(request)
            missed[kind] += guess < counted
        estimates.learn_input("p/m", size, counted)
    print(
        f"seed {seed}: covered {covered / seen:.3%}, held {held / true:.2f} x counted, bound {bound / true:.2f} x; missed {dict(+missed)}"
    )
    return covered / seen, held / true, bound / true


def cost_us() -> None:
    """CPU time of one estimate."""
    estimates, rng = Estimates(), random.Random(1)
    for label, text in (
        ("200 bytes", tokenkit.english(rng)[:200]),
        ("2 KB", "word and more " * 150),
        ("200 KB", "word and more " * 15_000),
    ):
        request = Request(model="m", messages=(Message("user", text),))
        began = time.process_time()
        for _ in range(300):
            estimates.input_tokens("p/m", size_of(request))
        print(f"an estimate of {label}: {(time.process_time() - began) / 300 * 1e6:.1f} us of CPU")


def main() -> None:
    """Prints each stream and the worst of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    found = [one_stream(seed, options.calls) for seed in range(options.seeds)]
    worst, dearest = min(one[0] for one in found), max(one[1] for one in found)
    print(f"worst coverage {worst:.3%} (bar 99.5 %), dearest mean hold {dearest:.2f} x (bar 1.5)")
    cost_us()


if __name__ == "__main__":
    main()
