"""What is replayed: the hash of a question, and the bundle of a notebook, which is one file beside it with the answers its cells were
given, to run it again without key, cost or network.

The first line holds the version and a checksum of the rest, which is compressed JSON. It holds answers and what they cost; no prompt,
no key, no name of a person or a team. The checksum finds damage and slips; it is no signature, so take bundles from people you know.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiplat_lab.core.documents import request_document
from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.ids import is_id
from aiplat_lab.core.types import TOKEN_CLASSES, Json, Request, canonical_json

SUFFIX = ".aiplat-replay"
VERSION = 1
_MAGIC = b"aiplat-replay"
_HEAD = re.compile(rb"aiplat-replay (\d{1,4}) ([0-9a-f]{64})\n")
_LONGEST_HEAD = 100
_SHORT = 16
_MOST_BYTES = 512 * 1024 * 1024
_QUESTION = re.compile(r"[0-9a-f]{64}(#[\w=,.-]{1,200})?")
_HASH = re.compile(r"[0-9a-f]{64}")
_REPEATS = ("epoch", "draw")
_TEXTS = ("call_id", "question", "target", "model", "asked_at", "response_hash", "document")
_FACTS = frozenset(
    {
        "call_id", "status", "operation", "provider", "region", "response_model", "finish_reason", "flags", *TOKEN_CLASSES, "other_units",
        "service_tier", "cost_usd", "response_hash",
    }
)  # fmt: skip
"""What of a row goes into a bundle."""


def question_of(request: Request) -> str:
    """The hash of what is asked; repeats of one question in an experiment are questions of their own."""
    return request_document(request).hash + _repeat(request.attribution.tags)


def question_of_row(row: Mapping[str, Any]) -> str:  # Any: a row's values
    """The same of a call that was recorded."""
    return str(row["request_hash"]) + _repeat(row.get("tags") or {})


def _repeat(tags: Mapping[str, str]) -> str:
    later = [f"{name}={tags[name]}" for name in _REPEATS if tags.get(name) not in (None, "", "1")]
    return "#" + ",".join(later) if later else ""


def source_hash(line: str, body: str) -> str:
    """The hash of a cell as it was typed."""
    return hashlib.sha256(f"{line.strip()}\n{body.rstrip()}".encode("utf-8", "replace")).hexdigest()[:_SHORT]


def value_hash(salt: str, text: str) -> str:
    """The hash of a value that went into a prompt; with the call's id, so that equal values of two calls do not look equal."""
    return hashlib.sha256(f"{salt}\n{text}".encode("utf-8", "replace")).hexdigest()[:_SHORT]


def beside(notebook: Path) -> Path:
    """The bundle of a notebook: `report.ipynb` has `report.aiplat-replay`."""
    return notebook.with_suffix(SUFFIX)


def facts_of(row: Mapping[str, Any]) -> dict[str, Any]:  # Any: a row's values
    """What a bundle says of a call."""
    return {name: row[name] for name in sorted(_FACTS) if row.get(name) not in (None, "", [], {})}


def pack(notebook: str, answers: Sequence[Mapping[str, Json]], *, default_model: str) -> bytes:
    """The bytes of a bundle; the same ones for the same answers.

    Args:
        notebook: the name of the notebook.
        answers: each with `call_id`, `question`, `target`, `model`, `asked_at`, `response_hash`, `document` and `facts`.
        default_model: what a cell that names no model asked.
    """
    content = {"notebook": notebook, "default_model": default_model, "answers": sorted(answers, key=lambda one: str(one["call_id"]))}
    packed = zlib.compress(canonical_json(content), 9)
    return b"%s %d %s\n" % (_MAGIC, VERSION, hashlib.sha256(packed).hexdigest().encode()) + packed


def unpack(data: bytes, *, name: str) -> dict[str, Any]:  # Any: JSON
    """What a bundle holds: `notebook`, `default_model` and `answers`.

    Args:
        data: the bytes of the file.
        name: its name, for error texts.

    Raises:
        UsageError: it is no bundle, of a later version, damaged, changed or cut off.
    """
    head = _HEAD.match(data[:_LONGEST_HEAD])
    if head is None:
        raise UsageError(f"{name} is not a replay bundle; `aiplat replay export NOTEBOOK.ipynb` writes one")
    if int(head[1]) > VERSION:
        raise UsageError(f"{name} is a replay bundle of version {int(head[1])}, and this aiplat-lab reads {VERSION}: upgrade aiplat-lab")
    packed = data[head.end() :]
    damaged = f"{name} is damaged: it was changed or cut off since it was written. Nothing was taken in; ask for it again, or delete it."
    if hashlib.sha256(packed).hexdigest().encode() != head[2]:
        raise UsageError(damaged)
    try:
        unpacking = zlib.decompressobj()
        text = unpacking.decompress(packed, _MOST_BYTES)
        if unpacking.unconsumed_tail or not unpacking.eof:
            raise UsageError(f"{name} holds more than {_MOST_BYTES // 2**20} MiB, or ends too early; nothing was taken in")
        content: dict[str, Any] = json.loads(text)
        for answer in content["answers"]:
            check_answer(answer)
    except (zlib.error, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UsageError(damaged) from None
    return content


def check_answer(answer: Mapping[str, Json]) -> None:
    """Lets one answer of a bundle pass.

    Raises:
        ValueError: it does not hold what it must, or its text is not the one that its hash names.
    """
    for name in _TEXTS:
        if not isinstance(answer[name], str):
            raise ValueError(f"{name} is no text")
    facts = answer["facts"]
    if not isinstance(facts, dict) or not set(facts) <= _FACTS or not isinstance(facts.get("provider"), str):
        raise ValueError("the facts are wrong")
    if not is_id(answer["call_id"]) or not _QUESTION.fullmatch(answer["question"]) or not _HASH.fullmatch(answer["response_hash"]):
        raise ValueError("an id or a hash is wrong")
    if facts.get("response_hash") != answer["response_hash"] or facts.get("call_id") != answer["call_id"]:
        raise ValueError("the facts are of another call")
    document = answer["document"].encode()
    if hashlib.sha256(document).hexdigest() != answer["response_hash"] or not isinstance(json.loads(document), dict):
        raise ValueError("the answer is not the one that its hash names")
