"""Promises about many repetitions, kept in simulations: false alarms, power, coverage. Seeds are fixed, so nothing flickers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statskit import false_winners, gate_rates, z_test_alarms

from aiplat_lab import stats

LOOKS = {"votes": 1000, "every": 20, "seed": 11}


def error(share: float, simulations: int) -> float:
    """Three Monte-Carlo standard errors."""
    return 3 * math.sqrt(share * (1 - share) / simulations)


@pytest.mark.parametrize(("variants", "ties"), [(2, 0.0), (2, 0.4), (3, 0.0)])
def test_looking_after_every_20_votes_makes_no_false_winners(variants: int, ties: float) -> None:
    assert false_winners(simulations=400, variants=variants, ties=ties, **LOOKS) <= 0.05


def test_a_plain_test_at_every_look_makes_many() -> None:
    assert z_test_alarms(simulations=2000, **LOOKS) == pytest.approx(0.332, abs=error(0.332, 2000) + 0.01)


def test_looking_after_every_single_vote_makes_no_false_winners() -> None:
    votes = (np.random.default_rng(3).random((1000, 1000)) < 0.5).cumsum(axis=1)
    n = np.arange(1, 1001)
    # the evidence for every count of wins up to each n, once
    bar = [
        next((wins for wins in range((size + 1) // 2, size + 1) if stats.log_evidence(wins, size) >= math.log(20)), size + 1)
        for size in n.tolist()
    ]
    decisive = np.maximum(votes, n - votes) >= np.array(bar)
    alarms = float(np.mean(decisive.any(axis=1)))
    assert 0 < alarms <= 0.05
    wilson = np.abs(2 * votes - n) / np.sqrt(n) > 1.959964  # Wilson's interval leaves out one half exactly when this test rejects
    assert float(np.mean(wilson[:, 9:].any(axis=1))) > 0.35


def test_a_confidence_sequence_misses_seldom_where_wilson_at_every_look_misses_often() -> None:
    """A rate of .8, 1,000 looks, 1,000 runs: recomputed elsewhere as .044, .427 and, at every 50th look, .227."""
    runs = 1000
    passed = (np.random.default_rng(1).random((runs, 1000)) < 0.8).cumsum(axis=1)
    n = np.arange(1, 1001)
    missed = np.zeros((runs, 1000), dtype=bool)
    for size in n.tolist():
        counts = np.arange(size + 1)
        missed[:, size - 1] = (stats.log_evidence(counts, np.full(size + 1, size), rate=0.8) >= math.log(20))[passed[:, size - 1]]
    assert float(np.mean(missed.any(axis=1))) == pytest.approx(0.044, abs=error(0.044, runs))
    z2 = 1.959964**2
    centre = (passed / n + z2 / (2 * n)) / (1 + z2 / n)
    reach = np.sqrt(z2) * np.sqrt(passed / n * (1 - passed / n) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    wilson = np.abs(0.8 - centre) > reach
    assert float(np.mean(wilson[:, 9:].any(axis=1))) == pytest.approx(0.427, abs=error(0.427, runs))
    assert float(np.mean(wilson[:, 49::50].any(axis=1))) == pytest.approx(0.227, abs=error(0.227, runs))


def test_a_z_test_of_two_arms_at_every_look() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.binomial(20, 0.5, (2000, 50)).cumsum(axis=1) for _ in range(2))
    n = np.arange(20, 1001, 20)
    rate = (a + b) / (2 * n)
    z = np.abs(a - b) / n / np.sqrt(2 * rate * (1 - rate) / n)
    assert float(np.mean((z > 1.959964).any(axis=1))) == pytest.approx(0.332, abs=error(0.332, 2000))
    assert float(np.mean(z[:, -1] > 1.959964)) == pytest.approx(0.047, abs=error(0.047, 2000))


def test_two_unequal_best_variants_are_no_false_winners_either() -> None:
    """Two variants share the first place and the third is never chosen: the worst case of the correction for three."""
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(300):
        first = rng.binomial(20, 0.5, size=50).cumsum()
        for look, wins in enumerate(first.tolist(), start=1):
            if stats.vote_verdict({"A": wins, "B": 20 * look - wins, "C": 0}).winner:
                wrong += 1
                break
    assert wrong / 300 <= 0.05


def test_a_real_preference_is_found_and_named() -> None:
    rng = np.random.default_rng(6)
    found = 0
    for _ in range(200):
        wins = rng.binomial(200, 0.7)
        found += stats.vote_verdict({"A": 200 - wins, "B": wins}).winner == "B"
    assert found / 200 > 0.97


def test_the_fixed_size_gate() -> None:
    power = gate_rates(n=100, only_a=0.15, only_b=0.05, margin=0.0, simulations=600, seed=1)["regression"]
    assert power == pytest.approx(0.5444, abs=error(0.5444, 600))
    at_margin = gate_rates(n=100, only_a=0.10, only_b=0.05, margin=0.05, simulations=600, seed=2)
    assert at_margin["regression"] <= 0.05
    assert at_margin["pass"] <= 0.05


@pytest.mark.parametrize(
    ("n", "only_a", "only_b", "least"),
    [(20, 0.2, 0.05, 0.95), (40, 0.1, 0.05, 0.95), (40, 0.3, 0.1, 0.94), (60, 0.05, 0.05, 0.95), (60, 0.02, 0.0, 0.95)],
)
def test_exact_coverage_of_paired_rates(n: int, only_a: float, only_b: float, least: float) -> None:
    """Over all outcomes, weighed by their chance: nothing is drawn here."""
    covered = false_fail = false_pass = 0.0
    for a in range(n + 1):
        for b in range(n + 1 - a):
            chance = outcome(n, a, b, only_a, only_b)
            if chance < 1e-9:
                continue
            rest = [1] * (n - a - b)
            found = stats.compare_paired([1] * a + [0] * b + rest, [0] * a + [1] * b + rest, margin=only_a - only_b)
            covered += chance * (found.low <= only_b - only_a <= found.high)
            gate = stats.gate_verdict(found).outcome
            false_fail += chance * (gate == "regression")
            false_pass += chance * (gate == "pass")
    assert covered >= least
    assert false_fail <= 0.035
    assert false_pass <= 0.035


def outcome(n: int, a: int, b: int, only_a: float, only_b: float) -> float:
    """The chance that A alone passes `a` and B alone `b` of `n` samples."""
    ways = math.lgamma(n + 1) - math.lgamma(a + 1) - math.lgamma(b + 1) - math.lgamma(n - a - b + 1)
    return math.exp(ways) * only_a**a * only_b**b * (1 - only_a - only_b) ** (n - a - b)


@pytest.mark.parametrize("size", [1, 5])
def test_coverage_and_false_alarms_of_graded_scores(size: int) -> None:
    """With clusters of five that go together, and with samples that stand alone: 95 % and 5 %."""
    rng = np.random.default_rng(size)
    runs, groups, true = 300, 24, 0.03
    covered = alarms = 0
    labels = np.repeat(np.arange(groups), size)
    for run in range(runs):
        a = rng.uniform(0.3, 0.6, groups * size)
        b = a + true + np.repeat(rng.normal(0, 0.1, groups), size) + rng.normal(0, 0.05, groups * size)
        found = stats.compare_paired(a, b, clusters=labels, draws=1000, seed=run)
        covered += found.low <= true <= found.high
        alarms += stats.compare_paired(a, b - true, clusters=labels, draws=1000, seed=run).p_value <= 0.05
    assert covered / runs >= 0.95 - error(0.95, runs)
    assert alarms / runs <= 0.05 + error(0.05, runs)


def test_coverage_of_clustered_rates() -> None:
    rng = np.random.default_rng(8)
    labels = np.repeat(np.arange(20), 6)
    clustered = naive = 0
    for _ in range(500):
        x = (rng.random(120) < np.repeat(rng.beta(4, 2, 20), 6)).astype(float)
        one, other = stats.rate_interval(x, clusters=labels), stats.rate_interval(x)
        clustered += one.low <= 2 / 3 <= one.high
        naive += other.low <= 2 / 3 <= other.high
    assert clustered / 500 >= 0.95 - error(0.95, 500)
    assert naive / 500 < 0.92


def test_a_confidence_sequence_holds_at_all_times() -> None:
    rng = np.random.default_rng(9)
    for method in (stats.empirical_bernstein_sequence, stats.hoeffding_sequence):
        missed = 0
        for _ in range(300):
            found = method(rng.beta(2, 3, 500))
            missed += bool(np.any((found.low > 0.4) | (found.high < 0.4)))
        assert missed / 300 <= 0.05
    missed = sum(
        bool(np.any((found.low > 0.4) | (found.high < 0.4)))
        for found in (stats.betting_sequence(rng.beta(2, 3, 200), grid=100) for _ in range(200))
    )
    assert missed / 200 <= 0.05


def test_a_corrected_judge_covers_the_truth() -> None:
    """True rate .5, a judge with sensitivity .92 and specificity .75, 500 samples, 80 of them labelled."""
    rng = np.random.default_rng(10)
    runs = 2000
    raw = ppi = people = gladen = 0
    widths = np.zeros(2)
    for _ in range(runs):
        truth = rng.random(580) < 0.5
        judge = np.where(truth, rng.random(580) < 0.92, rng.random(580) < 0.25).astype(float)
        labels = truth.astype(float)
        verdict = stats.rate_interval(judge[80:])
        raw += verdict.low <= 0.5 <= verdict.high
        one = stats.ppi_mean(labels[:80], judge[:80], judge[80:])
        other = stats.ppi_mean(labels[:80], judge[:80], judge[80:], weight=0)
        ppi += one.low <= 0.5 <= one.high
        people += other.low <= 0.5 <= other.high
        widths += one.high - one.low, other.high - other.low
        known = stats.calibration(labels[:80], judge[:80])
        corrected = stats.rogan_gladen(int(judge[80:].sum()), 500, known)
        gladen += corrected.low <= 0.5 <= corrected.high
    assert raw / runs < 0.06
    assert 0.93 <= ppi / runs <= 0.97
    assert 0.93 <= people / runs <= 0.97
    assert 0.93 <= gladen / runs <= 0.975
    assert widths[0] / runs == pytest.approx(0.169, abs=0.004)
    assert widths[1] / runs == pytest.approx(0.219, abs=0.002)
