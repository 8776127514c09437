"""The Prompts page: the catalogue, the versions of one prompt and their text, and the experiments with their votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiplat_lab import charts
from aiplat_lab.dashboards import _library, _results, _votes
from aiplat_lab.dashboards._data import Answer, Ask, view
from aiplat_lab.dashboards._html import Row, esc, note
from aiplat_lab.dashboards._page import Page, Part, Plan
from aiplat_lab.dashboards._query import Period, Query


def asks(query: Query, period: Period, answers: Mapping[str, Answer]) -> dict[str, Ask]:
    """Catalogue, use and experiments; then what belongs to the prompt and the experiment that are looked at.

    The prompt itself is no filter of the catalogue, so that another one can be picked from it.
    """
    given = {name: value for name, value in query.filters().items() if name not in ("prompt", "status")}
    filters = {**given, **period.filters()}
    wanted = {
        "saved": view("prompt_catalogue", {}),
        "labels": view("prompt_labels_now", {}),
        "moves": view("prompt_label_history", {}),
        "use": view("prompt_use", filters),
        "experiments": view("experiment_list", {}),
        "votes_by": view("vote_counts", {}),
    }
    if "saved" not in answers or "use" not in answers:
        return wanted
    name = _chosen(query, answers)
    if name:
        wanted["days"] = view("prompt_days", {**filters, "prompt": name})
        wanted["runs"] = view("eval_run_list", {"prompt": name})
        before, now = _library.two_versions(_of(answers["saved"].rows, name), query)
        if now:
            wanted["texts"] = view("prompt_texts", {"prompt": name, "version": [version for version in (before, now) if version]})
    if "runs" in answers and answers["runs"].rows:
        wanted["scores"] = view("eval_scores", {"run": [row["run_id"] for row in answers["runs"].rows]})
    if "experiments" in answers and "votes_by" in answers:
        row = _votes.chosen(answers["experiments"].rows, query, name)
        if row is not None:
            wanted["votes"] = view("vote_list", {"experiment": row["id"]})
            wanted["variants"] = view("experiment_variants", {"experiment": row["id"]})
    return wanted


def _of(rows: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["name"] == name]


def _catalogue(answers: Mapping[str, Answer]) -> list[dict[str, Any]]:
    saved, labels, use = (answers.get(place, Answer()).rows for place in ("saved", "labels", "use"))
    return _library.catalogue(saved, labels, use)


def _chosen(query: Query, answers: Mapping[str, Answer]) -> str:
    return _library.chosen(_catalogue(answers), query)


def _experiments(page: Page) -> list[dict[str, Any]]:
    return page.keep("experiments", lambda: _votes.joined(page.rows("experiments"), page.rows("votes_by")))


def _experiment(page: Page) -> Row | None:
    return _votes.chosen(_experiments(page), page.query, _chosen(page.query, page.answers))


def _is_empty(page: Page) -> bool:
    return page.has_none("saved") and page.has_none("use") and page.has_none("experiments") and not page.names("prompt")


def _headline(page: Page) -> str:
    period = page.period()
    moves = [
        row
        for row in page.rows("moves")
        if (period.since is None or row["recorded_at"] >= period.since) and (period.until is None or row["recorded_at"] < period.until)
    ]
    return _library.headline(_catalogue(page.answers), moves, _experiments(page), page.show)


def _listing(page: Page) -> str:
    rows = _catalogue(page.answers)
    return (
        _library.listing(rows, _chosen(page.query, page.answers), page.show)
        if rows
        else note("No prompt was saved or used in this period.")
    )


def _labels(page: Page) -> dict[str, str]:
    return {row["label"]: row["version"] for row in _of(page.rows("labels"), _chosen(page.query, page.answers))}


def _by_version(page: Page) -> list[dict[str, Any]]:
    return page.keep("versions", lambda: _made_by_version(page))


def _made_by_version(page: Page) -> list[dict[str, Any]]:
    name = _chosen(page.query, page.answers)
    runs = _results.merged(page.rows("runs"), page.rows("scores"))
    return _library.by_version(_of(page.rows("saved"), name), page.rows("use"), runs, name)


def _two(page: Page) -> tuple[str, str]:
    return _library.two_versions(_of(page.rows("saved"), _chosen(page.query, page.answers)), page.query)


def _name(page: Page) -> str:
    name = _chosen(page.query, page.answers)
    return f'<h2 class="name">{esc(name)} {_library.label_chips(_labels(page))}</h2>' if name else ""


def _days_chart(page: Page) -> Any:  # Any, here and below: Altair comes without types
    name = _chosen(page.query, page.answers)
    rows = page.rows("days")
    known = [row["version"] for row in _of(page.rows("saved"), name)]
    known += sorted({row["prompt_version"] or "" for row in rows} - set(known))
    return charts.calls_by_version(rows, look=page.look, versions=known, days=page.days()) if rows else None


def _days(page: Page) -> str:
    return "" if page.rows("days") else note("No call used this prompt in this period.")


def _diff(page: Page) -> str:
    texts = {row["version"]: row["text"] for row in page.rows("texts")}
    return _library.diff(texts, _by_version(page), _two(page), page.show)


def _history(page: Page) -> str:
    name = _chosen(page.query, page.answers)
    return _library.history(_of(page.rows("moves"), name), name, page.show)


def _evidence(page: Page) -> list[dict[str, Any]]:
    row = _experiment(page)
    return [] if row is None else _votes.evidence(row, page.rows("votes"))


def _evidence_chart(page: Page) -> Any:
    row, points = _experiment(page), _evidence(page)
    if row is None or not points:
        return None
    ahead, _ = _votes.leading(row["verdict"])
    return charts.vote_evidence(points, ahead=ahead, look=page.look)


def _evidence_note(page: Page) -> str:
    row, points = _experiment(page), _evidence(page)
    if row is None:
        return ""
    if not points:
        return note("No vote for a variant yet, so nothing is evidenced.")
    first, second = _votes.leading(row["verdict"])
    return note(
        f"Share of the votes for <strong>{esc(first)}</strong> among those for it or <strong>{esc(second)}</strong>. The band "
        "holds at every look at once; a winner is one whose band has left the dashed line."
    ) + _votes.last_votes(page.rows("votes"), page.show)


_ONE = ("saved", "use", "labels", "status")
_VOTES = ("experiments", "votes_by", "saved", "use", "status")
PROMPTS = Plan(
    name="prompts",
    title="Prompts",
    filters=("team", "project", "model", "prompt"),
    asks=asks,
    asked=("team", "project", "model"),
    helpful=("labels", "moves"),
    is_empty=_is_empty,
    empty=_library.empty,
    values=lambda page: {"prompt": sorted({row["name"] for row in page.rows("saved")})},
    parts=(
        Part(place="headline", title="The figures", needs=(*_ONE, "moves", "experiments", "votes_by", "values"), html=_headline),
        Part(place="listing", title="The catalogue", needs=_ONE, html=_listing),
        Part(place="name", title="The prompt", needs=_ONE, html=_name),
        Part(
            place="versions",
            title="The versions",
            needs=(*_ONE, "runs", "scores"),
            html=lambda page: _library.versions(_by_version(page), _labels(page), _two(page), page.show),
        ),
        Part(place="days", title="Calls by version", needs=("saved", "use", "days"), html=_days, chart=_days_chart),
        Part(place="history", title="The label moves", needs=(*_ONE, "moves"), html=_history),
        Part(place="diff", title="What changed", needs=(*_ONE, "texts"), html=_diff),
        Part(
            place="experiments",
            title="The experiments",
            needs=_VOTES,
            html=lambda page: _votes.listing(_experiments(page), _experiment(page), page.show),
        ),
        Part(
            place="experiment",
            title="The experiment",
            needs=(*_VOTES, "variants"),
            html=lambda page: _votes.one(_experiment(page), page.rows("variants"), page.show),
        ),
        Part(place="evidence", title="The evidence", needs=(*_VOTES, "votes"), html=_evidence_note, chart=_evidence_chart),
    ),
)
"""Which prompts there are, what changed in them, and which version serves better."""
