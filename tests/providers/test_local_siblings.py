"""Leaving a layer out of a GGUF file."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiplat_lab.core.errors import ConfigError
from aiplat_lab.providers._local_siblings import drop_layer, label, sibling
from aiplat_lab.providers.weights import located

SHA256 = {
    20: "1af6a18a98436c886c979b651fa5aef755cf65d03463f22d72e184fd0ed899cf",
    25: "65bba474eb855eb9b11a53f27754cc6e55a69b6f1a87372e9ed5d11fb23b2be8",
}


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def entry(key: str, kind: int, raw: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + raw


def write_model(path: Path, tensors: dict[str, bytes], *, layers: int, alignment: int = 32, name: str = "Tiny") -> None:
    """A GGUF file with every kind of value in its header."""
    entries = [
        entry("general.architecture", 8, text("llama")),
        entry("general.name", 8, text(name)),
        entry("general.alignment", 4, struct.pack("<I", alignment)),
        entry("llama.block_count", 4, struct.pack("<I", layers)),
        entry("a.float", 6, struct.pack("<f", 0.5)),
        entry("a.flag", 7, b"\1"),
        entry("a.long", 10, struct.pack("<Q", 1 << 40)),
        entry("tokens", 9, struct.pack("<IQ", 8, 2) + text("ä") + text("")),
        entry("scores", 9, struct.pack("<IQ", 6, 3) + struct.pack("<3f", 1, 2, 3)),
        entry("nested", 9, struct.pack("<IQ", 9, 1) + struct.pack("<IQ", 8, 1) + text("x")),
    ]
    head, offset, data = b"", 0, b""
    for tensor, raw in tensors.items():
        head += text(tensor) + struct.pack("<IQIQ", 1, len(raw), 24, offset)
        raw += b"\0" * (-len(raw) % alignment)
        data += raw
        offset += len(raw)
    whole = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries)) + b"".join(entries) + head
    path.write_bytes(whole + b"\0" * (-len(whole) % alignment) + data)


class Read(NamedTuple):
    values: dict[str, Any]
    tensors: dict[str, bytes]


def read_model(path: Path) -> Read:
    """A reader of the same format, written apart from the one under test; tensors have one dimension, of bytes."""
    raw, at = path.read_bytes(), 4

    def take(form: str) -> Any:
        nonlocal at
        (value,) = struct.unpack_from("<" + form, raw, at)
        at += struct.calcsize(form)
        return value

    def string() -> str:
        nonlocal at
        length = take("Q")
        at += length
        return raw[at - length : at].decode()

    def value(kind: int) -> Any:
        if kind == 8:
            return string()
        if kind == 9:
            item = take("I")
            return [value(item) for _ in range(take("Q"))]
        return take({4: "I", 6: "f", 7: "?", 10: "Q"}[kind])

    assert (raw[:4], take("I")) == (b"GGUF", 3)
    count, entries = take("Q"), take("Q")
    values = {}
    for _ in range(entries):
        key = string()
        values[key] = value(take("I"))
    places = [(string(), take("I"), take("Q"), take("I"), take("Q")) for _ in range(count)]
    data = at + -at % values["general.alignment"]
    assert all(offset % values["general.alignment"] == 0 for *_, offset in places)
    return Read(values, {name: raw[data + offset : data + offset + size] for name, _, size, _, offset in places})


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 300), min_size=4, max_size=14),
    layers=st.integers(1, 5),
    layer=st.integers(0, 4),
    alignment=st.sampled_from([8, 32, 64]),
)
def test_all_but_the_layer_is_kept(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], layers: int, layer: int, alignment: int
) -> None:
    layer %= layers
    folder = tmp_path_factory.mktemp("gguf")
    names = ["token_embd.weight", *(f"blk.{n}.{part}.weight" for n in range(layers) for part in ("attn_q", "ffn_up")), "output_norm.weight"]
    tensors = {name: bytes([n % 251 + 1]) * sizes[n % len(sizes)] for n, name in enumerate(names)}
    write_model(folder / "whole.gguf", tensors, layers=layers, alignment=alignment)
    drop_layer(folder / "whole.gguf", folder / "less.gguf", layer=layer)
    before, after = read_model(folder / "whole.gguf"), read_model(folder / "less.gguf")
    expected = {}
    for name, raw in tensors.items():
        number = int(name.split(".")[1]) if name.startswith("blk.") else -1
        if number != layer:
            expected[name.replace(f"blk.{number}.", f"blk.{number - 1}.") if number > layer else name] = raw
    assert after.tensors == expected
    words = label(layer)
    assert after.values == before.values | {
        "llama.block_count": layers - 1,
        "general.name": f"Tiny ({words})",
        "general.description": words,
    }


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "whole.gguf"
    write_model(path, {"token_embd.weight": b"e", "blk.0.a": b"0", "blk.1.a": b"1"}, layers=2)
    return path


def test_a_sibling_is_written_once(model: Path, tmp_path: Path) -> None:
    made = sibling(model, tmp_path / "models", layer=1)
    before = made.stat()
    assert sibling(model, tmp_path / "models", layer=1) == made
    assert made.stat().st_mtime_ns == before.st_mtime_ns
    assert made.name == "whole.minus-layer-1.gguf"
    assert [p.name for p in made.parent.iterdir() if not p.name.startswith(".lock")] == [made.name]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"PK\3\4 a zip file", "does not begin with GGUF"),
        (b"GGUF", "ends too early"),
        (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "version 9"),
    ],
)
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "bad.gguf").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"bad.gguf is not a GGUF file.*{why}.*aiplat model pull smollm2"):
        sibling(tmp_path / "bad.gguf", tmp_path, layer=1)
    assert not list(tmp_path.glob("*minus*"))


def test_a_cut_model_and_a_layer_that_is_not_there(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"whole\.gguf has no layer 2"):
        sibling(model, tmp_path, layer=2)
    model.write_bytes(model.read_bytes()[:-40])
    with pytest.raises(ConfigError, match=r"whole.gguf|ends too early"):
        sibling(model, tmp_path, layer=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        sibling(model, tmp_path / "file", layer=0)


@pytest.mark.local_model
@pytest.mark.parametrize("layer", [20, 25])
def test_the_real_siblings(weights: Path, tmp_path: Path, layer: int) -> None:
    original = located("smollm2", weights)
    assert original is not None
    made = sibling(original, tmp_path, layer=layer)
    assert hashlib.sha256(made.read_bytes()).hexdigest() == SHA256[layer]
