"""Detectors on the labelled corpus, and what they cost: recall, precision, CPU of a 2 KB text, growth with the size of bad input.

python tests/bench/bench_redaction.py
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "redaction")]

from corpuskit import CHECKSUMS, corpus, kinds, measured  # noqa: E402
from steering import ATTACKS, BENIGN  # noqa: E402

from aiplat_lab.policies.detectors import detect, disjoint, suspicion  # noqa: E402

HOSTILE = {
    "digits": "1" * 1000, "digits and spaces": "1 " * 500, "digits and hyphens": "12-" * 333, "letters": "a" * 1000,
    "capitals": "AB1" * 333,
    "at signs": "a@" * 500, "dots": "a.b@c." * 166, "eyJ": "eyJ." * 250, "eyJ run": "eyJ" * 333,
    "begin": "-----BEGIN PRIVATE KEY-----!" * 36,
    "sk": "sk-" * 333, "sort codes": "sort code 12-34-56 " * 52, "accounts": "account 12345678 " * 58, "base64": "QUJD" * 250,
    "ibans": "GB29 " * 200, "plus": "+1(0)" * 200, "passport": "passport 123456789 " * 52, "nhs": "nhs 943 476 5919 " * 58,
    "underscores": "_" * 1000,
    "ignore": "ignore previous " * 62, "send": "send https://a" * 71, "angles": "<|im_start|>" * 83, "zero width": "\u200b" * 1000,
    "quotes": "'\"" * 500,
}  # fmt: skip
"""Texts that cost a careless pattern the square of their length."""


def cpu_s(text: str, *, times: int = 1) -> float:
    """The least CPU of five looks at a text, all detectors and the steering heuristics."""
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for _ in range(times):
            disjoint(detect(text))
            suspicion(text)
        best = min(best, (time.process_time() - began) / times)
    return best


def two_kb() -> dict[str, float]:
    """Milliseconds of CPU for 2 KB: prose with nothing in it, and a text full of findings."""
    plain = "The review of order 12345-678 on 2024-05-06 shows that the account team transferred the data to the ledger. " * 20
    full = " ".join(line.text for line in list(corpus())[::97])
    found = {}
    for name, text in (("prose", plain), ("full of findings", full)):
        text = text[:2048]
        began, best = 0.0, float("inf")
        for _ in range(7):
            began = time.process_time()
            for _ in range(20):
                disjoint(detect(text))
            best = min(best, (time.process_time() - began) / 20)
        found[name] = best * 1000
    return found


def growth(*, size: int = 100_000) -> dict[str, tuple[float, float]]:
    """For each hostile text: CPU seconds at `size` characters, and how many times that the double size takes."""
    found = {}
    for name, text in HOSTILE.items():
        once = cpu_s((text * (size // len(text) + 1))[:size])
        twice = cpu_s((text * (2 * size // len(text) + 1))[: 2 * size])
        found[name] = (once, twice / max(once, 1e-4))
    return found


def main() -> None:
    """Prints all figures."""
    print(f"corpus: {sum(kinds().values())} texts")
    for name, score in measured().items():
        bar = 0.98 if name in CHECKSUMS else 0.90
        print(f"{name:20} n {score.wanted:4}  recall {score.recall:.3f} (bar {bar})  precision {score.precision:.3f} (bar 0.95)")
    for name, found_ms in two_kb().items():
        print(f"2 KB of {name}: {found_ms:.2f} ms CPU (bar 2)")
    print(f"steering: {sum(suspicion(text).flagged for text in ATTACKS)} of {len(ATTACKS)} attacks flagged, ", end="")
    print(f"{sum(suspicion(text).flagged for text in BENIGN)} of {len(BENIGN)} benign texts")
    for name, (once, ratio) in growth().items():
        print(f"100 KB of {name}: {once * 1000:.0f} ms, double size {ratio:.2f} times")


if __name__ == "__main__":
    main()
