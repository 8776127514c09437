"""Many p-values at once: Holm where one false alarm is too many, Benjamini and Hochberg for exploring."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from aiplat_lab.stats import _check
from aiplat_lab.stats._check import Array


def holm(p_values: ArrayLike) -> Array:
    """Adjusted p-values, in the given order: those at most α may be called findings with a chance of at most α of any false one."""
    p, order = _sorted(p_values)
    steps = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)))
    return _back(steps, order)


def benjamini_hochberg(p_values: ArrayLike) -> Array:
    """Adjusted p-values, in the given order: of those at most α, about a share α is expected to be false."""
    p, order = _sorted(p_values)
    steps = p[order] * p.size / np.arange(1, p.size + 1)
    return _back(np.minimum(1.0, np.minimum.accumulate(steps[::-1])[::-1]), order)


def _sorted(p_values: ArrayLike) -> tuple[Array, np.ndarray[tuple[int, ...], np.dtype[np.intp]]]:
    p = _check.within(_check.scores(p_values, "p-values", least=0), 0, 1, name="p-values")
    return p, np.argsort(p, kind="stable")


def _back(steps: Array, order: np.ndarray[tuple[int, ...], np.dtype[np.intp]]) -> Array:
    result = np.empty_like(steps)
    result[order] = steps
    return result
