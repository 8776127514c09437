"""Whether traffic was split as it should have been: a split that is off means that something else is wrong too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aiplat_lab.core.errors import UsageError
from aiplat_lab.stats import _check
from aiplat_lab.stats._special import chi2_upper

SRM_ALPHA = 0.001
"""Below this p-value a result must not be read."""


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """How the counts agree with the shares they should have."""

    chi2: float
    df: int
    p_value: float
    mismatch: bool
    """Whether the split is off (p < 0.001): do not read the result before the reason is found."""


def sample_ratio(counts: Sequence[int], shares: Sequence[float] | None = None) -> SampleRatio:
    """The chi-square test of a split: `counts` by arm against the `shares` that were set, equal unless given.

    Raises:
        UsageError: fewer than two arms, no units at all, or shares that are not positive.
    """
    seen = np.array(_check.counts(counts, "counts"), dtype=np.float64)
    if seen.size < 2:
        raise UsageError(f"counts: a split has at least two arms, got {seen.size}.")
    if seen.sum() == 0:
        raise UsageError("counts: no units in any arm.")
    wanted = np.ones(seen.size) if shares is None else _check.scores(shares, "shares")
    if wanted.size != seen.size or np.any(wanted <= 0):
        raise UsageError(f"shares: one positive share for each of the {seen.size} arms is needed.")
    expected = seen.sum() * wanted / wanted.sum()
    chi2 = float(np.sum((seen - expected) ** 2 / expected))
    p = chi2_upper(chi2, seen.size - 1)
    return SampleRatio(chi2, int(seen.size) - 1, p, p < SRM_ALPHA)
