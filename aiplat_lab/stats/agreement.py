"""How far raters agree beyond chance: Cohen's and Fleiss's kappa, and Krippendorff's alpha with gaps."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aiplat_lab.core.errors import UsageError
from aiplat_lab.stats import _check
from aiplat_lab.stats._check import Array, Seed
from aiplat_lab.stats.intervals import Estimate

Weights: TypeAlias = Literal["linear", "quadratic"]
"""How a disagreement of ordered categories grows with their distance."""

Scale: TypeAlias = Literal["nominal", "ordinal", "interval", "ratio"]
"""What ratings mean: names, an order, numbers, or numbers with a true zero."""

Ratings: TypeAlias = Sequence[Sequence[Hashable | None]] | NDArray[Any]  # Any: an array of labels of any kind
"""One row a rater, one column an item; None and NaN where a rater did not rate."""

_CHUNK = 1 << 21
_SAME = "all ratings are the same, so there is nothing by which chance agreement could be told"


def cohen_kappa(table: ArrayLike, *, weights: Weights | None = None) -> float:
    """Cohen's kappa of two raters from their square table of counts.

    Args:
        weights: for ordered categories, in the order of the table.

    Raises:
        UsageError: the table is not square or empty, or everything lies in one cell, where kappa is undefined.
    """
    counts = _square(table)
    value = float(_kappas(counts[None], _distances(len(counts), weights))[0])
    if math.isnan(value):
        raise UsageError(f"Cohen's kappa: {_SAME}.")
    return value


def kappa_table(
    first: Sequence[Hashable], second: Sequence[Hashable], *, categories: Sequence[Hashable] | None = None
) -> NDArray[np.int64]:
    """The table of counts of two raters' labels of the same items.

    Args:
        categories: all labels in order; in sorted order unless given.
    """
    _check.same_length(len(first), len(second), names=("the first rater", "the second"))
    known = list(categories) if categories is not None else _sorted({*first, *second})
    place = {label: i for i, label in enumerate(known)}
    table = np.zeros((len(known), len(known)), dtype=np.int64)
    for one, other in zip(first, second, strict=True):
        for label in (one, other):
            if label not in place:
                raise UsageError(f"The label {label!r} is not one of the categories {known}.")
        table[place[one], place[other]] += 1
    return table


def kappa_interval(
    table: ArrayLike, *, weights: Weights | None = None, level: float = 0.95, draws: int = 10_000, seed: Seed = 0
) -> Estimate:
    """Cohen's kappa with a bootstrap interval over items (percentiles)."""
    counts = _square(table)
    value = cohen_kappa(counts, weights=weights)
    n = int(counts.sum())
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n, counts.ravel() / n, size=_check.count(draws, "draws", least=100))
    found = _kappas(drawn.reshape(-1, *counts.shape).astype(np.float64), _distances(len(counts), weights))
    low, high = _percentiles(found, level)
    return Estimate(value, min(low, value), max(high, value), level, n, "bootstrap of items")


def _square(table: ArrayLike) -> Array:
    counts = np.asarray(table, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.size == 0:
        raise UsageError(f"Cohen's kappa needs a square table of counts, got the shape {counts.shape}.")
    if not np.all(np.isfinite(counts)) or counts.min() < 0 or np.any(counts != np.round(counts)):
        raise UsageError("Cohen's kappa needs whole counts of at least zero.")
    if counts.sum() == 0:
        raise UsageError("Cohen's kappa: no item was rated.")
    return counts


def _distances(size: int, weights: Weights | None) -> Array:
    gaps = np.abs(np.subtract.outer(np.arange(size), np.arange(size))).astype(np.float64)
    if weights is None:
        return np.asarray(gaps > 0, dtype=np.float64)
    if weights == "linear":
        return gaps
    if weights == "quadratic":
        return gaps**2
    raise UsageError(f"weights must be 'linear' or 'quadratic' or None, got {weights!r}.")


def _kappas(tables: Array, distances: Array) -> Array:
    """Kappa of each table; NaN where no disagreement could be expected."""
    totals = tables.sum(axis=(1, 2))
    seen = (tables * distances).sum(axis=(1, 2)) / totals
    expected = np.einsum("bi,bj,ij->b", tables.sum(axis=2), tables.sum(axis=1), distances) / totals**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(expected > 0, 1 - seen / expected, np.nan), dtype=np.float64)


def fleiss_kappa(counts: ArrayLike) -> float:
    """Fleiss's kappa from one row an item with the number of raters for each category; the same number of raters for each item.

    Raises:
        UsageError: fewer than two raters, a different number of raters from item to item, or one category only.
    """
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim != 2 or table.size == 0 or not np.all(np.isfinite(table)) or table.min() < 0:
        raise UsageError("Fleiss's kappa needs a table of counts: one row an item, one column a category.")
    raters = table.sum(axis=1)
    if raters.min() != raters.max() or raters[0] < 2:
        raise UsageError(
            f"Fleiss's kappa needs the same number of raters (two at least) for each item, got {raters.min():g} to {raters.max():g}; "
            "Krippendorff's alpha takes gaps."
        )
    per_item = (np.sum(table**2, axis=1) - raters) / (raters * (raters - 1))
    shares = table.sum(axis=0) / table.sum()
    expected = float(shares @ shares)
    if expected >= 1:
        raise UsageError(f"Fleiss's kappa: {_SAME}.")
    return (float(per_item.mean()) - expected) / (1 - expected)


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
    """Items that two raters or more rated: how often each value was given."""

    counts: Array
    """One row an item, one column a value."""
    values: Array
    """The values as numbers, in order."""
    scale: Scale


