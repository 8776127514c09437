"""A rate or mean that an imperfect judge gave, corrected by samples that people labelled too."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from aiplat_lab.core.errors import UsageError
from aiplat_lab.stats import _check
from aiplat_lab.stats._check import Array
from aiplat_lab.stats._special import two_sided_z
from aiplat_lab.stats.intervals import Estimate


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a judge did on samples that people labelled."""

    true_positives: int
    """Samples that people and judge pass."""
    positives: int
    """Samples that people pass."""
    true_negatives: int
    """Samples that people and judge fail."""
    negatives: int
    """Samples that people fail."""

    @property
    def sensitivity(self) -> float:
        """Of what people pass, the share that the judge passes."""
        return self.true_positives / self.positives

    @property
    def specificity(self) -> float:
        """Of what people fail, the share that the judge fails."""
        return self.true_negatives / self.negatives


def calibration(people: ArrayLike, judge: ArrayLike) -> Calibration:
    """Counts from the 0/1 labels of people and judge on the same samples.

    Raises:
        UsageError: people passed none, or failed none, so that one side of the judge is unknown.
    """
    truth, found = _check.pair(people, judge, names=("people", "judge"))
    _check.binary(truth, "people"), _check.binary(found, "judge")
    yes, no = int(truth.sum()), int((1 - truth).sum())
    if not yes or not no:
        raise UsageError(f"A judge is calibrated on samples that people passed and on some that they failed; there are {yes} and {no}.")
    return Calibration(int((truth * found).sum()), yes, int(((1 - truth) * (1 - found)).sum()), no)


def rogan_gladen_rate(rate: float, *, sensitivity: float, specificity: float) -> float:
    """The true rate behind a judge's `rate` (Rogan and Gladen 1978), cut to 0 and 1.

    Raises:
        UsageError: the judge is no better than a coin (sensitivity + specificity at most 1).
    """
    _check.share(rate, "rate")
    gain = _gain(_check.share(sensitivity, "sensitivity"), _check.share(specificity, "specificity"))
    return min(1.0, max(0.0, (rate + specificity - 1) / gain))


def _gain(sensitivity: float, specificity: float) -> float:
    gain = sensitivity + specificity - 1
    if gain <= 1e-9:
        measured = f"sensitivity {sensitivity:.3g}, specificity {specificity:.3g}"
        raise UsageError(f"The judge is no better than a coin ({measured}): its rate cannot be corrected.")
    return gain


def rogan_gladen(passed: int, n: int, judge: Calibration, *, level: float = 0.95) -> Estimate:
    """The true pass rate behind a judge's `passed` of `n`, with an interval that knows the judge's own uncertainty.

    The interval is Lang and Reiczigel's (2014), with the calibration samples other than these `n`.
    """
    some, whole = _check.part_of(passed, n)
    z = two_sided_z(_check.open_share(level, "level"))
    value = rogan_gladen_rate(some / whole, sensitivity=judge.sensitivity, specificity=judge.specificity)
    rate, samples = (some + z * z / 2) / (whole + z * z), whole + z * z
    positives, negatives = judge.positives + 2, judge.negatives + 2
    sensitivity, specificity = (judge.true_positives + 1) / positives, (judge.true_negatives + 1) / negatives
    gain = _gain(sensitivity, specificity)
    true = min(1.0, max(0.0, (rate + specificity - 1) / gain))
    noise_yes = sensitivity * (1 - sensitivity) / positives
    noise_no = specificity * (1 - specificity) / negatives
    shift = 2 * z * z * (true * noise_yes - (1 - true) * noise_no)
    reach = z * math.sqrt(rate * (1 - rate) / samples + true * true * noise_yes + (1 - true) ** 2 * noise_no) / gain
    low, high = max(0.0, true + shift - reach), min(1.0, true + shift + reach)
    return Estimate(value, min(low, value), max(high, value), level, whole, "Rogan–Gladen")


def ppi_mean(people: ArrayLike, judge: ArrayLike, judge_alone: ArrayLike, *, level: float = 0.95, weight: float | None = None) -> Estimate:
    """The mean that people would have given, from few samples with both scores and many with the judge's only (PPI++).

    Args:
        people: people's scores of the labelled samples.
        judge: the judge's scores of the same samples.
        judge_alone: the judge's scores of other samples, which people did not label.
        weight: how far the judge is trusted: 1 is plain PPI, 0 people alone; by default what gives the narrowest interval.
    """
    truth, seen = _check.pair(people, judge, names=("people", "judge"), least=2)
    alone = _check.scores(judge_alone, "judge_alone", least=2)
    z = two_sided_z(_check.open_share(level, "level"))
    trust = _best_weight(truth, seen, alone) if weight is None else weight
    if not math.isfinite(trust):
        raise UsageError(f"weight must be a number, got {weight}.")
    rest = truth - trust * seen
    value = trust * float(alone.mean()) + float(rest.mean())
    se = math.sqrt(trust**2 * float(alone.var()) / alone.size + float(rest.var()) / rest.size)
    name = "people's labels only" if trust == 0 else "PPI" if trust == 1 and weight is not None else "PPI++"
    return Estimate(value, value - z * se, value + z * se, level, truth.size + alone.size, name)


def _best_weight(truth: Array, seen: Array, alone: Array) -> float:
    spread = float(np.concatenate([seen, alone]).var(ddof=1))
    if spread == 0:
        return 0.0
    together = float(np.mean((truth - truth.mean()) * (seen - seen.mean())))
    return min(1.0, max(0.0, together / ((1 + truth.size / alone.size) * spread)))
