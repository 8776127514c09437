"""`%%ai --vs` and `--repeat`: through the real gateway, against a real upstream."""

from __future__ import annotations

import json

import pytest
from magickit import Lab, Ran

from aiplat_lab import prompts
from aiplat_lab.core.errors import AiplatError, UsageError
from aiplat_lab.widgets import Experiment

MIME = "application/vnd.aiplat.ab+json"


def compared(lab: Lab, cell: str) -> tuple[Experiment, dict[str, object]]:
    ran = lab.run(cell)
    assert ran.error is None, ran.error
    (output,) = ran.outputs
    return lab.shell.user_ns["_ab"], output["data"][MIME]


def refused(ran: Ran, *said: str) -> None:
    assert isinstance(ran.error, AiplatError), ran.error
    for words in said:
        assert words in str(ran.error), ran.error


def test_two_models_answer_side_by_side_and_running_it_again_goes_on(lab: Lab) -> None:
    lab.shell.push({"thing": "a {kettle}"})
    cell = "%%ai echo --vs dear --team risk --tag topic=ab --temperature 0 --system 'Be brief.' -o kept\nDescribe {thing}"
    result, record = compared(lab, cell)
    assert record["status"] == "answered" and [side["name"] for side in record["variants"]] == ["echo", "dear"]
    assert record["inputs"][0]["text"] == "Describe a {kettle}" and lab.shell.user_ns["kept"] is result
    rows = lab.client.view_rows("recent_calls", experiment=result.id)
    assert {(row["surface"], row["team"]) for row in rows} == {("ab", "risk")}
    call = lab.row(rows[0]["call_id"])
    assert [one["role"] for one in call["messages"]] == ["system", "user"] and dict(call["tags"])["topic"] == "ab"
    assert call["settings"]["temperature"] == 0
    sent = len(lab.upstream.requests)
    result.vote("echo")
    assert result.wait(10)
    again, record = compared(lab, cell)
    assert again.id == result.id and again.votes().height == 1 and len(lab.upstream.requests) == sent
    fresh, _ = compared(lab, cell.replace("-o kept", "--fresh"))
    assert fresh.id != result.id and len(lab.upstream.requests) == sent + 2


def test_a_prompt_is_held_against_a_prompt_and_against_another_model(lab: Lab) -> None:
    prompts.save("---\nname: vs-polite\nmodel: echo\n---\nPlease: {{ text }}", client=lab.client)
    prompts.save("---\nname: vs-plain\nmodel: echo\n---\nDo: {{ text }}", client=lab.client)
    result, _ = compared(lab, "%%ai --prompt vs-polite@1 --vs vs-plain --vs dear\ntext: tea")
    assert dict(result.answers().select("variant", "text").iter_rows()) == {
        "vs-polite@1": "Please: tea",
        "vs-plain": "Do: tea",
        "dear": result.answers().filter(variant="dear")["text"][0],
    }
    answers = {row["variant"]: row for row in lab.client.view_rows("experiment_answers", experiment=result.id)}
    assert (answers["dear"]["request_model"], answers["dear"]["prompt_name"]) == ("dear", "vs-polite")
    result, _ = compared(lab, "%%ai echo --vs vs-plain@1.0.0\nboil water")
    assert [one.text for one in result.every().values()] == ["boil water", "Do: boil water"]


def test_many_rows_are_many_inputs_and_the_measures_are_paired(lab: Lab) -> None:
    lab.run("import polars\ntickets = polars.DataFrame({'text': ['one', 'two two', 'three three three'], 'n': [1, 2, 3]})")
    prompts.save("---\nname: vs-long\nmodel: echo\n---\nPlease be so kind: {{ text }}", client=lab.client)
    result, record = compared(lab, "%%ai echo --vs vs-long --each tickets\nTicket {n}: {text}")
    assert [one["text"] for one in record["inputs"]] == ["Ticket 1: one", "Ticket 2: two two", "Ticket 3: three three three"]
    length = next(one for one in record["measured"] if one["measure"] == "output_tokens")
    assert (length["variant"], length["base"], length["n"]) == ("vs-long", "echo", 3)
    assert length["low"] <= length["difference"] <= length["high"] and length["difference"] > 0
    assert "more votes needed" in result.verdict().sentence or "vote" in result.verdict().sentence
    result, _ = compared(lab, "%%ai echo --vs dear --each tickets.text\n{text}!")
    assert [one.text for one in result.plan.inputs] == ["one!", "two two!", "three three three!"]


