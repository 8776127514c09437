"""Whether the AI answers in a notebook file are what the ledger recorded: unchanged, edited by hand, or unknown."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from html import unescape
from pathlib import Path
from typing import Any, Literal, NamedTuple

from aiplat_lab.client import Client, default
from aiplat_lab.core.errors import UnknownCall
from aiplat_lab.core.ids import is_id
from aiplat_lab.core.notebooks import CALL_MIME, ai_cells, read_document, shown_hashes, shown_text
from aiplat_lab.core.types import canonical_json

__all__ = ["Verified", "averify", "verify"]

State = Literal["unchanged", "edited", "unknown", "erased", "not answered"]
_FACTS = ("model", "provider", "response_model", "prompt_name", "prompt_version")
_COLUMNS = {"model": "request_model"}
_SPACE = re.compile(r"[\s`~$]+")
_TAG = re.compile(r"<[^>]*>")
_WORD = re.compile(r"\w+")


class Verified(NamedTuple):
    """What is to be said of one answer."""

    cell: int
    """The cell's place in the notebook, from 1."""
    call_id: str
    state: State
    """`unchanged`; `edited` by hand; `unknown` to this ledger; `erased`: its text was erased there, so that nobody can compare it;
    `not answered`: the cell asks, and holds no answer."""
    what: str
    """What differs, in words."""


def verify(notebook: Path | str, *, client: Client | None = None) -> list[Verified]:
    """Every AI answer in a notebook file, held against the ledger.

    Raises:
        UsageError: it is no notebook.
    """
    document = read_document(Path(notebook))
    client = client or default()
    found = [_verified(number, output, client) for number, output in _outputs(document)]
    answered = {one.cell for one in found}
    empty = [Verified(cell.number, "", "not answered", "") for cell in ai_cells(document["cells"]) if cell.number not in answered]
    return sorted([*found, *empty], key=lambda one: one.cell)


async def averify(notebook: Path | str, *, client: Client | None = None) -> list[Verified]:
    """As `verify`, to be awaited."""
    return await asyncio.to_thread(verify, notebook, client=client)


