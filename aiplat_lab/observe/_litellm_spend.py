"""What LiteLLM's table of spend logs says, as calls of the ledger: time, who, model, tokens, and the cost as it was reported.

Texts of requests and answers, and addresses of callers, stay where they are.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from aiplat_lab.core.errors import UsageError, did_you_mean
from aiplat_lab.core.ids import derived_id

PRICE_VERSION = "reported by litellm"
NEEDED = ("request_id", "startTime", "spend")
_BATCH = 1000
_MOST_NAMED = 100
_MOST_JSON_BYTES = 256_000_000
_MOST_FIELD = 50_000_000
_CHATS = ("completion", "responses", "messages", "generate_content")
_OTHER_NAMES = {"start_time": "startTime", "end_time": "endTime", "completion_start_time": "completionStartTime"}


class Poster(Protocol):
    """What sends rows to the gateway."""

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a POST."""
        ...


class BadRow(ValueError):
    """A row that is no call; the text says why."""


@dataclass(slots=True)
class Imported:
    """What became of a file."""

    rows: int = 0
    added: int = 0
    known: int = 0
    """Rows that an earlier import brought."""
    bad: int = 0
    cost_usd: Decimal = Decimal(0)
    """Of the rows that were added."""
    named: list[str] = field(default_factory=list)
    """The first bad rows, each with its number and what is wrong with it."""

    def to_json(self) -> dict[str, Any]:
        """The counts, and the first bad rows."""
        about: dict[str, Any] = {name: getattr(self, name) for name in ("rows", "added", "known", "bad")}
        return {**about, "cost_usd": f"{self.cost_usd:f}", "bad_rows": list(self.named)}

    def note(self, row: int, why: str) -> None:
        """Counts a bad row, and names it if it is among the first."""
        self.bad += 1
        if len(self.named) < _MOST_NAMED:
            self.named.append(f"row {row}: {why}")


def import_spend(client: Poster, path: Path) -> Imported:
    """Records every row of an export as a call; a row that is there already is left alone.

    Args:
        client: the owner's client of the gateway.
        path: a CSV, a JSON array, or JSON lines, with the columns of LiteLLM_SpendLogs.

    Raises:
        UsageError: the file cannot be read, or has other columns.
    """
    found = Imported()
    batch: list[tuple[int, dict[str, Any]]] = []
    for number, raw in enumerate(_rows(path), 1):
        found.rows += 1
        try:
            batch.append((number, call_of(raw)))
        except BadRow as error:
            found.note(number, str(error))
        if len(batch) >= _BATCH:
            _send(client, batch, found)
            batch = []
    if batch:
        _send(client, batch, found)
    return found


def _send(client: Poster, batch: Sequence[tuple[int, dict[str, Any]]], found: Imported) -> None:
    told = client.post("/api/import", {"rows": [row for _, row in batch]})
    found.added += int(told["added"])
    found.known += int(told["known"])
    found.cost_usd += Decimal(str(told["cost_usd"]))
    for one in told["bad"]:
        found.note(batch[int(one["index"])][0], str(one["why"]))


# --- the file ---------------------------------------------------------------------------------------------------------


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    start = head.decode(encoding, "replace").lstrip()
    try:
        with path.open(encoding=encoding, newline="") as text:
            if start.startswith("["):
                yield from _array(text.read(_MOST_JSON_BYTES + 1), path)
            elif start.startswith("{"):
                yield from _lines(text, path)
            else:
                yield from _csv(text, path)
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not a text in UTF-8 or UTF-16; export it as one of them") from None


def _csv(text: Any, path: Path) -> Iterator[Mapping[str, Any]]:  # Any: an open text file
    csv.field_size_limit(_MOST_FIELD)
    reader = csv.DictReader(text)
    try:
        names = [_OTHER_NAMES.get(name, name) for name in reader.fieldnames or ()]
        missing = [name for name in NEEDED if name not in names]
        if missing:
            near = did_you_mean(missing[0], names)
            raise UsageError(f"{path} has no column {' and no '.join(missing)}, so it is no export of LiteLLM_SpendLogs.{near}")
        reader.fieldnames = names
        yield from reader
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}") from None


def _array(text: str, path: Path) -> Iterator[Mapping[str, Any]]:
    if len(text) > _MOST_JSON_BYTES:
        raise UsageError(f"{path} is a JSON array of more than {_MOST_JSON_BYTES:,} characters; export it as CSV or as JSON lines")
    for one in _json(text, str(path)):
        yield one if isinstance(one, Mapping) else {}


def _lines(text: Any, path: Path) -> Iterator[Mapping[str, Any]]:  # Any: an open text file
    for number, line in enumerate(text, 1):
        if line.strip():
            one = _json(line, f"{path}, line {number}")
            yield one if isinstance(one, Mapping) else {}


def _json(text: str, where: str) -> Any:  # Any: what JSON holds
    try:
        return json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise UsageError(f"{where} is not JSON; an export is a CSV, a JSON array, or one JSON object a line") from None


# --- a row ------------------------------------------------------------------------------------------------------------


