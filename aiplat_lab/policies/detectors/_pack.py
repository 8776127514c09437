"""All detectors, and the search with them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from aiplat_lab.core.errors import ConfigError, did_you_mean
from aiplat_lab.policies.detectors._detector import Detector, Finding
from aiplat_lab.policies.detectors._keys import KEYS
from aiplat_lab.policies.detectors._payment import PAYMENT
from aiplat_lab.policies.detectors._uk import UK

DETECTORS: Mapping[str, Detector] = {one.name: one for one in (*UK, *PAYMENT, *KEYS)}
"""Every detector by name."""

_FIGURES = re.compile(r"[0-9][0-9 ()A-Za-z<+-]{0,8}[0-9][0-9 ()A-Za-z<+-]{0,8}[0-9][0-9 ()A-Za-z<+-]{0,8}[0-9]")


def chosen(names: Iterable[str]) -> tuple[Detector, ...]:
    """The detectors of those names; all of them where there is no name.

    Raises:
        ConfigError: there is none of a name.
    """
    wanted = tuple(names)
    for name in wanted:
        if name not in DETECTORS:
            raise ConfigError(f"redaction: there is no detector {name!r}.{did_you_mean(name, DETECTORS)} docs/redaction.md lists them.")
    return tuple(DETECTORS[name] for name in wanted) or tuple(DETECTORS.values())


def detect(text: str, detectors: Iterable[Detector] | None = None) -> list[Finding]:
    """What `detectors` (all, when left out) find in `text`, in the order of the text; findings may overlap."""
    found: list[Finding] = []
    lower = text.lower()
    figures: bool | None = None
    for one in DETECTORS.values() if detectors is None else detectors:
        if one.hints and not any(hint in lower for hint in one.hints):
            continue
        if one.digits:
            if figures is None:
                figures = _FIGURES.search(text) is not None
            if not figures:
                continue
        found += [Finding(start, end, one) for start, end in one.find(text)]
    found.sort(key=lambda one: (one.start, one.end))
    return found
