"""`--image` and `--file`: what goes with the text of a cell."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiplat_lab.core.errors import UsageError, did_you_mean
from aiplat_lab.core.types import Json, Message, Request

MOST_IMAGE_BYTES = 20_000_000
"""The largest image that is sent; the providers' own limits lie between 5 and 20 MB."""
MOST_FILE_BYTES = 20_000_000
MOST_TEXT_CHARACTERS = 400_000
"""The longest text file that is sent, about 100,000 tokens."""
_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


def attached(request: Request, *, images: Sequence[str], files: Sequence[str], names: Mapping[str, Any]) -> Request:  # Any: user's values
    """The request with images and files before the text of its last message.

    Raises:
        UsageError: one is missing, too large, or of a kind that cannot be sent. Nothing was sent.
    """
    parts: list[dict[str, Json]] = [_file(path) for path in files]
    parts += [_image(one, names) for one in images]
    *before, last = request.messages
    own = [{"type": "text", "text": last.content}] if isinstance(last.content, str) else list(last.content or ())
    return replace(request, messages=(*before, Message(last.role, (*parts, *own), last.extra)))


def _image(name: str, names: Mapping[str, Any]) -> dict[str, Json]:  # Any: the user's values
    raw = _bytes_of(name, names[name]) if name in names else _read(name, "--image", names)
    kind = next((kind for start, kind in _KINDS if raw.startswith(start)), "")
    if not kind and raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
        kind = "image/webp"
    if not kind:
        raise UsageError(f"--image {name} is no PNG, JPEG, GIF or WebP image. Nothing was sent.")
    if len(raw) > MOST_IMAGE_BYTES:
        raise UsageError(f"--image {name} has {len(raw) / 1e6:.1f} MB; at most {MOST_IMAGE_BYTES / 1e6:.0f} are sent. Make it smaller.")
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{base64.b64encode(raw).decode()}"}}


def _bytes_of(name: str, value: Any) -> bytes:  # Any: a value of the user's
    """The image that a variable holds: its bytes, a path, or an object of Pillow, Matplotlib or IPython, by what it can do."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str | Path):
        return _read(str(value), "--image", {})
    data = getattr(value, "data", None)
    if isinstance(data, bytes):
        return data
    figure = value if hasattr(value, "savefig") else getattr(value, "figure", None)
    out = io.BytesIO()
    try:
        if figure is not None and hasattr(figure, "savefig"):
            figure.savefig(out, format="png", bbox_inches="tight")
        elif hasattr(value, "save"):
            value.save(out, format="PNG")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"--image {name} cannot be made a PNG: {error}. Nothing was sent.") from None
    if not out.tell():
        raise UsageError(
            f"--image {name} is a {type(value).__name__}; it takes bytes, a path, or an image of Pillow, Matplotlib or IPython. "
            "Nothing was sent."
        )
    return out.getvalue()


def _file(path: str) -> dict[str, Json]:
    raw = _read(path, "--file", {})
    name = Path(path).name
    if raw.startswith(b"%PDF-"):
        data = f"data:application/pdf;base64,{base64.b64encode(raw).decode()}"
        return {"type": "file", "file": {"filename": name, "file_data": data}}
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"--file {path} is neither text in UTF-8 nor a PDF. Nothing was sent.") from None
    if "\0" in text:
        raise UsageError(f"--file {path} is not a text. Nothing was sent.")
    if len(text) > MOST_TEXT_CHARACTERS:
        raise UsageError(
            f"--file {path} has {len(text):,} characters; at most {MOST_TEXT_CHARACTERS:,} are sent. Send a part of it in {{braces}}."
        )
    return {"type": "text", "text": f"File {name}:\n{text}\nEnd of {name}."}


def _read(path: str, option: str, names: Mapping[str, Any]) -> bytes:  # Any: the user's values
    try:
        where = Path(path).expanduser()
        size = where.stat().st_size
        if where.is_file() and size <= MOST_FILE_BYTES:
            return where.read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        near = did_you_mean(path, names) if path.isidentifier() else ""
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{option} {path[:200]} cannot be read: {why}.{near} Nothing was sent.") from None
    if not where.is_file():
        raise UsageError(f"{option} {path} is no file. Nothing was sent.")
    raise UsageError(f"{option} {path} has {size / 1e6:.1f} MB; at most {MOST_FILE_BYTES / 1e6:.0f} are sent. Send a part of it.")
