"""The audit of day one: which keys, libraries, models and prompts stand in a folder, its notebooks and its history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.settings import ProviderSettings, Settings
from aiplat_lab.core.types import Deployment, Usage, utc_now
from aiplat_lab.observe._scan_history import read_history
from aiplat_lab.observe._scan_read import FoundKey, decoded, read_file
from aiplat_lab.observe._scan_walk import Walk
from aiplat_lab.observe._scan_words import ADOPT
from aiplat_lab.prices import Prices, cost

MAX_FILE_BYTES = 20_000_000
MAX_HISTORY_BYTES = 400_000_000
MAX_HISTORY_S = 120.0
CALLS = 1_000
OUTPUT_TOKENS = 300
"""What an estimate takes for the answer of a call."""
_CHARS_A_TOKEN = 4
_PROVIDERS = {
    "openai": ("gpt-", "chatgpt-", "o1", "o3", "o4", "text-embedding-"), "anthropic": ("claude-",), "google": ("gemini-",),
    "cohere": ("command-",), "mistral": ("mistral-", "ministral-", "codestral-", "pixtral-", "magistral-", "open-mi"),
    "deepseek": ("deepseek-",), "x-ai": ("grok-",), "groq": ("llama",),
}  # fmt: skip


class Estimate(NamedTuple):
    """What a thousand calls of a model might cost at list price, with the prompts that were found."""

    model: str
    mentions: int
    usd: Decimal | None
    """None where the price is unknown, or no prompt was found to go by."""


@dataclass(slots=True)
class Folder:
    """What the files of one folder say."""

    files: int = 0
    keys: int = 0
    sdks: Counter[str] = field(default_factory=Counter)
    """Files by library."""
    endpoints: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    prompts: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Scan:
    """What was found."""

    root: Path
    keys: list[FoundKey] = field(default_factory=list)
    folders: dict[str, Folder] = field(default_factory=dict)
    """By path below the root."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Files that were not read, by the reason."""
    notes: list[str] = field(default_factory=list)
    commits: int = 0

    @property
    def files(self) -> int:
        """How many files were read."""
        return sum(one.files for one in self.folders.values())

    def total(self, what: Callable[[Folder], Counter[str]]) -> Counter[str]:
        """The counts of all folders together."""
        found: Counter[str] = Counter()
        for one in self.folders.values():
            found.update(what(one))
        return found

    @property
    def prompts(self) -> list[int]:
        """The sizes of all likely prompts, in characters."""
        return [size for one in self.folders.values() for size in one.prompts]

    def estimates(self) -> list[Estimate]:
        """Each model that is named, the most often named first."""
        sizes = self.prompts
        tokens = sum(sizes) // len(sizes) // _CHARS_A_TOKEN if sizes else None
        models = self.total(lambda one: one.models)
        return [Estimate(model, count, _usd(model, tokens)) for model, count in models.most_common()]

    @property
    def mean_prompt_tokens(self) -> int | None:
        """About how many tokens the mean prompt has; None where none was found."""
        sizes = self.prompts
        return sum(sizes) // len(sizes) // _CHARS_A_TOKEN if sizes else None


def scan(path: Path, *, history: bool = True, max_file_bytes: int = MAX_FILE_BYTES) -> Scan:
    """Looks through a folder, its notebooks and the history of every repository in it.

    Args:
        path: a folder, or one file.
        history: whether git's history is looked through.
        max_file_bytes: larger files are counted, not read.

    Raises:
        UsageError: there is nothing at `path`.
    """
    if not path.exists():
        raise UsageError(f"there is no file or folder {str(path)!r}")
    walk = Walk(path, max_file_bytes)
    found = Scan(path)
    for file in walk.files():
        _add(found, file)
    found.skipped.update(walk.skipped)
    if history:
        for repository, only in _repositories(path, walk):
            prefix = "" if only is not None or repository == path else f"{repository.relative_to(path).as_posix()}/"
            past = read_history(repository, only=only, prefix=prefix, max_bytes=MAX_HISTORY_BYTES, max_s=MAX_HISTORY_S)
            found.commits += past.commits
            found.notes += [note for note in past.notes if note not in found.notes]
            found.keys += _gone(past.keys, found.keys)
    return found


def next_step(key: FoundKey) -> str:
    """What to do about a key."""
    if key.kind == "aiplat_key":
        return "aiplat keys revoke; then aiplat keys create"
    if key.where == "history":
        return "revoke it at its provider: it stays in every clone"
    variable = key.variable or ADOPT.get(key.kind, "")
    if variable:
        return f"aiplat keys adopt {variable}, take it out here, and rotate it"
    return "take it out here, and rotate it"


def _add(found: Scan, file: Path) -> None:
    inside = file.relative_to(found.root).as_posix() if file != found.root else file.name
    try:
        said = read_file(file, inside)
    except OSError:
        found.skipped["unreadable"] += 1
        return
    if said is None:
        found.skipped["binary"] += 1
        return
    name = inside.rpartition("/")[0] or "."
    folder = found.folders.setdefault(name, Folder())
    folder.files += 1
    folder.keys += len(said.keys)
    folder.sdks.update(said.sdks)
    folder.endpoints.update(said.endpoints)
    folder.models.update(said.models)
    folder.prompts += said.prompts
    found.keys += said.keys
    if said.note:
        found.skipped[said.note] += 1


def _gone(past: list[FoundKey], now: list[FoundKey]) -> Iterator[FoundKey]:
    """Keys of the history that do not stand in the files any more."""
    present = {(one.kind, one.fingerprint) for one in now if one.fingerprint and one.where != "history"}
    return (one for one in past if (one.kind, one.fingerprint) not in present)


def _repositories(path: Path, walk: Walk) -> list[tuple[Path, Path | None]]:
    """Each repository to look through, and the part of it that was asked for."""
    inside: list[tuple[Path, Path | None]] = [(one, None) for one in walk.repositories]
    if path.resolve() not in {one.resolve() for one in walk.repositories}:
        folder = path.resolve() if path.is_dir() else path.resolve().parent
        if any((above / ".git").exists() for above in (folder, *folder.parents)):
            inside.insert(0, (folder, path.resolve()))
    return inside


def _usd(model: str, tokens: int | None) -> Decimal | None:
    """US dollars for a thousand calls at list price."""
    provider = next((name for name, heads in _PROVIDERS.items() if model.startswith(heads)), "")
    if not provider or tokens is None:
        return None
    settings = Settings(providers={provider: ProviderSettings(kind="openai" if provider != "anthropic" else "anthropic")})
    price = Prices(settings).of(Deployment(provider=provider, model=model), utc_now())
    if price is None:
        return None
    output = 0 if model.startswith("text-embedding-") else OUTPUT_TOKENS
    return cost(Usage(input_tokens=tokens * CALLS, output_tokens=output * CALLS), price)


__all__ = ["CALLS", "OUTPUT_TOKENS", "Estimate", "Folder", "FoundKey", "Scan", "decoded", "next_step", "scan"]
