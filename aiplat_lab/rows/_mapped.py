"""What became of many rows: values and errors in their order, the columns they make, and a summary for people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import Any

from aiplat_lab.core.errors import AiplatError, BudgetExceeded, CallCancelled, ProviderError, shorten
from aiplat_lab.core.text import html_table, money, table
from aiplat_lab.rows._engine import Ending, Result
from aiplat_lab.rows._source import Rows

MIME = "application/vnd.aiplat.rows+json"
ERROR = "_error"
"""What the name of the column with the errors ends with."""
_PREVIEW = 5
_MOST_TEXT = 160


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Mapped(Sequence[Any]):  # Any: what is kept of an answer
    """The answers in the order of the rows: None where a row failed, was skipped or was not asked."""

    id: str
    """The tag `rows` of its calls in the ledger."""
    rows: Rows
    results: Sequence[Result]
    ending: Ending
    into: str
    """The column of the answers; empty where each key of an answer is a column."""
    keyed: bool
    """Whether an answer that is an object becomes a column for each of its keys."""
    currency: str = "USD"
    """The currency of display."""
    usd_rate: Decimal = Decimal(1)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, index: Any) -> Any:
        return self.values[index]

    @property
    def values(self) -> list[Any]:  # Any: as in the class
        """The answers."""
        return [one.value for one in self.results]

    @property
    def errors(self) -> list[str | None]:
        """What went wrong with each row, as `Type: message`; None where nothing did."""
        return [self._error(one) for one in self.results]

    @property
    def failed(self) -> list[int]:
        """The numbers of the rows that failed."""
        return [index for index, one in enumerate(self.results) if one.status == "failed"]

    @property
    def call_ids(self) -> list[str]:
        """The call of each row in the ledger; empty where none was made."""
        return [one.response.call_id if one.response is not None else "" for one in self.results]

    @property
    def cost_usd(self) -> Decimal:
        """What it cost this time, as far as prices are known; what was known already cost nothing."""
        return sum((one.cost_usd or Decimal(0) for one in self.results), Decimal(0))

    @property
    def columns(self) -> dict[str, list[Any]]:  # Any: as in the class
        """The columns that it makes: the answers, or one for each of their keys; and the errors."""
        found = self._keys() if self.keyed else {self.into: self.values}
        return {**found, f"{self.into}{ERROR}" if self.into else ERROR.strip("_"): self.errors}

    @property
    def frame(self) -> Any:  # Any: the user's frame, list or dict
        """The rows that were given, with these columns."""
        return self.rows.with_columns(self.columns)

    def counts(self) -> dict[str, int]:
        """How many rows of each kind."""
        by = Counter(one.status for one in self.results)
        return {
            "rows": len(self.results),
            "done": by["ok"],
            "failed": by["failed"],
            "skipped": by["skipped"],
            "unasked": by["unasked"],
            "duplicates": sum(one.same_as is not None for one in self.results),
            "unpriced": sum(one.cost_usd is None for one in self.results),
            "known": sum(one.same_as is None and one.response is not None and one.response.cache == "hit" for one in self.results),
        }

    @property
    def sentence(self) -> str:
        """What became of it, in one sentence or two."""
        count = self.counts()
        if not count["rows"]:
            return "There are no rows, so nothing was asked."
        said = [f"{count['done']:,} of {count['rows']:,} rows answered"]
        said += [f"{count['failed']:,} failed"] if count["failed"] else []
        said += [f"{count['skipped']:,} empty and skipped"] if count["skipped"] else []
        said += [f"{count['unasked']:,} not asked"] if count["unasked"] else []
        said += [f"{count['duplicates']:,} the same as another row"] if count["duplicates"] else []
        said += [f"{count['known']:,} known already"] if count["known"] else []
        said.append(money(self.cost_usd, currency=self.currency, rate=self.usd_rate))
        said += [f"{count['unpriced']:,} at an unknown price"] if count["unpriced"] else []
        why = {
            "stopped": " Stopped by hand: what is done is kept, and asking again pays for the rest alone.",
            "capped": " Stopped before the cap could be passed: what is done is kept, and asking again pays for the rest alone.",
        }.get(self.ending.status, "")
        return ", ".join(said) + "." + why

    def failures(self) -> list[dict[str, Any]]:  # Any: texts and numbers
        """Each kind of failure once: how many rows, the first of them, what it says."""
        found: dict[str, dict[str, Any]] = {}
        for index, one in enumerate(self.results):
            if one.status == "failed" and one.error is not None:
                name, message = type(one.error).__name__, shorten(one.error.message, _MOST_TEXT)
                entry = found.setdefault(f"{name}: {message[:40]}", {"failed": 0, "first row": index, "error": f"{name}: {message}"})
                entry["failed"] += 1
        return sorted(found.values(), key=lambda entry: -entry["failed"])[:_PREVIEW]

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """What a front end shows."""
        return {
            "schema": 1,
            "id": self.id,
            "status": self.ending.status,
            **self.counts(),
            "cost_usd": f"{self.cost_usd:f}",
            "currency": self.currency,
            "usd_rate": str(self.usd_rate),
            "failures": self.failures(),
        }

    def _preview(self) -> list[dict[str, str]]:
        shown = self.columns
        own = self.rows.all()[:_PREVIEW] if self.rows.asked else []
        rows = []
        for index in range(min(_PREVIEW, len(self.results))):
            row = {self.rows.asked: _text(own[index][self.rows.asked])} if own else {"row": str(index)}
            row |= {name: _text(values[index]) for name, values in shown.items() if not name.endswith(ERROR.strip("_")) or values[index]}
            rows.append(row)
        names = dict.fromkeys(name for row in rows for name in row)
        return [{name or "answer": row.get(name, "") for name in names} for row in rows]

    def __repr__(self) -> str:
        parts = [self.sentence, table(self.failures()), table(self._preview())]
        return "\n\n".join(part for part in parts if part)

    def _repr_html_(self) -> str:
        failures = html_table("", self.failures()).removeprefix("<p></p>") if self.failures() else ""
        first = min(_PREVIEW, len(self.results))
        rest = len(self.results) - first
        preview = html_table(f"The first {first} rows:" if rest else "", self._preview()).removeprefix("<p></p>") if first else ""
        return f'<div class="tex2jax_ignore mathjax_ignore"><p><strong>{escape(self.sentence)}</strong></p>{failures}{preview}</div>'

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:  # Any: as IPython calls it
        return {MIME: self.to_json(), "text/html": self._repr_html_(), "text/plain": repr(self)}

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def _error(self, one: Result) -> str | None:
        if one.error is not None:
            return f"{type(one.error).__name__}: {one.error.message}"
        return "not asked" if one.status == "unasked" else None

    def _keys(self) -> dict[str, list[Any]]:
        """A column for each key of the answers; answers that are no objects stand in one column."""
        values = self.values
        keys = dict.fromkeys(str(key) for one in values if isinstance(one, Mapping) for key in one)
        if not keys or any(one is not None and not isinstance(one, Mapping) for one in values):
            return {self.into or "answer": values}
        before = f"{self.into}_" if self.into else ""
        return {f"{before}{key}": [one.get(key) if isinstance(one, Mapping) else None for one in values] for key in keys}


def raised(found: Mapped, *, strict: bool) -> AiplatError | None:
    """The one error of a map that did not come to its end, or, under `strict`, of one with a row that failed."""
    ending = found.ending
    kept = f"{found.sentence} The answers are kept."
    if ending.status == "failed" and ending.error is not None:
        ending.error.args = (shorten(f"{ending.error.message} {kept}"),)
        return ending.error
    if ending.status == "stopped":
        return CallCancelled(found.sentence)
    if ending.status == "capped":
        return BudgetExceeded(
            f"{found.sentence} A row could cost more than what is left of it: raise the cap, or bound the answers with max_tokens.",
            policy="max_cost",
        )
    first = next((one.error for one in found.results if one.status == "failed" and one.error is not None), None)
    if not strict or first is None:
        return None
    said = f"{len(found.failed):,} of {len(found):,} rows failed; row {found.failed[0]}: {type(first).__name__}: {first.message} {kept}"
    provider = first.provider if isinstance(first, ProviderError) else ""
    return ProviderError(said, provider=provider, call_id=first.call_id, reason="rows_failed") if provider else AiplatError(said)


def _text(value: Any) -> str:  # Any: the user's values
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False, default=_named)
    text = " ".join(text.split())
    return text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 1] + "…"


def _named(value: Any) -> str:  # Any: the user's values
    """A date as it is written, and anything else by its kind: its own code is not run for a preview."""
    return str(value.isoformat()) if hasattr(value, "isoformat") else f"<{type(value).__name__}>"