def krippendorff_alpha(ratings: Ratings, scale: Scale = "nominal") -> float:
    """Krippendorff's alpha for any number of raters, with gaps.

    Args:
        ratings: one row a rater, one column an item; None or NaN where there is no rating. Labels may be text on the nominal scale.
        scale: what the ratings mean.

    Raises:
        UsageError: no item with two ratings, ragged rows, text on a numeric scale, or all ratings the same.
    """
    units = _units(ratings, scale)
    value = float(_alphas(units, np.ones((1, len(units.counts))))[0])
    if math.isnan(value):
        raise UsageError(f"Krippendorff's alpha: {_SAME}.")
    return value


def krippendorff_interval(
    ratings: Ratings, scale: Scale = "nominal", *, level: float = 0.95, draws: int = 2_000, seed: Seed = 0
) -> Estimate:
    """Krippendorff's alpha with a bootstrap interval over items (percentiles)."""
    units = _units(ratings, scale)
    value = krippendorff_alpha(ratings, scale)
    items = len(units.counts)
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // max(items, units.values.size**2))
    parts = []
    for start in range(0, _check.count(draws, "draws", least=100), rows):
        weights = rng.multinomial(items, np.full(items, 1 / items), size=min(rows, draws - start))
        parts.append(_alphas(units, weights.astype(np.float64)))
    low, high = _percentiles(np.concatenate(parts), level)
    return Estimate(value, min(low, value), max(high, value), level, items, "bootstrap of items")


def _percentiles(found: Array, level: float) -> tuple[float, float]:
    tail = (1 - _check.open_share(level, "level")) / 2
    known = found[~np.isnan(found)]
    if known.size == 0:
        raise UsageError(f"Agreement has no interval: in every drawn sample {_SAME}.")
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def _units(ratings: Ratings, scale: Scale) -> _Units:
    if scale not in ("nominal", "ordinal", "interval", "ratio"):
        raise UsageError(f"scale must be nominal, ordinal, interval or ratio, got {scale!r}.")
    rows = [list(row) for row in ratings]
    if len({len(row) for row in rows}) > 1:
        raise UsageError("ratings: each rater needs one entry for each item; use None where there is no rating.")
    items = [[value for value in column if not _gap(value)] for column in zip(*rows, strict=True)]
    items = [item for item in items if len(item) >= 2]
    if not items:
        raise UsageError("ratings: no item has two ratings, so there is nothing to agree on.")
    labels = _sorted({value for item in items for value in item})
    numbers = np.arange(len(labels), dtype=np.float64) if scale == "nominal" else _numbers(labels, scale)
    place = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(items), len(labels)))
    for i, item in enumerate(items):
        for value in item:
            counts[i, place[value]] += 1
    return _Units(counts, numbers, scale)


def _gap(value: object) -> bool:
    return value is None or (isinstance(value, (float, np.floating)) and math.isnan(value))


def _numbers(labels: list[Hashable], scale: Scale) -> Array:
    try:
        numbers = np.array([float(label) for label in labels], dtype=np.float64)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise UsageError(f"ratings: the {scale} scale needs numbers ({error}).") from error
    if not np.all(np.isfinite(numbers)):
        raise UsageError("ratings: a rating is infinite.")
    if scale == "ratio" and numbers.min() < 0:
        raise UsageError("ratings: the ratio scale has no values below zero.")
    return numbers


def _sorted(labels: set[Hashable]) -> list[Hashable]:
    try:
        return sorted(labels)  # type: ignore[type-var]
    except TypeError:  # labels of several kinds have no order of their own
        return sorted(labels, key=lambda label: (type(label).__name__, str(label)))


def _alphas(units: _Units, weights: Array) -> Array:
    """Alpha of each row of item weights; NaN where all ratings are the same."""
    counts, sizes = units.counts, units.counts.sum(axis=1)
    within = counts / (sizes - 1)[:, None]
    size = units.values.size
    # how often value c meets value k in one item: products of counts, less each rating's meeting with itself
    together = np.einsum("ui,uj->uij", within, counts).reshape(len(counts), -1)
    together[:, :: size + 1] -= within
    pairs = (weights @ together).reshape(-1, size, size)
    totals = weights @ counts
    gaps = _gaps(units, totals)
    n = totals.sum(axis=1)
    seen = (pairs * gaps).sum(axis=(1, 2))
    expected = np.einsum("bi,bj,bij->b", totals, totals, np.broadcast_to(gaps, pairs.shape))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(expected > 0, 1 - (n - 1) * seen / expected, np.nan), dtype=np.float64)


def _gaps(units: _Units, totals: Array) -> Array:
    """The squared distance of each pair of values, for each row of totals where it depends on them."""
    v = units.values
    if units.scale == "nominal":
        return np.asarray(1 - np.eye(v.size), dtype=np.float64)[None]
    if units.scale == "interval":
        return np.asarray(np.subtract.outer(v, v) ** 2, dtype=np.float64)[None]
    if units.scale == "ratio":
        sums = np.add.outer(v, v)
        return np.asarray((np.subtract.outer(v, v) / np.where(sums == 0, 1.0, sums)) ** 2, dtype=np.float64)[None]
    ranks = np.cumsum(totals, axis=1) - totals / 2
    return np.asarray((ranks[:, :, None] - ranks[:, None, :]) ** 2, dtype=np.float64)
