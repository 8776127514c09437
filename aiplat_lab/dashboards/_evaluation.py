"""The Evaluation page: runs with their intervals, their trend, two of them compared, down to the single sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from aiplat_lab import charts
from aiplat_lab.dashboards import _results, _runs, _samples, _sections
from aiplat_lab.dashboards._data import Answer, Ask, view
from aiplat_lab.dashboards._html import esc, note
from aiplat_lab.dashboards._page import Page, Part, Plan
from aiplat_lab.dashboards._query import SAMPLE_ROWS, Period, Query

_MOST_RUNS = 500
_EARLIER = 20
"""Runs before the period that are looked through for one to compare with."""
_FRONTIER_HEIGHT = 340


def asks(query: Query, period: Period, answers: Mapping[str, Answer]) -> dict[str, Ask]:
    """The runs of the period with their scores, then the samples of the two that are looked at, then the calls of one sample.

    Where the period holds no run to compare with, the runs before it are asked for.

    The other filters are not asked of the ledger: the runs of a period are few, so a page that has them answers at once.
    """
    since = {} if period.since is None else {"since": period.since}
    wanted = {
        "ever": view("eval_run_list", {"limit": 1}),
        "runs": view("eval_run_list", {**period.filters(), "limit": _MOST_RUNS}),
        "scores": view("eval_scores", since),
    }
    named = sorted({name for name in (query.run, query.against) if name})
    if named:
        wanted["picked"] = view("eval_run_list", {"run": named})
    if "runs" not in answers or (named and "picked" not in answers):
        return wanted
    now, before = _two(query, answers)
    if now is None:
        return wanted
    if period.since is not None and not query.against and _results.rival(_in_period(query, answers), now, query) is None:
        wanted["earlier"] = view("eval_run_list", {"evalset": now["evalset"], "until": now["started_at"], "limit": _EARLIER})
        if "earlier" not in answers:
            return wanted
    wanted["samples"] = view("eval_sample_means", {"run": sorted({row["run_id"] for row in (now, before) if row is not None})})
    if "samples" in answers:
        pair = _opened(query, _shared(answers, now, before))
        for place, row in (("call_before", pair.before), ("call_now", pair.now)) if pair else ():
            if row is not None and row["call_id"]:
                wanted[place] = Ask("call", row["call_id"])
    return wanted


def _rows(query: Query, answers: Mapping[str, Answer], place: str = "runs") -> list[dict[str, Any]]:
    runs, scores = (answers.get(name, Answer()).rows for name in (place, "scores"))
    found = _results.merged(runs, scores)
    return _results.fitting(found, query) if place == "runs" else found


def _in_period(query: Query, answers: Mapping[str, Answer]) -> list[dict[str, Any]]:
    return _results.fitting(answers.get("runs", Answer()).rows, query)


def _two(query: Query, answers: Mapping[str, Answer]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The run that is looked at and the one it is compared with, by what the runs say of themselves."""
    rows = _in_period(query, answers)
    picked = answers.get("picked", Answer()).rows
    now = _results.chosen(rows, query, picked)
    if now is None:
        return None, None
    before = _results.rival(rows, now, query, picked)
    if before is None and not query.against:
        before = _results.rival(answers.get("earlier", Answer()).rows, now, query)
    return now, before


def _shared(answers: Mapping[str, Answer], now: Mapping[str, Any], before: Mapping[str, Any] | None) -> list[_results.Pair]:
    return _results.pairs(answers["samples"].rows, now["run_id"], before["run_id"] if before else "")


def _opened(query: Query, shared: Sequence[_results.Pair]) -> _results.Pair | None:
    if query.sample:
        return next((pair for pair in shared if pair.id == query.sample), None)
    found = _results.matching(shared, query.which)
    start = query.start(SAMPLE_ROWS)
    return found[start] if start < len(found) else None


