"""Votes: given once, kept when the gateway is away, joined over raters, and read back after a restart."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path

import pytest
from abkit import TABLES, TWO, begun
from served import Served, served, stop, wait_for

from aiplat_lab.client import connect
from aiplat_lab.core.errors import UsageError
from aiplat_lab.widgets._ballots import sides
from aiplat_lab.widgets._experiment import Experiment


def stored(made: Experiment) -> None:
    assert made._box.flush(10), "the votes were not stored"


def test_a_vote_sent_twice_counts_once(place: Served) -> None:
    made = begun(place.client)
    ballot = made.ballot(made.current.id)
    took: list[bool] = []
    clicks = [threading.Thread(target=lambda: took.append(made.cast(ballot.id, "polite"))) for _ in range(8)]
    for click in clicks:
        click.start()
    for click in clicks:
        click.join()
    assert made.cast(ballot.id, "plain") is False and sorted(took) == [False] * 7 + [True]
    stored(made)
    (vote,) = place.client.view_rows("vote_list", experiment=made.id)
    assert (vote["id"], vote["winner"], vote["rater"]) == (ballot.id, "polite", "ann")
    assert json.loads(vote["order"]) == list(ballot.order)
    assert json.loads(vote["call_ids"]) == {name: made.answer(name, made.current.id).call_id for name in made.plan.names}
    # The same record again, as a client sends it whose connection broke: the view counts it once.
    place.client.record("vote", {key: vote[key] for key in ("id", "experiment", "input_id", "rater", "winner", "blind")})
    assert len(place.client.view_rows("vote_list", experiment=made.id)) == 1


def test_a_vote_does_not_wait_for_the_answers(place: Served) -> None:
    made = begun(place.client, ["slow-stream", "echo"], fresh=True)
    assert wait_for(lambda: made.answer("slow-stream", made.current.id).text.startswith("one two"))
    made.vote("echo")
    stored(made)
    assert not made.answer("slow-stream", made.current.id).ended
    assert (made.ballot(made.current.id).took_s or 9) < 1.0
    made.stop()
    assert made.wait(5)
    assert wait_for(lambda: made.answer("slow-stream", made.current.id).state == "cancelled")


def test_the_gateway_is_away_at_the_moment_of_a_vote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIPLAT_HOME", str(tmp_path / "home"))
    with served(tmp_path / "home", tables=TABLES) as place, connect(place.home, spawn=False) as client:
        place.client.status()  # starts it
        made = begun(client)
        assert made.wait(10)
        stop(place.home)
        told: list[str] = []
        made.listeners.append(lambda change, _: told.append(made.ballot(made.current.id).problem) if change == "vote" else None)
        made.vote("plain", reason="shorter")
        ballot = made.ballot(made.current.id)
        assert wait_for(lambda: ballot.problem)
        assert not ballot.stored and made.unstored() == 1 and any(told), "the rater is told"
        place.client.status()  # starts it again
        stored(made)
        assert ballot.stored and ballot.problem == "" and made.unstored() == 0
        (vote,) = place.client.view_rows("vote_list", experiment=made.id)
        assert (vote["winner"], vote["reason"]) == ("plain", "shorter")


def test_a_reason_can_follow_the_vote(place: Served) -> None:
    made = begun(place.client)
    assert made.explain(made.ballot(made.current.id).id, "too early") is False
    made.vote("tie")
    assert made.explain(made.ballot(made.current.id).id, " both fine ")
    stored(made)
    (vote,) = place.client.view_rows("vote_list", experiment=made.id)
    assert (vote["winner"], vote["reason"]) == ("tie", "both fine")
    assert made.verdict().ties == 1


def test_what_is_no_vote_is_refused(place: Served) -> None:
    made = begun(place.client)
    with pytest.raises(UsageError, match="Did you mean polite"):
        made.vote("politte")
    with pytest.raises(UsageError, match="there is no input"):
        made.vote("polite", input_id="nothing")
    assert made.cast("no-such-ballot", "polite") is False
    assert not place.client.view_rows("vote_list", experiment=made.id)


def test_the_verdict_says_how_many_more_votes_rather_than_a_false_winner(place: Served) -> None:
    made = begun(place.client, inputs=[f"input {number}" for number in range(8)])
    sentences = []
    for one in made.plan.inputs:
        made.vote("polite", input_id=one.id)
        sentences.append(made.verdict().sentence)
    assert all("more votes needed" in said or "more vote needed" in said for said in sentences[:7]), sentences
    assert made.verdict().winner == "polite" and "polite is preferred" in sentences[7]
    stored(made)
    assert made.verdict().winner == "polite" and made.votes().height == 8
    made.stop()


def test_none_is_a_vote_for_nobody_and_no_tie(place: Served) -> None:
    made = begun(place.client)
    made.vote("none")
    stored(made)
    assert (made.verdict().votes, made.verdict().ties) == (0, 0)
    assert made.votes()["winner"].to_list() == ["none"]


def test_a_restart_reads_votes_and_answers_back_and_asks_nothing_twice(place: Served) -> None:
    first = begun(place.client, inputs=["one", "two", "three"])
    assert wait_for(lambda: all(first.answer(name, one.id).ended for name in first.plan.names for one in first.plan.inputs[:2]))
    first.vote("polite", reason="kind")
    stored(first)
    first.stop()
    place.upstream.reset()
    again = begun(place.client, TWO, ["one", "two", "three"], resume=first.id)
    assert again.place == 1 and again.ballot(again.plan.inputs[0].id).winner == "polite"
    for one in again.plan.inputs[:2]:
        for name in again.plan.names:
            assert again.answer(name, one.id).call_id == first.answer(name, one.id).call_id
    assert [again.ballot(one.id).order for one in again.plan.inputs] == [first.ballot(one.id).order for one in first.plan.inputs]
    assert wait_for(lambda: again.answer("plain", again.plan.inputs[2].id).ended)
    assert len(place.upstream.requests) <= 2, "the first two are in the ledger"
    again.vote("plain")
    stored(again)
    assert again.votes().height == 2
    again.stop()


def test_a_colleague_joins_with_the_id_alone(place: Served) -> None:
    first = begun(place.client, inputs=["one", "two"], name="Joined")
    assert wait_for(lambda: all(first.answer(name, one.id).ended for name in first.plan.names for one in first.plan.inputs))
    first.vote("polite")
    stored(first)
    place.upstream.reset()
    other = _join(place, first.id)
    assert (other.plan.name, other.plan.names, [one.text for one in other.plan.inputs]) == ("Joined", first.plan.names, ["one", "two"])
    assert other.judged() == 0 and other.answer("polite", other.current.id).text == "Please: one"
    other.vote("plain")
    stored(other)
    first.vote("tie", input_id=first.plan.inputs[1].id)
    stored(first)
    assert wait_for(lambda: first.verdict().votes == 3), "votes of others join"
    assert first.verdict().ties == 1 and not place.upstream.requests


def _join(place: Served, experiment: str) -> Experiment:
    from abkit import WATCHED

    from aiplat_lab.widgets._begin import Options, prepare

    made = prepare(None, None, Options(rater="bob", resume=experiment), here=WATCHED, client=place.client)
    made.start()
    return made


def test_another_experiment_is_not_gone_on_with(place: Served) -> None:
    first = begun(place.client)
    with pytest.raises(UsageError, match=rf"no experiment '{first.id[:-1]}'. Did you mean {first.id}"):
        begun(place.client, resume=first.id[:-1])
    with pytest.raises(UsageError, match="compares plain, polite, not echo, instant"):
        begun(place.client, ["echo", "instant"], resume=first.id)
    changed = [TWO[0], {**TWO[1], "prompt": "Kindly: {{ input }}"}]
    with pytest.raises(UsageError, match="variant 'polite' has another prompt"):
        begun(place.client, changed, resume=first.id)


def test_sides_are_shuffled_for_each_input_and_rater_and_can_be_repeated() -> None:
    names = ("a", "b", "c")
    drawn = [sides(names, seed=3, input_id=f"input-{number}", rater="ann") for number in range(600)]
    assert drawn == [sides(names, seed=3, input_id=f"input-{number}", rater="ann") for number in range(600)]
    counts = Counter(drawn)
    assert len(counts) == 6 and min(counts.values()) > 60, counts
    assert sum(one != sides(names, seed=3, input_id=f"input-{n}", rater="bob") for n, one in enumerate(drawn)) > 300
