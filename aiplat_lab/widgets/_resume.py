"""Going on with an experiment: after a restart, or as another rater, by its id, its name, or by what it compares."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiplat_lab import prompts
from aiplat_lab.client import Client
from aiplat_lab.core.errors import UsageError, did_you_mean
from aiplat_lab.widgets._answers import Answer
from aiplat_lab.widgets._inputs import Input
from aiplat_lab.widgets._variants import Variant

AUTO = "auto"
_LOOKS_BACK = 200
_PARTS = ("model", "settings", "prompt_hash", "system")


def record_of(client: Client, experiment: str) -> dict[str, Any]:
    """The record of an experiment, by its id or, the newest of it, by its name.

    Raises:
        UsageError: there is none; the nearest is named.
    """
    rows = client.view_rows("experiment_list", experiment=experiment) or client.view_rows("experiment_list", name=experiment, limit=1)
    if not rows:
        known = client.view_rows("experiment_list", limit=_LOOKS_BACK)
        others = [str(row[key]) for row in known for key in ("id", "name")]
        raise UsageError(
            f"there is no experiment {experiment[:80]!r}.{did_you_mean(experiment, others, count=1)} "
            "aiplat_lab.connect().view('experiment_list') lists them."
        )
    return _read(rows[0])


def record_like(client: Client, name: str, sides: Sequence[Variant], inputs: Sequence[Input]) -> dict[str, Any] | None:
    """The newest experiment that compares these variants on these inputs, whoever began it."""
    wanted = [one.id for one in inputs]
    for row in client.view_rows("experiment_list", limit=_LOOKS_BACK, **({"name": name} if name else {})):
        record = _read(row)
        if record.get("input_ids") == wanted and not _differs(record, sides):
            return record
    return None


def _read(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: json.loads(value) if name in {"variants", "input_ids"} and isinstance(value, str) else value for name, value in row.items()
    }


def variants_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The variants as they were given."""
    return [
        {
            "name": side["name"],
            "model": side["model"],
            "settings": side["settings"],
            "prompt": _prompt_of(side),
            "system": side.get("system", ""),
        }
        for side in record["variants"]
    ]


def _prompt_of(side: Mapping[str, Any]) -> Any:  # Any: a prompt, or a text
    """A prompt as it was: by its version, or by its text where it was not saved."""
    if not side.get("prompt_name"):
        return side.get("prompt_text", "")
    return prompts.parse(side["prompt_text"]) if "prompt_text" in side else f"{side['prompt_name']}@{side['prompt_version']}"


def same_variants(record: Mapping[str, Any], sides: Sequence[Variant]) -> None:
    """Votes on other variants must not be mixed with these.

    Raises:
        UsageError: the variants are not those of the record.
    """
    problem = _differs(record, sides)
    if problem:
        raise UsageError(f"{problem}; leave the variants out to go on with it, or leave resume out to begin another")


def _differs(record: Mapping[str, Any], sides: Sequence[Variant]) -> str:
    """How variants differ from those of a record; empty where they do not."""
    begun = {str(side["name"]): side for side in record["variants"]}
    for side in sides:
        now = side.describe()
        before = begun.get(side.name)
        if before is None or len(sides) != len(begun):
            return f"experiment {record['id']} compares {', '.join(begun)}, not {', '.join(one.name for one in sides)}"
        for part in _PARTS:
            if before.get(part) != now.get(part):
                return f"variant {side.name!r} has another {part.partition('_')[0]} than in experiment {record['id']}"
    return ""


def inputs_of(record: Mapping[str, Any], kept: Mapping[tuple[str, str], Kept]) -> tuple[Input, ...]:
    """The inputs that every variant has answered, out of what was asked; an erased text is left out."""
    names = [str(side["name"]) for side in record["variants"]]
    found = []
    for input_id in record.get("input_ids") or ():
        calls = [kept.get((name, str(input_id))) for name in names]
        asked = [call.asked for call in calls if call is not None and call.asked and call.text is not None]
        if len(asked) == len(names):
            found.append(Input(str(input_id), min(asked, key=len)))  # the variant that adds least to it
    if not found:
        raise UsageError(
            f"no input of experiment {record['id']} has been answered by every variant, or the texts were erased; give the inputs again"
        )
    return tuple(found)


class Kept(NamedTuple):
    """An answer that the ledger has."""

    row: Mapping[str, Any]  # Any: the values of a view
    asked: str
    text: str | None
    """None where it was erased."""


def kept_answers(client: Client, experiment: str) -> dict[tuple[str, str], Kept]:
    """The answers that an experiment has: they are what was judged, and asking again would cost."""
    found = {}
    for row in client.view_rows("experiment_answers", experiment=experiment, status="ok"):
        call = client.call(str(row["call_id"]))
        messages = call.get("messages") or []
        asked = next((one.get("content") for one in reversed(messages) if one.get("role") == "user"), "")
        text = call.get("text")
        key = str(row["variant"]), str(row["input_id"])
        found[key] = Kept(row, asked if isinstance(asked, str) else "", text if isinstance(text, str) else None)
    return found


def recall(answers: Mapping[tuple[str, str], Answer], kept: Mapping[tuple[str, str], Kept]) -> None:
    """Gives the answers what the ledger has of them."""
    for key, call in kept.items():
        if key in answers and call.text is not None:
            answers[key].recall(call.row, call.text)
