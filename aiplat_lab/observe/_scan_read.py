"""What one file says about AI use: keys, libraries, addresses, models, prompts; in code, and in the cells and outputs of notebooks."""

from __future__ import annotations

import ast
import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from aiplat_lab.observe._scan_words import endpoints_in, imports_in, is_prompt, keys_in, models_in, scripts_in, sdk_of

Where: TypeAlias = Literal["code", "output", "metadata", "environment", "history"]

_SCRIPTS = frozenset({".js", ".jsx", ".ts", ".tsx", ".mjs", ".cjs", ".vue", ".svelte"})
_PROMPT_NAMES = ("prompt", "system", "content", "instruction", "template", "message", "question")
_LONG_ENOUGH = 20
"""A shorter key gets no fingerprint, which could be found again by trying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundKey:
    """A key, by everything but itself."""

    kind: str
    """The detector's name, or `named_key` where only the variable's name tells."""
    file: str
    line: int | None
    """Counted from 1; within a notebook's cell where `cell` is given; None in the history."""
    where: Where
    variable: str = ""
    cell: int | None = None
    commit: str = ""
    """The commit that brought it in, for one in the history."""
    fingerprint: str = ""
    """Eight hexadecimal digits of a hash, by which to tell the same key in two places; empty for short ones."""


@dataclass(slots=True)
class Reading:
    """What one file says."""

    keys: list[FoundKey] = field(default_factory=list)
    sdks: Counter[str] = field(default_factory=Counter)
    endpoints: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    prompts: list[int] = field(default_factory=list)
    """The size of each likely prompt in characters."""
    note: str = ""


def fingerprint(value: str) -> str:
    """Eight hexadecimal digits that tell the same key in two places; empty where the key is too short to be hidden by a hash."""
    return hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()[:8] if len(value) >= _LONG_ENOUGH else ""


def decoded(data: bytes) -> str | None:
    """The text of a file in whatever encoding; None for one that is none."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    if b"\x00" in data[:8192] and data[:8192].count(0) > len(data[:8192]) // 20:
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def read_file(path: Path, name: str) -> Reading | None:
    """What the file says; None for one that is not a text.

    Args:
        path: the file.
        name: what it is called in findings.

    Raises:
        OSError: it cannot be read.
    """
    text = decoded(path.read_bytes())
    if text is None:
        return None
    found = Reading()
    if path.suffix == ".ipynb":
        _notebook(text, name, found)
        return found
    where: Where = "environment" if path.name.startswith(".env") or path.suffix == ".env" else "code"
    _keys(text, found, name=name, where=where)
    _mentions(text, found)
    if path.suffix in (".py", ".pyi"):
        _python(text, found)
    elif path.suffix in _SCRIPTS:
        found.sdks.update(set(scripts_in(text)))
    return found


def _keys(text: str, found: Reading, *, name: str, where: Where, cell: int | None = None) -> None:
    line, place = 1, 0
    for start, _end, kind, variable in sorted(keys_in(text)):
        line += text.count("\n", place, start)
        place = start
        mark = fingerprint(text[start:_end])
        found.keys.append(FoundKey(kind=kind, file=name, line=line, where=where, variable=variable, cell=cell, fingerprint=mark))


def _mentions(text: str, found: Reading) -> None:
    found.endpoints.update(endpoints_in(text))
    found.models.update(models_in(text))


# --- Python -----------------------------------------------------------------------------------------------------------


def _python(text: str, found: Reading) -> None:
    """Imports and prompts by the syntax tree; imports by their lines where the text does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a wrong escape in somebody's string is no news here
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        found.sdks.update({name for module in imports_in(text) if (name := sdk_of(module))})
        return
    sdks: set[str] = set()
    quiet: set[int] = set()
    named: dict[int, bool] = {}
    strings: list[ast.Constant] = []
    bedrock = boto = False
    for node in ast.walk(tree):
        for module in _modules(node):
            boto = boto or module.split(".")[0] in ("boto3", "aioboto3")
            if name := sdk_of(module):
                sdks.add(name)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            quiet.add(id(node.value))  # a docstring, or a remark
        for value, called in _given(node):
            named[id(value)] = any(word in called.lower() for word in _PROMPT_NAMES)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.append(node)
            bedrock = bedrock or node.value.startswith("bedrock")
    if boto and bedrock:
        sdks.add("boto3-bedrock")
    found.sdks.update(sdks)
    for one in strings:
        if id(one) not in quiet and isinstance(one.value, str) and is_prompt(one.value, named=named.get(id(one), False)):
            found.prompts.append(len(one.value))


def _modules(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _given(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Values, with the name under which they are given."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield node.value, target.id
    elif isinstance(node, ast.keyword) and node.arg:
        yield node.value, node.arg
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield value, key.value


# --- notebooks --------------------------------------------------------------------------------------------------------


def _notebook(text: str, name: str, found: Reading) -> None:
    """Cells and outputs one by one; what is no notebook is read as a text."""
    try:
        data = json.loads(text)
        cells = data.get("cells") if isinstance(data, dict) else None
    except (ValueError, RecursionError):
        cells = None
    if not isinstance(cells, list):
        found.note = "not a notebook"
        _keys(text, found, name=name, where="code")
        _mentions(text, found)
        return
    for number, cell in enumerate(cells, 1):
        if isinstance(cell, dict):
            _cell(cell, number, name, found)
    seen = {(one.kind, one.fingerprint) for one in found.keys}
    rest = Reading()
    _keys(text, rest, name=name, where="metadata")
    found.keys += [one for one in rest.keys if one.fingerprint and (one.kind, one.fingerprint) not in seen and one.kind != "private_key"]


def _cell(cell: Mapping[str, Any], number: int, name: str, found: Reading) -> None:  # Any: JSON from a file
    source = _joined(cell.get("source"))
    _keys(source, found, name=name, where="code", cell=number)
    _mentions(source, found)
    if cell.get("cell_type") == "code":
        _python("\n".join("" if line.lstrip()[:1] in ("%", "!") else line for line in source.split("\n")), found)
    elif len(source) > 1:
        return
    outputs = cell.get("outputs")
    for output in outputs if isinstance(outputs, list) else ():
        for text in _output_texts(output):
            _keys(text, found, name=name, where="output", cell=number)


def _output_texts(output: Any) -> Iterator[str]:  # Any: JSON from a file
    if not isinstance(output, dict):
        return
    yield _joined(output.get("text"))
    yield _joined(output.get("traceback"))
    yield _joined(output.get("evalue"))
    data = output.get("data")
    for kind, value in (data if isinstance(data, dict) else {}).items():
        if not kind.startswith(("image/", "audio/", "video/")):
            yield _joined(value) or _flat(value)


def _joined(value: Any) -> str:  # Any: JSON from a file
    if isinstance(value, str):
        return value
    return "".join(part for part in value if isinstance(part, str)) if isinstance(value, list) else ""


def _flat(value: Any) -> str:  # Any: JSON from a file
    if not isinstance(value, dict | list):
        return ""
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return ""
