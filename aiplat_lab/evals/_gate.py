"""The regression gate: is this run worse than the baseline by more than a margin? Yes, no, or not to be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from aiplat_lab.client import Client, default
from aiplat_lab.core.errors import EvalError, UsageError, did_you_mean
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.types import canonical_json
from aiplat_lab.evals._compare import ALPHA, _paired
from aiplat_lab.evals._run import Run
from aiplat_lab.stats import Comparison, GateVerdict, gate_verdict

MARGIN = 0.05
EXIT_CODES = {"pass": 0, "regression": 1, "inconclusive": 3}
USED_WRONGLY, COULD_NOT_RUN = 2, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One scorer's part of a gate."""

    scorer: str
    comparison: Comparison
    """The candidate (B) against the baseline (A)."""
    verdict: GateVerdict
    left_out: int
    """Samples that have a score in one run only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """What a gate found."""

    run: Run
    against: Run
    baseline: str
    """The baseline's name; empty where a run was named."""
    margin: float
    parts: tuple[Judged, ...]

    @property
    def verdict(self) -> str:
        """`regression` where a scorer shows one, `pass` where every scorer passes, `inconclusive` otherwise."""
        found = {one.verdict.outcome for one in self.parts}
        return "regression" if "regression" in found else "pass" if found == {"pass"} else "inconclusive"

    @property
    def exit_code(self) -> int:
        """0 pass, 1 regression, 3 inconclusive."""
        return EXIT_CODES[self.verdict]

    @property
    def sentence(self) -> str:
        """The verdict in words: the part that decides it."""
        first = next(one for one in self.parts if one.verdict.outcome == self.verdict)
        left_out = f" {first.left_out} of the samples lack a score in one of the runs and were left out." if first.left_out else ""
        return first.verdict.reason + left_out

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "verdict": self.verdict,
            "sentence": self.sentence,
            "run_id": self.run.id,
            "baseline": self.baseline,
            "baseline_run_id": self.against.id,
            "margin": self.margin,
            "parts": [
                {
                    "scorer": one.scorer,
                    "verdict": one.verdict.outcome,
                    "reason": one.verdict.reason,
                    "left_out": one.left_out,
                    **asdict(one.comparison),
                }
                for one in self.parts
            ],
        }

    def junit(self) -> str:
        """The gate as JUnit XML: one test case a scorer; a regression is a failure, an open question is skipped."""
        counts = {name: sum(one.verdict.outcome == name for one in self.parts) for name in EXIT_CODES}
        suite = f"aiplat eval gate {self.run.name}"
        lines = [
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<testsuites tests="{len(self.parts)}" failures="{counts["regression"]}" errors="0" skipped="{counts["inconclusive"]}">',
            f'  <testsuite name={quoteattr(suite)} tests="{len(self.parts)}" failures="{counts["regression"]}" errors="0" '
            f'skipped="{counts["inconclusive"]}">',
        ]
        for one in self.parts:
            lines.append(f"    <testcase classname={quoteattr(f'{self.run.evalset}.{self.run.model}')} name={quoteattr(one.scorer)}>")
            reason = quoteattr(one.verdict.reason)
            if one.verdict.outcome == "regression":
                lines.append(f'      <failure type="regression" message={reason}/>')
            elif one.verdict.outcome == "inconclusive":
                lines.append(f"      <skipped message={reason}/>")
            lines.append(f"      <system-out>{escape(one.comparison.sentence)}</system-out>")
            lines.append("    </testcase>")
        return "\n".join([*lines, "  </testsuite>", "</testsuites>"]) + "\n"

    def markdown(self) -> str:
        """The gate as Markdown, for a pull request."""
        signs = {"pass": "✅ pass", "regression": "❌ regression", "inconclusive": "❔ inconclusive"}
        baseline = f"the baseline `{self.baseline}`" if self.baseline else "the run"
        lines = [
            f"## Evaluation gate: {signs[self.verdict]}",
            "",
            _cell(self.sentence),
            "",
            f"`{_cell(self.run.name)}` ({self.run.id}; {_cell(self.run.model)}, {_cell(self.run.prompt)}) against {baseline} "
            f"({self.against.id}; {_cell(self.against.model)}, {_cell(self.against.prompt)}) on `{_cell(self.run.evalset)}` "
            f"{self.run.evalset_hash[:8]}, margin {100 * self.margin:g} points.",
            "",
            "| scorer | n | baseline | this run | difference | 95 % interval | detectable | method | verdict |",
            "| --- | ---: | ---: | ---: | ---: | --- | ---: | --- | --- |",
        ]
        for one in self.parts:
            c = one.comparison
            scale = 100 if c.unit == "points" else 1
            effect = "–" if c.minimum_detectable_effect is None else f"{scale * c.minimum_detectable_effect:.2g}"
            lines.append(
                f"| {_cell(one.scorer)} | {c.n} | {scale * c.mean_a:.4g} | {scale * c.mean_b:.4g} | {scale * c.difference:+.3g} | "
                f"{scale * c.low:+.3g} to {scale * c.high:+.3g} | {effect} | {c.method} | {signs[one.verdict.outcome]} |"
            )
        return "\n".join(lines) + "\n"


def baseline(name: str, run: Run | str, *, reason: str = "", client: Client | None = None) -> dict[str, Any]:
    """Lets a baseline's name stand for a run from now on; gives the record.

    Raises:
        UsageError: there is no such run, or it is not complete.
    """
    known = client or default()
    chosen = run if isinstance(run, Run) else Run(known, run)
    if not name.strip() or len(name) > 80:
        raise UsageError(f"a baseline's name has 1 to 80 characters, not {name[:40]!r}")
    if chosen.status not in ("complete", "errors") or not chosen.rows:
        raise UsageError(f"the run {chosen.name} is {chosen.status}, so it can be no baseline: take it up again, then set it")
    row = {"id": new_id(), "name": name, "run_id": chosen.id, "set_by": known.who.user_id or None, "reason": reason or None}
    known.record("eval_baseline", row)
    return {one: value for one, value in row.items() if value is not None}


