"""The samples of two runs side by side: the list, and one sample opened with both answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiplat_lab.core.text import seconds
from aiplat_lab.dashboards import _diff
from aiplat_lab.dashboards._data import Answer
from aiplat_lab.dashboards._html import Column, Row, count, esc, link, note, table
from aiplat_lab.dashboards._query import SAMPLE_ROWS, WHICH
from aiplat_lab.dashboards._results import Pair, matching, parsed
from aiplat_lab.dashboards._runs import NOT_EVIDENCED, difference_text, score_text
from aiplat_lab.dashboards._sections import Show


def choice(shared: Sequence[Pair], show: Show) -> str:
    """The choice of which samples are listed, each with how many there are."""
    now = show.query.which or "differ"
    items = "".join(
        f'<a href="{esc(show.query.link(which="" if which == "differ" else which, sample=""))}" data-go="which sample page"'
        f"{' aria-current=true' if which == now else ''}>{esc(title)} <span>{count(len(matching(shared, which)))}</span></a>"
        for which, title in WHICH.items()
    )
    return f'<div class="choice" role="group" aria-label="Samples to show">{items}</div>'


def samples(shared: Sequence[Pair], opened: str, show: Show) -> str:
    """One page of the samples that were chosen; each opens beside the list."""
    found = matching(shared, show.query.which)
    if not found:
        return note("No sample is of this kind.")
    first = show.query.start(SAMPLE_ROWS)
    columns = [
        Column(title="Sample", cell=lambda pair: _name(pair, opened, show), heading=True, kind="name"),
        Column(title="Before", cell=lambda pair: _score(pair["before"]), number=True),
        Column(title="Now", cell=lambda pair: _score(pair["now"]), number=True),
        Column(title="Change", cell=_change, number=True),
    ]
    rows = [
        {"id": pair.id, "slices": pair.slices, "before": pair.before, "now": pair.now, "difference": pair.difference}
        for pair in found[first : first + SAMPLE_ROWS]
    ]
    body = table(columns, rows, caption="Samples of both runs", kind="plain samples")
    page = first // SAMPLE_ROWS + 1
    links = []
    if page > 1:
        links.append(link(show.query.link(page=str(page - 1) if page > 2 else "", sample=""), "← Back", kind="button"))
    if first + SAMPLE_ROWS < len(found):
        links.append(link(show.query.link(page=str(page + 1), sample=""), "More →", kind="button"))
    stretch = f"{first + 1:,} to {first + len(rows):,} of {count(len(found))}, the largest change first"
    return f'{body}<div class="pager"><span class="quiet">{stretch}</span>{"".join(links)}</div>'


def _name(row: Row, opened: str, show: Show) -> str:
    here = " aria-current=true" if row["id"] == opened else ""
    tags = " · ".join(str(value) for value in row["slices"].values())
    target = esc(show.query.link(sample=row["id"]))
    return f'<a href="{target}" data-go="sample"{here}>{esc(row["id"])}</a><span class="detail">{esc(tags)}</span>'


def _score(row: Row | None) -> str:
    if row is None:
        return '<span class="quiet">not asked</span>'
    if row["score"] is None:
        return '<span class="badge error">no answer</span>'
    return esc(score_text(row["score"]).replace(".0\u00a0%", "\u00a0%"))


def _change(row: Row) -> str:
    value = row["difference"]
    if value is None:
        return '<span class="quiet">–</span>'
    tone = "up" if value > 0 else "down" if value < 0 else "quiet"
    return f'<span class="{tone}">{difference_text(value).removesuffix(".0")}</span>'


# --- one sample -----------------------------------------------------------------------------------------------------


def opened(pair: Pair, calls: Mapping[str, Answer], show: Show) -> str:
    """One sample: what was asked, both answers with what differs, the scores of both, and the way to each call."""
    talks = {side: calls[side].first() for side in calls}
    texts = {side: (talk.get("text") or "") for side, talk in talks.items()}
    marked = dict(zip(("before", "now"), _diff.words(texts.get("before", ""), texts.get("now", "")), strict=True))
    asked = _asked(next((talk for talk in (talks.get("now"), talks.get("before")) if talk and talk.get("messages")), None))
    tags = "".join(f'<span class="tag"><span class="quiet">{esc(key)}</span> {esc(value)}</span>' for key, value in pair.slices.items())
    sides = "".join(
        _side(title, row, calls.get(side), marked[side], show)
        for side, title, row in (("before", "Before", pair.before), ("now", "Now", pair.now))
    )
    return f'<div class="opened"><h3>{esc(pair.id)} {tags}</h3>{asked}<div class="sides">{sides}</div>{_scores(pair)}</div>'


def _asked(talk: Mapping[str, Any] | None) -> str:
    """The last message to the model in full, and what stood before it folded away."""
    if talk is None:
        return note("No text is kept of what was asked: none was stored, or it was erased.")
    *before, last = talk["messages"]
    fold = "".join(f'<pre class="text">{esc(_plain(message.get("content")))}</pre>' for message in before)
    told = f"<details><summary>The instructions before it</summary>{fold}</details>" if fold else ""
    return f'<div class="asked"><span class="quiet">Asked</span><pre class="text">{esc(_plain(last.get("content")))}</pre>{told}</div>'


def _plain(content: Any) -> str:  # Any: a text, or the parts of one
    if isinstance(content, str) or content is None:
        return content or ""
    return "\n".join(str(part.get("text") or f"[{part.get('type', 'part')}]") for part in content)


def _side(title: str, row: Row | None, answer: Answer | None, marked: str, show: Show) -> str:
    if row is None:
        return f'<div class="side"><span class="quiet">{title}</span>{note("This run did not ask the sample.")}</div>'
    if row["score"] is None and row["error"]:
        body = f'<p class="note bad">{esc(row["error"])}</p>'
    elif answer is None or answer.error or not marked:
        said = answer.error if answer is not None and answer.error else "no text of this answer is kept"
        body = note(esc(said))
    else:
        body = f'<pre class="text">{marked}</pre>'
    took = "" if row["latency_s"] is None else f", {seconds(row['latency_s'])}"
    more = f"{show.money(row['cost_usd'])}{took}" + (f", asked {row['asked']} times" if row["asked"] > 1 else "")
    call = link(show.query.link(call=row["call_id"]), "Open the call", title=row["call_id"]) if row["call_id"] else ""
    return (
        f'<div class="side"><span class="quiet">{title}</span> {_score(row)}{body}'
        f'<p class="foot"><span class="quiet">{esc(more)}</span>{call}</p></div>'
    )


def _scores(pair: Pair) -> str:
    """What each scorer said of both answers."""
    before, now = (parsed((row or {}).get("scores")) for row in (pair.before, pair.now))
    notes = [parsed((row or {}).get("notes")) for row in (pair.before, pair.now)]
    names = list(dict.fromkeys([*now, *before]))
    if not names:
        return ""
    rows = [{"name": name, "before": before.get(name), "now": now.get(name), "notes": [said.get(name) for said in notes]} for name in names]
    columns = [
        Column(title="Scorer", cell=lambda row: esc(row["name"]), heading=True),
        Column(title="Before", cell=lambda row: _value(row["before"], row["notes"][0])),
        Column(title="Now", cell=lambda row: _value(row["now"], row["notes"][1])),
    ]
    return table(columns, rows, caption=f"Scores of {pair.id}", kind="plain")


def _value(value: Any, said: Any) -> str:  # Any: what a scorer wrote
    shown = NOT_EVIDENCED if value is None else f"{value:.4g}" if isinstance(value, int | float) else str(value)
    return esc(shown) + (f'<span class="detail">{esc(said)}</span>' if said else "")
