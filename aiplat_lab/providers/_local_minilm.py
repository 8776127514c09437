"""all-MiniLM-L6-v2 in NumPy: word pieces, six layers of BERT, the mean of the last, length 1.

Run as a script by `_local_worker`, one process of its own: after its configuration, each line of input holds texts, each line
of output their vectors. Nothing of the package is imported here.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import signal
import struct
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if __name__ == "__main__":
    for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.putenv(_name, "1")  # more threads spin at barriers on busy cores; the library looks when it is loaded

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

MAX_TOKENS = 256
"""The longest text that the model was trained to read, in word pieces, its two marks included."""
DIMENSIONS = 384
_LAYERS, _HEADS = 6, 12
_CLS, _SEP, _UNKNOWN = 101, 102, 100
_MAX_WORD = 100
_CJK = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))


class Embedded(NamedTuple):
    """Vectors of length 1, one row a text, and what was read for them."""

    vectors: Floats
    tokens: int
    """Word pieces read, the two marks of each text included."""
    truncated: int
    """How many texts were longer than `MAX_TOKENS`."""


class WordPieces:
    """BERT's uncased tokeniser, with the vocabulary of a `tokenizer.json`."""

    def __init__(self, file: Path) -> None:
        self._vocabulary: dict[str, int] = json.loads(file.read_bytes())["model"]["vocab"]
        self._word = functools.lru_cache(maxsize=20_000)(self._pieces)

    def ids(self, text: str) -> list[int]:
        """The numbers of the word pieces, with the marks of beginning and end; not cut."""
        return [_CLS, *(number for word in _words(text) for number in self._word(word)), _SEP]

    def _pieces(self, word: str) -> tuple[int, ...]:
        found, start = [], 0
        if len(word) > _MAX_WORD:
            return (_UNKNOWN,)
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = self._vocabulary.get(("##" if start else "") + word[start:end])
                if piece is not None:
                    break
            else:
                return (_UNKNOWN,)
            found.append(piece)
            start = end
        return tuple(found)


def _words(text: str) -> Iterator[str]:
    """Words and single punctuation marks, without accents and in lower case."""
    word: list[str] = []
    for sign in unicodedata.normalize("NFD", "".join(_clean(text))).lower():
        if unicodedata.category(sign) == "Mn":
            continue
        apart = _is_punctuation(sign)
        if (sign == " " or apart) and word:
            yield "".join(word)
            word = []
        if apart:
            yield sign
        elif sign != " ":
            word.append(sign)
    if word:
        yield "".join(word)


def _clean(text: str) -> Iterator[str]:
    for sign in text:
        if sign not in "\t\n\r" and (sign == "\ufffd" or unicodedata.category(sign) in {"Cc", "Cf", "Co", "Cs"}):
            continue
        if sign.isspace():
            yield " "
        elif any(low <= ord(sign) <= high for low, high in _CJK):
            yield f" {sign} "
        else:
            yield sign


def _is_punctuation(sign: str) -> bool:
    return unicodedata.category(sign)[0] == "P" or (sign.isascii() and not sign.isalnum() and sign > " ")


