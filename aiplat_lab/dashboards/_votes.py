"""Experiments as the page shows them: the list, and one with its evidence as the votes came."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from aiplat_lab import stats
from aiplat_lab.core.text import seconds
from aiplat_lab.dashboards._html import Column, Row, compact, count, esc, link, note, share, table, when
from aiplat_lab.dashboards._query import Query
from aiplat_lab.dashboards._sections import Show

UNDECIDED = ("tie", "none")
_STATES = {"winner": ("Winner", "ok"), "no_difference": ("No difference", ""), "open": ("Open", "refused")}
_LAST = 8
"""Votes that are listed one by one."""
_MOST_POINTS = 400
"""Points of the picture of the evidence, however many votes there are."""


def variants_of(row: Row) -> list[dict[str, Any]]:
    """The variants of an experiment as they were declared."""
    found = json.loads(row["variants"]) if isinstance(row["variants"], str) else row["variants"]
    items = (
        [{"name": name, **(value if isinstance(value, Mapping) else {})} for name, value in found.items()]
        if isinstance(found, Mapping)
        else found
    )
    return [dict(item) for item in items or () if isinstance(item, Mapping) and item.get("name")]


def joined(experiments: Sequence[Row], counts: Sequence[Row]) -> list[dict[str, Any]]:
    """Each experiment with its votes by winner and the verdict so far; newest first."""
    fallen: dict[str, dict[str, int]] = {}
    last: dict[str, Any] = {}
    for row in counts:
        fallen.setdefault(row["experiment"], {})[row["winner"]] = row["votes"]
        last[row["experiment"]] = max(last.get(row["experiment"]) or row["last_at"], row["last_at"])
    return [_with_verdict(row, fallen.get(row["id"], {}), last.get(row["id"])) for row in experiments]


def _with_verdict(row: Row, fallen: Mapping[str, int], last: Any) -> dict[str, Any]:  # Any: a time or None
    names = [item["name"] for item in variants_of(row)]
    names += [winner for winner in fallen if winner not in names and winner not in UNDECIDED]
    wins = {name: fallen.get(name, 0) for name in names}
    even = sum(fallen.get(word, 0) for word in UNDECIDED)
    level = 1 - float(row.get("alpha") or 0.05)
    verdict = stats.vote_verdict(wins, ties=even, level=level) if len(wins) >= 2 else None
    return {**row, "wins": wins, "fallen": dict(fallen), "votes": sum(fallen.values()), "verdict": verdict, "last_at": last, "level": level}


def about(rows: Sequence[Row], prompt: str) -> list[Row]:
    """The experiments with a variant of that prompt."""
    return [row for row in rows if any(prompt in _prompts(item) for item in variants_of(row))]


def _prompts(item: Mapping[str, Any]) -> tuple[str, ...]:
    """The names under which a variant may give its prompt."""
    given = item.get("prompt_name") or item.get("prompt") or ""
    return (str(given), str(given).split("@", 1)[0])


def chosen(rows: Sequence[Row], query: Query, prompt: str) -> Row | None:
    """The experiment of the link, or the newest on the prompt that is looked at, or the newest."""
    if query.experiment:
        return next((row for row in rows if row["id"] == query.experiment), None)
    near = about(rows, prompt)
    return near[0] if near else rows[0] if rows else None


def evidence(row: Row, votes: Sequence[Row]) -> list[dict[str, Any]]:
    """The share of votes of the variant ahead against its rival after each vote for one of them, with its interval."""
    verdict = row["verdict"]
    if verdict is None:
        return []
    first, second = leading(verdict)
    wins, n, points = 0, 0, []
    for vote in votes:
        if vote["winner"] in (first, second):
            n, wins = n + 1, wins + (vote["winner"] == first)
            points.append((n, wins))
    step = max(1, -(-len(points) // _MOST_POINTS))
    strict = 1 - (1 - row["level"]) / max(1, len(row["wins"]) - 1)
    kept = [pair for place, pair in enumerate(points) if place % step == 0 or place == len(points) - 1]
    return [{"vote": n, "share": wins / n, **_ends(wins, n, strict)} for n, wins in kept]


def leading(verdict: stats.Verdict) -> tuple[str, str]:
    """The two variants with most votes, the one ahead first."""
    ranked = sorted(verdict.wins, key=lambda pair: -pair[1])
    return verdict.ahead or ranked[0][0], verdict.rival or ranked[1][0]


@lru_cache(maxsize=16_384)
def _interval(wins: int, n: int, level: float) -> tuple[float, float]:
    found = stats.beta_binomial_interval(wins, n, level=level)
    return found.low, found.high


def _ends(wins: int, n: int, level: float) -> dict[str, float]:
    return dict(zip(("low", "high"), _interval(wins, n, level), strict=True))


# --- the parts ------------------------------------------------------------------------------------------------------


def listing(rows: Sequence[Row], here: Row | None, show: Show) -> str:
    """The experiments, newest first, with what the votes say so far."""
    if not rows:
        return note(
            "No experiment yet. In a notebook, <code>aiplat_lab.ab([…])</code> asks two to four variants side by side, and each vote "
            "is counted here."
        )

    def name(row: Row) -> str:
        mark = ' <span class="badge ok">shown</span>' if here is not None and row["id"] == here["id"] else ""
        what = " against ".join(esc(item["name"]) for item in variants_of(row))
        title = link(show.query.link(experiment=row["id"], page=show.query.page), row["name"], sets="experiment")
        return f'{title}{mark}<span class="detail">{what}</span>'

    columns = [
        Column(title="Experiment", cell=name, heading=True, kind="name"),
        Column(title="Votes", cell=lambda row: count(row["votes"]), number=True),
        Column(title="Verdict", cell=_state),
        Column(title="Votes needed", cell=_needed, number=True),
        Column(title="Begun (UTC)", cell=lambda row: when(row["recorded_at"]), kind="nowrap"),
    ]
    return table(columns, rows, caption="Experiments, newest first", kind="plain experiments")


def _state(row: Row) -> str:
    verdict = row["verdict"]
    if verdict is None:
        return '<span class="quiet">one variant alone</span>'
    title, kind = _STATES[verdict.state]
    winner = f" {esc(verdict.winner)}" if verdict.winner else ""
    return f'<span class="badge {kind}">{title}</span>{winner}'


def _needed(row: Row) -> str:
    verdict = row["verdict"]
    if verdict is None or verdict.state != "open":
        return '<span class="quiet">–</span>'
    return f"about {verdict.votes_needed:,} more" if verdict.votes_needed is not None else "none in sight"


def one(row: Row | None, use: Sequence[Row], show: Show) -> str:
    """One experiment: the verdict in a sentence, and each variant with its votes and what its answers took."""
    if row is None:
        return note("The experiment in the link is not in this ledger.", kind="warn") if show.query.experiment else ""
    verdict = row["verdict"]
    kind = {"winner": "better", "open": "cannot_tell", "no_difference": "not_worse"}.get(verdict.state if verdict else "", "")
    badge = _STATES[verdict.state][0] if verdict else "One variant"
    sentence = verdict.sentence if verdict else "An experiment needs two variants."
    took = {one["variant"]: one for one in use}
    peak = max(row["wins"].values(), default=0) or 1
    declared = {item["name"]: item for item in variants_of(row)}

    def name(item: Row) -> str:
        width = 100 * item["votes"] / peak
        given = declared.get(item["name"], {})
        what = " · ".join(str(given[key]) for key in ("prompt", "version", "model") if given.get(key))
        bar = f'<span class="bar" aria-hidden="true"><span style="width:{width:.1f}%"></span></span>'
        return f'<strong>{esc(item["name"])}</strong><span class="detail">{esc(what)}</span>{bar}'

    columns = [
        Column(title="Variant", cell=name, heading=True, kind="name"),
        Column(
            title="Votes",
            cell=lambda item: f'{count(item["votes"])}<span class="detail">{share(item["votes"], row["votes"])}</span>',
            number=True,
        ),
        Column(title="Cost an answer", cell=lambda item: _each(took.get(item["name"]), show), number=True),
        Column(title="Tokens out", cell=lambda item: _out(took.get(item["name"])), number=True),
        Column(title="Median time", cell=lambda item: _time(took.get(item["name"])), number=True),
    ]
    rows = [{"name": name, "votes": votes} for name, votes in row["wins"].items()]
    body = table(columns, rows, caption=f"Variants of {row['name']}", kind="plain names variants")
    ties = ", ".join(
        f"{count(row['fallen'][word])} {said}" for word, said in (("tie", "ties"), ("none", "times none")) if row["fallen"].get(word)
    )
    blind = "Raters did not know which was which." if row["blind"] else "Raters knew which was which." if row["blind"] is False else ""
    rest = note(esc(f"Beside these {ties}. {blind}" if ties else blind)) if ties or blind else ""
    return f'<h3>{esc(row["name"])}</h3><p class="verdict {kind}"><span class="badge">{badge}</span> {esc(sentence)}</p>{body}{rest}'


def _each(took: Row | None, show: Show) -> str:
    answers = took["calls"] - took["unpriced_calls"] - took["errors"] if took else 0
    return show.short(took["cost_usd"] / answers) if took and answers > 0 and took["cost_usd"] is not None else show.short(None)


def _out(took: Row | None) -> str:
    answered = took["calls"] - took["errors"] if took else 0
    return compact(round(took["output_tokens"] / answered)) if took and answered and took["output_tokens"] is not None else "–"


def _time(took: Row | None) -> str:
    return esc(seconds(took["latency_p50_s"])) if took and took["latency_p50_s"] is not None else "–"


def last_votes(votes: Sequence[Row], show: Show) -> str:
    """The newest votes with their reasons, each leading to the answers that were judged."""
    if not votes:
        return note("No votes yet.")

    def answers(vote: Row) -> str:
        found = json.loads(vote["call_ids"]) if isinstance(vote["call_ids"], str) else vote["call_ids"]
        if not isinstance(found, Mapping):
            return ""
        return " ".join(
            link(show.query.link(call=str(call)), str(name), title=f"The answer of {name}") for name, call in found.items() if call
        )

    columns = [
        Column(title="Vote (UTC)", cell=lambda vote: when(vote["recorded_at"]), heading=True, kind="nowrap"),
        Column(title="For", cell=lambda vote: f"<strong>{esc(vote['winner'])}</strong>"),
        Column(title="Why", cell=lambda vote: esc(vote["reason"]) if vote["reason"] else '<span class="quiet">no reason given</span>'),
        Column(title="By", cell=lambda vote: esc(vote["rater"])),
        Column(title="Answers", cell=answers),
    ]
    body = table(columns, list(reversed(votes[-_LAST:])), caption="The newest votes", kind="plain")
    return f"<details><summary>The newest votes with their reasons</summary>{body}</details>"
