"""MiniLM in NumPy: the tokeniser against the reference one, the vectors against the model's card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aiplat_lab.providers._local_minilm import DIMENSIONS, MAX_TOKENS, MiniLM

pytestmark = pytest.mark.local_model


@pytest.fixture(scope="module")
def model(embedding_weights: Path) -> MiniLM:
    return MiniLM(embedding_weights / "minilm" / "model.safetensors")


# Numbers that the `tokenizers` library gives with the same tokenizer.json.
@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Hello, World! It's 5.3% — naïve café", [7592, 1010, 2088, 999, 2009, 1005, 1055, 1019, 1012, 1017, 1003, 1517, 15743, 7668]),
        ("日本語 text", [1864, 1876, 1950, 3793]),
        ("a\u200bb\u00adc tab\tnew\nline\x1f.", [5925, 21628, 2047, 2240, 1012]),
        ("£5 €6 don't-stop_underscore…", [27813, 1574, 2575, 2123, 1005, 1056, 1011, 2644, 1035, 2104, 9363, 2890, 1529]),
        ("emoji 😀 ok", [7861, 29147, 2072, 100, 7929]),
        ("x" * 101, [100]),
        ("", []),
        (" \n ", []),
    ],
)
def test_word_pieces(model: MiniLM, text: str, ids: list[int]) -> None:
    assert model._tokens.ids(text) == [101, *ids, 102]


def test_the_vector_on_the_model_card(model: MiniLM) -> None:
    made = model.embed(["This is an example sentence", "Each sentence is converted"])
    assert made.vectors.shape == (2, DIMENSIONS)
    assert made.vectors[0, :4] == pytest.approx([0.0677, 0.0635, 0.0487, 0.0793], abs=5e-5)
    assert made.vectors[1, :4] == pytest.approx([0.0864, 0.1028, 0.0054, 0.0020], abs=5e-5)
    assert made.tokens == 13
    assert np.linalg.norm(made.vectors, axis=1) == pytest.approx([1, 1], abs=1e-6)


def test_a_text_has_the_same_vector_alone_and_beside_longer_ones(model: MiniLM) -> None:
    text = "The parcel never arrived."
    alone = model.embed([text]).vectors[0]
    beside = model.embed(["word " * 90, text, ""]).vectors[1]
    assert beside == pytest.approx(alone, abs=1e-6)


def test_what_is_alike_is_nearer(model: MiniLM) -> None:
    vectors = model.embed(["How do I get my money back?", "What is the refund process?", "The cat sleeps on the sofa."]).vectors
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert near > 0.5 > far


def test_a_long_text_is_cut_and_counted(model: MiniLM) -> None:
    made = model.embed(["word " * 400, "short"])
    assert made.truncated == 1
    assert made.tokens == MAX_TOKENS + 3
    assert made.vectors[0] == pytest.approx(model.embed(["word " * (MAX_TOKENS - 2)]).vectors[0], abs=1e-6)


def test_nothing(model: MiniLM) -> None:
    assert model.embed([]).vectors.shape == (0, DIMENSIONS)
    assert np.isfinite(model.embed([""]).vectors).all()
