"""A plan for people and for front ends: a table in plain text and HTML, and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from html import escape
from typing import Any

from aiplat_lab.core.errors import shorten
from aiplat_lab.core.text import money, table

MIME = "application/vnd.aiplat.plan+json"
SENDS = frozenset({"live", "stale", "waits"})
"""The states of cells that will be asked."""
_COLOURS = {
    "replay": "var(--jp-success-color0,#388e3c)",
    "live": "var(--jp-brand-color1,#1976d2)",
    "stale": "var(--jp-warn-color0,#e65100)",
    "waits": "var(--jp-warn-color0,#e65100)",
    "refused": "var(--jp-error-color1,#d32f2f)",
    "error": "var(--jp-error-color1,#d32f2f)",
}
_CELL = "padding:.2em .8em .2em 0;text-align:left;vertical-align:top"
_RIGHT = "padding:.2em .8em .2em 0;text-align:right;vertical-align:top;white-space:nowrap"
_NUMBERS = frozenset({"calls", "tokens in", "out, at most", "price"})
_LONGEST_NOTE = 110
_LEGEND = (
    "replay: the ledger answers, at no cost · live: asked · stale: asked again, since something changed · waits: its variables come later"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One cell of a plan."""

    number: int
    """Its place in the notebook, from 1."""
    cell_id: str
    title: str
    """The beginning of its text."""
    model: str
    state: str
    """`replay` (the ledger answers, at no cost), `live` (it will be asked), `stale` (it will be asked again: something changed since its
    last answer), `waits` (variables are not there yet), `refused` by a rule, or `error`."""
    calls: int = 1
    """How many calls it makes."""
    input_tokens: int | None = None
    output_tokens_most: int | None = None
    low_usd: Decimal | None = None
    high_usd: Decimal | None = None
    """None where no price is known."""
    note: str = ""
    """What a reader should know, in one sentence."""
    budgets: Mapping[str, Decimal] = field(default_factory=dict)
    """What is left of the budget that is tightest for it, by name; US dollars."""

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """The row for a front end; money as text."""
        money = {name: None if value is None else f"{value:f}" for name, value in (("low_usd", self.low_usd), ("high_usd", self.high_usd))}
        plain = ("number", "cell_id", "title", "model", "state", "calls", "input_tokens", "output_tokens_most", "note")
        return {**{name: getattr(self, name) for name in plain}, **money}


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """What becomes of a notebook's cells that ask a model."""

    rows: tuple[Row, ...]
    currency: str = "USD"
    """The currency of display."""
    usd_rate: Decimal = Decimal(1)
    """Units of it for one US dollar."""
    notebook: str = ""

    @property
    def calls(self) -> int:
        """How many calls would be sent."""
        return sum(row.calls for row in self.rows if row.state in SENDS)

    @property
    def low_usd(self) -> Decimal:
        """The least that all cells cost together, in US dollars, as far as prices are known."""
        return sum((row.low_usd or Decimal(0) for row in self.rows), Decimal(0))

    @property
    def high_usd(self) -> Decimal | None:
        """The most that all cells cost together, in US dollars; None where a price is not known."""
        known = [row.high_usd for row in self.rows if row.state in SENDS]
        return None if None in known else sum((one for one in known if one is not None), Decimal(0))

    def counts(self) -> dict[str, int]:
        """How many cells there are of each state."""
        found = dict.fromkeys(_COLOURS, 0)
        for row in self.rows:
            found[row.state] += 1
        return {state: count for state, count in found.items() if count}

    def budgets(self) -> list[dict[str, Any]]:  # Any: JSON
        """Each budget that holds these cells: what is left, what they may take, and whether it covers them (`yes`, `maybe` or `no`)."""
        found: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            for name, left in row.budgets.items():
                one = found.setdefault(name, {"budget": name, "left_usd": left, "low_usd": Decimal(0), "high_usd": Decimal(0)})
                one["left_usd"] = min(one["left_usd"], left)
                one["low_usd"] += row.low_usd or Decimal(0)
                one["high_usd"] = None if one["high_usd"] is None or row.high_usd is None else one["high_usd"] + row.high_usd
        for one in found.values():
            sure = one["high_usd"] is not None and one["high_usd"] <= one["left_usd"]
            one["covers"] = "yes" if sure else "no" if one["low_usd"] > one["left_usd"] else "maybe"
        return list(found.values())

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """The plan for a front end; money as text in US dollars."""
        budgets = [{name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in one.items()} for one in self.budgets()]
        return {
            "schema": 1,
            "notebook": self.notebook,
            "currency": self.currency,
            "usd_rate": str(self.usd_rate),
            "cells": [row.to_json() for row in self.rows],
            "calls": self.calls,
            "low_usd": f"{self.low_usd:f}",
            "high_usd": None if self.high_usd is None else f"{self.high_usd:f}",
            "budgets": budgets,
        }

    def sentences(self) -> list[str]:
        """The total, and what each budget will say."""
        if not self.rows:
            return ["no cell of this notebook asks a model"]
        states = ", ".join(f"{count} {state}" for state, count in self.counts().items())
        cells = f"{len(self.rows)} cell{'s' * (len(self.rows) != 1)} ({states})"
        if not self.calls:
            return [f"{cells}: running them costs nothing"]
        said = [f"{cells}: {self.calls} call{'s' * (self.calls != 1)}, {self._range(self.low_usd, self.high_usd)} in all"]
        covers = {"yes": "covers them", "maybe": "may refuse some of them", "no": "will refuse some of them"}
        for one in self.budgets():
            most = self._range(one["low_usd"], one["high_usd"])
            said.append(f"{one['budget']} has {self._money(one['left_usd'])} left and {covers[one['covers']]} ({most})")
        return said

    def table(self, *, longest: int | None = None) -> list[dict[str, Any]]:  # Any: cells of a table
        """The cells as rows for people, with notes of at most so many bytes."""
        return [
            {
                "cell": row.number,
                "text": row.title,
                "model": row.model,
                "state": row.state,
                "calls": row.calls,
                "tokens in": "–" if row.input_tokens is None else f"{row.input_tokens:,}",
                "out, at most": "–" if row.output_tokens_most is None else f"{row.output_tokens_most:,}",
                "price": "–" if row.state in ("error", "refused") else self._range(row.low_usd, row.high_usd),
                "note": row.note if longest is None else shorten(row.note, longest),
            }
            for row in self.rows
        ]

    def __repr__(self) -> str:
        lines = "\n".join(f"{sentence}." for sentence in self.sentences())
        return f"{table(self.table(longest=_LONGEST_NOTE))}\n{lines}\n({_LEGEND})" if self.rows else lines

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{escape(sentence)}.</p>" for sentence in self.sentences())
        if not self.rows:
            return said
        rows = self.table()
        head = "".join(f'<th scope="col" style="{_RIGHT if name in _NUMBERS else _CELL}">{escape(name)}</th>' for name in rows[0])
        body = "".join(f"<tr>{''.join(_html(name, value) for name, value in row.items())}</tr>" for row in rows)
        style = "tex2jax_ignore mathjax_ignore"
        return (
            f'<div class="{style}"><table><caption>What running this notebook\'s AI cells would do; nothing was sent</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{said}<p><small>{escape(_LEGEND)}</small></p></div>"
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:  # Any: as IPython calls it
        return {MIME: self.to_json(), "text/html": self._repr_html_(), "text/plain": repr(self)}

    def _money(self, usd: Decimal | None) -> str:
        return money(usd, currency=self.currency, rate=self.usd_rate)

    def _range(self, low: Decimal | None, high: Decimal | None) -> str:
        if high is None:
            return "unknown" if not low else f"{self._money(low)} or more"
        return self._money(high) if low == high else f"{self._money(low)} to {self._money(high)}"


def _html(name: str, value: Any) -> str:  # Any: a cell of a table
    text = escape(str(value))
    if name == "state":
        text = f'<span aria-hidden="true" style="color:{_COLOURS[str(value)]}">●</span> {text}'
    return f'<td style="{_RIGHT if name in _NUMBERS else _CELL}">{text}</td>'
