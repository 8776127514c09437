"""Rule packs: what is asked, by whom, from when, and when it was last checked. Dated data, never prose in a template."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

from aiplat_lab.core.errors import ReportError, did_you_mean

_FOLDER = Path(__file__).with_name("rules")
_COVERAGES = ("A", "P", "H", "A/P", "H/P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One requirement, in our own words."""

    id: str
    place: str
    """Where it stands in its framework, such as `Art. 12`."""
    requirement: str
    text: str
    also: tuple[str, ...]
    """Where else the same evidence is asked for."""
    source: str
    """Where it was read."""
    effective: date
    """From when it applies."""
    checked: date
    """When it was last held against its source."""
    check_by: date
    """The day by which that must happen again; after it, the rule is stale."""
    coverage: str
    """How much of the evidence a ledger can give: `A` all, `P` a part, `H` none but a person's record."""
    evidence: tuple[str, ...]
    """The names of the evidence that is asked, see `evidence.EVIDENCE`."""
    owner: str
    """The role that answers for it."""
    action: str
    """What to do where the evidence does not reach."""
    framework: str = ""
    pack: str = ""
    """Pack and version, such as `eu-ai-act 2026.11`."""

    def stale(self, today: date) -> bool:
        """Whether the day by which it had to be checked again is past."""
        return today > self.check_by


@dataclass(frozen=True, slots=True)
class Pack:
    """One file of rules."""

    id: str
    framework: str
    version: str
    dated: date
    rules: tuple[Rule, ...]


def load_packs(extra: Iterable[str] = ()) -> tuple[Pack, ...]:
    """The shipped packs and those in the files `extra`.

    Raises:
        ReportError: a file is missing or is not a rule pack; the text names the file and the key.
    """
    return tuple(_pack(path) for path in [*sorted(_FOLDER.glob("*.toml")), *map(Path, extra)])


def _pack(path: Path) -> Pack:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(f"the rule pack {path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ReportError(f"the rule pack {path} is not TOML: {error}") from None
    head = data.get("pack")
    if not isinstance(head, dict) or not isinstance(data.get("rules"), list):
        raise ReportError(f"the rule pack {path} needs [pack] and [[rules]]")
    kinds = {"id": str, "framework": str, "version": str, "dated": date}
    _check(head, kinds, f"{path.name}: [pack]")
    rules = tuple(_rule(row, head, f"{path.name}: rule {row.get('id', number)!r}") for number, row in enumerate(data["rules"], start=1))
    return Pack(head["id"], head["framework"], head["version"], head["dated"], rules)


def _rule(row: Mapping[str, Any], head: Mapping[str, Any], where: str) -> Rule:  # Any: TOML
    kinds: dict[str, type] = {
        f.name: date if f.type == "date" else list if f.type.startswith("tuple") else str
        for f in fields(Rule)
        if f.name not in ("framework", "pack")
    }
    _check(row, kinds, where)
    if row["coverage"] not in _COVERAGES:
        raise ReportError(f"{where}: coverage is {row['coverage']!r}; it must be one of {', '.join(_COVERAGES)}")
    lists = {name: tuple(str(item) for item in row[name]) for name in ("also", "evidence")}
    return Rule(**{**row, **lists}, framework=head["framework"], pack=f"{head['id']} {head['version']}")


def _check(row: Mapping[str, Any], kinds: Mapping[str, type], where: str) -> None:  # Any: TOML
    for name in row:
        if name not in kinds:
            raise ReportError(f"{where}: there is no key {name!r}.{did_you_mean(name, kinds)}")
    for name, kind in kinds.items():
        if not isinstance(row.get(name), kind):
            said = {date: "a date such as 2026-11-26", list: "a list", str: "a text"}[kind]
            raise ReportError(f"{where}: {name} must be {said}")
