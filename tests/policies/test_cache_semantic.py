"""Questions that mean the same: what may share an answer, what never does, and what is said of it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from clikit import Line
from faults import FaultServer
from gatewaykit import PRICED, ask, model, world
from hypothesis import given
from hypothesis import strategies as st
from served import served

from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import Message, Request
from aiplat_lab.policies._alike import GUARDS, MAX_BYTES, disagreement, marks
from aiplat_lab.policies._semantic import Meanings, question

FAST = model("fast", "echo", more=", " + PRICED)
ON = "[cache]\nsemantic = true\nsemantic_model = 'words'\nsemantic_threshold = 0.9\n" + FAST + model("words", "bag-of-words")
FIRST, AGAIN = "What are the opening hours of the library?", "Of the library, what are the opening hours?"


def asked(text: str, **more: object) -> Request:
    return ask("fast", text, cache="on", **more)  # type: ignore[arg-type]


def test_a_question_in_other_words_is_answered_and_marked(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, ON) as here:
            first = await here.gateway.handle(asked(FIRST, team="a"))
            again = await here.gateway.handle(asked(AGAIN, team="a"))
            assert (first.cache, again.cache) == ("miss", "hit")
            assert again.text == FIRST and again.cost_usd == 0 and again.baseline_cost_usd == first.cost_usd
            assert "semantic_hit" in again.flags and again.notes["cache-of"] == first.call_id
            assert 0.9 <= float(again.notes["cache-similarity"]) <= 1.0
            row = here.row(again.call_id)
            assert row["cache"] == "hit" and "semantic_hit" in row["flags"] and str(row["parent_id"]) == first.call_id
            assert here.ledger.view_rows("cache_use", {"team": "a"})[0]["semantic_hits"] == 1
            questions = [row for row in here.rows() if row["surface"] == "cache"]
            assert len(questions) == 2 and {row["team"] for row in questions} == {"a"}, "each comparison is a call in the ledger"
            third = await here.gateway.handle(asked(AGAIN, team="b"))
            assert third.cache == "miss", "teams do not share"

    asyncio.run(run())


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"temperature": 0.5}},
        {"settings": {"max_tokens": 50}},
        {"settings": {"tools": [{"type": "function", "function": {"name": "f"}}]}},
        {"model": "up/echo"},
        {"system": "Answer like a pirate."},
        {"cache": "off"},
        {"cache": "refresh"},
        {"role": "assistant"},
        {"surface": "http", "cache": "auto"},
    ],
)
def test_everything_else_must_be_the_same(home: Home, upstream: FaultServer, change: dict[str, object]) -> None:
    async def run() -> None:
        async with world(home, upstream, ON) as here:
            await here.gateway.handle(asked(FIRST))
            given = dict(change)
            system, role = given.pop("system", None), given.pop("role", "user")
            base: dict[str, object] = {"model": "fast", "text": AGAIN, "cache": "on", **given}
            request = ask(**base)  # type: ignore[arg-type]
            before = (Message("system", str(system)),) if system else ()
            request = replace(request, messages=(*before, Message(str(role), AGAIN)))
            answer = await here.gateway.handle(request)
            assert answer.cache != "hit"

    asyncio.run(run())


def test_guards_hold_in_the_pipeline(home: Home, upstream: FaultServer) -> None:
    """Word for word these are alike to the model that embeds them, so that the guards alone keep them apart."""

    async def run() -> None:
        async with world(home, upstream, ON.replace("0.9", "0.5")) as here:
            for first, second in (
                ("Is London bigger than Paris?", "Is Paris bigger than London?"),
                ("What is 15 percent of 240?", "What is 24 percent of 150?"),
                ("Translate this from Welsh to English.", "Translate this from English to Welsh."),
                ("Which bins are collected today?", "Which bins are not collected today?"),
            ):
                await here.gateway.handle(asked(first))
                assert (await here.gateway.handle(asked(second))).cache == "miss", second

    asyncio.run(run())


def test_an_embedding_that_fails_costs_no_answer(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, ON.replace("bag-of-words", "status-400")) as here:
            for expected in ("miss", "hit"):
                answer = await here.gateway.handle(asked(FIRST))
                assert answer.cache == expected
                assert ("semantic_not_read" in answer.flags) is (expected == "miss")

    asyncio.run(run())


def test_a_team_that_may_not_use_the_embedding_model_or_its_region_is_asked_as_ever(home: Home, upstream: FaultServer) -> None:
    teams = "[teams.narrow]\nmodels = ['fast']\n[teams.far]\nresidency = ['eu']\n"
    far = ON.replace('model = "echo"', 'model = "echo", region = "eu"')

    async def run() -> None:
        async with world(home, upstream, teams + far) as here:
            for team in ("narrow", "far"):
                for text in (FIRST, AGAIN):
                    answer = await here.gateway.handle(asked(text, team=team))
                    assert answer.cache == "miss" and "semantic_not_read" in answer.flags
            assert not here.asked("bag-of-words"), "nothing left the region"

    asyncio.run(run())


def test_an_answer_that_is_gone_is_not_found_by_meaning(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, ON) as here:
            first = await here.gateway.handle(asked(FIRST))
            await asyncio.to_thread(here.ledger.erase_payload, here.row(first.call_id)["response_hash"])
            assert (await here.gateway.handle(asked(AGAIN))).cache == "miss"
            here.ledger.record("cache_cleared", {"id": "c1", "team": ""})
            assert (await here.gateway.handle(asked(FIRST))).cache == "miss"

    asyncio.run(run())


def test_it_is_off_unless_switched_on(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, ON.replace("semantic = true", "semantic = false")) as here:
            await here.gateway.handle(asked(FIRST))
            assert (await here.gateway.handle(asked(AGAIN))).cache == "miss" and not here.asked("bag-of-words")

    asyncio.run(run())


# --- what may be compared ---------------------------------------------------------------------------------------------


def chat_of(*messages: Message, **more: object) -> Request:
    return Request(model="m", messages=messages, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "request_",
    [
        chat_of(),
        chat_of(Message("user", "")),
        chat_of(Message("user", "x" * (MAX_BYTES + 1))),
        chat_of(Message("user", ({"type": "image_url", "image_url": {"url": "https://x/a.png"}},))),
        chat_of(Message("user", None)),
        chat_of(Message("user", "x"), Message("assistant", "y")),
        chat_of(Message("tool", "x", {"tool_call_id": "1"}), Message("user", "x")),
        chat_of(Message("assistant", None, {"tool_calls": []}), Message("user", "x")),
        chat_of(Message("user", "x"), settings={"tool_choice": "auto"}),
        Request(model="m", operation="embed", inputs=("x",)),
    ],
)
def test_what_is_never_compared(request_: Request) -> None:
    assert question(request_) is None


def test_the_context_is_everything_but_the_last_words() -> None:
    one = question(chat_of(Message("system", "s"), Message("user", "a")))
    assert one == question(chat_of(Message("system", "s"), Message("user", "a"), stream=True))
    other = question(chat_of(Message("system", "s"), Message("user", "b")))
    assert one is not None and other is not None and one.context == other.context and one.text != other.text
    body = {"model": "m", "messages": [], "metadata": {"user": "u"}}
    told = question(chat_of(Message("system", "s"), Message("user", "a"), body=body, wire="openai.chat"))
    assert told is not None and told.context != one.context


def test_meanings_forget_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiplat_lab.policies._semantic._MAX_VECTORS", 20)
    known = Meanings(0.99)
    for number in range(50):
        asked_ = question(chat_of(Message("system", str(number % 2)), Message("user", f"what about thing{number}x")))
        assert asked_ is not None
        known.keep("a", asked_, [float(number), 1.0], ("a", str(number)))
        assert len(known) <= 20
    assert known.near("a", asked_, [49.0, 1.0])[0].key == ("a", "49")
    assert known.near("b", asked_, [49.0, 1.0]) == []
    assert known.near("a", asked_, [0.0, 0.0]) == [], "a vector without length is near to nothing"
    assert known.near("a", asked_, [49.0, 1.0, 0.0]) == [], "vectors of another model"
    known.keep("a", asked_, [49.0, 1.0, 0.0], ("a", "new"))
    assert [near.key for near in known.near("a", asked_, [49.0, 1.0, 0.0])] == [("a", "new")]
    assert len(known) == sum(len(shelf.keys) for shelf in known._shelves.values())
    known.clear()
    assert len(known) == 0


# --- the guards -------------------------------------------------------------------------------------------------------

GUARDED = [
    ("What is 15 % of 240?", "What is 15 % of 260?", "numbers"),
    ("Give me two ideas", "Give me three ideas", "numbers"),
    ("Give me 2 ideas", "Give me two ideas", ""),
    ("What is 1,000 plus 5?", "What is 1000 plus 5?", ""),
    ("Is 5 larger than 3?", "Is 3 larger than 5?", "numbers"),
    ("Where is Leeds?", "Where is York?", "names"),
    ("Where is Leeds?", "Where is leeds?", "names"),
    ("What is VAT?", "What is PAYE?", "names"),
    ("What can be recycled?", "What cannot be recycled?", "negations"),
    ("Which files are read?", "Which files aren't read?", "negations"),
    ("How do I enable it?", "How do I disable it?", "opposites"),
    ("Is it 5 km away?", "Is it 5 miles away?", "units"),
    ("Is £5 enough?", "Is $5 enough?", "units"),
    ("What is on today?", "What is on tomorrow?", "times"),
    ("Explain `git reset`", "Explain `git revert`", "verbatim"),
    ("Read data/a.csv", "Read data/b.csv", "verbatim"),
    ("Who invented it?", "When was it invented?", "kind"),
    ("Explain it as a table", "Explain it as a poem", "form"),
    ("How do I renew my passport?", "Wie kann ich meinen Pass verlängern?", "language"),
    ("Как дела у вас сегодня", "How are you", "language"),
    ("What is the fee?", "What is the fee for adults?", "words"),
    ("How do I clean a leather sofa?", "How do I clean a velvet sofa?", "words"),
    ("Can a tenant sue a landlord?", "Can a landlord sue a tenant?", "order"),
    ("Does rust damage steel?", "Does steel damage rust?", "order"),
]


@pytest.mark.parametrize(("one", "other", "guard"), GUARDED)
def test_each_guard(one: str, other: str, guard: str) -> None:
    found = disagreement(marks(one), marks(other))
    assert found == disagreement(marks(other), marks(one))
    if guard in ("", "language", "numbers", "names", "negations", "words", "order"):
        assert found == guard
    assert bool(found) is bool(guard)


@given(st.text(max_size=300))
def test_any_text_agrees_with_itself(text: str) -> None:
    assert disagreement(marks(text), marks(text)) == ""


@given(st.text(max_size=200), st.text(max_size=200))
def test_guards_are_symmetric_and_named(one: str, other: str) -> None:
    found = disagreement(marks(one), marks(other))
    assert found == disagreement(marks(other), marks(one)) and found in ("", *GUARDS)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_two_numbers_never_share_an_answer(one: int, other: int) -> None:
    found = disagreement(marks(f"What is the square root of {one}?"), marks(f"What is the square root of {other}?"))
    assert (found == "numbers") is (one != other)


def test_marks_take_linear_time() -> None:
    import time

    for text in ("a" * 20_000, "`" * 20_000, '"' * 20_000, "1." * 10_000, "a_" * 10_000, "@" * 20_000, "É " * 10_000):
        began = time.process_time()
        marks(text)
        assert time.process_time() - began < 1.0, text[:4]


# --- the report -------------------------------------------------------------------------------------------------------


def test_the_guards_keep_apart_what_differs_in_the_evalset() -> None:
    """Whatever the embedding says: of the pairs of different meaning, all but one are refused by a guard, and that one is known."""
    path = Path(__file__).resolve().parents[2] / "evalsets" / "question-pairs" / "data.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    passed = [row for row in rows if not disagreement(marks(row["input"]["first"]), marks(row["input"]["second"]))]
    different = {row["input"]["first"] for row in passed if row["target"] == "different"}
    assert different <= {
        "How do I appeal against a parking fine?",
        "Do I need planning permission for a garden shed?",
        "How do I remove red wine stains from a carpet?",
        "Which school does a child in foster care attend?",
        "Which medicine treats migraine?",
        "How do premium bonds work?",
        "Who owes money, the buyer or the seller?",
        "How long can cooked rice be kept in the fridge?",
    }
    assert sum(row["target"] == "same" for row in passed) >= 20


def test_the_report_counts_hits_and_false_hits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = tmp_path / "pairs.jsonl"
    rows = [
        {"id": "1", "input": {"first": FIRST, "second": AGAIN}, "target": "same", "slices": {"change": "wording"}},
        {
            "id": "2",
            "input": {"first": "Is 5 larger than 3?", "second": "Is 3 larger than 5?"},
            "target": "different",
            "slices": {"change": "x"},
        },
        {"id": "3", "input": {"first": "Where is Leeds?", "second": "Who wrote Emma?"}, "target": "different", "slices": {"change": "x"}},
    ]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with served(tmp_path / "home", tables='[models.words]\ndeployments = [{ provider = "up", model = "bag-of-words" }]\n') as here:
        aiplat, where = Line(capsys, here.home.path), ("--home", str(here.home.path))
        report = ("cache", "report", "--evalset", str(pairs), "--model", "words", "--threshold", "0.9", *where)
        plain, guarded = aiplat(*report, "--json").rows
        assert (plain["hits"], plain["hit_of"], plain["false_hits"], plain["false_hit_of"]) == (1, 1, 1, 2)
        assert plain["false_pairs"] == ["2"] and not plain["guards"]
        assert (guarded["hits"], guarded["false_hits"], guarded["guards"]) == (1, 0, True)
        assert 0.3 < guarded["false_hit_high"] < 0.7
        said = aiplat(*report)
        assert "0 of 2: 0.0 % (0.0 to 65.8)" in said.out and "1 of 2: 50.0 %" in said.out
        assert len(aiplat(*report, "--by-change", "--json").rows) == 4
        pairs.write_text(json.dumps({"id": "1", "input": {"text": "x"}, "target": "same"}) + "\n")
        aiplat(*report).complains(1, "is no pair")
