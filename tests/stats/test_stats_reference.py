"""Every statistic against published values, or values recomputed with the usual libraries: closed forms to 1e-6 and better."""

from __future__ import annotations

import numpy as np
import pytest

from aiplat_lab import stats

NONE = None
DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
"""Darwin's fifteen pairs of maize, crossed minus self-fertilised, in eighths of an inch (Fisher 1935)."""
SPATIAL = [48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41]
"""The spatial test of 26 children (Efron and Tibshirani 1993, table 14.1, A)."""
BENJAMINI = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
"""The fifteen p-values of Benjamini and Hochberg (1995)."""
FLEISS = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]
THREE_OBSERVERS = [
    [NONE, NONE, NONE, NONE, NONE, 3, 4, 1, 2, 1, 1, 3, 3, NONE, 3],
    [1, NONE, 2, 1, 3, 3, 4, 3, NONE, NONE, NONE, NONE, NONE, NONE, NONE],
    [NONE, NONE, 2, 1, 3, 4, 4, NONE, 2, 1, 1, 3, 3, NONE, 4],
]
FOUR_OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
    [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
]
"""Krippendorff 2011, 'Computing Krippendorff's alpha-reliability'."""
STREAM = [1, 1, 1, 0, 1] * 40


@pytest.mark.parametrize(
    ("passed", "n", "low", "high", "digits"),
    [
        (81, 263, 0.2553, 0.3662, 4),  # Newcombe 1998
        (15, 148, 0.0624, 0.1605, 4),
        (0, 20, 0.0, 0.1611, 4),
        (1, 29, 0.0061, 0.1718, 4),
        (17, 20, 0.639581, 0.947631, 6),
        (850, 1000, 0.826531, 0.870790, 6),
        (5, 5, 0.565518, 1.0, 6),
    ],
)
def test_wilson(passed: int, n: int, low: float, high: float, digits: int) -> None:
    found = stats.wilson(passed, n)
    assert (round(found.low, digits), round(found.high, digits)) == (low, high)
    assert found.value == passed / n


def test_newcombe_difference() -> None:
    found = stats.newcombe_difference(48, 80, 56, 70)  # Newcombe 1998: 56/70 - 48/80
    assert (round(found.low, 4), round(found.high, 4)) == (0.0524, 0.3339)
    assert found.value == pytest.approx(0.2)


def test_mcnemar_of_agresti() -> None:
    found = stats.mcnemar(86, 150)
    assert found.z2 == pytest.approx(17.3559, abs=5e-5)
    assert found.p_z2 == pytest.approx(3.099e-5, abs=5e-9)
    assert found.p_exact == pytest.approx(3.7159e-5, abs=5e-10)


@pytest.mark.parametrize(
    ("b", "c", "exact"),
    [(5, 0, 0.0625), (6, 0, 0.03125), (10, 2, 0.03857422), (8, 1, 0.0390625), (15, 5, 0.04138947), (12, 3, 0.03515625)],
)
def test_mcnemar_exact(b: int, c: int, exact: float) -> None:
    assert stats.mcnemar(b, c).p_exact == pytest.approx(exact, abs=5e-9)
    assert stats.mcnemar(c, b).p_exact == stats.mcnemar(b, c).p_exact


@pytest.mark.parametrize(("b", "c", "mid"), [(10, 2, 0.02246094), (15, 5, 0.02660370)])
def test_mcnemar_mid_p(b: int, c: int, mid: float) -> None:
    assert stats.mcnemar(b, c).p_mid == pytest.approx(mid, abs=5e-9)


def test_sign_flips_of_darwin() -> None:
    found = stats.sign_flip_test(DARWIN)
    assert found.exact
    assert found.flips == 32768
    assert found.p_value == 1726 / 32768
    t = np.mean(DARWIN) / (np.std(DARWIN, ddof=1) / np.sqrt(15))
    interval = stats.mean_interval(DARWIN, level=1 - 0.04970294)  # the p-value of t: at that level the interval ends at zero
    assert interval.low == pytest.approx(0, abs=2e-5 * interval.value)
    assert t == pytest.approx(2.148, abs=5e-4)


def test_drawn_sign_flips_agree_with_counted_ones() -> None:
    many = [*DARWIN, 1e-3]  # a sixteenth unit makes it draw
    found = stats.sign_flip_test(many, draws=200_000, seed=1)
    assert not found.exact
    assert found.p_value == pytest.approx(1726 / 32768, abs=4 * np.sqrt(0.0527 * 0.9473 / 200_000))


def test_bca_of_a_variance() -> None:
    found = stats.bca_interval(SPATIAL, lambda x: x.var(axis=-1), level=0.9, draws=100_000, seed=0)
    assert found.value == pytest.approx(171.534, abs=5e-4)
    assert found.low == pytest.approx(116.0, abs=0.6)  # published 115.8 to 259.6 from 2,000 draws
    assert found.high == pytest.approx(261.5, abs=1.5)


def test_many_p_values() -> None:
    assert int((stats.benjamini_hochberg(BENJAMINI) <= 0.05).sum()) == 4
    assert int((stats.holm(BENJAMINI) <= 0.05).sum()) == 3
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], abs=1e-12)
    assert stats.benjamini_hochberg([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02], abs=1e-12)


def test_cohen_kappa() -> None:
    assert stats.cohen_kappa([[20, 5], [10, 15]]) == pytest.approx(0.4, abs=1e-12)


