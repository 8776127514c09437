"""A dry run: the exact request, its tokens and price, and what each policy says; nothing was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import Any

from aiplat_lab.core.text import money

MIME = "application/vnd.aiplat.dry-run+json"
_STATES = {
    "replay": "would be answered from the ledger, at no cost",
    "live": "would be sent",
    "refused": "would be refused",
    "error": "cannot be sent",
}
_ROW = "padding:.15em 1em .15em 0;text-align:left;vertical-align:top"
_TEXT = (
    "white-space:pre-wrap;overflow-wrap:anywhere;margin:.2em 0;padding:.4em .6em;background:var(--jp-layout-color2,rgba(128,128,128,.12))"
)


@dataclass(frozen=True, slots=True, repr=False)
class DryRun:
    """What would become of one request."""

    plan: Mapping[str, Any]  # Any: JSON
    """As the gateway's `POST /api/plan` gives it."""
    currency: str = "USD"
    """The currency of display."""
    usd_rate: Decimal = Decimal(1)
    """Units of it for one US dollar."""

    @property
    def state(self) -> str:
        """`replay` (the ledger answers), `live`, `refused`, or `error`."""
        return str(self.plan["state"])

    @property
    def input_tokens(self) -> int | None:
        """About how many tokens would be sent."""
        return self.plan.get("input_tokens")

    @property
    def low_usd(self) -> Decimal | None:
        """The least it would cost, in US dollars; None where no price is known."""
        return _decimal(self.plan.get("low_usd"))

    @property
    def high_usd(self) -> Decimal | None:
        """The most it would cost, in US dollars: the bound that budgets hold; None where no price is known."""
        return _decimal(self.plan.get("high_usd"))

    @property
    def verdicts(self) -> Mapping[str, str]:
        """What each policy would do, by its name."""
        return {str(one["policy"]): str(one["verdict"]) for one in self.plan.get("policies") or ()}

    @property
    def request(self) -> Mapping[str, Any]:  # Any: JSON
        """The request as it would be sent: masked where a rule masks it."""
        found: Mapping[str, Any] = self.plan.get("request") or {}
        return found

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """The plan with its currency, for a front end."""
        return {"schema": 1, **self.plan, "currency": self.currency, "usd_rate": str(self.usd_rate)}

    def facts(self) -> list[tuple[str, str]]:
        """Name and text of each fact, for people."""
        plan = self.plan
        if self.state == "error":
            return [("why", str((plan.get("error") or {}).get("message") or "unknown"))]
        settings = ", ".join(f"{name} {value!r}" for name, value in self.request.get("settings", {}).items())
        where = ", then ".join(f"{one['deployment']} in {one['region'] or 'an unknown region'}" for one in plan["deployments"])
        facts = [("model", str(plan["model"])), ("answered by", where or "nobody")]
        if plan["replay_of"]:
            facts.append(("replayed", f"as call {plan['replay_of']} was answered"))
        return [*facts, ("tokens", tokens(plan)), ("price", self.price()), ("settings", settings or "none")]

    def price(self) -> str:
        """From the least to the most, in the currency of display."""
        return price_range(self.plan, currency=self.currency, rate=self.usd_rate)

    def policies(self) -> list[tuple[str, str]]:
        """Each policy and what it would do, for people."""
        return [(one["policy"], f"{one['verdict']}{': ' if one['said'] else ''}{one['said']}") for one in self.plan.get("policies") or ()]

    def messages(self) -> list[tuple[str, str]]:
        """Each message's role and text, as it would be sent; texts to embed under `input`."""
        found = [(str(one["role"]), _content(one)) for one in self.request.get("messages") or ()]
        return found + [("input", str(text)) for text in self.request.get("inputs") or ()]

    def __repr__(self) -> str:
        width = 12
        lines = [f"dry run: {_STATES[self.state]}. Nothing was sent.", ""]
        lines += [f"{name:<{width}} {text}" for name, text in self.facts()]
        if self.policies():
            lines += ["", *(f"{name:<{width}} {text}" for name, text in self.policies())]
        for role, text in self.messages():
            lines += ["", f"--- {role}", text]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        said = f"<p><strong>Dry run:</strong> {escape(_STATES[self.state])}. Nothing was sent.</p>"
        sent = "".join(f'<p><strong>{escape(role)}</strong></p><pre style="{_TEXT}">{escape(text)}</pre>' for role, text in self.messages())
        tables = _table("What is asked", self.facts()) + (_table("What the rules say", self.policies()) if self.policies() else "")
        return f'<div class="tex2jax_ignore mathjax_ignore">{said}{tables}{sent}</div>'

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:  # Any: as IPython calls it
        return {MIME: self.to_json(), "text/html": self._repr_html_(), "text/plain": repr(self)}


def tokens(plan: Mapping[str, Any]) -> str:  # Any: JSON
    """The tokens of a plan, for people."""
    if plan["state"] == "replay":
        return "none"
    into = f"about {plan['input_tokens']:,} in (at most {plan['input_tokens_most']:,})"
    if not plan["output_tokens_most"]:
        return into
    likely = "" if plan["output_tokens"] is None else f"about {plan['output_tokens']:,} out, "
    most = f"up to {plan['output_tokens_most']:,} out"
    return f"{into}; {likely}{most}{' (assumed: the model has no known limit)' if plan['assumed'] else ''}"


def price_range(plan: Mapping[str, Any], *, currency: str, rate: Decimal) -> str:  # Any: JSON
    """The price of a plan, from the least to the most."""
    low, high = _decimal(plan.get("low_usd")), _decimal(plan.get("high_usd"))
    if low is None or high is None:
        return "unknown"
    if low == high:
        return money(low, currency=currency, rate=rate)
    shown = f"{money(low, currency=currency, rate=rate)} to {money(high, currency=currency, rate=rate)}"
    likely = _decimal(plan.get("likely_usd"))
    return shown if likely is None else f"{shown}, likely {money(likely, currency=currency, rate=rate)}"


def currency_of(status: Mapping[str, Any]) -> tuple[str, Decimal]:  # Any: JSON
    """The currency of display that a gateway's status names, and units of it for one US dollar."""
    return str(status.get("currency") or "USD"), Decimal(str(status.get("usd_rate") or 1))


def _decimal(text: Any) -> Decimal | None:  # Any: JSON
    return None if text is None else Decimal(str(text))


def _content(message: Mapping[str, Any]) -> str:  # Any: JSON
    content = message.get("content")
    if isinstance(content, str) or content is None:
        return content or ""
    return "\n".join(str(part["text"]) if part.get("type") == "text" else f"[{part.get('type')}]" for part in content)


def _table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    body = "".join(
        f'<tr><th scope="row" style="{_ROW}">{escape(name)}</th><td style="{_ROW}">{escape(text)}</td></tr>' for name, text in rows
    )
    return f"<table><caption>{escape(title)}</caption><tbody>{body}</tbody></table>"
