"""Siblings of a GGUF model with one decoder layer left out: a second and a third model for demonstrations, without a download.

The file is rewritten as it streams by: the header is read and written anew, the layers after the missing one move down by
one, and every other tensor is copied byte for byte.
"""

from __future__ import annotations

import re
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from aiplat_lab.core.errors import ConfigError
from aiplat_lab.providers.weights import alone

_MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_FIXED_BYTES: Mapping[int, int] = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_UINT32 = 4
_LAYER = re.compile(r"^blk\.(\d+)\.")
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Entry:
    """One key of the header, its value as it stands in the file."""

    key: str
    kind: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class _Tensor:
    """One tensor: its name, what the header says of its shape and type, and where its data lies."""

    name: str
    shape: bytes
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Header:
    version: int
    entries: tuple[_Entry, ...]
    tensors: tuple[_Tensor, ...]
    data_at: int
    """The byte at which the tensors' data begins."""
    alignment: int


def label(layer: int) -> str:
    """The words that mark such a model wherever it is named."""
    return f"layer {layer} removed for demonstration"


def sibling(original: Path, folder: Path, *, layer: int) -> Path:
    """The model without one layer: written now, or found written before.

    Args:
        original: the GGUF file.
        folder: where siblings are kept.
        layer: the layer to leave out, counted from 0.

    Raises:
        ConfigError: the file cannot be read as GGUF or has no such layer, or the folder cannot be written.
    """
    target = folder / f"{original.stem}.minus-layer-{layer}.gguf"
    if target.exists():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder / f".lock-{layer}", lambda line: None, ""):
            if not target.exists():
                with tempfile.TemporaryDirectory(prefix=".layer-", dir=folder) as work:
                    fresh = Path(work) / target.name
                    drop_layer(original, fresh, layer=layer)
                    fresh.replace(target)
    except OSError as error:
        raise ConfigError(
            f"{target} cannot be written: {error.strerror or error}. Make room, or set AIPLAT_MODELS to another folder."
        ) from None
    return target


def drop_layer(original: Path, target: Path, *, layer: int) -> None:
    """Writes `original` without one decoder layer, its name in the metadata saying so.

    Raises:
        ConfigError: not a GGUF file, or no such layer in it.
        OSError: a file cannot be read or written.
    """
    with original.open("rb") as source, target.open("wb") as out:
        try:
            header = _read_header(source, original.stat().st_size)
        except (struct.error, UnicodeDecodeError, KeyError, ValueError) as error:
            raise ConfigError(f"{original.name} is not a GGUF file that can be read ({error}); run `aiplat model pull smollm2`") from None
        tensors = [kept for tensor in header.tensors if (kept := _moved(tensor, layer)) is not None]
        if len(tensors) == len(header.tensors):
            raise ConfigError(f"{original.name} has no layer {layer}")
        out.write(_head(header, _entries(header, layer), tensors))
        for tensor in tensors:
            out.write(b"\0" * (-out.tell() % header.alignment))
            _copy(source, header.data_at + tensor.offset, tensor.size_bytes, out)


def _moved(tensor: _Tensor, layer: int) -> _Tensor | None:
    """The tensor under its new name, or None where it belongs to the layer left out."""
    found = _LAYER.match(tensor.name)
    if not found or int(found[1]) < layer:
        return tensor
    if int(found[1]) == layer:
        return None
    return replace(tensor, name=f"blk.{int(found[1]) - 1}.{tensor.name[found.end() :]}")


def _entries(header: _Header, layer: int) -> list[_Entry]:
    """The header's keys with one layer fewer and the label in name and description."""
    kept, name = [], ""
    for entry in header.entries:
        if entry.key.endswith(".block_count") and entry.kind == _UINT32:
            (count,) = struct.unpack("<I", entry.raw)
            entry = replace(entry, raw=struct.pack("<I", count - 1))
        elif entry.key == "general.name":
            name = entry.raw[8:].decode("utf-8", "replace")
            continue
        if entry.key != "general.description":
            kept.append(entry)
    words = f"{name or 'model'} ({label(layer)})"
    return [*kept, _Entry("general.name", _STRING, _string(words)), _Entry("general.description", _STRING, _string(label(layer)))]


