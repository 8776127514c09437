"""Two runs side by side: paired on their samples, with everything a reader needs to believe it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from aiplat_lab.client import Client, default
from aiplat_lab.core.errors import UsageError, did_you_mean
from aiplat_lab.core.text import html_table, table
from aiplat_lab.evals._run import Run, _is_measure
from aiplat_lab.stats import Comparison, benjamini_hochberg, compare_paired, gate_verdict, holm

ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """One scorer's comparison of two runs, on all samples or on a slice."""

    scorer: str
    slice: str
    """Such as `topic=broadband`; empty for all samples."""
    comparison: Comparison
    left_out: int
    """Samples that have a score in one run only, or in neither."""
    p_adjusted: float
    """The p-value with all comparisons of the table taken into account."""

    @property
    def sentence(self) -> str:
        """The comparison in one sentence, with what was left out."""
        out = f" {self.left_out} samples were left out: they lack a score in one of the runs." if self.left_out else ""
        return self.comparison.sentence + out.replace("1 samples were", "1 sample was").replace(
            "they lack", "it lacks" if self.left_out == 1 else "they lack"
        )

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        found = {"scorer": self.scorer, "slice": self.slice, **asdict(self.comparison)}
        return found | {"left_out": self.left_out, "p_adjusted": self.p_adjusted, "sentence": self.sentence}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Run B against run A."""

    a: Run
    b: Run
    pairings: tuple[Pairing, ...]
    """The first is the main scorer's on all samples."""
    correction: str
    """How many comparisons at once were taken into account: `none`, `Holm` or `Benjamini-Hochberg`."""

    @property
    def main(self) -> Pairing:
        """The main scorer's comparison."""
        return self.pairings[0]

    @property
    def verdict(self) -> str:
        """`better`, `not_worse`, `worse` or `cannot_tell`, by the main scorer."""
        return self.main.comparison.verdict

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        return self.main.sentence

    @property
    def comparison(self) -> Comparison:
        """The main scorer's figures: n, difference, interval, method, minimum detectable effect."""
        return self.main.comparison

    def table(self) -> str:
        """Every comparison as a table of text."""
        return table([_row(one) for one in self.pairings])

    def __repr__(self) -> str:
        more = f"\n{len(self.pairings)} comparisons, p adjusted by {self.correction}." if len(self.pairings) > 1 else ""
        return f"{self.sentence}\n{self.table()}{more}"

    def _repr_html_(self) -> str:
        return html_table(self.sentence, [_row(one) for one in self.pairings])

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "run_a": self.a.id,
            "run_b": self.b.id,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "correction": self.correction,
            "pairings": [one.to_json() for one in self.pairings],
        }


def compare(
    run_a: Run | str,
    run_b: Run | str,
    *,
    scorer: str | Sequence[str] | None = None,
    margin: float = 0.0,
    slices: bool = False,
    common: bool = False,
    gate: bool = False,
    client: Client | None = None,
) -> RunComparison:
    """Run B against run A on the samples that both have.

    Repeats are averaged for each sample, samples of one cluster are kept together, and several comparisons at once are
    corrected for: Benjamini and Hochberg's way, or Holm's for a gate.

    Args:
        run_a: the run to compare with: a run, its id, or its name.
        run_b: the run that is judged.
        scorer: one or several that both runs have; None takes the main scorer.
        margin: how much worse B may be and still pass as not worse: 0.05 is 5 points.
        slices: whether each slice is compared as well.
        common: whether runs of different evalsets are compared on the ids that both have.
        gate: whether the comparisons decide something together, so that no false finding is wanted.
        client: the client to read with.

    Raises:
        UsageError: the runs have different evalsets, no common samples or no such scorer.
    """
    known = client or default()
    a, b = (one if isinstance(one, Run) else Run(known, one) for one in (run_a, run_b))
    if a.evalset_hash != b.evalset_hash and not common:
        raise UsageError(
            f"the runs are of different evalsets ({a.evalset} {a.evalset_hash[:8]} and {b.evalset} {b.evalset_hash[:8]}), so their samples "
            "are not pairs; ask for the common ids (common=True, --common) if they are the same samples nonetheless"
        )
    named = [a.scorers[0]] if scorer is None else [scorer] if isinstance(scorer, str) else list(scorer)
    for name in named:
        for run in (a, b):
            if name not in run.scorers:
                raise UsageError(
                    f"the run {run.name} has no scorer {name!r}.{did_you_mean(name, run.scorers)} It has {', '.join(run.scorers)}."
                )
    found = [(name, "", *_paired(a, b, name, None, margin)) for name in named]
    if slices:
        of_a = {row["sample_id"]: row.get("slices") or {} for row in a.rows}
        for key, value in sorted({pair for some in of_a.values() for pair in some.items()}):
            ids = {one for one, some in of_a.items() if some.get(key) == value}
            found += [(name, f"{key}={value}", *_paired(a, b, name, ids, margin)) for name in named if _shared(a, b, name, ids)]
    p_values = [one[2].p_value for one in found]
    adjusted = (holm if gate else benjamini_hochberg)(p_values) if len(found) > 1 else p_values
    pairings = tuple(
        Pairing(scorer=name, slice=part, comparison=comparison, left_out=left_out, p_adjusted=float(p))
        for (name, part, comparison, left_out), p in zip(found, adjusted, strict=True)
    )
    correction = "none" if len(found) == 1 else "Holm" if gate else "Benjamini-Hochberg"
    return RunComparison(a=a, b=b, pairings=pairings, correction=correction)


