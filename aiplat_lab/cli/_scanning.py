"""What `aiplat scan` and `aiplat redact check` do; imported when one of them is used."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from aiplat_lab.cli._frame import say, show
from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.text import money, table
from aiplat_lab.observe.scanning import CALLS, OUTPUT_TOKENS, FoundKey, Scan, decoded, next_step, scan
from aiplat_lab.policies.detectors import chosen, detect, disjoint, suspicion

_MOST = 40


def run_scan(arguments: argparse.Namespace) -> int:
    """Looks through a folder; gives the exit code."""
    if arguments.max_file_mb < 1:
        raise UsageError("--max-file-mb must be 1 or more")
    found = scan(arguments.path, history=not arguments.no_history, max_file_bytes=arguments.max_file_mb * 1_000_000)
    if arguments.json:
        show(arguments, _rows(found))
    else:
        print("\n\n".join(_report(found)))
    return 1 if arguments.fail_on == "keys" and found.keys else 0


def _key_row(key: FoundKey) -> dict[str, Any]:
    line = f":{key.line}" if key.line else ""
    cell = f" cell {key.cell}" if key.cell else ""
    return {
        "key": key.kind + (f" ({key.variable})" if key.variable else ""),
        "place": f"{key.file}{cell}{line}",
        "where": key.where + (f" {key.commit}" if key.commit else ""),
        "fingerprint": key.fingerprint or None,
        "next": next_step(key),
    }


def _rows(found: Scan) -> list[dict[str, Any]]:
    """Everything as rows, told apart by `what`."""
    rows: list[dict[str, Any]] = [
        {
            "what": "key",
            "kind": key.kind,
            "file": key.file,
            "line": key.line,
            "cell": key.cell,
            "where": key.where,
            "variable": key.variable,
            "commit": key.commit,
            "fingerprint": key.fingerprint or None,
            "next": next_step(key),
        }
        for key in found.keys
    ]
    for name, folder in sorted(found.folders.items()):
        counts: Mapping[str, Mapping[str, int]] = {"sdk": folder.sdks, "endpoint": folder.endpoints, "model": folder.models}
        for what, names in counts.items():
            rows += [{"what": what, "kind": kind, "folder": name, "count": count} for kind, count in sorted(names.items())]
        if folder.prompts:
            rows.append({"what": "prompts", "folder": name, "count": len(folder.prompts), "characters": sum(folder.prompts)})
    for one in found.estimates():
        rows.append({"what": "estimate", "kind": one.model, "calls": CALLS, "usd": None if one.usd is None else str(one.usd)})
    rows += [{"what": "skipped", "kind": reason, "count": count} for reason, count in sorted(found.skipped.items())]
    rows += [{"what": "note", "kind": note} for note in found.notes]
    return [*rows, {"what": "read", "kind": "files", "count": found.files}, {"what": "read", "kind": "commits", "count": found.commits}]


def _report(found: Scan) -> list[str]:
    """The parts of what a person reads."""
    parts = [f"{found.files} files and {found.commits} commits read in {found.root}"]
    if found.keys:
        shown = [_key_row(key) for key in found.keys[:_MOST]]
        more = f"\n… and {len(found.keys) - _MOST} more; --json lists all" if len(found.keys) > _MOST else ""
        parts.append(f"Keys: {len(found.keys)}\n{table(shown)}{more}")
    else:
        parts.append("Keys: none found")
    folders = [
        {
            "folder": name,
            "files": one.files,
            "keys": one.keys,
            "prompts": len(one.prompts),
            "libraries": _words(one.sdks),
            "addresses": _words(one.endpoints),
            "models": _words(one.models),
        }
        for name, one in sorted(found.folders.items())
        if one.keys or one.sdks or one.endpoints or one.models or one.prompts
    ]
    if folders:
        parts.append(table(folders[:_MOST]) + (f"\n… and {len(folders) - _MOST} more folders" if len(folders) > _MOST else ""))
    estimates = [{"model": one.model, "named": one.mentions, f"{CALLS} calls, estimate": money(one.usd)} for one in found.estimates()]
    if estimates:
        tokens = found.mean_prompt_tokens
        told = f"{tokens} input tokens, the mean of the prompts found," if tokens is not None else "no prompt was found to go by;"
        parts.append(f"{table(estimates)}\nAn estimate at list price: {told} and {OUTPUT_TOKENS} output tokens a call.")
    parts += [f"Not read: {', '.join(f'{count} {reason}' for reason, count in found.skipped.most_common())}"] if found.skipped else []
    parts += [f"Note: {note}." for note in found.notes]
    if found.total(lambda one: one.sdks) or found.total(lambda one: one.endpoints):
        parts.append("Next: `aiplat keys create --team NAME`, and point the libraries at the gateway; docs/gateway.md shows how.")
    return parts


def _words(counts: Mapping[str, int]) -> str | None:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or None


def run_check(arguments: argparse.Namespace) -> int:
    """Looks through a text; gives the exit code."""
    detectors = chosen(arguments.detector)
    try:
        text = decoded(arguments.file.read_bytes())
    except OSError as error:
        raise UsageError(f"{arguments.file} cannot be read: {error.strerror}") from None
    if text is None:
        raise UsageError(f"{arguments.file} is not a text")
    rows = []
    line, begins, place = 1, 0, 0
    for one in disjoint(detect(text, detectors)):
        line += text.count("\n", place, one.start)
        begins = text.rfind("\n", 0, one.start) + 1 if line > 1 else 0
        place = one.start
        rows.append({"detector": one.detector.name, "line": line, "column": one.start - begins + 1, "characters": one.end - one.start})
    steering = suspicion(text)
    if steering.flagged and not arguments.detector:
        say(f"looks like an attempt to steer a model: {steering.score:.2f} ({', '.join(steering.reasons)})")
    return show(arguments, rows, empty="nothing found")
