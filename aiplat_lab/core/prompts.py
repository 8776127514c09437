"""What prompts are called: names, versions and labels, and which version a reference means.

The gateway's policy and the registry in `prompts/` both read it here, so that a reference means the same to both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from aiplat_lab.core.errors import PromptError, did_you_mean
from aiplat_lab.core.types import Json

LATEST = "latest"
"""Stands for the highest version; computed, never stored."""
PRODUCTION = "production"
"""The label that a name alone means, where the prompt has it."""
CONTENT = "sha256:"
"""Begins a reference by content: `sha256:` and at least eight digits of the hash."""
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_VERSION = re.compile(r"(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})")
_LINE = re.compile(r"(0|[1-9]\d{0,5})(\.(0|[1-9]\d{0,5}))?")
_LABEL = re.compile(r"(?!v\d)[a-z][a-z0-9_-]{0,39}")
_HASH = re.compile(r"sha256:[0-9a-f]{8,64}")


class Reference(NamedTuple):
    """A prompt, and which of its versions."""

    name: str
    wanted: str
    """A version, the beginning of one (`1`, `1.2`), a label, `latest`, `sha256:…`, or empty."""

    @classmethod
    def of(cls, text: str) -> Reference:
        """The reference that `name` or `name@version-or-label` is.

        Raises:
            PromptError: it is none.
        """
        name, at, wanted = text.strip().partition("@")
        if not name or (at and not wanted) or "@" in wanted:
            raise PromptError(f"{text[:80]!r} names no prompt; write name, name@1.2.0 or name@production")
        return cls(name, wanted)


def check_name(name: str) -> str:
    """A prompt's name, if it is one.

    Raises:
        PromptError: it is none.
    """
    if not _NAME.fullmatch(name):
        near = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_0123456789")[:64].strip("-_")
        offer = f" Write {near!r}." if near and near != name else ""
        raise PromptError(
            f"{name[:80]!r} cannot be a prompt's name: it takes small letters, digits, - and _, begins with a letter, and has at "
            f"most 64 signs.{offer}"
        )
    return name


def check_label(label: str) -> str:
    """A label, if it is one.

    Raises:
        PromptError: it is none, or it looks like a version.
    """
    if label == LATEST:
        raise PromptError("'latest' is computed: it always means the highest version. Move another label, such as 'production'.")
    if _LINE.fullmatch(label.lstrip("v")) or _VERSION.fullmatch(label.lstrip("v")):
        raise PromptError(f"{label[:80]!r} looks like a version; a label is a word, such as production, staging or trial")
    if not _LABEL.fullmatch(label):
        raise PromptError(
            f"{label[:80]!r} cannot be a label: it takes small letters, digits, - and _, begins with a letter, does not look like a "
            "version, and has at most 40 signs"
        )
    return label


def version_key(version: str) -> tuple[int, int, int]:
    """What versions are ordered by; what is no version comes first."""
    found = _VERSION.fullmatch(version)
    return (int(found[1]), int(found[2]), int(found[3])) if found else (-1, -1, -1)


def is_version(text: str) -> bool:
    """Whether `text` is a whole version, such as `1.2.0`."""
    return _VERSION.fullmatch(text) is not None


def is_content(text: str) -> bool:
    """Whether `text` names a version by its content."""
    return _HASH.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Entry:
    """One prompt's versions and labels."""

    versions: Mapping[str, str] = field(default_factory=dict)
    """Content hash by version, in the order in which they were saved."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Version by label."""

    @property
    def latest(self) -> str:
        """The highest version; empty where there is none."""
        return max(self.versions, key=version_key, default="")

    def find(self, wanted: str) -> str | None:
        """The version that `wanted` means, or None."""
        if not wanted:
            return self.labels.get(PRODUCTION) or self.latest or None
        if wanted in self.versions:
            return wanted
        if wanted == LATEST:
            return self.latest or None
        if wanted in self.labels:
            return self.labels[wanted]
        if is_content(wanted):
            return self.of_content(wanted.removeprefix(CONTENT))
        if _LINE.fullmatch(wanted):
            line = [version for version in self.versions if version.startswith(wanted + ".")]
            return max(line, key=version_key, default=None)
        return None

    def of_content(self, content_hash: str) -> str | None:
        """The version that has this content, by the whole hash or its beginning."""
        return next((version for version, known in self.versions.items() if known.startswith(content_hash)), None)


@dataclass(frozen=True, slots=True)
class Shelf:
    """Every prompt that was saved, folded from the records. Changed by making another one."""

    entries: Mapping[str, Entry] = field(default_factory=dict)

    def with_version(self, name: str, version: str, content_hash: str) -> Shelf:
        """The shelf with one more version; one that is there already stays what it is."""
        entry = self.entries.get(name, Entry())
        if version in entry.versions:
            return self
        return self._with(name, replace(entry, versions={**entry.versions, version: content_hash}))

    def with_label(self, name: str, label: str, version: str) -> Shelf:
        """The shelf with a label moved."""
        entry = self.entries.get(name, Entry())
        return self._with(name, replace(entry, labels={**entry.labels, label: version}))

    def entry(self, name: str, *, also: Iterable[str] = ()) -> Entry:
        """A prompt's versions and labels.

        Args:
            name: the prompt.
            also: other names that may have been meant.

        Raises:
            PromptError: there is no such prompt; the nearest are named.
        """
        entry = self.entries.get(name)
        if entry is None or not entry.versions:
            near = did_you_mean(name, [*self.entries, *also])
            raise PromptError(f"there is no prompt {name[:80]!r}.{near} `aiplat prompts list` lists them.")
        return entry

    def resolve(self, reference: Reference) -> str:
        """The version that a reference means.

        Raises:
            PromptError: there is no such prompt, version or label; the nearest are named.
        """
        entry = self.entry(reference.name)
        version = entry.find(reference.wanted)
        if version is None or version not in entry.versions:
            raise PromptError(self._unknown(reference, entry, version))
        return version

    def _unknown(self, reference: Reference, entry: Entry, version: str | None) -> str:
        name, wanted = reference
        if version is not None:
            return f"the label {wanted!r} of the prompt {name!r} points to {version}, which is not there; move it: `aiplat prompts label`"
        near = did_you_mean(wanted, [*entry.versions, *entry.labels, LATEST])
        labels = f", labels {', '.join(sorted(entry.labels))}" if entry.labels else ", no labels"
        newest = sorted(entry.versions, key=version_key)[-5:]
        return f"the prompt {name!r} has no version or label {wanted[:80]!r}.{near} It has {', '.join(newest)}{labels}."

    def _with(self, name: str, entry: Entry) -> Shelf:
        return Shelf({**self.entries, name: entry})

    def to_json(self) -> dict[str, Json]:
        """The shelf as JSON."""
        return {name: {"versions": dict(one.versions), "labels": dict(one.labels)} for name, one in self.entries.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Shelf:
        """The shelf that `to_json` wrote.

        Raises:
            KeyError, TypeError, AttributeError: it is not one.
        """
        return cls({str(name): Entry(dict(one["versions"]), dict(one["labels"])) for name, one in data.items()})