@pytest.mark.parametrize(
    ("weights", "value"), [(None, 0.43737769080234834), ("linear", 0.5018050541516246), ("quadratic", 0.5736095965103598)]
)
def test_weighted_kappa(weights: str | None, value: float) -> None:
    table = [[20, 5, 1], [10, 15, 4], [2, 3, 9]]
    assert stats.cohen_kappa(table, weights=weights) == pytest.approx(value, abs=1e-9)  # statsmodels 0.15


def test_fleiss_kappa() -> None:
    assert round(stats.fleiss_kappa(FLEISS), 5) == 0.20993


@pytest.mark.parametrize(
    ("ratings", "values"),
    [
        (THREE_OBSERVERS, (0.691358, 0.806721, 0.810845, 0.808944)),
        (FOUR_OBSERVERS, (0.743421, 0.815388, 0.849107, 0.797403)),
    ],
)
def test_krippendorff(ratings: list[list[int | None]], values: tuple[float, ...]) -> None:
    for scale, value in zip(("nominal", "ordinal", "interval", "ratio"), values, strict=True):
        assert round(stats.krippendorff_alpha(ratings, scale), 6) == value


def test_krippendorff_exact_fractions() -> None:
    assert stats.krippendorff_alpha(THREE_OBSERVERS) == pytest.approx(56 / 81, abs=1e-12)
    assert stats.krippendorff_alpha(FOUR_OBSERVERS) == pytest.approx(113 / 152, abs=1e-12)


def test_clustered_standard_error() -> None:
    x, groups = [1, 1, 1, 0, 0, 0, 1, 1, 0, 1], [0, 0, 0, 1, 1, 1, 2, 2, 3, 3]
    assert stats.cluster_se(x, groups) == pytest.approx(0.231517, abs=5e-7)
    assert stats.cluster_se(x, groups, small_sample=True) == pytest.approx(0.267333, abs=5e-7)
    assert stats.cluster_se(x, list(range(10))) == pytest.approx(0.154919, abs=5e-7)


def test_sample_sizes_of_miller() -> None:
    assert stats.repeated_n(0.03, between=1 / 9) == 969
    assert stats.repeated_n(0.03, between=1 / 9, within_a=1 / 6, within_b=1 / 6) == 3876
    assert stats.repeated_n(0.03, between=1 / 9, within_a=1 / 6, within_b=1 / 6, repeats_a=10, repeats_b=10) == 1260


def test_smallest_effects() -> None:
    sizes = (50, 80, 100, 200, 500)
    assert [round(stats.paired_effect(n, discordance=0.2), 3) for n in sizes] == [0.177, 0.140, 0.125, 0.089, 0.056]
    assert [round(stats.unpaired_effect(n, rate=0.8), 3) for n in sizes] == [0.224, 0.177, 0.158, 0.112, 0.071]


def test_power_of_mcnemar() -> None:
    assert stats.mcnemar_power(100, only_a=0.15, only_b=0.05) == pytest.approx(0.5444454, abs=1e-6)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (5, 10, 0.129219, 0.870781),
        (50, 100, 0.344590, 0.655410),
        (80, 100, 0.651792, 0.907231),
        (160, 200, 0.694870, 0.882959),
        (0, 20, 0.0, 0.260671),
        (800, 1000, 0.752119, 0.842745),
    ],
)
def test_beta_binomial_sequence(successes: int, n: int, low: float, high: float) -> None:
    found = stats.beta_binomial_interval(successes, n)
    assert (round(found.low, 6), round(found.high, 6)) == (low, high)


@pytest.mark.parametrize(
    ("method", "bounds", "digits"),
    [
        (stats.empirical_bernstein_sequence, [(0.587036, 1), (0.658972, 0.939264), (0.700248, 0.897763)], 6),
        (stats.hoeffding_sequence, [(0.604008, 1), (0.653491, 0.954685), (0.688824, 0.917134)], 6),
        (stats.betting_sequence, [(0.624, 0.942), (0.673, 0.915), (0.707, 0.891)], 3),
    ],
)
def test_bounded_sequences(method: object, bounds: list[tuple[float, float]], digits: int) -> None:
    found = method(STREAM)  # type: ignore[operator]
    assert [(round(found.low[t - 1], digits), round(found.high[t - 1], digits)) for t in (50, 100, 200)] == bounds


@pytest.mark.parametrize(
    ("weight", "value", "low", "high"),
    [(1, 0.8, 0.708909, 0.891090), (None, 0.760415, 0.682120, 0.838709), (0, 0.7, 0.610183, 0.789817)],
)
def test_prediction_powered_mean(weight: float | None, value: float, low: float, high: float) -> None:
    people, judge, alone = ([int(c) for c in text] for text in ("1101011101" * 10, "1111011001" * 10, "11101" * 200))
    found = stats.ppi_mean(people, judge, alone, weight=weight)
    assert found.value == pytest.approx(value, abs=1e-6)
    assert found.low == pytest.approx(low, abs=1e-6)
    assert found.high == pytest.approx(high, abs=1.1e-6)


def test_rogan_gladen() -> None:
    assert stats.rogan_gladen_rate(0.8, sensitivity=0.9, specificity=0.85) == pytest.approx(0.866667, abs=5e-7)


def test_sample_ratio() -> None:
    slight = stats.sample_ratio([5100, 4900])
    assert slight.p_value == pytest.approx(0.045500, abs=5e-7)
    assert not slight.mismatch
    kohavi = stats.sample_ratio([821588, 815482])
    assert kohavi.p_value == pytest.approx(1.8218e-6, abs=5e-11)
    assert kohavi.mismatch
