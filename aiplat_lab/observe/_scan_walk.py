"""The files of a folder: what is worth reading, in order, without going round in circles."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

NEVER = frozenset(
    {".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv", "venv", "site-packages", ".tox", ".nox", ".mypy_cache", ".ruff_cache"}
    | {".pytest_cache", ".gradle", "bower_components", ".terraform", ".eggs", ".cache"}
)
"""Folders of others' code and of caches."""
_ALWAYS = re.compile(r"\.env|secret|credential|\.pem$|\.key$|\.ipynb$|\.toml$|\.ini$|\.cfg$", re.I)
"""Files that are read though `.gitignore` names them: they are where keys stand."""
_ENDINGS = (
    "png jpg jpeg gif webp ico bmp tif tiff pdf zip gz bz2 xz zst 7z tar whl jar so dll dylib exe bin pyc pyo parquet arrow feather duckdb "
    "sqlite db npy npz pt pth onnx gguf safetensors h5 pkl pickle mp3 mp4 wav ogg mov woff woff2 ttf otf eot xlsx docx pptx class o a lib"
)
_BINARY = frozenset(f".{ending}" for ending in _ENDINGS.split())
MAX_DEPTH = 60


@dataclass(slots=True)
class Walk:
    """The files of a folder.

    Args:
        root: the folder, or one file.
        max_bytes: files larger than this are counted, not read.
    """

    root: Path
    max_bytes: int
    skipped: Counter[str] = field(default_factory=Counter)
    """How many files were left out, by the reason."""
    repositories: list[Path] = field(default_factory=list)
    """Folders that hold a git repository."""

    def files(self) -> Iterator[Path]:
        """Every file to read, sorted by its folder."""
        if self.root.is_file():
            yield self.root
            return
        yield from self._folder(self.root, [], set(), 0)

    def _folder(self, folder: Path, rules: list[tuple[Path, list[_Rule]]], seen: set[tuple[int, int]], depth: int) -> Iterator[Path]:
        try:
            about = folder.stat()
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            self.skipped["unreadable"] += 1
            return
        place = (about.st_dev, about.st_ino)
        if place in seen or depth > MAX_DEPTH:
            self.skipped["already seen"] += 1
            return
        seen.add(place)
        names = {entry.name for entry in entries}
        if ".git" in names:
            self.repositories.append(folder)
        if ".gitignore" in names:
            rules = [*rules, (folder, _rules(folder / ".gitignore"))]
        for entry in entries:
            path = Path(entry.path)
            try:
                if entry.is_symlink():
                    self.skipped["symbolic link"] += 1
                elif entry.is_dir():
                    if entry.name in NEVER or _ignored(path, rules, folder=True):
                        self.skipped["folder left out"] += 1
                    else:
                        yield from self._folder(path, rules, seen, depth + 1)
                elif entry.is_file() and self._wanted(path, entry.stat().st_size, rules):
                    yield path
            except OSError:
                self.skipped["unreadable"] += 1

    def _wanted(self, path: Path, size: int, rules: list[tuple[Path, list[_Rule]]]) -> bool:
        if path.suffix.lower() in _BINARY:
            self.skipped["binary"] += 1
        elif size > self.max_bytes:
            self.skipped["larger than the limit"] += 1
        elif not _ALWAYS.search(path.name) and _ignored(path, rules, folder=False):
            self.skipped["named by .gitignore"] += 1
        else:
            return True
        return False


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    keeps: bool
    folders_only: bool


def _rules(path: Path) -> list[_Rule]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[:5_000]
    except OSError:
        return []
    return [rule for line in lines if (rule := _rule(line)) is not None]


def _rule(line: str) -> _Rule | None:
    text = line.rstrip()
    if not text or text.startswith("#") or len(text) > 500:
        return None
    keeps = text.startswith("!")
    text = text[1:] if keeps else text.removeprefix("\\")
    folders_only = text.endswith("/")
    text = text.rstrip("/")
    if not text:
        return None
    return _Rule(_pattern(text), keeps, folders_only)


_ESCAPED = r"\\\1"
_TOKEN = re.compile(r"\*\*/|/\*\*\Z|\*+|\?|\[!?[^\]/]{1,40}\]|.", re.S)
_MOST_DEEP = 2


@lru_cache(maxsize=4096)
def _pattern(text: str) -> re.Pattern[str]:
    """A pattern of `.gitignore` as a regular expression on the path below its folder; no star is tried twice, so that it stays quick."""
    anchored = "/" in text
    pieces = _TOKEN.findall(text.lstrip("/"))
    if sum(piece in ("**/", "/**") for piece in pieces) > _MOST_DEEP:
        return re.compile(re.escape(text) + r"\Z")
    stars = sum(piece.startswith("*") and not piece.endswith("/") for piece in pieces)
    parts: list[str] = []
    open_group = False
    for piece in pieces:
        if piece == "**/":
            parts.append("(?:[^\\n]*/)?")
        elif piece == "/**":
            parts.append("/[^\\n]*")
        elif piece.startswith("*"):
            stars -= 1
            parts.append(")" if open_group else "")
            open_group = stars > 0
            parts.append("(?>[^/\\n]*?" if open_group else "[^/\\n]*")
        elif piece == "?":
            parts.append("[^/\\n]")
        elif len(piece) > 1:
            parts.append(f"[{'^' if piece[1] == '!' else ''}{re.sub(r'([^A-Za-z0-9-])', _ESCAPED, piece[1:-1].removeprefix('!'))}]")
        else:
            parts.append(re.escape(piece))
    body = "".join(parts) + (")" if open_group else "")
    try:
        return re.compile(("" if anchored else "(?:[^\\n]*/)?") + body + r"\Z")
    except re.error:  # a range such as z-a, which git does not know either
        return re.compile(re.escape(text) + r"\Z")


def _ignored(path: Path, rules: list[tuple[Path, list[_Rule]]], *, folder: bool) -> bool:
    ignored = False
    for base, entries in rules:
        below = path.relative_to(base).as_posix()
        for rule in entries:
            if (folder or not rule.folders_only) and rule.pattern.match(below):
                ignored = not rule.keeps
    return ignored