# --- the format -------------------------------------------------------------------------------------------------------


def _read_header(source: IO[bytes], file_bytes: int) -> _Header:
    if source.read(4) != _MAGIC:
        raise ValueError("it does not begin with GGUF")
    version, tensor_count, entry_count = _unpack(source, "<IQQ")
    if version not in {2, 3}:
        raise ValueError(f"version {version}")
    entries = [_Entry(_read_string(source), *_read_value(source)) for _ in range(entry_count)]
    alignment = next((struct.unpack("<I", entry.raw)[0] for entry in entries if entry.key == "general.alignment"), 32)
    found: list[tuple[str, bytes, int]] = []
    for _ in range(tensor_count):
        name = _read_string(source)
        (dimensions,) = _unpack(source, "<I")
        shape = struct.pack("<I", dimensions) + _exactly(source, 8 * dimensions + 4)
        found.append((name, shape, _unpack(source, "<Q")[0]))
    data_at = source.tell() + -source.tell() % alignment
    ends = [*sorted(offset for _, _, offset in found)[1:], file_bytes - data_at]
    if ends[-1] < max((offset for _, _, offset in found), default=0):
        raise ValueError("it ends too early")
    size = {offset: end - offset for offset, end in zip(sorted(offset for _, _, offset in found), ends, strict=True)}
    tensors = tuple(_Tensor(name, shape, offset, size[offset]) for name, shape, offset in found)
    return _Header(version, tuple(entries), tensors, data_at, alignment)


def _head(header: _Header, entries: list[_Entry], tensors: list[_Tensor]) -> bytes:
    parts = [_MAGIC, struct.pack("<IQQ", header.version, len(tensors), len(entries))]
    parts += [_string(entry.key) + struct.pack("<I", entry.kind) + entry.raw for entry in entries]
    offset = 0
    for tensor in tensors:
        parts.append(_string(tensor.name) + tensor.shape + struct.pack("<Q", offset))
        offset += tensor.size_bytes + -tensor.size_bytes % header.alignment
    return b"".join(parts)


def _read_value(source: IO[bytes]) -> tuple[int, bytes]:
    """The kind of a value, and its bytes as they stand."""
    (kind,) = _unpack(source, "<I")
    return kind, _value(source, kind)


def _value(source: IO[bytes], kind: int) -> bytes:
    if kind == _STRING:
        length = _exactly(source, 8)
        return length + _exactly(source, struct.unpack("<Q", length)[0])
    if kind != _ARRAY:
        return _exactly(source, _FIXED_BYTES[kind])
    head = _exactly(source, 12)
    item, count = struct.unpack("<IQ", head)
    if item in _FIXED_BYTES:
        return head + _exactly(source, _FIXED_BYTES[item] * count)
    return head + b"".join(_value(source, item) for _ in range(count))


def _read_string(source: IO[bytes]) -> str:
    return _exactly(source, _unpack(source, "<Q")[0]).decode("utf-8")


def _string(text: str) -> bytes:
    raw = text.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw


def _unpack(source: IO[bytes], form: str) -> tuple[int, ...]:
    return struct.unpack(form, _exactly(source, struct.calcsize(form)))


def _exactly(source: IO[bytes], count: int) -> bytes:
    raw = source.read(count) if count < 1 << 31 else b""
    if len(raw) != count:
        raise ValueError("it ends too early")
    return raw


def _copy(source: IO[bytes], at: int, count: int, out: IO[bytes]) -> None:
    source.seek(at)
    while count:
        piece = source.read(min(count, _PIECE_BYTES))
        if not piece:
            raise ConfigError("the GGUF file ends too early; run `aiplat model pull smollm2`")
        out.write(piece)
        count -= len(piece)
