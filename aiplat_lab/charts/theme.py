"""How charts look: two themes, one palette that colour-blind readers can tell apart, one type scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from aiplat_lab.core.errors import UsageError, did_you_mean

FONT = "sans-serif"
"""A generic family: nothing is fetched, and a report looks the same where no named font is installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """The colours of one theme; text colours reach a contrast of 4.5 on `surface`, marks 3."""

    name: Literal["light", "dark"]
    surface: str
    """The background that a chart stands on."""
    ink: str
    """Titles and values."""
    quiet: str
    """Axis labels and secondary text."""
    line: str
    """Grid lines and rules."""
    accent: str
    """The one colour of a chart with a single series."""
    saved: str
    """What the cache saved."""
    bad: str
    """Errors, and a limit that is passed."""
    warn: str
    """A limit that is near."""
    other: str
    """The rest, when there are more names than colours."""
    series: tuple[str, ...]
    """Categories in order, after Okabe and Ito."""


LIGHT = Theme(
    name="light",
    surface="#ffffff",
    ink="#17212e",
    quiet="#566273",
    line="#e3e7ed",
    accent="#1f64ad",
    saved="#0b7a5f",
    bad="#b93815",
    warn="#9a6200",
    other="#98a2b0",
    series=("#1f64ad", "#e39b1c", "#0f8f6f", "#c2608f", "#63b1e5", "#c4501b", "#7461b8"),
)
DARK = Theme(
    name="dark",
    surface="#171d26",
    ink="#edf1f6",
    quiet="#a3afbf",
    line="#2d3643",
    accent="#63a8ea",
    saved="#3cc39d",
    bad="#f48a66",
    warn="#eab54d",
    other="#768293",
    series=("#5a9fe0", "#edb040", "#33b48f", "#e08ab4", "#9ad0f2", "#e67a48", "#a999e6"),
)
_THEMES: Mapping[str, Theme] = {"light": LIGHT, "dark": DARK}


def theme(name: str) -> Theme:
    """The theme of that name, `light` or `dark`.

    Raises:
        UsageError: there is none.
    """
    if name not in _THEMES:
        raise UsageError(f"there is no theme {name!r}; write light or dark.{did_you_mean(name, _THEMES)}")
    return _THEMES[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a chart's caller decides: theme, size and the currency of display."""

    theme: Theme = LIGHT
    width: int | Literal["container"] = 640
    """Pixels, or `container` to fill the page's width; SVG needs pixels."""
    height: int = 220
    """Pixels of the drawing area; charts of named bars grow with the number of bars instead."""
    currency: str = "USD"
    rate: Decimal = field(default=Decimal(1))
    """Units of `currency` for one US dollar."""


def colours(names: Sequence[str], look: Theme) -> dict[str, str]:
    """A colour for each name: the first names get the palette in order, all later ones the colour of the rest."""
    return {name: look.series[i] if i < len(look.series) else look.other for i, name in enumerate(names)}


def config(look: Theme) -> dict[str, Any]:
    """The Vega-Lite `config` of a theme."""
    return {
        "background": "transparent",
        "font": FONT,
        "view": {"stroke": None},
        "axis": {
            "labelColor": look.quiet,
            "labelFontSize": 12,
            "titleColor": look.quiet,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "gridColor": look.line,
            "domainColor": look.line,
            "tickColor": look.line,
            "labelPadding": 6,
        },
        "legend": {
            "labelColor": look.ink,
            "labelFontSize": 12,
            "title": None,
            "symbolType": "square",
            "symbolSize": 110,
            "orient": "top",
            "direction": "horizontal",
            "columnPadding": 16,
            "offset": 12,
            "labelLimit": 160,
        },
        "bar": {"color": look.accent},
        "text": {"color": look.ink, "fontSize": 12},
        "rule": {"color": look.line},
    }
