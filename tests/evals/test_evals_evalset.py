"""Evalsets: shipped, own, versioned by content, and every mistake in one told by its line."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from evalkit import rows, write

from aiplat_lab.core.errors import EvalError, UsageError
from aiplat_lab.evals import load
from aiplat_lab.evals._evalset import names


def test_every_shipped_evalset_can_be_read() -> None:
    assert "ticket-sentiment" in names()
    for name in names():
        found = load(name)
        assert found.name == name
        assert len(found.hash) == 64
        assert len({sample.id for sample in found.samples}) == len(found)


def test_the_version_is_of_the_content_not_of_order_notes_or_card(tmp_path: Path) -> None:
    data = rows(20)
    first = load(write(tmp_path / "a.jsonl", data)).hash
    shuffled = random.Random(1).sample(data, len(data))
    explained = [{**one, "rationale": "because", "known_bad": ["x"], "metadata": {"topic": "y"}} for one in shuffled]
    folder = tmp_path / "b"
    folder.mkdir()
    write(folder / "data.jsonl", explained)
    (folder / "card.md").write_text('---\npurpose: "a test"\nscorers: [exact, token_f1]\n---\n# b\n')
    again = load(folder)
    assert again.hash == first
    assert (again.name, again.scorers, again.card["purpose"]) == ("b", ("exact", "token_f1"), "a test")
    for change in ({"target": "new"}, {"input": {"text": "new"}}, {"slices": {"third": "new"}}, {"cluster": "new"}):
        assert load([{**data[0], **change}, *data[1:]]).hash != first


def test_the_card_may_list_its_scorers_line_by_line(tmp_path: Path) -> None:
    write(tmp_path / "data.jsonl", rows(2))
    (tmp_path / "card.md").write_text("---\nname: x\nscorers:\n  - exact\n  - regex\nlicence: CC0\n---\n")
    found = load(tmp_path)
    assert found.scorers == ("exact", "regex")
    assert found.card["licence"] == "CC0"


def test_a_schema_beside_the_data_is_each_samples_own(tmp_path: Path) -> None:
    write(tmp_path / "data.jsonl", [{"id": kind, "input": {"kind": kind, "text": "x"}, "target": {}} for kind in ("a", "b")])
    before = load(tmp_path).hash
    (tmp_path / "a.schema.json").write_text('{"type": "object", "required": ["x"]}')
    (tmp_path / "schema.json").write_text('{"type": "array"}')
    first, second = load(tmp_path).samples
    assert (first.metadata["schema"]["required"], second.metadata["schema"]["type"]) == (["x"], "array")
    assert load(tmp_path).hash == before
    (tmp_path / "a.schema.json").write_text('{"tipe": "object"}')
    with pytest.raises(EvalError, match=r"a\.schema\.json is no JSON Schema: .*Did you mean type"):
        load(tmp_path)


def test_a_text_is_the_variable_input_and_a_byte_order_mark_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"id": "a", "input": "hello"}).encode() + b"\r\n\n")
    found = load(path)
    assert found.samples[0].input == {"input": "hello"}
    assert found.variables == ("input",)


BAD = {
    "empty": (b"\n\n", r"is empty: it needs at least one sample"),
    "duplicate": (b'{"id":"a","input":"x"}\n{"id":"b","input":"x"}\n{"id":"a","input":"y"}\n', r"line 3: the id 'a' stands in line 1"),
    "ragged-variables": (b'{"id":"a","input":{"x":"1","y":"2"}}\n{"id":"b","input":{"x":"1"}}\n', r"line 2 is ragged: its input lacks y"),
    "ragged-more": (b'{"id":"a","input":{"x":"1"}}\n{"id":"b","input":{"x":"1","z":"2"}}\n', r"line 2 is ragged: its input has z too"),
    "ragged-target": (b'{"id":"a","input":"x","target":"1"}\n{"id":"b","input":"x"}\n', r"line 2 is ragged: it has no target"),
    "encoding": ('{"id":"a","input":"x"}\n{"id":"b","input":"caf\u00e9"}\n'.encode("latin-1"), r"line 2 is not UTF-8: byte 0xe9 at column"),
    "json": (b'{"id":"a","input":"x"}\n{"id":"b",\n', r"line 2, column \d+ is not JSON"),
    "no-object": (b"[1, 2]\n", r"line 1 is a JSON list, not an object"),
    "no-id": (b'{"input":"x"}\n', r"line 1 has no id"),
    "no-input": (b'{"id":"a","target":"x"}\n', r"line 1 has no input"),
    "unknown-field": (b'{"id":"a","input":"x","targets":"y"}\n', r"line 1 has a field 'targets'. Did you mean target\?"),
    "wrong-type": (b'{"id":"a","input":"x","slices":"y"}\n', r"line 1: slices must be an object"),
    "number-id": (b'{"id":7,"input":"x"}\n', r"line 1: id must be a text"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_mistake_in_an_evalset_is_one_line_that_names_its_place(kind: str, tmp_path: Path) -> None:
    content, said = BAD[kind]
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(EvalError, match=said) as caught:
        load(path)
    assert "bad.jsonl" in caught.value.message
    assert "\n" not in caught.value.message


def test_an_unknown_evalset_offers_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Did you mean ticket-sentiment"):
        load("ticket-sentimnt")
    with pytest.raises(UsageError, match="there is no file"):
        load(tmp_path / "nothing.jsonl")
    with pytest.raises(UsageError, match=r"holds no data\.jsonl"):
        load(tmp_path)
    with pytest.raises(EvalError, match="is empty"):
        load([])
