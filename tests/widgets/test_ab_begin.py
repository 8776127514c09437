"""What begins a comparison and what is refused: before anything is spent, in one line, with the nearest name."""

from __future__ import annotations

import json
from typing import Any

import polars
import pytest
from abkit import TWO, begun
from served import Served

from aiplat_lab import prompts
from aiplat_lab.core.errors import AiplatError, PromptError, UnknownModel, UsageError
from aiplat_lab.widgets import Variant

SAVED = (
    "---\nname: greet\nmodel: echo\nvariables:\n  who: {type: string, required: true}\n---\n# system\nBe kind.\n\n# user\nGreet {{ who }}\n"
)


@pytest.mark.parametrize(
    ("variants", "inputs", "kind", "said"),
    [
        (TWO[:1], "x", UsageError, "takes two to four variants; one variant has been given"),
        (TWO + TWO + TWO[:1], "x", UsageError, "takes two to four variants; 5 variants have been given"),
        ({"model": "echo"}, "x", UsageError, "must be a list of two to four"),
        (["echo", "instnat"], "x", UnknownModel, "no model 'instnat'. Did you mean instant"),
        (["echo", "nobody/gpt"], "x", UnknownModel, "no model 'nobody/gpt'"),
        ([{"model": "echo", "prompt": "greeet@production"}, "echo"], "x", PromptError, "greeet"),
        ([{"model": "echo", "prompt": "Dear {{ nam }}"}, "instant"], [{"name": "Ann"}], PromptError, "nam"),
        ([{"model": "echo", "prompt": "Dear {{ name"}, "instant"], [{"name": "Ann"}], PromptError, "variant 'echo'"),
        (
            [{"model": "echo", "prompt": "{{ name }}"}, {"model": "echo", "prompt": "Hi {{ name }}"}],
            [{"name": "A", "nmae": "B"}],
            PromptError,
            "input 1 gives 'nmae', which no variant asks for. Did you mean name?",
        ),
        (TWO, [], UsageError, "there are no inputs"),
        (TWO, ["fine", "  "], UsageError, "input 2 is an empty text"),
        (TWO, [{}], UsageError, "input 1 is an empty dict"),
        (TWO, [7], UsageError, "input 1 must be a text or a dict"),
        (TWO, 7, UsageError, "not int"),
        ([{"name": "a", "model": "echo"}, {"name": "a", "model": "instant"}], "x", UsageError, "two variants are called 'a'"),
        ([{"name": "tie", "model": "echo"}, "instant"], "x", UsageError, "cannot be called 'tie'"),
        ([{"modle": "echo"}, "instant"], "x", UsageError, "no 'modle'. Did you mean model?"),
        ([{"model": "echo", "temperature": 0}, "instant"], "x", UsageError, "goes into 'settings'"),
        ([{"model": "echo", "settings": "hot"}, "instant"], "x", UsageError, "must be a dict"),
        ([3, "echo"], "x", UsageError, "variant 1 must be a Variant or a dict"),
    ],
)
def test_what_cannot_be_compared_is_refused_and_nothing_is_spent(
    place: Served, variants: Any, inputs: Any, kind: type[AiplatError], said: str
) -> None:
    place.upstream.reset()
    before = len(place.client.view_rows("experiment_list"))
    with pytest.raises(kind) as caught:
        begun(place.client, variants, inputs)
    assert said in caught.value.message, caught.value.message
    assert not place.upstream.requests
    assert len(place.client.view_rows("experiment_list")) == before


