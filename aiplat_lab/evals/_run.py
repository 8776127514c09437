"""A run to be read: everything is computed from its records and its calls, never carried along."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from aiplat_lab.client import Client, default
from aiplat_lab.core.text import html_table, money, table
from aiplat_lab.core.types import canonical_json
from aiplat_lab.evals._plan import parsed, record_of
from aiplat_lab.evals._score import resolve

if TYPE_CHECKING:
    import polars

Row = Mapping[str, Any]
MEASURES = frozenset({"latency", "cost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerSummary:
    """What one scorer says of a run, or of a slice of it."""

    scorer: str
    n: int
    """Samples with a score, each counted once however often it was repeated."""
    mean: float | None
    low: float | None
    """Where the 95 % interval of the mean begins; None where there are too few samples to say."""
    high: float | None
    method: str
    """Of the interval: Wilson for one pass or fail a sample, Student's t otherwise, both on clusters where there are some."""
    clusters: int | None
    errors: int
    """Scores that are missing because the call or the scorer failed, over all epochs."""
    measure: bool
    """Whether it is a measure (seconds, dollars) of which less is better."""


class Run:
    """One evaluation run."""

    def __init__(self, client: Client, run: str) -> None:
        self._client = client
        self._row = record_of(client, run)

    # --- what it is -------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Its id."""
        return str(self._row["id"])

    @property
    def name(self) -> str:
        """What people call it; several runs may have one name, and differ in their ids."""
        return str(self._row["name"])

    @property
    def evalset(self) -> str:
        """The evalset's name."""
        return str(self._row["evalset"])

    @property
    def evalset_hash(self) -> str:
        """The evalset's version."""
        return str(self._row["evalset_hash"])

    @property
    def model(self) -> str:
        """The model that was asked."""
        return str(self._row["model"])

    @property
    def prompt(self) -> str:
        """The prompt: its name and version, or the beginning of its hash."""
        name, version = self._row.get("prompt_name"), self._row.get("prompt_version")
        return f"{name}@{version}" if name and version else str(name or f"unnamed {str(self._row.get('prompt_hash') or '')[:8]}")

    @property
    def scorers(self) -> tuple[str, ...]:
        """The names of its scorers, the main one first."""
        return tuple(str(one) for one in self._row["scorers"])

    @property
    def epochs(self) -> int:
        """How often each sample is asked."""
        return int(self._row["epochs"])

    @cached_property
    def _listed(self) -> Row:
        return next(row for row in self._client.view_rows("eval_run_list", run=self.id) if row["run_id"] == self.id)

    @property
    def status(self) -> str:
        """`complete`, `errors` where samples have no answer or no score, `capped`, `interrupted`, `failed`, or `open`: it is
        under way, or was killed."""
        return str(self._listed.get("status") or "open")

    @property
    def reason(self) -> str:
        """Why it is not complete."""
        return str(self._listed.get("reason") or "")

    # --- what came out ----------------------------------------------------------------------------------------------

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Its samples as they were scored, each sample and epoch once, sorted."""
        return [parsed(row) for row in self._client.view_rows("eval_sample_list", run=self.id)]

    @cached_property
    def costs(self) -> list[dict[str, Any]]:
        """What it cost: for the answers (`scorer` is empty) and for each scorer that asked a model."""
        return [dict(row) for row in self._client.view_rows("eval_costs", run=self.id)]

    @property
    def cost_usd(self) -> Decimal:
        """All that it cost in US dollars, failed tries and judges included; calls without a known price are left out."""
        return sum((Decimal(row["cost_usd"]) for row in self.costs), Decimal(0))

    @property
    def cached(self) -> int:
        """Answers that came from the cache."""
        return sum(bool(row.get("cached")) for row in self.rows)

    @property
    def errors(self) -> int:
        """Samples, in whichever epoch, that have no answer or lack a score."""
        return sum(row["status"] == "error" for row in self.rows)

    @property
    def missing(self) -> int:
        """Samples, in whichever epoch, that were not tried."""
        return int(self._row["samples"]) * self.epochs - len(self.rows)

    def summary(self) -> list[ScorerSummary]:
        """For each scorer: samples, mean, 95 % interval, errors."""
        return [_summarised(name, self.rows) for name in self.scorers]

    def slices(self, scorer: str | None = None) -> list[dict[str, Any]]:
        """For each slice and value: samples, mean, interval and errors of a scorer, the main one unless another is named."""
        name = scorer or self.scorers[0]
        found = []
        for key in sorted({key for row in self.rows for key in row.get("slices") or {}}):
            values = sorted({row["slices"][key] for row in self.rows if key in (row.get("slices") or {})})
            for value in values:
                some = [row for row in self.rows if (row.get("slices") or {}).get(key) == value]
                found.append({"slice": key, "value": value, **asdict(_summarised(name, some))})
        return found

    def scores(self, scorer: str) -> dict[str, list[float]]:
        """For each sample that has one its scores by a scorer, epoch by epoch."""
        return _by_sample(scorer, self.rows)

    def clusters(self) -> dict[str, str]:
        """The cluster of each sample; one that names none is its own."""
        return {row["sample_id"]: row.get("cluster") or f"\0{row['sample_id']}" for row in self.rows}

    def frame(self) -> polars.DataFrame:
        """The samples as a polars frame: one row a sample and epoch, a column for each scorer, `slice_…` for each slice."""
        import polars  # heavy, and needed for frames alone

        keys = sorted({key for row in self.rows for key in row.get("slices") or {}})
        plain = ("sample_id", "epoch", "status", "error", "passed", "cost_usd", "latency_s", "cached", "call_id", "cluster")
        return polars.DataFrame(
            [
                {
                    **{name: row.get(name) for name in plain},
                    **{name: (row.get("scores") or {}).get(name) for name in self.scorers},
                    **{f"slice_{key}": (row.get("slices") or {}).get(key) for key in keys},
                }
                for row in self.rows
            ],
            infer_schema_length=None,
        )

    def report(self) -> str:
        """The run as canonical JSON: what was asked, each score, and what they add up to.

        Ids, times and measured seconds stand in the ledger and not here, so that a run that was killed and taken up again has the
        same report, byte for byte, as one that was not.
        """
        kept = [name for name in self.scorers if not _is_measure(name) or name == "cost"]
        asked = ("evalset", "evalset_hash", "samples", "epochs", "prompt_name", "prompt_version", "prompt_hash", "model", "settings")
        rows = [
            {
                **{name: row.get(name) for name in ("sample_id", "epoch", "status", "error", "passed", "slices", "cluster", "cost_usd")},
                "scores": {name: value for name, value in (row.get("scores") or {}).items() if name in kept},
                "notes": row.get("notes") or {},
                "errors": row.get("errors") or {},
            }
            for row in self.rows
        ]
        return canonical_json(
            {
                **{name: self._row.get(name) for name in asked},
                "scorers": kept,
                "status": self.status,
                "rows": rows,
                "summary": [asdict(one) for one in self.summary() if one.scorer in kept],
                "slices": self.slices() if self.scorers[0] in kept else [],
                "cost_usd": str(self.cost_usd),
                "cached": self.cached,
                "errors": self.errors,
                "missing": self.missing,
            }
        ).decode()

    # --- for people -------------------------------------------------------------------------------------------------

    @property
    def sentence(self) -> str:
        """The run in one line."""
        main = self.summary()[0]
        how = "no scores yet" if main.mean is None else f"{main.scorer} {shown(main.mean, main)}{_interval(main)}"
        trouble = "".join(f", {count} {what}" for count, what in ((self.errors, "with errors"), (self.missing, "not tried")) if count)
        why = f" ({self.reason})" if self.reason else ""
        return (
            f"{self.name} {self.id[:13]}: {self.status}{why}. {how}, {main.n} of {self._row['samples']} samples{trouble}; "
            f"{money(self.cost_usd)}, {self.cached} cached."
        )

    def table(self) -> str:
        """The scorers as a table of text."""
        return table(summary_rows(self.summary()))

    def __repr__(self) -> str:
        return f"{self.sentence}\n{self.table()}"

    def _repr_html_(self) -> str:
        return html_table(self.sentence, summary_rows(self.summary()))


def run(run_id: str, *, client: Client | None = None) -> Run:
    """A run by its id, the beginning of its id, or its name (the newest of that name).

    Raises:
        UsageError: there is none; the nearest name is offered.
    """
    return Run(client or default(), run_id)


def summary_rows(summary: Sequence[ScorerSummary]) -> list[dict[str, Any]]:
    """Summaries as rows for people."""
    return [
        {
            "scorer": one.scorer,
            "mean": "–" if one.mean is None else shown(one.mean, one),
            "95 % interval": "–" if one.low is None or one.high is None else f"{shown(one.low, one)} to {shown(one.high, one)}",
            "n": one.n,
            "clusters": "–" if one.clusters is None else str(one.clusters),
            "errors": one.errors,
            "method": one.method,
        }
        for one in summary
    ]


def shown(value: float, one: ScorerSummary) -> str:
    """A score as a person reads it: a share in percent, a measure in its own unit."""
    if not one.measure:
        return f"{100 * value:.1f} %"
    return money(Decimal(str(value))) if one.scorer == "cost" else f"{value:.3g} s" if one.scorer == "latency" else f"{value:.4g}"


def _interval(one: ScorerSummary) -> str:
    return "" if one.low is None or one.high is None else f" ({shown(one.low, one)} to {shown(one.high, one)})"


def _is_measure(name: str) -> bool:
    base = name.partition(":")[0]
    if base in MEASURES:
        return True
    from aiplat_lab.core.errors import AiplatError

    try:
        return resolve(base).measure
    except AiplatError:
        return False  # a function of somebody's notebook


def _by_sample(scorer: str, rows: Sequence[Row]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for row in rows:
        value = (row.get("scores") or {}).get(scorer)
        if value is not None:
            found.setdefault(row["sample_id"], []).append(float(value))
    return found


def _summarised(scorer: str, rows: Sequence[Row]) -> ScorerSummary:
    from aiplat_lab.stats import score_interval  # loads NumPy, which a run at work does without

    by_sample = _by_sample(scorer, rows)
    ids = sorted(by_sample)
    means = [sum(by_sample[one]) / len(by_sample[one]) for one in ids]
    labels = {row["sample_id"]: row.get("cluster") or f"\0{row['sample_id']}" for row in rows}
    clusters = [labels[one] for one in ids]
    groups = len(set(clusters))
    errors = sum((row.get("scores") or {}).get(scorer) is None for row in rows)
    measure = _is_measure(scorer)
    low = high = None
    method = "too few to say"
    grouped = groups < len(ids)
    if len(ids) >= 2 and groups >= 2:
        found = score_interval(means, clusters=clusters if grouped else None)
        low, high, method = found.low, found.high, found.method
        if not measure:
            low, high = max(0.0, low), min(1.0, high)
    return ScorerSummary(
        scorer=scorer,
        n=len(ids),
        mean=sum(means) / len(means) if means else None,
        low=low,
        high=high,
        method=method,
        clusters=groups if grouped else None,
        errors=errors,
        measure=measure,
    )


def as_json(run: Run) -> dict[str, Any]:
    """A run as the command line's JSON gives it."""
    return {
        "run_id": run.id,
        "name": run.name,
        "status": run.status,
        "reason": run.reason,
        "evalset": run.evalset,
        "evalset_hash": run.evalset_hash,
        "prompt": run.prompt,
        "model": run.model,
        "epochs": run.epochs,
        "samples": run._row["samples"],
        "errors": run.errors,
        "missing": run.missing,
        "cached": run.cached,
        "cost_usd": str(run.cost_usd),
        "summary": json.loads(canonical_json([asdict(one) for one in run.summary()])),
        "sentence": run.sentence,
    }