class _View:
    """What the parts of the page share of its answers."""

    def __init__(self, page: Page) -> None:
        self.page, self.show = page, page.show
        self.rows = _rows(page.query, page.answers)
        now, before = _two(page.query, page.answers)
        self.now, self.before = (None if row is None else self._scored(row, page) for row in (now, before))

    def _scored(self, row: dict[str, Any], page: Page) -> dict[str, Any]:
        """The run with its scores; those of one outside the period come from its samples."""
        known = next((one for one in self.rows if one["run_id"] == row["run_id"]), None)
        if known is not None:
            return known
        own = [one for one in page.rows("samples") if one["run_id"] == row["run_id"]]
        scored = [one for one in own if one["score"] is not None]
        clusters = [one["cluster"] or one["sample_id"] for one in scored]
        figures = {
            "scored": len(scored),
            "score": sum(one["score"] for one in scored) / len(scored) if scored else None,
            "scores": [one["score"] for one in scored],
            "clusters": clusters if len(set(clusters)) < len(clusters) else None,
            "asked": sum(one["asked"] for one in own),
            "errors": sum(one["errors"] for one in own),
            "cost_usd": charts.add(one["cost_usd"] for one in own),
        }
        return _results.with_interval({**row, **figures})

    @property
    def shared(self) -> list[_results.Pair]:
        """The samples of both runs."""
        now = self.now
        return [] if now is None else self.page.keep("shared", lambda: _shared(self.page.answers, now, self.before))

    @property
    def lower_is_better(self) -> bool:
        """Whether less of the main score is good."""
        return self.now is not None and _results.is_lower_better(self.now)


def _seen(page: Page) -> _View:
    return page.keep("view", lambda: _View(page))


def _headline(page: Page) -> str:
    rows = _seen(page).rows
    return _runs.headline(rows, page.show) if rows else _sections.nothing(page.query, what="evaluation run")


def _list(page: Page) -> str:
    seen = _seen(page)
    missing = note("The run in the link is not in this ledger.", kind="warn") if page.query.run and seen.now is None else ""
    return missing + _runs.runs(seen.rows, seen.now, seen.before, seen.show)


def _comparison(page: Page) -> str:
    seen = _seen(page)
    if seen.now is None:
        return note("Choose a run from the list.")
    shared = seen.shared
    found, left_out = None, 0
    if seen.before is not None:
        found = _results.compared(shared, names=_runs.names_of(seen.before, seen.now), lower_is_better=seen.lower_is_better)
        left_out = sum(pair.difference is None for pair in shared)
    return _runs.comparison(seen.now, seen.before, found, left_out, seen.show)


def _slices(page: Page) -> str:
    seen = _seen(page)
    if seen.now is None:
        return ""
    if seen.before is None:
        return _runs.slices(_results.one_sided(seen.shared), paired=False)
    names = _runs.names_of(seen.before, seen.now)
    return _runs.slices(_results.by_slice(seen.shared, names=names, lower_is_better=seen.lower_is_better), paired=True)


def _sample_list(page: Page) -> str:
    seen = _seen(page)
    if seen.now is None:
        return ""
    if seen.before is None:
        return note("With a second run to compare with, the samples of both stand here side by side.")
    pair = _opened(page.query, seen.shared)
    return _samples.samples(seen.shared, pair.id if pair else "", seen.show)


def _which(page: Page) -> str:
    seen = _seen(page)
    return "" if seen.before is None else _samples.choice(seen.shared, seen.show)


def _one_sample(page: Page) -> str:
    seen = _seen(page)
    pair = _opened(page.query, seen.shared)
    if pair is None:
        return note("The sample in the link is in neither run.", kind="warn") if page.query.sample else ""
    calls = {side: page.answers[f"call_{side}"] for side in ("before", "now") if f"call_{side}" in page.answers}
    return _samples.opened(pair, calls, seen.show)