@pytest.mark.parametrize(("option", "said"), [({"alpha": 0}, "alpha is the share"), ({"ahead": -1}, "ahead is a number")])
def test_options_out_of_range_are_refused(place: Served, option: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        begun(place.client, **option)


def test_variants_are_written_in_many_ways(place: Served) -> None:
    prompts.save(SAVED, client=place.client)
    saved = prompts.get("greet@latest", client=place.client)
    variants = [
        Variant(prompt="greet@latest", name="saved"),
        {"prompt": saved, "name": "object", "settings": {"max_tokens": 1}},
        {"name": "text", "model": "echo", "prompt": "{{ who }} {{ tone }}"},
    ]
    made = begun(place.client, variants, [{"who": "Ann", "tone": "warm"}])
    assert made.wait(10) and made.plan.names == ("saved", "object", "text")
    said = {answer.variant: answer.text for answer in (made.answer(name, made.current.id) for name in made.plan.names)}
    assert said["saved"] == "Greet Ann" and said["object"].strip() == "Greet"
    rows = {row["variant"]: row for row in place.client.view_rows("experiment_answers", experiment=made.id)}
    assert [(rows[name]["prompt_name"], rows[name]["prompt_version"]) for name in ("saved", "object")] == [("greet", saved.version)] * 2
    (record,) = place.client.view_rows("experiment_list", experiment=made.id)
    kept = json.loads(record["variants"])
    assert kept[0]["prompt_version"] == saved.version and "prompt_text" not in kept[0]


def test_a_prompt_written_on_the_spot_is_a_template(place: Served) -> None:
    frame = polars.DataFrame({"name": ["Ann", "{{ secret }}"], "amount": [3, 4]})
    variants = [
        {"name": "a", "model": "echo", "prompt": "Dear {{ name }}, {{ amount }}"},
        {"name": "b", "model": "echo", "prompt": "Hi {{ name }}"},
    ]
    made = begun(place.client, variants, frame, ahead=5)
    assert made.wait(10)
    texts = [made.answer("a", one.id).text for one in made.plan.inputs]
    assert texts == ["Dear Ann, 3", "Dear {{ secret }}, 4"], "a value is never read again"
    assert [made.answer("b", one.id).text for one in made.plan.inputs] == ["Hi Ann", "Hi {{ secret }}"]


def test_a_text_fills_the_only_variable_whatever_its_name(place: Served) -> None:
    variants = [{"name": "a", "model": "echo", "prompt": "Dear {{ text }}"}, {"name": "b", "model": "echo", "prompt": "Hi {{ input }}"}]
    made = begun(place.client, variants, ["Ann {{ x }}"], ahead=1)
    assert made.wait(10)
    assert [made.answer(name, made.plan.inputs[0].id).text for name in "ab"] == ["Dear Ann {{ x }}", "Hi Ann {{ x }}"]


def test_names_come_from_what_differs(place: Served) -> None:
    assert begun(place.client, ["echo", "instant"]).plan.names == ("echo", "instant")
    same = [{"model": "echo", "settings": {"temperature": 0}}, {"model": "echo", "settings": {"temperature": 1}}]
    assert begun(place.client, same).plan.names == ("A", "B")


def test_one_input_has_one_id_in_every_run(place: Served) -> None:
    first = begun(place.client, inputs=["one", "two", "one"]).plan.inputs
    again = begun(place.client, inputs=["two", "one"]).plan.inputs
    assert len({one.id for one in first}) == 3
    assert [again[1].id, again[0].id] == [first[0].id, first[1].id]


def test_an_experiment_is_recorded_before_it_asks(place: Served) -> None:
    made = begun(place.client, name="Greetings", seed=5, alpha=0.1)
    (record,) = place.client.view_rows("experiment_list", experiment=made.id)
    assert (record["name"], record["author"], record["notebook"]) == ("Greetings", "ann", "work/notes.ipynb")
    assert (record["seed"], record["alpha"], record["blind"], record["inputs"]) == (5, 0.1, True, 1)
    assert made.wait(10)
    row = place.client.call(made.answer("plain", made.current.id).call_id)
    assert (row["experiment"], row["variant"], row["surface"], row["cell_id"]) == (made.id, "plain", "ab", "cell-1")
    assert row["tags"]["input"] == made.current.id