def call_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A row of spend logs as a row of calls.

    Raises:
        BadRow: it lacks what a call needs, or holds what none can.
    """
    row = {_OTHER_NAMES.get(str(name), str(name)): value for name, value in raw.items()}
    request_id = str(row.get("request_id") or "").strip()
    if not request_id:
        raise BadRow("it has no request_id")
    started = _time(row, "startTime")
    if started is None:
        raise BadRow(f"{request_id[:60]} has no startTime")
    ended = _time(row, "endTime") or started
    metadata = _object(row.get("metadata"))
    failed = str(row.get("status") or "success").lower() not in ("success", "ok", "")
    cost = _money(row.get("spend"), request_id)
    known = {
        "call_id": derived_id(started, "litellm", request_id),
        "started_at": _said(started),
        "ended_at": _said(max(started, ended)),
        "operation": _operation(str(row.get("call_type") or "")),
        "team": _text(metadata.get("user_api_key_team_alias")) or _text(row.get("team_id")),
        "project": _text(metadata.get("user_api_key_project_alias")) or _text(metadata.get("project_id")),
        "user_id": _text(row.get("user")) or _text(row.get("end_user")),
        "key_id": _text(metadata.get("user_api_key_alias")) or _text(row.get("api_key"))[:12],
        "request_model": _text(row.get("model_group")) or _text(row.get("model")),
        "response_model": _text(row.get("model")),
        "provider": _text(row.get("custom_llm_provider")),
        "status": "error" if failed else "ok",
        "error_type": (_text(_object(metadata.get("error_information")).get("error_class")) or "provider_error") if failed else "",
        "cost_usd": f"{cost:f}",
        "price_version": PRICE_VERSION,
        "latency_s": _latency_s(row, started, ended),
        "cache": "hit" if str(row.get("cache_hit")).lower() == "true" else "off",
        **_tokens(row, metadata, request_id),
    }
    first = _time(row, "completionStartTime")
    if first is not None and started <= first < ended:
        known["time_to_first_token_s"] = (first - started).total_seconds()
    made = {name: value for name, value in known.items() if value not in ("", None)}
    return {**made, "tags": _tags(row, request_id)}


def _operation(call_type: str) -> str:
    plain = call_type.lower().removeprefix("a") if call_type.startswith("a") and call_type != "audio" else call_type.lower()
    if "embedding" in plain:
        return "embed"
    return "chat" if not plain or any(word in plain for word in _CHATS) else plain[:40]


def _said(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _time(row: Mapping[str, Any], name: str) -> datetime | None:
    """A time of the row; one without a zone is UTC, as LiteLLM writes it."""
    value = row.get(name)
    if value in (None, ""):
        return None
    try:
        at = datetime.fromisoformat(str(value).strip())
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadRow(f"{name} is {str(value)[:40]!r}, which is no time") from None


def _money(value: Any, request_id: str) -> Decimal:  # Any: a text or a number, here and below
    try:
        found = Decimal(str(value).strip())
    except ArithmeticError:
        raise BadRow(f"{request_id[:60]}: spend is {str(value)[:40]!r}, which is no sum") from None
    if not found.is_finite() or not 0 <= found < 1_000_000:
        raise BadRow(f"{request_id[:60]}: spend is {str(value)[:40]}, which no call costs")
    return found


def _count(value: Any, name: str, request_id: str) -> int:
    if value in (None, ""):
        return 0
    try:
        found = Decimal(str(value))
        if found == found.to_integral_value() and 0 <= found < 10**12:
            return int(found)
    except ArithmeticError:
        pass
    raise BadRow(f"{request_id[:60]}: {name} is {str(value)[:40]!r}, which is no number of tokens")


def _tokens(row: Mapping[str, Any], metadata: Mapping[str, Any], request_id: str) -> dict[str, int]:
    """The five classes, which do not overlap; LiteLLM counts cached tokens within the prompt and reasoning within the answer."""
    prompt, answer = (_count(row.get(name), name, request_id) for name in ("prompt_tokens", "completion_tokens"))
    more = _object(metadata.get("usage_object")) or _object(metadata.get("additional_usage_values"))
    inside, outside = _object(more.get("prompt_tokens_details")), _object(more.get("completion_tokens_details"))
    read = more.get("cache_read_input_tokens") or inside.get("cached_tokens")
    read_tokens = min(prompt, _count(read, "cache_read_input_tokens", request_id))
    written = min(prompt - read_tokens, _count(more.get("cache_creation_input_tokens"), "cache_creation_input_tokens", request_id))
    reasoning = min(answer, _count(outside.get("reasoning_tokens"), "reasoning_tokens", request_id))
    return {
        "input_tokens": prompt - read_tokens - written,
        "cache_read_tokens": read_tokens,
        "cache_write_tokens": written,
        "output_tokens": answer - reasoning,
        "reasoning_tokens": reasoning,
    }


def _latency_s(row: Mapping[str, Any], started: datetime, ended: datetime) -> float:
    try:
        return max(0.0, float(row["request_duration_ms"]) / 1000)
    except (KeyError, TypeError, ValueError):
        return max(0.0, (ended - started).total_seconds())


def _text(value: Any) -> str:
    return str(value).strip()[:200] if value is not None and not isinstance(value, Mapping | list) else ""


def _object(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str) and value.strip().startswith("{"):
        try:
            value = json.loads(value, parse_float=Decimal)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, Mapping) else {}


def _tags(row: Mapping[str, Any], request_id: str) -> dict[str, str]:
    made = {"litellm_request_id": request_id[:200]}
    tags = row.get("request_tags")
    if isinstance(tags, str):
        try:
            tags = json.loads(tags)
        except (ValueError, RecursionError):
            tags = []
    for index, tag in enumerate(tags[:20] if isinstance(tags, list) else ()):
        name, colon, value = str(tag)[:200].partition(":")
        made[name if colon and name not in made else f"tag_{index + 1}"] = value if colon and name not in made else str(tag)[:200]
    if row.get("user") and row.get("end_user"):
        made["end_user"] = _text(row["end_user"])
    return made