def _on_the_same(seen: _View) -> list[dict[str, Any]]:
    """The runs on the evalset of the one that is looked at; scores of others are not comparable with it."""
    return [] if seen.now is None else [row for row in seen.rows if row["evalset"] == seen.now["evalset"] and row["score"] is not None]


def _trend(page: Page) -> str:
    seen = _seen(page)
    drawn = _on_the_same(seen)
    if seen.now is None or not drawn:
        return note("No run with a score to draw.")
    if len(drawn) == 1:
        return note(f"One run on <strong>{esc(seen.now['evalset'])}</strong> in this period; a second makes a trend.")
    return note(f"Runs on <strong>{esc(seen.now['evalset'])}</strong>; a dashed line is the first run of another version.")


def _trend_chart(page: Page) -> Any:  # Any, here and below: Altair comes without types
    rows = [
        {**row, "series": row["model"], "version": _results.prompt_of(row), "name": _runs.title_of(row)}
        for row in _on_the_same(_seen(page))
    ]
    return charts.score_trend(rows, look=page.look) if len(rows) > 1 else None


def _choices(seen: _View) -> list[dict[str, Any]]:
    """The newest whole run of each prompt version and model, with the cost of one answer."""
    newest: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in _on_the_same(seen):
        answered = row["asked"] - row["errors"]
        if _results.is_whole(row) and row["cost_usd"] is not None and answered:
            shown = {**row, "name": f"{row['model']} · {row['prompt_version'] or '–'}", "each_usd": row["cost_usd"] / answered}
            newest.setdefault(_results.config(row), shown)
    return list(newest.values())


def _frontier(page: Page) -> str:
    rows = _choices(_seen(page))
    if len(rows) < 2:
        return note("Two prompt versions or models with a whole run and a known cost make a picture of what quality costs.")
    best = ", ".join(f"<strong>{esc(name)}</strong>" for name in charts.frontier(rows))
    return note(f"Nothing else is as cheap and better, or as good and cheaper: {best}.")


def _frontier_chart(page: Page) -> Any:
    rows = _choices(_seen(page))
    return charts.cost_quality(rows, look=replace(page.look, height=_FRONTIER_HEIGHT)) if len(rows) > 1 else None


def _values(page: Page) -> Mapping[str, Sequence[str]]:
    """What runs name beside what calls name: evalsets, and models or prompts that were only evaluated."""
    columns = {"evalset": "evalset", "team": "team", "project": "project", "model": "model", "prompt": "prompt_name"}
    return {name: sorted({row[column] for row in page.rows("runs") if row[column]}) for name, column in columns.items()}


_RUNS = ("runs", "scores", "status", "picked", "earlier")
_TWO = (*_RUNS, "samples")
EVALUATION = Plan(
    name="evaluation",
    title="Evaluation",
    filters=("team", "project", "model", "prompt", "evalset"),
    asks=asks,
    asked=(),
    helpful=("picked", "earlier", "call_before", "call_now"),
    is_empty=lambda page: page.has_none("ever"),
    empty=_runs.empty,
    values=_values,
    parts=(
        Part(place="headline", title="The figures", needs=("ever", "runs", "scores", "status"), html=_headline),
        Part(place="list", title="The runs", needs=_RUNS, html=_list),
        Part(place="trend", title="Scores over time", needs=_RUNS, html=_trend, chart=_trend_chart),
        Part(place="frontier", title="Quality and cost", needs=_RUNS, html=_frontier, chart=_frontier_chart),
        Part(place="comparison", title="The comparison", needs=_TWO, html=_comparison),
        Part(place="slices", title="The slices", needs=_TWO, html=_slices),
        Part(place="which", title="The choice of samples", needs=_TWO, html=_which),
        Part(place="samples", title="The samples", needs=_TWO, html=_sample_list),
        Part(place="sample", title="The sample", needs=(*_TWO, "call_before", "call_now"), html=_one_sample),
    ),
)
"""How good the answers are, how sure that is, and what changed."""
