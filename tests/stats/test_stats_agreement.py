"""Agreement of raters: edges, gaps, scales, intervals; the reference values are in test_stats_reference.py."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiplat_lab.core.errors import UsageError
from aiplat_lab.stats import cohen_kappa, fleiss_kappa, kappa_interval, kappa_table, krippendorff_alpha, krippendorff_interval

SCALES = ("nominal", "ordinal", "interval", "ratio")
ratings = st.integers(2, 4).flatmap(
    lambda raters: st.lists(
        st.tuples(*[st.one_of(st.none(), st.integers(0, 4))] * raters),
        min_size=2,
        max_size=15,
    )
)


def by_definition(items: list[tuple[int | None, ...]], scale: str) -> float | None:
    """Alpha as its author defines it: mean squared distance within items over that of all pairable values."""
    units = [[value for value in item if value is not None] for item in items]
    units = [unit for unit in units if len(unit) > 1]
    values = [value for unit in units for value in unit]
    n = len(values)
    if not n:
        return None
    count = {value: values.count(value) for value in set(values)}

    def distance(c: int, k: int) -> float:
        low, high = min(c, k), max(c, k)
        if scale == "nominal":
            return float(c != k)
        if scale == "ordinal":
            between = sum(count.get(g, 0) for g in range(low, high + 1))
            return (between - (count[c] + count[k]) / 2) ** 2
        if scale == "interval":
            return float((c - k) ** 2)
        return ((c - k) / (c + k)) ** 2 if c + k else 0.0

    seen = sum(distance(c, k) / (len(unit) - 1) for unit in units for c, k in itertools.permutations(unit, 2)) / n
    expected = sum(distance(c, k) for c, k in itertools.permutations(values, 2)) / (n * (n - 1))
    return None if expected == 0 else 1 - seen / expected


@given(ratings, st.sampled_from(SCALES))
def test_alpha_is_what_its_definition_says(items: list[tuple[int | None, ...]], scale: str) -> None:
    table = [list(row) for row in zip(*items, strict=True)]
    wanted = by_definition(items, scale)
    if wanted is None:
        with pytest.raises(UsageError):
            krippendorff_alpha(table, scale)
    else:
        assert krippendorff_alpha(table, scale) == pytest.approx(wanted, abs=1e-9)


@given(ratings, st.randoms())
def test_alpha_does_not_depend_on_who_rated_first(items: list[tuple[int | None, ...]], random: object) -> None:
    if by_definition(items, "ordinal") is None:
        return
    rows = [list(row) for row in zip(*items, strict=True)]
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert krippendorff_alpha(rows, "ordinal") == pytest.approx(krippendorff_alpha(shuffled, "ordinal"), abs=1e-12)


def test_alpha_takes_text_gaps_and_arrays() -> None:
    text = [["good", "bad", None, "good"], ["good", "good", "bad", "good"]]
    assert krippendorff_alpha(text) == krippendorff_alpha([[1, 0, None, 1], [1, 1, 0, 1]])
    array = np.array([[1, 0, math.nan, 1], [1, 1, 0, 1]])
    assert krippendorff_alpha(array) == krippendorff_alpha(text)
    mixed = [["a", 1, "b"], ["a", 1, 2]]
    assert krippendorff_alpha(mixed) == pytest.approx(krippendorff_alpha([["a", "c", "b"], ["a", "c", "d"]]))


def test_perfect_and_opposite_raters() -> None:
    assert krippendorff_alpha([[1, 2, 3], [1, 2, 3]], "interval") == 1.0
    assert krippendorff_alpha([[0, 1] * 10, [1, 0] * 10]) < -0.9
    assert cohen_kappa([[5, 0], [0, 5]]) == 1.0
    assert cohen_kappa([[0, 5], [5, 0]]) == -1.0
    assert fleiss_kappa([[3, 0], [0, 3]]) == 1.0


def test_alpha_interval() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 200)
    rows = np.where(rng.random((3, 200)) < 0.7, truth, rng.integers(0, 3, (3, 200)))
    found = krippendorff_interval(rows)
    assert found.low < found.value < found.high
    assert found.value == krippendorff_alpha(rows)
    assert 0.08 < found.high - found.low < 0.2
    assert found == krippendorff_interval(rows)
    assert found.n == 200
    few = krippendorff_interval(rows[:, :25])
    assert few.high - few.low > 2 * (found.high - found.low)


def test_alpha_interval_holds_the_truth() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for run in range(100):
        truth = rng.integers(0, 2, 100)
        rows = np.where(rng.random((2, 100)) < 0.8, truth, 1 - truth)  # agreement .68, alpha .36
        found = krippendorff_interval(rows, draws=300, seed=run)
        held += found.low <= 0.36 <= found.high
    assert held >= 88


def test_kappa_interval() -> None:
    found = kappa_interval([[20, 5, 1], [10, 15, 4], [2, 3, 9]])
    assert (found.low, found.high) == pytest.approx((0.261, 0.613), abs=0.02)  # statsmodels' large-sample interval
    assert found.n == 69


def test_kappa_table() -> None:
    table = kappa_table(["b", "a", "b"], ["b", "b", "b"])
    assert table.tolist() == [[0, 1], [0, 2]]
    assert kappa_table([1, 2], [2, 1], categories=[2, 1, 0]).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    with pytest.raises(UsageError, match="not one of the categories"):
        kappa_table(["c"], ["a"], categories=["a", "b"])
    with pytest.raises(UsageError, match="the first rater has 1 and the second has 2 samples"):
        kappa_table(["a"], ["a", "b"])


@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=3, max_size=3))
def test_kappas_of_swapped_raters_are_the_same(table: list[list[int]]) -> None:
    turned = [list(row) for row in zip(*table, strict=True)]
    for weights in (None, "linear", "quadratic"):
        try:
            value = cohen_kappa(table, weights=weights)
        except UsageError:
            with pytest.raises(UsageError):
                cohen_kappa(turned, weights=weights)
        else:
            assert cohen_kappa(turned, weights=weights) == pytest.approx(value, abs=1e-12)
            assert -1e9 < value <= 1 + 1e-12


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: cohen_kappa([[1, 2]]), "square table"),
        (lambda: cohen_kappa([]), "square table"),
        (lambda: cohen_kappa([[0, 0], [0, 0]]), "no item was rated"),
        (lambda: cohen_kappa([[7, 0], [0, 0]]), "all ratings are the same"),
        (lambda: cohen_kappa([[1.5, 0], [0, 1]]), "whole counts"),
        (lambda: cohen_kappa([[math.nan, 0], [0, 1]]), "whole counts"),
        (lambda: cohen_kappa([[-1, 0], [0, 1]]), "whole counts"),
        (lambda: cohen_kappa([[1, 0], [0, 1]], weights="cubic"), "'linear' or 'quadratic'"),
        (lambda: fleiss_kappa([[2, 1], [1, 1]]), "same number of raters"),
        (lambda: fleiss_kappa([[1, 0], [0, 1]]), "same number of raters"),
        (lambda: fleiss_kappa([[3, 0], [3, 0]]), "all ratings are the same"),
        (lambda: fleiss_kappa([]), "table of counts"),
        (lambda: krippendorff_alpha([]), "no item has two ratings"),
        (lambda: krippendorff_alpha([[1, 2, 3]]), "no item has two ratings"),
        (lambda: krippendorff_alpha([[1, None], [None, 2]]), "no item has two ratings"),
        (lambda: krippendorff_alpha([[1, 2], [1]]), "one entry for each item"),
        (lambda: krippendorff_alpha([[1, 1], [1, 1]]), "all ratings are the same"),
        (lambda: krippendorff_alpha([["a", "b"], ["a", "c"]], "ordinal"), "the ordinal scale needs numbers"),
        (lambda: krippendorff_alpha([[1, math.inf], [1, 2]], "interval"), "infinite"),
        (lambda: krippendorff_alpha([[-1, 2], [1, 2]], "ratio"), "no values below zero"),
        (lambda: krippendorff_alpha([[1, 2], [1, 2]], "cardinal"), "nominal, ordinal, interval or ratio"),
        (lambda: krippendorff_interval([[1, 1], [1, 1]]), "all ratings are the same"),
    ],
)
def test_bad_ratings_are_refused(call: object, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        call()  # type: ignore[operator]
    assert says in str(caught.value)
