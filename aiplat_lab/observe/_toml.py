"""Settings as TOML text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def key(name: str) -> str:
    """A key, in quotes where it needs them."""
    return name if _BARE.fullmatch(name) else text(name)


def text(value: str) -> str:
    """A text in quotes."""
    plain = value.encode("utf-8", "replace").decode()
    return json.dumps(plain, ensure_ascii=False).replace("\x7f", "\\u007f")


def value(found: Any) -> str:  # Any: what TOML can hold
    """A value on one line."""
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, Decimal):
        return f"{found:f}"
    if isinstance(found, int | float):
        return repr(found)
    if isinstance(found, Mapping):
        return "{ " + ", ".join(f"{key(name)} = {value(one)}" for name, one in found.items()) + " }"
    if isinstance(found, list | tuple):
        return "[" + ", ".join(value(one) for one in found) + "]"
    return text(str(found))


def table(header: str, fields: Mapping[str, Any]) -> str:  # Any: what TOML can hold
    """A table with its header, one field a line."""
    lines = [header]
    for name, found in fields.items():
        if isinstance(found, list | tuple) and found and isinstance(found[0], Mapping):
            lines += [f"{key(name)} = [", *(f"  {value(one)}," for one in found), "]"]
        else:
            lines.append(f"{key(name)} = {value(found)}")
    return "\n".join(lines) + "\n"