def test_each_repetition_is_answered_anew_and_a_second_run_costs_nothing(lab: Lab) -> None:
    result, record = compared(lab, "%%ai echo --vs dear --repeat 3\nthrice, please")
    assert len(record["inputs"]) == 3 and len({one["id"] for one in record["inputs"]}) == 3
    assert result.answers()["cache"].to_list() == ["miss"] * 6
    sent = len(lab.upstream.requests)
    ran = lab.run("%%ai echo --repeat 3 -o many\nthrice alone")
    assert ran.error is None and len(lab.upstream.requests) == sent + 3
    assert ran.outputs[-1]["data"]["text/plain"].startswith("3 answers, all the same · £")
    assert [str(reply) for reply in lab.shell.user_ns["many"]] == ["thrice alone"] * 3
    assert lab.run("%%ai echo --repeat 3\nthrice alone").error is None and len(lab.upstream.requests) == sent + 3


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%%ai echo --vs ekko\nx", ("ekko", "Did you mean", "Nothing was asked")),
        ("%%ai echo --vs up/\nx", ("up/",)),
        ("%%ai echo --vs nothing@1\nx", ("nothing",)),
        ("%%ai echo --vs\nx", ("--vs needs a value",)),
        ("%%ai echo --vs dear --schema Order\nx", ("--schema has no place beside --vs",)),
        ("%%ai echo --vs dear --max-cost 1\nx", ("--max-cost has no place",)),
        ("%%ai echo --vs dear --vs dear --vs dear --vs dear\nx", ("stands 4 times",)),
        ("%%ai echo --vs dear --each nowhere\n{row}", ("--each 'nowhere' is no variable",)),
        ("%%ai echo --vs dear --repeat 1000\nx", ("from 1 to 100",)),
        ("%%ai echo --repeat 1000\nx", ("more than 100",)),
        ("%%ai echo --vs dear\n  ", ("the cell has no text",)),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_nothing_is_sent(lab: Lab, cell: str, said: tuple[str, ...]) -> None:
    ran = lab.run(cell)
    refused(ran, *said)
    assert len(str(ran.error)) < 800 and not lab.upstream.requests
    assert isinstance(ran.error, UsageError | AiplatError)


def test_a_side_that_fails_is_an_error_where_nobody_watches(lab: Lab) -> None:
    ran = lab.run("%%ai echo --vs closed/nothing\nhello")
    refused(ran, "1 of 2 answers failed", "closed/nothing")


def test_a_winner_becomes_a_draft_with_where_it_comes_from(lab: Lab) -> None:
    prompts.save("---\nname: vs-kept\nmodel: echo\nvariables:\n  text: string\n---\nKindly: {{ text }}", client=lab.client)
    prompts.label("vs-kept", "production", "1.0.0", client=lab.client)
    result, _ = compared(lab, "%%ai --prompt vs-kept@production --vs dear --temperature 0\ntext: tea")
    refused(lab.run("_ab.promote()"), "no winner yet", "dear")
    refused(lab.run("_ab.promote('deer')"), "deer", "Did you mean")
    made = result.promote("dear")
    assert (made.reference, made.label, made.new) == ("vs-kept@1.1.0", "draft", True)
    assert result.promote("dear").new is False, "a second click makes no second version"
    draft = prompts.get("vs-kept@draft", lab.client)
    assert (draft.model, dict(draft.settings), draft.messages[0].text) == ("dear", {"temperature": 0}, "Kindly: {{ text }}")
    assert prompts.get("vs-kept@production", lab.client).version == "1.0.0", "the label stays where it was"
    moves = lab.client.view_rows("record", kind="prompt_label")
    assert any(result.id in json.dumps(row) for row in moves)
    result, _ = compared(lab, "%%ai echo --vs dear\nA text with {{braces}} and\n# user\nin it")
    assert result.promote("echo", name="vs-text").reference == "vs-text@1.0.0"
    assert prompts.get("vs-text", lab.client).request().messages[0].text() == "A text with {braces} and\n# user\nin it"
