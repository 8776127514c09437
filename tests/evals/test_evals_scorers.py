"""Every scorer: what is right, what is wrong, and what is no score at all."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import pytest

from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.registry import BUILT_IN
from aiplat_lab.core.types import Response
from aiplat_lab.evals import Answer, Sample, Score, measure, scorer
from aiplat_lab.evals._schema import check_schema, problem
from aiplat_lab.evals._score import ScorerFailed, names, resolve
from aiplat_lab.evals.judge import read_mark


def score(spec: str, answer: str, target: Any = None, response: Response | None = None, **more: Any) -> Score:
    found = resolve(spec)
    given = found.run(Answer(answer, response), Sample(id="a", input={"input": "x"}, target=target, **more), **found.options)
    return found.check(given)


CASES = [
    ("exact", " billing\n", "billing", 1),
    ("exact", "Billing", "billing", 0),
    ("exact", "b", ["a", "b"], 1),
    ("normalised", "The  Billing!", "billing", 1),
    ("normalised", "it’s", "its", 1),
    ("normalised", "cafe\u0301", "Caf\u00e9", 1),
    ("normalised", "billing team", "billing", 0),
    ("contains", "It is BILLING, I think.", "billing", 1),
    ("contains", "rebilling", "billing", 0),
    ("contains:case=true", "It is BILLING", "billing", 0),
    (r"regex:^\d+$", "42", None, 1),
    (r"regex:^\d+$", "x42", None, 0),
    ("regex:(a,b)+=c", "a,b=c", None, 1),
    ("regex", "order 17", r"order \d+", 1),
    (r"regex:pattern=label: (\w+),target=group", "label: Billing.", "billing", 1),
    (r"regex:pattern=label: (\w+),target=group", "label: other", "billing", 0),
    ("numeric", "The total is £1,234.50.", 1234.5, 1),
    ("numeric", "between 10 and 20", 20, 1),
    ("numeric", "−5 degrees", -5, 1),
    ("numeric:tolerance=0.5", "10.4", 10, 1),
    ("numeric:tolerance=0.5", "10.6", 10, 0),
    ("numeric:relative=0.1", "109", 100, 1),
    ("numeric", "none", 4, 0),
    ("numeric:0.01", "3.149", "3.14", 1),
    ("token_f1", "the cat sat", "a cat sat down", 0.8),
    ("token_f1", "dog", "cat", 0),
    ("token_f1", "", "cat", 0),
    ("rouge_l", "police killed the gunman", "police kill the gunman", 0.75),
    ("rouge_l", "the gunman kill police", "police kill the gunman", 0.5),
    ("rouge_l", "x", ["y", "x"], 1),
    ("refusal", "I'm sorry, but I can't help with that.", "refuse", 1),
    ("refusal", "I’m unable to do this.", "refuse", 1),
    ("refusal", "Here is the recipe.", "refuse", 0),
    ("refusal", "Here is the recipe.", "answer", 1),
    ("refusal:wanted=answer", "I cannot assist.", None, 0),
    ("refusal", "I am sorry to hear that the parcel is late; it comes on Monday.", "answer", 1),
]


@pytest.mark.parametrize(("spec", "answer", "target", "value"), CASES)
def test_a_scorer_gives_what_its_name_says(spec: str, answer: str, target: Any, value: float) -> None:
    assert score(spec, answer, target).value == pytest.approx(value, abs=1e-9)


def test_contains_only_minds_known_bad_answers() -> None:
    assert score("contains:only=true", "positive", "positive", known_bad=("negative",)).value == 1
    found = score("contains:only=true", "positive or negative", "positive", known_bad=("negative",))
    assert (found.value, found.note) == (0, "it also says negative")


def test_keywords_are_shares_of_what_is_said_and_what_is_not() -> None:
    target = {"keywords": ["council|authority", "£20", "Monday"], "avoid": ["free", "Tuesday"]}
    found = score("keywords", "The authority asks for £20, not on Tuesdays.", target)
    assert found.value == pytest.approx(2 / 3 * 1 / 2)
    assert found.note == "missing: Monday; should not say: Tuesday"
    assert score("keywords", "councils: £20 on Monday", target).value == 1
    assert score("keywords", "The council wants £200 on Monday", target).value == pytest.approx(2 / 3)
    with pytest.raises(ScorerFailed, match="keywords"):
        score("keywords", "x", "y")


FIELDS = {"a": "x y", "total": 12.5, "lines": [{"n": 1}, {"n": 2}], "none": None}


@pytest.mark.parametrize(
    ("answer", "value", "passed"),
    [
        (json.dumps(FIELDS), 1, True),
        ("Here: ```json\n" + json.dumps({**FIELDS, "lines": [{"n": 2}, {"n": 1}]}) + "\n```", 1, True),
        (json.dumps({**FIELDS, "a": "X, y", "total": "12.50"}), 1, True),
        (json.dumps({**FIELDS, "total": 13}), 0.75, False),
        (json.dumps({**FIELDS, "extra": "z"}), 8 / 9, False),
        (json.dumps({"a": "x y"}), 0.4, False),
        (json.dumps({**FIELDS, "none": "made up"}), 8 / 9, False),
        ("no json", 0, False),
    ],
)
def test_json_fields_is_the_f1_of_the_fields(answer: str, value: float, passed: bool) -> None:
    found = score("json_fields", answer, FIELDS)
    assert found.value == pytest.approx(value)
    assert found.passed is passed


SCHEMA = {
    "type": "object",
    "required": ["label", "n"],
    "additionalProperties": False,
    "properties": {
        "label": {"enum": ["a", "b"]},
        "n": {"type": "integer", "minimum": 1, "maximum": 3},
        "tags": {"type": "array", "items": {"type": "string", "pattern": "^x"}, "maxItems": 2},
        "either": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/short"}]},
    },
    "$defs": {"short": {"type": "string", "maxLength": 3}},
}


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ({"label": "a", "n": 1}, ""),
        ({"label": "a", "n": 2.0, "tags": ["x1"], "either": None}, ""),
        ({"label": "a", "n": 1, "either": "abc"}, ""),
        ({"label": "a"}, "$ lacks n"),
        ({"label": "c", "n": 1}, "$.label is 'c', not one of ['a', 'b']"),
        ({"label": "a", "n": True}, "$.n is no integer"),
        ({"label": "a", "n": 4}, "$.n is 4, more than 3"),
        ({"label": "a", "n": 1, "m": 1}, "$.m may not be there"),
        ({"label": "a", "n": 1, "tags": ["y"]}, "$.tags[0] does not match ^x"),
        ({"label": "a", "n": 1, "tags": ["x", "x", "x"]}, "$.tags has a length of 3, more than 2"),
        ({"label": "a", "n": 1, "either": "abcd"}, "$.either fits none of anyOf"),
        ([1], "$ is no object"),
    ],
)
def test_json_schema_says_what_does_not_fit_and_where(value: Any, wrong: str) -> None:
    check_schema(SCHEMA)
    assert problem(value, SCHEMA) == wrong
    found = scorer("json_schema", schema=json.dumps(SCHEMA))
    given = found.check(found.run(Answer(json.dumps(value)), Sample(id="a", input={}), **found.options))
    assert (given.value, given.note) == (float(not wrong), wrong)


def test_json_schema_wants_json_and_takes_the_samples_own_schema() -> None:
    metadata = {"schema": {"type": "object"}}
    assert score("json_schema", "```json\n{}\n```", metadata=metadata).value == 0
    assert score("json_schema:strict=false", "```json\n{}\n```", metadata=metadata).value == 1
    with pytest.raises(ScorerFailed, match="there is no schema"):
        score("json_schema", "{}")


def test_measures_are_in_their_own_units() -> None:
    response = Response(cost_usd=Decimal("0.25"), latency_s=3.5)
    assert score("latency", "x", None, response) == Score(3.5)
    assert score("cost", "x", None, response).value == 0.25
    with pytest.raises(ScorerFailed, match="not known"):
        score("cost", "x", None, Response())


@pytest.mark.parametrize("spec", ["exact", "normalised", "contains", "token_f1", "rouge_l", "numeric", "json_fields"])
def test_a_scorer_that_compares_needs_a_target(spec: str) -> None:
    with pytest.raises(ScorerFailed):
        score(spec, "1", None)


@pytest.mark.parametrize("given", [None, "yes", math.nan, math.inf, -0.1, 1.1, [1], Score(math.nan), Score(2.0), object(), Score("1")])
def test_nonsense_is_no_score(given: Any) -> None:
    with pytest.raises(ScorerFailed):
        resolve(lambda answer, sample: given).check(given)


@pytest.mark.parametrize(
    ("given", "value", "passed"), [(True, 1, True), (0.5, 0.5, True), (0, 0, False), (Score(0.9, passed=False), 0.9, False)]
)
def test_numbers_truths_and_scores_are_scores(given: Any, value: float, passed: bool) -> None:
    found = resolve(lambda answer, sample: given).check(given)
    assert (found.value, found.passed) == (value, passed)


def test_a_measure_of_ones_own_may_be_any_size() -> None:
    @measure
    def length(answer: str, sample: Sample) -> float:
        return float(len(answer))

    found = resolve(length)
    assert found.check(found.run("12345", None)) == Score(5.0)


WRONG = [
    ("exat", "Did you mean exact"),
    ("numeric:tolerence=1", "tolerance is|no option|'tolerence=1', which is not a number"),
    ("numeric:tolerance=much", "is 'much', which is not a number"),
    ("numeric:tolerance=-1", "must be 0 or more"),
    ("exact:x", "takes no options"),
    ("regex:(", "is no regular expression"),
    ("json_schema:schema={", "its schema is no JSON"),
    ('json_schema:schema={"tipe":1}', "Did you mean type"),
    ("judge:scale=1", "the best mark is from 2"),
    ("judge:repeats=0", "1 to 25 times"),
    ("similarity:threshold=2", "from 0 to 1"),
    ("refusal:wanted=maybe", "must be refuse or answer"),
]


@pytest.mark.parametrize(("spec", "said"), WRONG)
def test_a_scorer_that_is_named_wrongly_is_told_before_the_run(spec: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        resolve(spec)


def test_a_function_must_take_an_answer_and_a_sample() -> None:
    with pytest.raises(UsageError, match="must take an answer and a sample"):
        resolve(lambda answer: 1)
    with pytest.raises(UsageError, match="is no scorer"):
        resolve(7)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="has no option 'tol'"):
        scorer("numeric", tol=1)


def test_every_scorer_of_ours_is_known_before_it_is_loaded() -> None:
    from aiplat_lab.core.registry import _found
    from aiplat_lab.evals import judge, scorers  # noqa: F401

    ours = {name for (kind, name), one in _found.items() if kind == "scorer" and one.__module__.startswith("aiplat_lab.")}
    assert ours == {name for kind, name in BUILT_IN if kind == "scorer"}


def test_the_scorers_there_are() -> None:
    assert {"exact", "normalised", "regex", "contains", "json_schema", "json_fields", "numeric", "token_f1", "rouge_l"} <= set(names())
    assert {"similarity", "latency", "cost", "refusal", "judge"} <= set(names())


@pytest.mark.parametrize("text", ["4", "Score: 4", "4/5", " 4.\n"])
def test_a_small_judge_may_give_a_mark_and_nothing_else(text: str) -> None:
    assert read_mark(text, 5) == (4, "")


@pytest.mark.parametrize("text", ['{"reason": "ok", "score": 4}', 'Sure:\n```json\n{"score": 4.0, "reason": "ok"}\n```'])
def test_a_judges_mark_is_read(text: str) -> None:
    assert read_mark(text, 5) == (4, "ok")


@pytest.mark.parametrize(
    "text",
    ["7", "0", "4 or 5", "[4]", "good", '{"score": 6}', '{"score": 0}', '{"score": true}', '{"score": "4"}', '{"score": 2.5}', "", "{}"],
)
def test_a_judge_out_of_form_is_no_mark(text: str) -> None:
    with pytest.raises(ScorerFailed, match="out of form"):
        read_mark(text, 5)
