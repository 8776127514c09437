"""What every statistic refuses: no samples, values that are not numbers, sizes that do not fit together."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aiplat_lab.core.errors import UsageError

Array: TypeAlias = NDArray[np.float64]
"""One number a sample."""

Labels: TypeAlias = Sequence[Hashable | None] | NDArray[np.generic]
"""One cluster label a sample; None is a cluster of its own."""

Seed: TypeAlias = int | np.random.Generator
"""A whole number, or a generator that goes on from where it is."""


def scores(values: ArrayLike, name: str = "scores", *, least: int = 1) -> Array:
    """`values` as a vector of finite numbers.

    Raises:
        UsageError: they are not numbers, not a vector, too few, NaN or infinite.
    """
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: every value must be a number, and there must be one for each sample ({error}).") from error
    if found.ndim != 1:
        raise UsageError(f"{name}: one number for each sample is needed, but the values have {found.ndim} dimensions.")
    if found.size < least:
        raise UsageError(f"{name}: at least {least} {'sample is' if least == 1 else 'samples are'} needed, {found.size} given.")
    wrong = np.flatnonzero(~np.isfinite(found))
    if wrong.size:
        first = int(wrong[0])
        raise UsageError(
            f"{name}: sample {first} is {found[first]}, and {wrong.size} of {found.size} are not finite; "
            "leave such samples out of both sides, or score them."
        )
    return found


def pair(a: ArrayLike, b: ArrayLike, *, names: tuple[str, str] = ("A", "B"), least: int = 1) -> tuple[Array, Array]:
    """Both as vectors of one length, so that item i of both is the same sample."""
    first, second = scores(a, names[0], least=least), scores(b, names[1], least=least)
    same_length(first.size, second.size, names=names)
    return first, second


def same_length(first: int, second: int, *, names: tuple[str, str] = ("A", "B")) -> None:
    """Refuses two sides that cannot be paired."""
    if first != second:
        sizes = f"{names[0]} has {first} and {names[1]} has {second}"
        raise UsageError(f"{sizes} samples: paired samples must be the same ones, in the same order.")


def within(values: Array, low: float, high: float, *, name: str = "scores") -> Array:
    """`values`, all of which lie from `low` to `high`."""
    if values.size and (values.min() < low or values.max() > high):
        raise UsageError(f"{name}: every value must lie from {low:g} to {high:g}, but they run from {values.min():g} to {values.max():g}.")
    return values


def is_binary(*sides: Array) -> bool:
    """Whether every value is 0 or 1."""
    return all(bool(np.all((side == 0) | (side == 1))) for side in sides)


def binary(values: Array, name: str = "scores") -> Array:
    """`values`, all of which are 0 or 1."""
    if not is_binary(values):
        raise UsageError(f"{name}: every value must be 0 or 1.")
    return values


def cluster_index(labels: Labels, n: int) -> NDArray[np.int64]:
    """For each sample the number of its cluster, from 0; a sample labelled None stands alone."""
    items = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)
    if len(items) != n:
        raise UsageError(f"clusters: {len(items)} labels for {n} samples; each sample needs one.")
    known: dict[Hashable, int] = {}
    index = np.empty(n, dtype=np.int64)
    for i, label in enumerate(items):
        if isinstance(label, float) and math.isnan(label):
            raise UsageError(f"clusters: the label of sample {i} is NaN; use None for a sample that stands alone.")
        key: Hashable = ("alone", i) if label is None else ("label", label)
        index[i] = known.setdefault(key, len(known))
    return index


def cluster_sums(values: Array, index: NDArray[np.int64]) -> tuple[Array, Array]:
    """The sum and the size of each cluster."""
    return np.bincount(index, weights=values).astype(np.float64), np.bincount(index).astype(np.float64)


def open_share(value: float, name: str) -> float:
    """A number strictly between 0 and 1, as levels and powers are."""
    if not 0 < value < 1:
        raise UsageError(f"{name} must lie between 0 and 1 (as 0.95), got {value}.")
    return float(value)


def share(value: float, name: str) -> float:
    """A number from 0 to 1."""
    if not 0 <= value <= 1:
        raise UsageError(f"{name} must lie from 0 to 1, got {value}.")
    return float(value)


def positive(value: float, name: str) -> float:
    """A finite number above zero."""
    if not (value > 0 and math.isfinite(value)):
        raise UsageError(f"{name} must be above zero, got {value}.")
    return float(value)


def count(value: float, name: str, *, least: int = 0) -> int:
    """A whole number of at least `least`."""
    if not (math.isfinite(value) and value == int(value)) or value < least:
        raise UsageError(f"{name} must be a whole number of at least {least}, got {value}.")
    return int(value)


def part_of(passed: float, n: float, name: str = "samples") -> tuple[int, int]:
    """`passed` of `n`, with at least one and no more passed than there are."""
    whole = count(n, f"the number of {name}", least=1)
    some = count(passed, "the number that passed")
    if some > whole:
        raise UsageError(f"{some} passed of {whole} {name}: more than there are.")
    return some, whole


def counts(values: Iterable[float], name: str) -> list[int]:
    """Whole numbers of at least zero."""
    return [count(value, name) for value in values]
