"""Comparisons and gates: what a person reads, which method is taken, and that no part contradicts another."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiplat_lab.core.errors import UsageError
from aiplat_lab.stats import Comparison, compare_paired, gate_verdict, mcnemar, tango_interval


def sides(both: int, only_a: int, only_b: int, neither: int) -> tuple[list[int], list[int]]:
    """Scores of 0 and 1 with so many samples of each kind."""
    a = [1] * both + [1] * only_a + [0] * only_b + [0] * neither
    b = [1] * both + [0] * only_a + [1] * only_b + [0] * neither
    return a, b


def graded(n: int, *, shift: float, noise: float, seed: int = 0, scale: float = 1.0) -> tuple[list[float], list[float]]:
    rng = np.random.default_rng(seed)
    a = rng.uniform(0.3, 0.7, n)
    return (a * scale).tolist(), ((a + shift + rng.normal(0, noise, n)) * scale).tolist()


# What a person reads: the four verdicts, then the edges.


def test_better() -> None:
    assert compare_paired(*sides(54, 2, 12, 12)).sentence == (
        "B is better than A: +13 points (95 % interval +4 to +22, 80 paired samples, McNemar exact p = 0.013; "
        "at this size, true differences under 13 points are easily missed)."
    )


def test_not_worse() -> None:
    assert compare_paired(*sides(150, 3, 5, 42), names=("v1", "v2")).sentence == (
        "v2 is not worse than v1 by more than the margin of 5 points: +1.0 points (95 % interval −2.2 to +4.4, 200 paired samples, "
        "McNemar exact p = 0.73; at this size, true differences under 4 points are easily missed)."
    )


def test_worse() -> None:
    assert compare_paired(*sides(40, 30, 4, 26)).sentence == (
        "B is worse than A: −26 points (95 % interval −36 to −16, 100 paired samples, McNemar exact p < 0.001; "
        "at this size, true differences under 16 points are easily missed)."
    )


def test_cannot_tell() -> None:
    assert compare_paired(*sides(50, 7, 9, 14)).sentence == (
        "Cannot tell whether B is better or worse than A: +3 points (95 % interval −8 to +13, 80 paired samples, "
        "McNemar exact p = 0.80; at this size, true differences under 14 points are easily missed). "
        "About 630 samples would settle a difference of 5 points."
    )


def test_worse_but_within_the_margin() -> None:
    found = compare_paired(*sides(1900, 40, 15, 45))
    assert found.verdict == "not_worse"
    assert found.sentence == (
        "B is worse than A, but by less than the margin of 5 points: −1.3 points (95 % interval −2.0 to −0.5, 2,000 paired samples, "
        "McNemar exact p = 0.001; at this size, true differences under 1 point are easily missed)."
    )
    assert gate_verdict(found).outcome == "pass"


def test_one_sample() -> None:
    assert compare_paired([1], [0]).sentence == (
        "Cannot tell whether B is better or worse than A: −100 points (95 % interval −100 to +59, 1 paired sample, "
        "McNemar exact p = 1.00; too few to show any difference). About 3,200 samples would settle a difference of 5 points."
    )


def test_one_graded_sample_says_nothing() -> None:
    found = compare_paired([0.5], [0.7])
    assert (found.low, found.high, found.verdict) == (-1.0, 1.0, "cannot_tell")
    assert found.minimum_detectable_effect is None


def test_all_alike_is_not_proof() -> None:
    assert compare_paired([1] * 80, [1] * 80).sentence == (
        "B is not worse than A by more than the margin of 5 points: 0.0 points (95 % interval −4.6 to +4.6, 80 paired samples, "
        "McNemar exact p = 1.00; at this size, true differences under 7.5 points are easily missed)."
    )
    assert compare_paired([1] * 60, [1] * 60).verdict == "cannot_tell"


def test_graded_with_clusters() -> None:
    a, b = graded(60, shift=0.03, noise=0.05)
    assert compare_paired(a, b, clusters=[i // 4 for i in range(60)]).sentence == (
        "B is better than A: +3.4 points (95 % interval +2.0 to +4.9, 60 paired samples in 15 clusters, paired permutation of clusters "
        "(exact) p < 0.001; at this size, true differences under 1.8 points are easily missed)."
    )


def test_latency_in_its_own_unit() -> None:
    a, b = graded(60, shift=-0.03, noise=0.05, scale=4.0)
    found = compare_paired(a, b, lower_is_better=True, unit="s", margin=0.1)
    assert found.verdict == "better"
    assert found.sentence == (
        "B is better than A: −0.10 s (95 % interval −0.15 to −0.05, 60 paired samples, paired permutation (20,000 draws) p < 0.001; "
        "at this size, true differences under 0.074 s are easily missed)."
    )
    slower = compare_paired(b, a, lower_is_better=True, unit="s", margin=0.03)
    assert slower.verdict == "worse"
    assert gate_verdict(slower).reason == (
        "Regression: B is worse than A by more than the margin of 0.03 s (+0.10 s, 95 % interval +0.05 to +0.15, 60 paired samples)."
    )


# The gate.


@pytest.mark.parametrize(
    ("counts", "outcome", "reason"),
    [
        (
            (150, 3, 5, 42),
            "pass",
            "Pass: B is not worse than A by more than the margin of 5 points "
            "(+1.0 points, 95 % interval −2.2 to +4.4, 200 paired samples).",
        ),
        (
            (40, 30, 4, 26),
            "regression",
            "Regression: B is worse than A by more than the margin of 5 points (−26 points, 95 % interval −36 to −16, 100 paired samples).",
        ),
        (
            (50, 7, 9, 14),
            "inconclusive",
            "Inconclusive: that B is worse than A by more than the margin of 5 points can neither be shown nor excluded "
            "(+3 points, 95 % interval −8 to +13, 80 paired samples); about 630 samples would settle it if the two are equally good.",
        ),
        (
            (54, 12, 2, 12),
            "inconclusive",
            "Inconclusive: B is worse than A, but whether by more than the margin of 5 points is open "
            "(−13 points, 95 % interval −22 to −4, 80 paired samples).",
        ),
    ],
)
def test_gate(counts: tuple[int, int, int, int], outcome: str, reason: str) -> None:
    found = gate_verdict(compare_paired(*sides(*counts)))
    assert (found.outcome, found.reason) == (outcome, reason)


def test_gate_with_a_margin_of_its_own() -> None:
    found = compare_paired(*sides(54, 12, 2, 12))
    assert gate_verdict(found, 0.0).outcome == "regression"
    assert gate_verdict(found, 0.0).reason == "Regression: B is worse than A (−13 points, 95 % interval −22 to −4, 80 paired samples)."
    assert gate_verdict(found, 0.25).outcome == "pass"
    wide = gate_verdict(compare_paired(*sides(50, 7, 9, 14)), 0.1)
    assert wide.outcome == "pass"
    narrow = gate_verdict(compare_paired(*sides(50, 7, 9, 14)), 0.025)
    assert "about 2,600 samples" in narrow.reason  # half the margin, four times the samples


def test_gate_without_tolerance_on_equals() -> None:
    found = gate_verdict(compare_paired([1] * 80, [1] * 80), 0)
    assert found.outcome == "inconclusive"
    assert found.reason.startswith("Inconclusive: that B is worse than A can neither be shown nor excluded")


# Which method.


def test_methods() -> None:
    a, b = sides(5, 3, 4, 8)
    assert compare_paired(a, b).method == "McNemar exact"
    assert compare_paired([[x] for x in a], [[x] for x in b]).method == "McNemar exact"
    assert compare_paired(a, b, clusters=list("abcdefghijklmnopqrst")).method == "McNemar exact"
    assert compare_paired(a, b, clusters=[None] * 20).clusters is None
    assert compare_paired(a, b, clusters=[i // 2 for i in range(20)]).method == "paired permutation of clusters (exact)"
    assert compare_paired([[x, x, 1] for x in a], b).method == "paired permutation (exact)"
    assert compare_paired(np.array([a, a]).T, np.array([b, a]).T).n == 20


def test_repeats_are_averaged_before_they_are_compared() -> None:
    a, b = [[0, 1, 1], [1], [0, 0]], [[1, 1], [1, 1, 1, 0], [0]]
    found = compare_paired(a, b)
    assert found.n == 3
    assert found.mean_a == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found.mean_b == pytest.approx((1 + 0.75 + 0) / 3)
    flat = compare_paired([2 / 3, 1, 0], [1, 0.75, 0])
    assert (found.difference, found.low, found.high, found.p_value) == (flat.difference, flat.low, flat.high, flat.p_value)


def test_clusters_widen_what_goes_together() -> None:
    rng = np.random.default_rng(4)
    shifts = np.repeat(rng.normal(0.03, 0.1, 20), 5)
    a = rng.uniform(0.3, 0.6, 100)
    b = a + shifts
    alone, together = compare_paired(a, b), compare_paired(a, b, clusters=np.repeat(np.arange(20), 5))
    assert together.high - together.low > 1.7 * (alone.high - alone.low)
    assert together.p_value > alone.p_value
    assert together.minimum_detectable_effect is not None
    assert alone.minimum_detectable_effect is not None
    assert together.minimum_detectable_effect > 1.7 * alone.minimum_detectable_effect


def test_same_seed_same_answer() -> None:
    a, b = graded(50, shift=0.01, noise=0.1)
    assert compare_paired(a, b, seed=3) == compare_paired(a, b, seed=3)
    assert compare_paired(a, b, seed=3).low != compare_paired(a, b, seed=4).low


def test_a_comparison_is_plain_data() -> None:
    found = compare_paired(*graded(50, shift=0.01, noise=0.1))
    read = json.loads(json.dumps(dataclasses.asdict(found), allow_nan=False))
    assert Comparison(**read) == found
    json.dumps(dataclasses.asdict(compare_paired([1], [0])), allow_nan=False)


# No contradiction.

counts = st.tuples(st.integers(0, 60), st.integers(0, 30), st.integers(0, 30), st.integers(0, 60)).filter(lambda c: sum(c) > 0)
margins = st.sampled_from([0.0, 0.01, 0.05, 0.1, 0.3])
levels = st.sampled_from([0.8, 0.9, 0.95, 0.99])


def check(found: Comparison) -> None:
    """Test, interval, verdict, gate and sentence say one thing."""
    alpha = 1 - found.level
    rejected = found.p_value <= alpha and found.difference != 0
    assert found.low <= found.difference <= found.high
    assert math.isfinite(found.low) and math.isfinite(found.high)
    if rejected:
        assert found.low >= 0 or found.high <= 0
    else:
        assert found.low <= 0 <= found.high
    good = found.difference < 0 if found.lower_is_better else found.difference > 0
    worst = -found.high if found.lower_is_better else found.low
    best = -found.low if found.lower_is_better else found.high
    assert (found.verdict == "better") == (rejected and good)
    assert (found.verdict == "worse") == (rejected and not good and worst <= -found.margin)
    assert (found.verdict == "cannot_tell") == (not rejected and worst <= -found.margin)
    gate = gate_verdict(found)
    assert (gate.outcome == "pass") == (found.verdict in ("better", "not_worse"))
    if gate.outcome == "regression":
        assert found.verdict == "worse"
        assert best <= -found.margin
    for text in (found.sentence, gate.reason):
        assert "nan" not in text.lower() and "inf " not in text.lower() and "-0" not in text
        assert text.endswith(".")
    for end, printed in zip((found.low, found.high), found.sentence.split(" interval ")[1].split(",")[0].split(" to "), strict=True):
        value = float(printed.replace("−", "-"))
        assert abs(end) < 1e-7 or value == 0 or (value > 0) == (end > 0)


@given(counts, margins, levels, st.booleans())
def test_binary_comparisons_never_contradict_themselves(kinds: tuple[int, int, int, int], margin: float, level: float, lower: bool) -> None:
    check(compare_paired(*sides(*kinds), margin=margin, level=level, lower_is_better=lower))


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.sampled_from([0.0, 0.3, 0.5, 1.0])), min_size=1, max_size=30),
    margins,
    levels,
    st.booleans(),
    st.sampled_from([None, 1, 2, 5]),
    st.sampled_from([1.0, 1000.0, 1e-6]),
)
def test_graded_comparisons_never_contradict_themselves(
    pairs: list[tuple[float, float]], margin: float, level: float, lower: bool, size: int | None, scale: float
) -> None:
    a, b = ([pair[side] * scale for pair in pairs] for side in (0, 1))
    clusters = None if size is None else [i // size for i in range(len(a))]
    check(compare_paired(a, b, clusters=clusters, margin=margin, level=level, lower_is_better=lower, draws=200))


@given(counts)
def test_swapping_the_sides_turns_the_comparison_over(kinds: tuple[int, int, int, int]) -> None:
    a, b = sides(*kinds)
    one, other = compare_paired(a, b), compare_paired(b, a)
    assert one.p_value == other.p_value
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-12)


def test_the_score_interval_and_the_exact_test_agree_about_zero() -> None:
    """Where the exact test rejects zero, so does Tango's interval: only the other way round does it need to be drawn to zero."""
    for level in (0.9, 0.95, 0.99):
        for n in range(1, 120):
            for b in range(n // 2 + 1):
                if mcnemar(b, n - b).p_exact <= 1 - level:
                    assert tango_interval(b, n - b, n + 10, level=level).low > 0


def test_tango_ends_are_where_the_score_test_rejects() -> None:
    z = 1.959963984540054
    for a, b, n in [(3, 9, 40), (0, 5, 20), (20, 40, 160), (2, 2, 5)]:
        found = tango_interval(a, b, n)
        for end in (found.low, found.high):
            assert restricted_score(a, b, n, end) == pytest.approx(math.copysign(z, found.value - end), abs=1e-4)
    assert tango_interval(0, 0, 80).high == pytest.approx(z * z / (80 + z * z), abs=1e-9)
    assert tango_interval(4, 0, 4).low == -1.0


def restricted_score(a: int, b: int, n: int, difference: float) -> float:
    """The score statistic with the nuisance rate found by brute force, on a fine grid and then finer."""
    low, high = max(0.0, -difference), (1 - difference) / 2
    for _ in range(30):
        rates = np.linspace(low, high, 41)[1:-1]
        rest = np.maximum(1 - 2 * rates - difference, 1e-300)
        likelihood = a * np.log(rates) + b * np.log(rates + difference) + (n - a - b) * np.log(rest)
        best, step = rates[int(np.argmax(likelihood))], rates[1] - rates[0]
        low, high = max(low, best - step), min(high, best + step)
    return float((b - a - n * difference) / math.sqrt(n * (2 * best + difference - difference**2)))


# Bad input.


@pytest.mark.parametrize(
    ("a", "b", "more", "says"),
    [
        ([], [], {}, "at least 1 sample is needed, 0 given"),
        ([1, 0], [1], {}, "A has 2 and B has 1 samples"),
        ([1, math.nan], [1, 0], {}, "A: sample 1 is nan, and 1 of 2 are not finite"),
        ([1, None], [1, 0], {}, "A: sample 1 is nan"),
        ([1, 0], [math.inf, 0], {}, "B: sample 0 is inf"),
        ([1, "yes"], [1, 0], {}, "every value must be a number"),
        ([[1, 0], []], [1, 0], {}, "A, sample 1: at least 1 sample is needed"),
        ([[1, math.nan], [1]], [1, 0], {}, "A, sample 0: sample 1 is nan"),
        ("10", "10", {}, "a list with one score for each sample is needed, got str"),
        (3, 4, {}, "a list with one score for each sample is needed, got int"),
        ({"x": 1}, {"x": 1}, {}, "a list with one score for each sample is needed, got dict"),
        ([1, 0], [1, 0], {"clusters": [1]}, "clusters: 1 labels for 2 samples"),
        ([1, 0], [1, 0], {"clusters": [1, math.nan]}, "the label of sample 1 is NaN"),
        ([1, 0], [1, 0], {"margin": -0.1}, "margin is the drop that is tolerated"),
        ([1, 0], [1, 0], {"margin": math.nan}, "margin is the drop that is tolerated"),
        ([1, 0], [1, 0], {"level": 95}, "level must lie between 0 and 1 (as 0.95), got 95"),
    ],
)
def test_bad_input_is_refused_in_one_line(a: object, b: object, more: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        compare_paired(a, b, **more)  # type: ignore[arg-type]
    assert says in str(caught.value)


def test_a_gate_refuses_a_margin_that_is_none() -> None:
    with pytest.raises(UsageError, match="at least 0"):
        gate_verdict(compare_paired([1, 0], [1, 0]), -1)
