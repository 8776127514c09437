"""Answers and the saved record: what fails says so, what is blind stays hidden, and every text is harmless wherever it stands."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from abkit import TWO, WATCHED, begun
from served import Served, wait_for

import aiplat_lab
from aiplat_lab.core.errors import ProviderError
from aiplat_lab.core.place import Place
from aiplat_lab.widgets._begin import Options, prepare
from aiplat_lab.widgets._experiment import Experiment
from aiplat_lab.widgets._twin import MIME, bundle, document

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)> ```` **not bold** | a | b |"


def ended(made: Experiment) -> Experiment:
    assert made._asking.wait(10)
    return made


def test_a_provider_that_fails_half_way_leaves_the_others_alone(place: Served) -> None:
    made = ended(begun(place.client, ["cut-stream", "echo"], fresh=True))
    broken, good = (made.answer(name, made.current.id) for name in made.plan.names)
    assert (good.state, good.text) == ("ok", "hello there")
    assert broken.state == "error" and broken.text and broken.error_type == "ProviderError"
    row = place.client.call(broken.call_id)
    assert (row["status"], row["variant"]) == ("error", "cut-stream")
    made.vote("echo")
    found = document(made)
    side = found["variants"][0]
    assert (side["name"], side["failed"], side["answered"], side["mean_cost_usd"]) == ("cut-stream", 1, 0, None)
    assert found["inputs"][0]["answers"][made.ballot(made.current.id).order.index("cut-stream")]["error"]


def test_a_refusal_stands_in_its_column(place: Served) -> None:
    made = prepare(["priced", "echo"], "x", Options(rater="ann"), here=WATCHED, client=place.client)
    answer = made.answer("priced", made.current.id)
    answer.request = replace(answer.request, attribution=replace(answer.request.attribution, team="poor"))
    made.start()
    ended(made)
    assert (answer.state, answer.error_type) == ("refused", "BudgetExceeded")
    assert made.answer("echo", made.current.id).state == "ok"


def test_what_a_person_may_never_look_at_is_not_paid_for(place: Served) -> None:
    place.upstream.reset()
    made = begun(place.client, inputs=[f"ahead {number}" for number in range(9)], ahead=1)
    assert wait_for(lambda: len(place.upstream.requests) == 4)
    assert not wait_for(lambda: len(place.upstream.requests) > 4, 0.4), "two inputs for two variants"
    made.go(3)
    assert wait_for(lambda: made.answer("plain", made.plan.inputs[3].id).ended)
    made.stop()


def test_running_it_again_costs_nothing_unless_fresh_answers_are_wanted(place: Served) -> None:
    ended(begun(place.client, inputs="again and again"))
    place.upstream.reset()
    again = ended(begun(place.client, inputs="again and again"))
    assert not place.upstream.requests
    again.vote("plain")
    side = document(again)["variants"][0]
    assert side["median_latency_s"] is None, "a cache says nothing of the model's speed"
    assert float(side["mean_cost_usd"]) > 0, "and nothing of what an answer costs"
    ended(begun(place.client, inputs="again and again", fresh=True))
    assert len(place.upstream.requests) == 2


def test_the_record_hides_what_is_blind_until_the_vote(place: Served) -> None:
    sides = [{"name": name, "model": "echo", "prompt": f"{word}: {{{{ input }}}}"} for name, word in (("careful", "Sir"), ("short", "Hey"))]
    made = begun(place.client, sides, ["one", "two"])
    assert wait_for(lambda: all(answer.ended for answer in made._answers.values()))
    before = json.dumps(bundle(made)[MIME]) + bundle(made)["text/html"] + bundle(made)["text/markdown"]
    for secret in ("Sir:", "Hey:", "careful", '"echo"'):
        assert secret not in before.replace(made.plan.name, ""), secret
    made.vote("short", reason="it is short")
    assert made._box.flush(5)
    found = document(made)
    assert [len(one["answers"]) for one in found["inputs"]] == [2, 0] and found["inputs"][1]["hidden"] == 2
    calls = [answer.call_id for answer in made._answers.values() if answer.input_id == made.current.id]
    for kind in ("text/html", "text/markdown"):
        text = bundle(made)[kind]
        for wanted in ("careful", "short", "echo", "it is short", made.id, *calls, "$0.0000"):
            assert wanted in text, (kind, wanted)
        assert "Hey: two" not in text


def test_an_open_comparison_hides_nothing(place: Served) -> None:
    made = ended(begun(place.client, blind=False))
    assert [side["name"] for side in document(made)["variants"]] == ["plain", "polite"]
    assert [answer["variant"] for answer in document(made)["inputs"][0]["answers"]] == ["plain", "polite"]


def test_an_answer_is_harmless_in_every_form(place: Served) -> None:
    made = ended(begun(place.client, inputs=HOSTILE, name="<b>name</b>", blind=False))
    data = bundle(made)
    for alive in ("<script", "<img", "<b>"):
        assert alive not in data["text/html"]
    assert "&lt;script&gt;" in data["text/html"]
    fence = next(line for line in data["text/markdown"].splitlines() if line.startswith("`````"))
    assert fence == "`````text", "a longer fence than any in the text"
    assert "<b>" not in data["text/markdown"]
    assert json.loads(json.dumps(data[MIME], allow_nan=False)) == data[MIME]


def test_where_nobody_watches_every_answer_is_whole_and_nobody_is_asked(place: Served) -> None:
    result = aiplat_lab.ab(TWO, ["one", "two", "three"], client=place.client)
    frame = result.answers()
    assert frame["state"].to_list() == ["ok"] * 6 and frame["text"].to_list()[1] == "Please: one"
    assert {"call_id", "cost_usd", "latency_s", "variant"} <= set(frame.columns)
    assert result.votes().height == 0 and "No votes yet" in result.verdict().sentence


def test_where_nobody_watches_a_failure_is_a_failure(place: Served) -> None:
    with pytest.raises(ProviderError, match=r"1 of 2 answers failed; the first, of variant 'cut-stream'"):
        aiplat_lab.ab(["cut-stream", "echo"], "x", fresh=True, client=place.client)


def test_a_headless_record_names_everything(place: Served) -> None:
    here = Place("notes.ipynb", "", True, True)
    made = prepare(TWO, ["one", "two"], Options(), here=here, client=place.client)
    made.start()
    ended(made)
    assert document(made)["status"] == "answered"
    assert "Please: two" in bundle(made)["text/html"] and "polite" in bundle(made)["text/markdown"]
