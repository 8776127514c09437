"""What of an answer is shown in each form."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiplat_lab.magic._formats import parse_json, shown

CODE = "if a < b:\n    go()"


@pytest.mark.parametrize(
    "answer",
    [
        CODE,
        f"```python\n{CODE}\n```",
        f"Here it is:\n\n```python\n{CODE}\n```\nI hope it helps.",
        f"~~~\n{CODE}\n~~~",
        f"```py\n{CODE}",
        f"````\n{CODE}\n````",
    ],
)
def test_code_without_its_fence(answer: str) -> None:
    assert shown("code", answer) == CODE


def test_two_blocks_are_one_code() -> None:
    assert shown("code", "```\na\n```\nand\n```\nb\n```") == "a\n\nb"


@pytest.mark.parametrize(
    "answer",
    ['{"a": [1]}', '```json\n{"a": [1]}\n```', 'Sure! {"a": [1]} is it.', ' \n{"a": [1]}\n', 'The set {x} gives {"a": [1]}'],
)
def test_json_is_found(answer: str) -> None:
    found = parse_json(answer)
    assert found is not None and found.value == {"a": [1]}
    assert json.loads(shown("json", answer)) == {"a": [1]}


@pytest.mark.parametrize("answer", ["", "no", "{'a': 1}", '{"a": 1', "```json\n{\n```"])
def test_what_is_no_json_stays_as_it_is(answer: str) -> None:
    assert parse_json(answer) is None and shown("json", answer) == answer


def test_null_is_json() -> None:
    found = parse_json("null")
    assert found is not None and found.value is None


@pytest.mark.parametrize("answer", ["x^2", "$x^2$", "$$x^2$$", "```latex\nx^2\n```"])
def test_math(answer: str) -> None:
    assert shown("math", answer) == "$$\nx^2\n$$"


@given(st.text(), st.sampled_from(["markdown", "text"]))
def test_text_is_shown_as_it_came(answer: str, form: str) -> None:
    assert shown(form, answer) == answer  # type: ignore[arg-type]