def _outputs(document: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:  # Any: JSON
    """Every output that is, or says that it was, an answer."""
    for number, cell in enumerate(document["cells"], 1):
        for output in (cell.get("outputs") if isinstance(cell, dict) else None) or ():
            if isinstance(output, dict) and (isinstance(_data(output).get(CALL_MIME), dict) or _said(output)):
                yield number, output


def _data(output: Mapping[str, Any]) -> Mapping[str, Any]:  # Any: JSON
    data = output.get("data")
    return data if isinstance(data, dict) else {}


def _said(output: Mapping[str, Any]) -> str:  # Any: JSON
    """The call that an output's metadata names."""
    metadata = output.get("metadata")
    about = metadata.get("aiplat") if isinstance(metadata, dict) else None
    return str(about.get("call_id") or "") if isinstance(about, dict) else ""


def _verified(number: int, output: Mapping[str, Any], client: Client) -> Verified:  # Any: JSON
    data = _data(output)
    call = data.get(CALL_MIME)
    if not isinstance(call, dict):
        return Verified(number, _said(output), "edited", "the answer's own record was taken out of the output")
    call_id = str(call.get("call_id") or "")
    if call.get("status") == "running":
        return Verified(number, call_id, "edited", "it is not the whole answer: the kernel ended before it was")
    row = _row(client, call_id)
    if row is None:
        return Verified(number, call_id, "unknown", "this ledger has no such call")
    wrong = [*_other_call(call, row), *_other_forms(call, data)]
    state, text = _othershown_text(call, row)
    wrong += [text] if state == "edited" else []
    if wrong:
        return Verified(number, call_id, "edited", "; ".join(wrong))
    return Verified(number, call_id, state, text)


def _row(client: Client, call_id: str) -> Mapping[str, Any] | None:  # Any: a row's values
    if not is_id(call_id):
        return None
    try:
        return client.call(call_id)
    except UnknownCall:
        return None


def _other_call(call: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:  # Any: JSON, a row's values
    """Which facts of the call are not those of the ledger."""
    wrong = []
    if str(call.get("status")) != str(row.get("status")):
        wrong.append("its outcome")
    if row.get("status") == "ok":
        wrong += [name.replace("_", " ") for name in _FACTS if str(call.get(name) or "") != str(row.get(_COLUMNS.get(name, name)) or "")]
        if _usd(call.get("cost_usd")) != _usd(row.get("cost_usd")):
            wrong.append("its cost")
        masked = "masked" in (row.get("flags") or ())
        if not masked and any(call.get(name) != row.get(name) for name in ("request_hash", "response_hash")):
            wrong.append("its hashes")
    return [f"{', '.join(wrong)}: not as recorded"] if wrong else []


def _usd(value: Any) -> Decimal | None:  # Any: JSON
    try:
        return None if value is None else Decimal(str(value)).quantize(Decimal("1e-9"))
    except ArithmeticError:
        return Decimal(-1)


def _othershown_text(call: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[State, str]:  # Any: JSON, a row's values
    """Whether the text is the recorded one."""
    shown, recorded = str(call.get("text") or ""), row.get("text")
    if recorded is None:
        if not row.get("response_hash"):
            return ("unchanged", "") if not shown else ("edited", "the text: the ledger has none")
        if hashlib.sha256(canonical_json({"text": shown})).hexdigest() == row["response_hash"]:
            return "unchanged", "its payload was erased; the text still fits the recorded hash"
        return "erased", "its payload was erased from the ledger, so that the text cannot be compared"
    if "masked" in (row.get("flags") or ()):
        return _masked(shown, str(recorded))
    if _same(str(call.get("format") or ""), shown, str(recorded)):
        return "unchanged", ""
    return "edited", "the text"


def _same(form: str, shown: str, recorded: str) -> bool:
    """Whether a text is the recorded one, or what its form shows of it."""
    if shown == recorded:
        return True
    if form == "json":
        return _json(shown) in _values(recorded)
    if form in {"code", "html"} or (form == "markdown" and shown.startswith("$$")):
        return _SPACE.sub("", shown) in _SPACE.sub("", recorded) or _fenced(recorded) == _SPACE.sub("", shown)
    return False


def _fenced(text: str) -> str:
    """What stands in the fences of a text, without spaces."""
    blocks = re.findall(r"^[ \t]*(?:`{3,}|~{3,})[^\n`]*\n(.*?)(?:^[ \t]*(?:`{3,}|~{3,})[ \t]*$|\Z)", text, re.MULTILINE | re.DOTALL)
    return _SPACE.sub("", "".join(blocks))


def _json(text: str) -> str:
    try:
        return canonical_json(json.loads(text)).decode()
    except (ValueError, RecursionError):
        return "\0"


def _values(text: str) -> set[str]:
    """The JSON values in a text."""
    decoder, found = json.JSONDecoder(), {_json(text)} - {"\0"}
    for start in [match.start() for match in re.finditer(r"[\[{]", text)][:20]:
        try:
            found.add(canonical_json(decoder.raw_decode(text, start)[0]).decode())
        except (ValueError, RecursionError):
            continue
    return found


def _masked(shown: str, recorded: str) -> tuple[State, str]:
    """A text whose recorded twin has placeholders: everything between them must be the same."""
    pieces = [re.escape(piece) for piece in re.split(r"<[A-Z][A-Z0-9_]{0,60}_[0-9]{1,9}>", recorded)]
    if re.fullmatch(".*?".join(pieces), shown, re.DOTALL):
        return "unchanged", "its personal data was masked in the ledger, and the rest is the same"
    return "edited", "the text"


def _other_forms(call: Mapping[str, Any], data: Mapping[str, Any]) -> list[str]:  # Any: JSON
    """Which of the forms that people see were changed while the answer's own record was not."""
    said = call.get("shown")
    if not isinstance(said, dict):
        return []
    text = str(call.get("text") or "")
    now = shown_hashes(data)
    wrong = [name for name in said if name in now and now[name] != said[name]]
    plain = shown_text(data.get("text/plain", ""))
    if "text/plain" in now and "text/plain" not in wrong and not plain.startswith(text):
        wrong.append("text/plain")
    if "text/html" in now and "text/html" not in wrong and call.get("format") != "html" and not _words(data["text/html"], plain, text):
        wrong.append("text/html")
    return [f"what is shown as {', '.join(wrong)}"] if wrong else []


def _words(html: Any, plain: str, text: str) -> bool:  # Any: a text or its lines
    """Whether a page shows no word that the plain text does not have."""
    visible = _WORD.findall(unescape(_TAG.sub(" ", shown_text(html))))
    known = "".join(_WORD.findall(f"{plain} {text}"))
    return all(word in known for word in visible)
