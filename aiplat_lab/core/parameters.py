"""Parameters of report notebooks: what a notebook declares, how they are written, and what may not be one.

A notebook declares its parameters in a cell tagged `parameters`, as plain assignments. Their values are written into the
executed notebook and into the ledger, so nothing secret may be among them.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aiplat_lab.core.errors import ReportError, UsageError, did_you_mean, redact
from aiplat_lab.core.settings import shipped

GIVEN = ("since", "until", "snapshot", "out", "sha256")
"""The parameters that every report run gives by itself."""
_SECRET_NAME = re.compile(
    r"api_?key|secret|passw(or)?d|passphrase|credential|private_?key|access_?key|authori[sz]ation|bearer|(^|_)(auth|pwd|token|key_id)$"
)
_HUMPS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SECRET_VALUE = re.compile(r"\bAKIA[0-9A-Z]{16}\b|\beyJ[\w-]{8,}\.[\w-]{8,}|-----BEGIN [A-Z ]*PRIVATE KEY|://[^/\s:@]+:[^/\s@]+@")
_DIGEST = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})")


def report_names() -> list[str]:
    """The reports that ship with the package, by name."""
    return sorted(path.stem for path in shipped("notebooks", "reports").glob("*.ipynb"))


def report_notebook(name: str) -> Path:
    """The notebook of a report: a shipped one by its name, or one's own by its path.

    Raises:
        UsageError: there is no such report; the text offers the nearest.
    """
    if name.endswith(".ipynb"):
        own = Path(name).expanduser().absolute()
        if not own.is_file():
            raise UsageError(f"there is no notebook {own}")
        return own
    if name not in report_names():
        raise UsageError(f"there is no report {name!r}.{did_you_mean(name, report_names())} See `aiplat report list`.")
    return shipped("notebooks", "reports", f"{name}.ipynb")


def read_parameters(words: Iterable[str]) -> dict[str, Any]:  # Any: JSON
    """`key=value` words as parameters; a value that reads as JSON is taken as that.

    Raises:
        UsageError: a word has no `=`.
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"-p takes KEY=VALUE, not {redact(word)[:60]!r}")
        try:
            found[key] = json.loads(value)
        except (ValueError, RecursionError):
            found[key] = value
    return found


def check_parameters(notebook: Path, parameters: Mapping[str, Any]) -> None:  # Any: JSON
    """Lets parameters pass that the notebook declares and that are no secrets.

    Args:
        notebook: the report's notebook.
        parameters: what a person gives, beside what every run gives by itself.

    Raises:
        UsageError: the notebook has no cell tagged `parameters`, does not declare one, or one looks like a secret.
        ReportError: the file is not a notebook.
    """
    declared = declared_parameters(notebook)
    if declared is None:
        raise UsageError(
            f"{notebook} has no cell tagged `parameters`, so it cannot be told its period and snapshot: "
            f"tag a cell `parameters`, and assign since, until, snapshot and out in it"
        )
    for name, value in parameters.items():
        if name in GIVEN:
            raise UsageError(f"the parameter {name!r} is given by every run itself; use --since, --until or --out")
        if name not in declared:
            near = did_you_mean(name, set(declared) - set(GIVEN))
            own = ", ".join(sorted(set(declared) - set(GIVEN))) or "none of its own"
            raise UsageError(f"{notebook.stem} has no parameter {name[:60]!r}.{near} It takes {own}.")
        refuse_secret(name, value)


def refuse_secret(name: str, value: Any) -> None:  # Any: JSON
    """Lets a parameter pass that does not look like a secret.

    Raises:
        UsageError: it does. The text does not hold the value.
    """
    if _SECRET_NAME.search(_HUMPS.sub("_", name).lower()):
        why = "its name says that it is a secret"
    elif any(_looks_secret(text) for text in _texts(value)):
        why = "its value looks like a key"
    else:
        return
    raise UsageError(
        f"the parameter {name[:60]!r} is refused: {why}, and parameters are written into the notebook and the ledger. "
        "Give keys to the gateway, by reference, in aiplat.toml."
    )


def _looks_secret(text: str) -> bool:
    if _DIGEST.fullmatch(text) or (redact(text) == text and not _SECRET_VALUE.search(text)):
        return False
    parts = re.split(r"[\\/]", text)
    return len(parts) == 1 or _SECRET_VALUE.search(text) is not None or any(redact(part) != part and len(part) < 60 for part in parts)


def _texts(value: Any) -> Iterable[str]:  # Any: JSON
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if _SECRET_NAME.search(str(key).lower()) and inner:
                yield "bearer " + "x" * 8
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def declared_parameters(notebook: Path) -> dict[str, Any] | None:  # Any: literals
    """The names that the cell tagged `parameters` assigns, with their values as far as they are literals; None without such a cell.

    Raises:
        ReportError: the file is not a notebook, or the cell is not Python.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell.get("metadata", {}).get("tags", ())]
        if not tagged:
            return None
        tree = ast.parse("".join(tagged[0]["source"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SyntaxError) as error:
        raise ReportError(f"{notebook.name} cannot be executed: it is not a notebook that can be read ({error})") from None
    found: dict[str, Any] = {}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        for target in targets:
            if isinstance(target, ast.Name):
                found[target.id] = _literal(node.value) if isinstance(node, ast.Assign | ast.AnnAssign) and node.value else None
    return found


def _literal(node: ast.expr) -> Any:  # Any: a literal
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None
