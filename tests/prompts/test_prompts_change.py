"""What a change counts as, and which version follows from it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from aiplat_lab import prompts
from aiplat_lab.prompts import Prompt
from aiplat_lab.prompts._schema import compare as compare_schemas
from aiplat_lab.prompts._schema import problem

FRONT: dict[str, Any] = {
    "name": "demo",
    "model": "fast",
    "settings": {"temperature": 0, "max_tokens": 50},
    "variables": {
        "text": {"type": "string"},
        "tone": {"type": "string", "default": "plain", "enum": ["plain", "formal"]},
        "count": {"type": "integer", "required": False},
    },
    "output": {
        "schema": {
            "type": "object",
            "properties": {
                "team": {"type": "string", "enum": ["billing", "delivery"]},
                "score": {"type": "number", "minimum": 0, "maximum": 1},
                "notes": {"type": ["string", "null"], "maxLength": 200},
                "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 5},
                "who": {"$ref": "#/$defs/who"},
            },
            "required": ["team"],
            "additionalProperties": False,
            "$defs": {"who": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}},
        }
    },
}
BODY = "# system\nYou are brief.\n# user\n{{ text }} {{ tone }} {{ count }}"


def made(front: dict[str, Any], body: str = BODY) -> Prompt:
    import json

    return prompts.parse(f"---\n{json.dumps(front)}\n---\n{body}", source="demo")


def changed(path: str, value: Any) -> dict[str, Any]:
    """The front matter with one thing else; None takes it away."""
    import copy

    front = copy.deepcopy(FRONT)
    at: Any = front
    *way, last = path.split("/")
    for step in way:
        at = at[step]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return front


P = "output/schema/properties"
CASES: list[tuple[str, Any, str, str]] = [
    # what, with what, counts as, because
    ("variables/tone", None, "major", "the variable tone was removed"),
    ("variables/text", {"type": "array"}, "major", "the variable text is of type array, not string"),
    ("variables/count", {"type": "integer", "required": True}, "major", "the variable count is required now"),
    ("variables/extra", {"type": "string"}, "major", "the required variable extra was added"),
    ("variables/tone/enum", ["plain"], "major", "the variable tone no longer takes 'formal'"),
    ("variables/text/enum", ["a"], "major", "the variable text takes only listed values now"),
    ("output", None, "major", "the output schema was removed"),
    (f"{P}/score", None, "major", "the field score was removed"),
    (f"{P}/score/type", "integer", "major", "score can no longer be number"),
    (f"{P}/score/minimum", 0.5, "major", "minimum of score is 0.5 now, not 0"),
    (f"{P}/score/maximum", 0.5, "major", "maximum of score is 0.5 now, not 1"),
    (f"{P}/team/enum", ["billing"], "major", 'team can no longer be "delivery"'),
    (f"{P}/notes/type", "string", "major", "notes can no longer be null"),
    (f"{P}/tags/items", {"type": "string", "maxLength": 3}, "major", "maxLength of tags[] is 3 now"),
    (f"{P}/tags/maxItems", 2, "major", "maxItems of tags is 2 now, not 5"),
    (f"{P}/team/pattern", "^b", "major", "pattern of team changed, which cannot be compared"),
    ("output/schema/required", ["team", "score"], "major", "the field score is required now"),
    ("output/schema/$defs/who/required", ["name", "age"], "major", "the field who.age is required now"),
    ("variables/extra", {"type": "string", "default": "x"}, "minor", "the optional variable extra was added"),
    ("variables/tone/default", "formal", "minor", "the default of tone is 'formal', not 'plain'"),
    ("variables/tone/enum", ["plain", "formal", "rude"], "minor", "the variable tone takes 'rude' too"),
    ("variables/text", {"type": "string", "required": False}, "minor", "the variable text is optional now"),
    ("model", "careful", "minor", "the model is careful, not fast"),
    ("model", None, "minor", "the model is the default, not fast"),
    ("settings/temperature", 0.7, "minor", "the setting temperature is 0.7, not 0"),
    ("settings/seed", 3, "minor", "the setting seed is 3"),
    ("settings/max_tokens", None, "minor", "the setting max_tokens was removed"),
    (f"{P}/extra", {"type": "string"}, "minor", "the optional field extra was added"),
    (f"{P}/team/enum", ["billing", "delivery", "other"], "minor", 'team can be "other" now'),
    (f"{P}/score/maximum", 2, "minor", "maximum of score is 2 now, not 1"),
    (f"{P}/notes/maxLength", None, "minor", "maxLength of notes is gone"),
    (f"{P}/tags/items", None, "minor", "tags[] takes anything now"),
    (f"{P}/score/type", ["number", "null"], "minor", "score can be null now"),
    ("output/schema/required", [], "minor", "the field team is no longer required"),
    ("output/schema/additionalProperties", None, "minor", "the answer takes further fields now"),
    (f"{P}/team/description", "which team", "patch", "description of team changed"),
    ("description", "what it does", "patch", "description changed; calls are the same"),
    ("evalset", "tickets", "patch", "evalset changed; calls are the same"),
    ("scorers", ["exact"], "patch", "scorers changed; calls are the same"),
    ("variables/text/example", "hello", "patch", "the example of text changed"),
    ("variables/tone/enum", ["formal", "plain"], "patch", "the values of tone stand in another order"),
]


@pytest.mark.parametrize(("path", "value", "level", "because"), CASES)
def test_what_a_change_counts_as(path: str, value: Any, level: str, because: str) -> None:
    before = made(FRONT)
    body = BODY if path != "variables/tone" else "# system\nYou are brief.\n# user\n{{ text }} {{ count }}"
    change = prompts.compare(before, made(changed(path, value), body))
    assert (change.level, because in change.sentence) == (level, True), change
    assert change.after("1.2.3") == {"major": "2.0.0", "minor": "1.3.0", "patch": "1.2.4"}[level]


@pytest.mark.parametrize(
    ("body", "because"),
    [
        (BODY.replace("brief", "very brief"), "the text of the system message changed"),
        (BODY.replace("{{ count }}", ""), "the text of the user message changed"),
        (BODY + "\n# assistant\nWell,", "the messages are system, user, assistant, not system, user"),
    ],
)
def test_a_change_of_text_alone_is_a_patch(body: str, because: str) -> None:
    change = prompts.compare(made(FRONT), made(FRONT, body))
    assert (change.level, change.sentence) == ("patch", because)


def test_the_weightiest_change_counts_and_all_are_told() -> None:
    after = made(changed("variables/count", None), "# user\n{{ text }} {{ tone }}")
    change = prompts.compare(made(changed("model", "other")), after)
    assert change.level == "major" and change.sentence.startswith("the variable count was removed; the model is fast, not other; ")
    assert prompts.compare(after, after).level == "none"


def test_a_schema_that_appears_breaks_who_reads_texts() -> None:
    assert prompts.compare(made(changed("output", None)), made(FRONT)).level == "major"


# --- schemas, against a validator ---------------------------------------------------------------------------------------

_scalars = st.sampled_from([None, True, False, 0, 1, 2, 2.5, "", "a", "bb", "ccc"])
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=6
)
_simple = st.one_of(
    st.builds(lambda kind: {"type": kind}, st.sampled_from(["string", "integer", "number", "boolean", "null"])),
    st.builds(
        lambda kinds: {"type": sorted(kinds)}, st.sets(st.sampled_from(["string", "integer", "number", "null", "array"]), min_size=1)
    ),
    st.builds(lambda low, high: {"type": "number", "minimum": low, "maximum": high}, st.integers(0, 2), st.integers(1, 3)),
    st.builds(lambda low, high: {"type": "string", "minLength": low, "maxLength": high}, st.integers(0, 2), st.integers(1, 3)),
    st.builds(lambda values: {"enum": values}, st.lists(_scalars, min_size=1, max_size=3)),
    st.just({}),
)


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    required = st.lists(st.sampled_from("abc"), unique=True, max_size=2)
    more = st.sampled_from([True, False]) | inner
    whole = st.builds(
        lambda p, r, m: {"type": "object", "properties": p, "required": r, "additionalProperties": m}, properties, required, more
    )
    return (
        whole
        | st.builds(lambda one, high: {"type": "array", "items": one, "maxItems": high}, inner, st.integers(0, 3))
        | st.builds(lambda ways: {"anyOf": ways}, st.lists(inner, min_size=1, max_size=2))
    )


_schemas = st.recursive(_simple, _objects, max_leaves=5)


@settings(max_examples=150, deadline=None)
@given(_schemas, _schemas, st.lists(_values, min_size=1, max_size=8))
def test_no_narrowing_is_overlooked(before: Any, after: Any, answers: list[Any]) -> None:
    """Whatever answer fitted before and fits no more, the change is called narrower: it is never understated."""
    assume(problem(before) is None and problem(after) is None)
    old, new = Draft202012Validator(before), Draft202012Validator(after)
    if any(old.is_valid(answer) and not new.is_valid(answer) for answer in answers):
        assert compare_schemas(before, after).narrower


@settings(max_examples=60, deadline=None)
@given(_schemas)
def test_a_schema_is_the_same_as_itself(schema: Any) -> None:
    found = compare_schemas(schema, schema)
    assert (found.narrower, found.wider, found.notes) == ([], [], [])


@pytest.mark.parametrize(
    "schema",
    [7, {"type": "strng"}, {"properties": []}, {"required": "a"}, {"required": [1]}, {"properties": {"a": {"type": 3}}}, {"items": [1]}],
)
def test_a_schema_that_is_none_is_found(schema: Any) -> None:
    assert problem(schema) is not None
