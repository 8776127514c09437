"""Simulated experiments, for the tests and for `tests/bench/bench_sequential.py`."""

from __future__ import annotations

import math

import numpy as np

from aiplat_lab.stats import compare_paired, gate_verdict, vote_verdict

NAMES = "ABCD"


def counts_at_looks(*, simulations: int, votes: int, every: int, seed: int, variants: int = 2, ties: float = 0.0) -> np.ndarray:
    """Counts at each look, of simulations x looks x (variants and ties), when all variants are equally good."""
    rng = np.random.default_rng(seed)
    shares = [(1 - ties) / variants] * variants + [ties]
    drawn = rng.multinomial(every, shares, size=(simulations, votes // every))
    return drawn.cumsum(axis=1)


def false_winners(*, simulations: int, votes: int, every: int, seed: int, variants: int = 2, ties: float = 0.0) -> float:
    """The share of experiments without any difference in which `vote_verdict` names a winner at one look or more."""
    looks = counts_at_looks(simulations=simulations, votes=votes, every=every, seed=seed, variants=variants, ties=ties)
    names = NAMES[:variants]
    won = 0
    for experiment in looks:
        won += any(winner(names, counts) for counts in experiment.tolist())
    return won / simulations


_known: dict[tuple[int, ...], bool] = {}


def winner(names: str, counts: list[int]) -> bool:
    """Whether the product names a winner; the same counts are asked once."""
    key = (*sorted(counts[:-1]), counts[-1])
    if key not in _known:
        _known[key] = vote_verdict(dict(zip(names, counts[:-1], strict=True)), ties=counts[-1]).winner is not None
    return _known[key]


def z_test_alarms(*, simulations: int, votes: int, every: int, seed: int) -> float:
    """The share of experiments without any difference that a z-test of an even split calls significant at one look or more."""
    looks = counts_at_looks(simulations=simulations, votes=votes, every=every, seed=seed)
    n = looks.sum(axis=2)
    z = (2 * looks[:, :, 0] - n) / np.sqrt(n)
    return float(np.mean(np.any(np.abs(z) > 1.959964, axis=1)))


def paired_scores(rng: np.random.Generator, n: int, only_a: float, only_b: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores of 0 and 1 of which so many are passed by one side alone."""
    kind = rng.random(n)
    both = rng.random(n) < 0.6
    a = np.where(kind < only_a, True, np.where(kind < only_a + only_b, False, both))
    b = np.where(kind < only_a, False, np.where(kind < only_a + only_b, True, both))
    return a.astype(float), b.astype(float)


def gate_rates(*, n: int, only_a: float, only_b: float, margin: float, simulations: int, seed: int) -> dict[str, float]:
    """How often the gate says what."""
    rng = np.random.default_rng(seed)
    found = {"pass": 0, "regression": 0, "inconclusive": 0}
    for _ in range(simulations):
        a, b = paired_scores(rng, n, only_a, only_b)
        found[gate_verdict(compare_paired(a, b, margin=margin)).outcome] += 1
    return {outcome: count / simulations for outcome, count in found.items()}


def share_with_error(share: float, simulations: int) -> str:
    """`0.0315 ± 0.0039`: the share and its Monte-Carlo standard error."""
    return f"{share:.4f} ± {math.sqrt(share * (1 - share) / simulations):.4f}"