class MiniLM:
    """The model, its weights mapped from the file rather than read.

    Args:
        file: `model.safetensors`, with `tokenizer.json` beside it.
    """

    def __init__(self, file: Path) -> None:
        self._tokens = WordPieces(file.with_name("tokenizer.json"))
        with file.open("rb") as head:
            (length,) = struct.unpack("<Q", head.read(8))
            table: dict[str, Any] = json.loads(head.read(length))  # Any: JSON, narrowed by the two lines below
        data = np.memmap(file, dtype=np.uint8, mode="r", offset=8 + length)
        self._weights: dict[str, Floats] = {
            name: data[slice(*entry["data_offsets"])].view(np.float32).reshape(entry["shape"])
            for name, entry in table.items()
            if name != "__metadata__" and entry["dtype"] == "F32"
        }

    def embed(self, texts: Sequence[str]) -> Embedded:
        """One vector for each text."""
        whole = [self._tokens.ids(text) for text in texts]
        cut = [ids if len(ids) <= MAX_TOKENS else [*ids[: MAX_TOKENS - 1], _SEP] for ids in whole]
        longest = max(map(len, cut), default=0)
        ids = np.array([row + [0] * (longest - len(row)) for row in cut], dtype=np.int64).reshape(len(cut), longest)
        real = np.array([[1.0] * len(row) + [0.0] * (longest - len(row)) for row in cut], dtype=np.float32).reshape(len(cut), longest)
        vectors = self._forward(ids, real) if cut else np.zeros((0, DIMENSIONS), dtype=np.float32)
        return Embedded(vectors, sum(map(len, cut)), sum(len(ids) > MAX_TOKENS for ids in whole))

    def _forward(self, ids: NDArray[np.int64], real: Floats) -> Floats:
        weights, rows, length = self._weights, *ids.shape
        state = weights["embeddings.word_embeddings.weight"][ids]
        state = state + weights["embeddings.position_embeddings.weight"][:length] + weights["embeddings.token_type_embeddings.weight"][0]
        state = self._norm(state, "embeddings")
        hidden = (1.0 - real)[:, None, None, :] * np.float32(-1e9)
        for layer in range(_LAYERS):
            at = f"encoder.layer.{layer}"
            query, key, value = (
                self._dense(state, f"{at}.attention.self.{name}").reshape(rows, length, _HEADS, -1).transpose(0, 2, 1, 3)
                for name in ("query", "key", "value")
            )
            scores = query @ key.transpose(0, 1, 3, 2) / np.float32(np.sqrt(query.shape[-1])) + hidden
            scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
            mixed = (scores / scores.sum(axis=-1, keepdims=True)) @ value
            mixed = mixed.transpose(0, 2, 1, 3).reshape(rows, length, DIMENSIONS)
            state = self._norm(state + self._dense(mixed, f"{at}.attention.output.dense"), f"{at}.attention.output")
            inner = _gelu(self._dense(state, f"{at}.intermediate.dense"))
            state = self._norm(state + self._dense(inner, f"{at}.output.dense"), f"{at}.output")
        mean = (state * real[:, :, None]).sum(axis=1) / real.sum(axis=1)[:, None]
        length_1: Floats = (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)
        return length_1

    def _dense(self, state: Floats, name: str) -> Floats:
        made: Floats = state @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return made

    def _norm(self, state: Floats, name: str) -> Floats:
        centred = state - state.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(1e-12))
        made: Floats = centred / spread * self._weights[f"{name}.LayerNorm.weight"] + self._weights[f"{name}.LayerNorm.bias"]
        return made


def _gelu(x: Floats) -> Floats:
    """x · Φ(x), with the error function after Abramowitz and Stegun 7.1.26 (error below 2e-7)."""
    size = np.abs(x) * np.float32(0.7071067811865476)
    t = 1.0 / (1.0 + np.float32(0.3275911) * size)
    tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
    erf = np.sign(x) * (1.0 - tail * np.exp(-size * size))
    made: Floats = (0.5 * x * (1.0 + erf)).astype(np.float32)
    return made


def main() -> None:
    """Answers line by line until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config = json.loads(sys.stdin.readline())
    try:
        model = MiniLM(Path(config["file"]))
    except (OSError, ValueError, KeyError, struct.error) as error:
        print(json.dumps({"error": "load", "message": str(error)}), flush=True)  # noqa: T201 (the answer to the parent)
        return
    print(json.dumps({"ready": True}), flush=True)  # noqa: T201
    for line in sys.stdin:
        made = model.embed(json.loads(line)["texts"])
        packed = base64.b64encode(made.vectors.astype("<f4").tobytes()).decode("ascii")
        print(json.dumps({"vectors": packed, "tokens": made.tokens, "truncated": made.truncated}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
