"""What holds for all input: intervals hold their value, order and level do not surprise, and nonsense is refused in one line."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiplat_lab import stats
from aiplat_lab.core.errors import UsageError

values = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40)
shares = st.lists(st.floats(0, 1), min_size=1, max_size=60)
levels = st.sampled_from([0.5, 0.8, 0.95, 0.999])


def test_the_package_says_what_it_exports() -> None:
    for name in stats.__all__:
        thing = getattr(stats, name)
        assert not callable(thing) or not hasattr(thing, "__module__") or thing.__module__.startswith(("aiplat_lab.stats", "typing"))
    assert len(set(stats.__all__)) == len(stats.__all__)


def test_importing_the_platform_loads_no_statistics_and_the_statistics_no_scipy() -> None:
    code = "import sys, aiplat_lab; print(any(m in sys.modules for m in ('numpy', 'aiplat_lab.stats')))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
    code = "import sys, aiplat_lab.stats; print(sorted({m.split('.')[0] for m in sys.modules} & {'scipy', 'pandas', 'duckdb', 'httpx'}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@given(st.integers(1, 2000), st.data(), levels)
def test_wilson_holds_the_rate_and_widens_with_the_level(n: int, data: st.DataObject, level: float) -> None:
    passed = data.draw(st.integers(0, n))
    found = stats.wilson(passed, n, level=level)
    assert 0 <= found.low <= passed / n <= found.high <= 1
    wider = stats.wilson(passed, n, level=1 - (1 - level) / 2)
    assert wider.low <= found.low
    assert wider.high >= found.high
    mirrored = stats.wilson(n - passed, n, level=level)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - found.high, 1 - found.low), abs=1e-12)


@given(st.lists(st.sampled_from([0, 1]), min_size=2, max_size=60), st.integers(1, 6))
def test_clustered_rates_hold_the_rate(x: list[int], size: int) -> None:
    labels = [i // size for i in range(len(x))]
    if labels[-1] == 0:
        with pytest.raises(UsageError, match="at least two"):
            stats.rate_interval(x, clusters=labels)
        return
    found = stats.rate_interval(x, clusters=labels)
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1
    assert found.n_effective is not None
    assert found.n_effective <= len(x) + 1e-9
    if size == 1:
        plain = stats.rate_interval(x)
        assert (found.low, found.high) == (plain.low, plain.high)


def test_clusters_that_agree_count_once() -> None:
    alike = stats.rate_interval([1] * 30, clusters=[i // 10 for i in range(30)])
    assert alike.n_effective is not None
    assert alike.n_effective < 3
    assert alike.low < 0.3 < stats.rate_interval([1] * 30).low
    x = np.repeat([1, 0, 1, 1, 0, 1, 0, 0, 1, 1], 10)
    copies = stats.rate_interval(x, clusters=np.repeat(np.arange(10), 10))
    assert copies.n_effective is not None
    assert 5 < copies.n_effective < 10


@given(values, levels)
def test_mean_interval_is_symmetric_and_shifts(x: list[float], level: float) -> None:
    found = stats.mean_interval(x, level=level)
    assert found.low <= found.value <= found.high
    assert found.high - found.value == pytest.approx(found.value - found.low, rel=1e-6, abs=1e-9)
    each = stats.mean_interval(x, clusters=list(range(len(x))), level=level)
    assert (each.low, each.high) == pytest.approx((found.low, found.high), rel=1e-9, abs=1e-6)


def test_mean_interval_can_be_cut_to_its_bounds() -> None:
    assert stats.mean_interval([0.9, 1.0, 1.0], bounds=(0, 1)).high == 1.0
    assert stats.mean_interval([0.9, 1.0, 1.0]).high > 1.0
    with pytest.raises(UsageError, match="from 0 to 1"):
        stats.mean_interval([0.9, 2.0], bounds=(0, 1))
    assert stats.score_interval([0, 1, 1]).method == "Wilson"
    assert stats.score_interval([0, 1, 0.5]).method == "t"


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=12))
def test_counted_sign_flips_are_what_counting_says(differences: list[float]) -> None:
    found = stats.sign_flip_test(differences)
    assert found.exact
    assert 0 < found.p_value <= 1
    d = np.array(differences)
    if np.abs(d).max() > 0:
        signs = np.array(np.meshgrid(*[[-1, 1]] * d.size)).reshape(d.size, -1).T
        sums = np.abs(signs @ d)
        by_hand = float(np.mean(sums >= abs(d.sum()) - 1e-9 * np.abs(d).sum()))
        assert found.p_value == pytest.approx(by_hand, abs=1e-3)
    assert stats.sign_flip_test([-x for x in differences]).p_value == found.p_value


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(16, 60))
def test_drawn_sign_flips_follow_the_seed(seed: int, n: int) -> None:
    d = np.random.default_rng(seed).normal(0.1, 1, n)
    one, other = stats.sign_flip_test(d, draws=500, seed=seed), stats.sign_flip_test(d, draws=500, seed=seed)
    assert one == other
    assert 1 / 501 <= one.p_value <= 1


def test_both_ways_of_drawing_agree() -> None:
    rng = np.random.default_rng(2)
    d = np.repeat(rng.normal(size=20), 5) * rng.choice([-1, 1], 100, p=[0.4, 0.6])
    grouped = stats.sign_flip_test(d, draws=100_000).p_value
    each = stats.sign_flip_test(d + rng.normal(0, 1e-7, 100), draws=100_000).p_value
    assert grouped == pytest.approx(each, abs=0.01)
    halves = stats.sign_flip_test(np.repeat(d / 2, 2), clusters=np.repeat(np.arange(100), 2), draws=100_000, seed=1).p_value
    assert halves == pytest.approx(grouped, abs=0.01)


def test_mcnemar_is_a_sign_flip_test() -> None:
    for b, c in [(0, 6), (3, 9), (7, 7), (1, 12)]:
        assert stats.sign_flip_test([-1] * b + [1] * c).p_value == pytest.approx(stats.mcnemar(b, c).p_exact, abs=1e-12)
    assert stats.mcnemar_scores([1, 0, 1, 1], [1, 1, 0, 1]) == stats.mcnemar(1, 1)
    assert stats.mcnemar(0, 0).p_exact == 1.0
    big = stats.mcnemar(40_000, 40_500)
    assert big.p_mid < big.p_exact < big.p_mid + 0.01


@settings(max_examples=30)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=40), st.integers(0, 1000))
def test_bootstrap_stays_within_the_data(x: list[float], seed: int) -> None:
    found = stats.bca_mean_interval(x, draws=200, seed=seed)
    assert min(x) - 1e-9 <= found.low <= found.high <= max(x) + 1e-9
    assert found == stats.bca_mean_interval(x, draws=200, seed=seed)
    general = stats.bca_interval(x, lambda rows: rows.mean(axis=-1), draws=200, seed=seed)
    assert min(x) - 1e-9 <= general.low <= general.high <= max(x) + 1e-9


def test_bootstrap_ways_agree() -> None:
    rng = np.random.default_rng(0)
    x = rng.exponential(size=60)
    own = stats.bca_mean_interval(x, draws=50_000, expand=False)
    general = stats.bca_interval(x, lambda rows: rows.mean(axis=-1), draws=50_000, seed=1)
    assert (own.low, own.high) == pytest.approx((general.low, general.high), abs=0.02)
    wider = stats.bca_mean_interval(x, draws=50_000)
    assert wider.high - wider.low > own.high - own.low
    few = rng.choice([0.0, 0.5, 1.0], 400)  # drawn by counts, not one by one
    jittered = few + rng.normal(0, 1e-9, 400)
    grouped, each = stats.bca_mean_interval(few, draws=20_000), stats.bca_mean_interval(jittered, draws=20_000, seed=1)
    assert (grouped.low, grouped.high) == pytest.approx((each.low, each.high), abs=0.004)
    clusters = stats.bca_mean_interval(np.repeat(x, 3), clusters=np.repeat(np.arange(60), 3), draws=50_000, seed=2)
    assert (clusters.low, clusters.high) == pytest.approx((wider.low, wider.high), abs=0.02)
    assert clusters.clusters == 60


def test_bootstrap_of_equal_values_is_a_point() -> None:
    found = stats.bca_mean_interval([0.3] * 10)
    assert (found.low, found.high) == (found.value, found.value)


@given(st.lists(st.floats(0, 1), max_size=30))
def test_adjusted_p_values_are_ordered_and_never_smaller(p: list[float]) -> None:
    for method in (stats.holm, stats.benjamini_hochberg):
        found = method(p)
        assert found.size == len(p)
        assert np.all(found >= np.array(p) - 1e-15)
        assert np.all(found <= 1)
        order = np.argsort(p, kind="stable")
        assert np.all(np.diff(found[order]) >= 0)
    assert np.all(stats.holm(p) >= stats.benjamini_hochberg(p) - 1e-12)


@given(st.floats(0.001, 0.5), st.floats(0.01, 1))
def test_effects_and_sizes_are_inverse(effect: float, discordance: float) -> None:
    n = stats.paired_n(effect, discordance=discordance)
    assert stats.paired_effect(n, discordance=discordance) <= effect + 1e-9
    if n > 1:
        assert stats.paired_effect(n - 1, discordance=discordance) > effect - 1e-9
    assert stats.paired_n(effect, variance=discordance) == n
    m = stats.unpaired_n(effect, variance=discordance)
    assert stats.unpaired_effect(m, variance=discordance) <= effect + 1e-9
    assert stats.repeated_n(effect, between=discordance) == n


def test_power_edges() -> None:
    assert [stats.fewest_to_decide(level) for level in (0.9, 0.95, 0.99)] == [5, 6, 8]
    assert stats.mcnemar_power(5, only_a=1.0, only_b=0.0) == 0.0
    assert stats.mcnemar_power(6, only_a=1.0, only_b=0.0) == pytest.approx(1.0)
    assert stats.mcnemar_power(100, only_a=0.0, only_b=0.0) == 0.0
    assert stats.mcnemar_power(100, only_a=0.1, only_b=0.1) <= 0.05


@settings(max_examples=40)
@given(shares, levels)
def test_sequences_narrow_and_stay_within_bounds(x: list[float], level: float) -> None:
    for method in (stats.hoeffding_sequence, stats.empirical_bernstein_sequence, stats.betting_sequence):
        found = method(x, level=level)
        assert found.low.size == found.high.size == len(x)
        assert np.all(np.diff(found.low) >= 0)
        assert np.all(np.diff(found.high) <= 0)
        assert found.low.min() >= 0
        assert found.high.max() <= 1
        turned = method([1 - value for value in x], level=level)
        assert turned.last() == pytest.approx(tuple(1 - end for end in reversed(found.last())), abs=2.1e-3)
        wide = method([10 * value - 5 for value in x], level=level, bounds=(-5, 5))
        assert wide.last() == pytest.approx(tuple(10 * end - 5 for end in found.last()), abs=0.011)


def test_sequences_without_memory() -> None:
    x = [1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0] * 4
    loose, kept = stats.betting_sequence(x, intersect=False), stats.betting_sequence(x)
    assert np.all(loose.low <= kept.low)
    assert loose.low.tolist() != kept.low.tolist()
    assert stats.betting_sequence(x, grid=1000).last() == pytest.approx(stats.betting_sequence(x, grid=100).last(), abs=0.02)


@given(st.integers(1, 300), st.data())
def test_beta_binomial_interval_is_where_the_evidence_is_low(n: int, data: st.DataObject) -> None:
    some = data.draw(st.integers(0, n))
    found = stats.beta_binomial_interval(some, n)
    assert 0 <= found.low <= some / n <= found.high <= 1
    for end in (found.low, found.high):
        if 0 < end < 1:
            assert float(stats.log_evidence(some, n, rate=end)) == pytest.approx(math.log(20), abs=1e-6)


@given(st.floats(0, 1), st.floats(0.51, 1), st.floats(0.51, 1))
def test_a_corrected_rate_gives_the_raw_one_back(rate: float, sensitivity: float, specificity: float) -> None:
    raw = rate * sensitivity + (1 - rate) * (1 - specificity)
    assert stats.rogan_gladen_rate(raw, sensitivity=sensitivity, specificity=specificity) == pytest.approx(rate, abs=1e-9)


def test_a_judge_is_calibrated_on_both_kinds() -> None:
    found = stats.calibration([1, 1, 1, 0, 0], [1, 1, 0, 0, 1])
    assert (found.sensitivity, found.specificity) == (pytest.approx(2 / 3), 0.5)
    with pytest.raises(UsageError, match="there are 2 and 0"):
        stats.calibration([1, 1], [1, 0])
    with pytest.raises(UsageError, match="no better than a coin"):
        stats.rogan_gladen(5, 10, stats.calibration([1, 1, 0, 0], [1, 0, 1, 0]))


def test_an_empty_judge_weighs_nothing() -> None:
    found = stats.ppi_mean([1, 0, 1, 0], [1, 1, 1, 1], [1, 1, 1])
    assert found.value == 0.5
    assert found.method == "people's labels only"


def test_unequal_shares_of_traffic() -> None:
    assert not stats.sample_ratio([900, 100], [0.9, 0.1]).mismatch
    assert stats.sample_ratio([900, 100]).mismatch
    assert stats.sample_ratio([300, 300, 300]).p_value == 1.0


NAN = math.nan


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: stats.wilson(0, 0), "the number of samples must be a whole number of at least 1, got 0"),
        (lambda: stats.wilson(3, 2), "3 passed of 2 samples: more than there are"),
        (lambda: stats.wilson(-1, 2), "at least 0, got -1"),
        (lambda: stats.wilson(1.5, 2), "whole number"),
        (lambda: stats.wilson(1, 2, level=0), "level must lie between 0 and 1"),
        (lambda: stats.newcombe_difference(1, 2, 3, 0), "at least 1, got 0"),
        (lambda: stats.rate_interval([]), "at least 1 sample is needed"),
        (lambda: stats.rate_interval([0.5]), "every value must be 0 or 1"),
        (lambda: stats.rate_interval([1, 0], clusters=["a", "a"]), "at least two are needed"),
        (lambda: stats.mean_interval([1]), "at least 2 samples are needed, 1 given"),
        (lambda: stats.mean_interval([1, NAN]), "sample 1 is nan"),
        (lambda: stats.mean_interval([[1, 2]]), "2 dimensions"),
        (lambda: stats.mean_interval([1, 2], clusters=[1]), "1 labels for 2 samples"),
        (lambda: stats.cluster_se([1, 2], [1, 1], small_sample=True), "at least two are needed"),
        (lambda: stats.mcnemar(-1, 2), "at least 0, got -1"),
        (lambda: stats.mcnemar_scores([1, 0], [1, 2]), "B: every value must be 0 or 1"),
        (lambda: stats.tango_interval(3, 3, 5), "more than there are"),
        (lambda: stats.sign_flip_test([]), "differences: at least 1 sample"),
        (lambda: stats.sign_flip_test([1, 2], draws=0), "draws must be a whole number of at least 1"),
        (lambda: stats.bca_mean_interval([1]), "at least 2 samples"),
        (lambda: stats.bca_mean_interval([1, 2], clusters=["x", "x"]), "at least two are needed"),
        (lambda: stats.bca_mean_interval([1, 2], draws=10), "draws must be a whole number of at least 100"),
        (lambda: stats.bca_interval([1, 2], lambda rows: rows.mean(axis=-1) * NAN), "not a finite number"),
        (lambda: stats.holm([0.1, NAN]), "p-values: sample 1 is nan"),
        (lambda: stats.benjamini_hochberg([0.1, 1.2]), "from 0 to 1"),
        (lambda: stats.paired_n(0, discordance=0.1), "effect must be above zero"),
        (lambda: stats.paired_n(0.1), "Give either discordance"),
        (lambda: stats.paired_n(0.1, discordance=0.1, variance=0.1), "Give either discordance"),
        (lambda: stats.paired_n(0.1, discordance=2), "discordance must lie from 0 to 1"),
        (lambda: stats.unpaired_effect(0, rate=0.5), "n must be a whole number of at least 1"),
        (lambda: stats.unpaired_effect(10, variance=-1), "variance must be a number of at least zero"),
        (lambda: stats.repeated_n(0.1, between=-1), "between must be a variance"),
        (lambda: stats.repeated_n(0.1, between=1, repeats_a=0), "repeats_a must be a whole number of at least 1"),
        (lambda: stats.mcnemar_power(10, only_a=0.6, only_b=0.6), "only_a + only_b must lie from 0 to 1"),
        (lambda: stats.betting_sequence([]), "at least 1 sample"),
        (lambda: stats.betting_sequence([2]), "from 0 to 1"),
        (lambda: stats.betting_sequence([1], bounds=(1, 1)), "bounds must be a finite low and a higher high"),
        (lambda: stats.betting_sequence([1], grid=1), "grid must be a whole number of at least 2"),
        (lambda: stats.empirical_bernstein_sequence([NAN]), "sample 0 is nan"),
        (lambda: stats.beta_binomial_interval(2, 1), "2 successes of 1"),
        (lambda: stats.beta_binomial_interval(1, 2, prior=(0, 1)), "prior must be above zero"),
        (lambda: stats.log_evidence(3, 2), "successes must lie from 0 to n"),
        (lambda: stats.log_evidence(1, 2, rate=1), "rate must lie between 0 and 1"),
        (lambda: stats.votes_needed(3, 2), "3 wins of 2"),
        (lambda: stats.sample_ratio([5]), "at least two arms"),
        (lambda: stats.sample_ratio([0, 0]), "no units in any arm"),
        (lambda: stats.sample_ratio([5, 5], [1, 0]), "one positive share"),
        (lambda: stats.sample_ratio([5, 5], [1]), "one positive share"),
        (lambda: stats.ppi_mean([1, 0], [1, 0, 1], [1, 0]), "people has 2 and judge has 3 samples"),
        (lambda: stats.ppi_mean([1, 0], [1, 0], [1]), "judge_alone: at least 2 samples"),
        (lambda: stats.ppi_mean([1, 0], [1, 0], [1, 0], weight=NAN), "weight must be a number"),
        (lambda: stats.rogan_gladen_rate(0.5, sensitivity=0.5, specificity=0.5), "no better than a coin"),
        (lambda: stats.rogan_gladen_rate(1.5, sensitivity=0.9, specificity=0.9), "rate must lie from 0 to 1"),
    ],
)
def test_nonsense_is_refused_in_one_line(call: object, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        call()  # type: ignore[operator]
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