def _shared(a: Run, b: Run, scorer: str, ids: set[str] | None) -> list[str]:
    shared = sorted(a.scores(scorer).keys() & b.scores(scorer).keys())
    return shared if ids is None else [one for one in shared if one in ids]


def _paired(a: Run, b: Run, scorer: str, ids: set[str] | None, margin: float, level: float = 1 - ALPHA) -> tuple[Comparison, int]:
    scores_a, scores_b = a.scores(scorer), b.scores(scorer)
    shared = _shared(a, b, scorer, ids)
    if not shared:
        raise UsageError(f"the runs {a.name} and {b.name} have no sample in common that {scorer} scored in both")
    clusters = {**b.clusters(), **a.clusters()}
    everyone = {row["sample_id"] for run in (a, b) for row in run.rows} if ids is None else ids
    comparison = compare_paired(
        [_one(scores_a[one]) for one in shared],
        [_one(scores_b[one]) for one in shared],
        clusters=[clusters[one] for one in shared],
        names=_names(a, b),
        margin=margin,
        level=level,
        lower_is_better=_is_measure(scorer),
        unit={"latency": "s", "cost": "USD"}.get(scorer),
    )
    return comparison, len(everyone) - len(shared)


def _one(scores: list[float]) -> float | list[float]:
    return scores[0] if len(scores) == 1 else scores


def _names(a: Run, b: Run) -> tuple[str, str]:
    """What to call the two: their names, or whatever else tells them apart."""
    for names in ((a.name, b.name), (a.prompt, b.prompt), (a.model, b.model)):
        if names[0] != names[1]:
            return names
    return f"{a.name} ({a.id[9:13]}{a.id[-4:]})", f"{b.name} ({b.id[9:13]}{b.id[-4:]})"


def _row(one: Pairing) -> dict[str, Any]:
    c = one.comparison
    scale, unit = (100, " points") if c.unit == "points" else (1, f" {c.unit}" if c.unit else "")
    effect = c.minimum_detectable_effect
    return {
        "scorer": one.scorer,
        "slice": one.slice or "all",
        "n": c.n,
        "A": f"{c.mean_a * scale:.4g}",
        "B": f"{c.mean_b * scale:.4g}",
        "difference": f"{c.difference * scale:+.3g}{unit}",
        "95 % interval": f"{c.low * scale:+.3g} to {c.high * scale:+.3g}",
        "p": f"{one.p_adjusted:.2g}",
        "detectable": "–" if effect is None else f"{effect * scale:.2g}",
        "verdict": c.verdict.replace("_", " "),
        "method": c.method,
    }


__all__ = ["ALPHA", "Pairing", "RunComparison", "compare", "gate_verdict"]