def baseline_run(name: str, *, client: Client | None = None) -> Run:
    """The run that a baseline's name stands for; a name that is no baseline's may be a run's.

    Raises:
        UsageError: there is neither; the nearest is offered.
    """
    known = client or default()
    rows = known.view_rows("eval_baseline_list")
    found = next((row for row in rows if row["name"] == name), None)
    if found is not None:
        return Run(known, found["run_id"])
    try:
        return Run(known, name)
    except UsageError:
        names = [row["name"] for row in rows]
        said = f" There are {', '.join(names)}." if names else ""
        raise UsageError(
            f"there is no baseline {name[:60]!r}.{did_you_mean(name, names)}{said} `aiplat eval baseline NAME RUN` sets one."
        ) from None


def gate(
    run: Run | str,
    baseline: Run | str,
    margin: float = MARGIN,
    *,
    scorers: Sequence[str] | None = None,
    common: bool = False,
    client: Client | None = None,
) -> GateResult:
    """Whether a run is worse than a baseline by more than a margin; writes a record of it.

    With several scorers the gate passes where every one passes, and calls a regression where one shows it with all of them
    taken into account (Holm). That no drop was found is no proof that there is none: the gate is then inconclusive.

    Args:
        run: the run that is judged.
        baseline: a baseline's name, or the run to compare with.
        margin: how much worse still passes: 0.05 is 5 points.
        scorers: which scorers decide; None takes the main scorer.
        common: whether runs of different evalsets are compared on the ids that both have.
        client: the client to read and record with.

    Raises:
        UsageError: there is no such run or baseline, or the two cannot be paired.
        EvalError: the run has no scores to judge.
    """
    known = client or default()
    if not 0 <= margin <= 1:
        raise UsageError(f"the margin is {margin}; it is from 0 to 1, and 0.05 is 5 points")
    candidate = run if isinstance(run, Run) else Run(known, run)
    against = baseline if isinstance(baseline, Run) else baseline_run(baseline, client=known)
    _can_be_judged(candidate, against, common=common)
    named = list(scorers) if scorers else [candidate.scorers[0]]
    for name in named:
        for one in (candidate, against):
            if name not in one.scorers:
                raise UsageError(f"the run {one.name} has no scorer {name!r}.{did_you_mean(name, one.scorers)}")
    result = GateResult(
        run=candidate,
        against=against,
        baseline=baseline if isinstance(baseline, str) and baseline != against.id else "",
        margin=margin,
        parts=_parts(against, candidate, named, margin),
    )
    known.record(
        "eval_gate",
        {
            "id": new_id(),
            "run_id": candidate.id,
            "baseline_run_id": against.id,
            "baseline": result.baseline or None,
            "verdict": result.verdict,
            "margin": margin,
            "comparison": canonical_json(result.to_json()["parts"]).decode(),
            "sentence": result.sentence,
        },
    )
    return result


def _can_be_judged(candidate: Run, against: Run, *, common: bool) -> None:
    if candidate.id == against.id:
        raise UsageError(f"the run {candidate.name} is the baseline itself; there is nothing to compare")
    if candidate.evalset_hash != against.evalset_hash and not common:
        raise UsageError(
            f"the run is of {candidate.evalset} {candidate.evalset_hash[:8]} and the baseline of {against.evalset} "
            f"{against.evalset_hash[:8]}: set a new baseline, or compare the common ids with --common"
        )
    if candidate.status not in ("complete", "errors"):
        why = f" ({candidate.reason})" if candidate.reason else ""
        raise EvalError(f"the run {candidate.name} is {candidate.status}{why}, so it cannot be judged: take it up again with --resume")
    unanswered = [row for row in candidate.rows if not row.get("answered")]
    if len(unanswered) > len(candidate.rows) / 10:
        raise EvalError(
            f"{len(unanswered)} of {len(candidate.rows)} samples of the run {candidate.name} have no answer ({unanswered[0]['error']}), "
            "so it cannot be judged: take it up again with --resume"
        )


def _parts(against: Run, candidate: Run, scorers: Sequence[str], margin: float) -> tuple[Judged, ...]:
    """Each scorer's verdict: a pass at the plain level, since all must pass; a regression at Holm's, since one is enough."""
    plain = {name: _paired(against, candidate, name, None, margin) for name in scorers}
    outcomes = {name: gate_verdict(found, margin) for name, (found, _) in plain.items()}
    suspects = sorted((name for name in scorers if outcomes[name].outcome == "regression"), key=lambda name: plain[name][0].p_value)
    for rank, name in enumerate(suspects if len(scorers) > 1 else ()):
        strict, _ = _paired(against, candidate, name, None, margin, 1 - ALPHA / (len(scorers) - rank))
        outcome = gate_verdict(strict, margin)
        if outcome.outcome != "regression":  # Holm stops at the first that does not hold
            for later in suspects[rank:]:
                outcomes[later] = gate_verdict(
                    _paired(against, candidate, later, None, margin, 1 - ALPHA / (len(scorers) - rank))[0], margin
                )
                if outcomes[later].outcome == "regression":
                    outcomes[later] = GateVerdict("inconclusive", margin, outcomes[later].reason)
            break
    return tuple(Judged(scorer=name, comparison=plain[name][0], verdict=outcomes[name], left_out=plain[name][1]) for name in scorers)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("`", "'").split())
