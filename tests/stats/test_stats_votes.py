"""The running verdict on votes: its words, its foresight, and that looking often does not make false winners."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiplat_lab.core.errors import UsageError
from aiplat_lab.stats import beta_binomial_interval, log_evidence, vote_verdict, votes_needed

SENTENCES = [
    ({"A": 0, "B": 0}, 0, "No votes yet: a winner takes at least 8 votes."),
    ({"A": 0, "B": 0, "C": 0}, 0, "No votes yet: a winner takes at least 9 votes."),
    ({"A": 0, "B": 0}, 4, "No winner yet: 4 votes, 4 ties, none for a variant."),
    (
        {"A": 0, "B": 1},
        0,
        "No winner yet: B leads A 1 to 0 (100 %, 95 % interval 3 to 100 %, valid at every look; 1 vote); "
        "about 7 more votes needed at this rate.",
    ),
    (
        {"A": 8, "B": 12},
        3,
        "No winner yet: B leads A 12 to 8 (60 %, 95 % interval 28 to 87 %, valid at every look; 23 votes, 3 ties); "
        "about 300 more votes needed at this rate.",
    ),
    (
        {"A": 34, "B": 8},
        3,
        "A is preferred to B: 34 to 8 (81 %, 95 % interval 58 to 95 %, valid at every look; 45 votes, 3 ties).",
    ),
    (
        {"A": 7, "B": 0},
        0,
        "No winner yet: A leads B 7 to 0 (100 %, 95 % interval 48 to 100 %, valid at every look; 7 votes); "
        "about 1 more vote needed at this rate.",
    ),
    (
        {"A": 100, "B": 100},
        0,
        "No winner yet: A and B are level at 100 each (50 %, 95 % interval 39 to 61 %, valid at every look; 200 votes); "
        "none is in sight at this rate, and a lead of more than 23 points is excluded.",
    ),
    (
        {"A": 500, "B": 500},
        30,
        "No difference that matters: A and B are level at 500 each (50 %, 95 % interval 44 to 56 %, valid at every look; "
        "1,030 votes, 30 ties); no lead of more than 12 points would have been missed.",
    ),
    (
        {"short": 5, "plain": 5, "warm": 5},
        0,
        "No winner yet: short, plain and warm are level at 5 each (50 %, 95 % interval 11 to 89 %, valid at every look; 15 votes); "
        "none is in sight at this rate.",
    ),
    (
        {"A": 2, "B": 60, "C": 3, "D": 4},
        0,
        "B is preferred to each other variant: 60 to 4 against D, the next best (94 %, 95 % interval 77 to 100 %, valid at every look; "
        "69 votes).",
    ),
]


@pytest.mark.parametrize(("wins", "ties", "sentence"), SENTENCES)
def test_sentences(wins: dict[str, int], ties: int, sentence: str) -> None:
    assert vote_verdict(wins, ties=ties).sentence == sentence


def test_the_verdict_in_figures() -> None:
    found = vote_verdict({"A": 8, "B": 12}, ties=3)
    assert (found.state, found.winner, found.ahead, found.rival, found.votes, found.ties) == ("open", None, "B", "A", 23, 3)
    assert found.share == 0.6
    assert found.votes_needed == 298
    assert found.wins == (("A", 8), ("B", 12))


def test_a_winner_must_beat_each_other_variant() -> None:
    assert vote_verdict({"A": 60, "B": 55, "C": 1, "D": 1}).winner is None
    assert vote_verdict({"A": 90, "B": 30, "C": 30, "D": 30}).winner == "A"


def test_more_variants_ask_for_more() -> None:
    assert vote_verdict({"A": 8, "B": 0}).winner == "A"
    assert vote_verdict({"A": 8, "B": 0, "C": 0}).winner is None
    assert vote_verdict({"A": 9, "B": 0, "C": 0}).winner == "A"


def test_the_lead_that_matters_can_be_named() -> None:
    assert vote_verdict({"A": 100, "B": 100}, smallest_lead=0.25).state == "no_difference"
    assert vote_verdict({"A": 100, "B": 100}, smallest_lead=0.1).state == "open"


@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 50))
def test_verdict_interval_and_evidence_agree(a: int, b: int, ties: int) -> None:
    found = vote_verdict({"A": a, "B": b}, ties=ties)
    decided = bool(log_evidence(a, a + b) >= np.log(20))
    assert (found.winner is not None) == decided == (found.low > 0.5) == (found.votes_needed == 0)
    assert found.low <= found.share <= found.high
    if found.winner:
        assert found.winner == ("A" if a > b else "B")
    assert found.sentence.endswith(".")
    mirrored = vote_verdict({"A": b, "B": a}, ties=ties)
    assert (mirrored.share, mirrored.low, mirrored.state) == (found.share, found.low, found.state)


@given(st.integers(1, 60), st.data())
def test_votes_needed_foretells_the_verdict(n: int, data: st.DataObject) -> None:
    wins = data.draw(st.integers(n // 2 + 1, n))
    needed = votes_needed(wins, n)
    assert needed is not None
    total = n + needed
    assert beta_binomial_interval(min(total, round(wins / n * total) + 1), total).low > 0.5
    if needed > 2:
        before = total - 2
        assert beta_binomial_interval(round(wins / n * before) - 1, before).low <= 0.5


def test_votes_needed_says_when_it_cannot_tell() -> None:
    assert votes_needed(0, 0) == 8
    assert votes_needed(10, 20) is None
    assert votes_needed(50_001, 100_002) is None
    assert votes_needed(20, 20) == 0
    assert votes_needed(0, 20) == 0


def test_beta_binomial_edges() -> None:
    empty = beta_binomial_interval(0, 0)
    assert (empty.low, empty.high) == (0.0, 1.0)
    assert beta_binomial_interval(20, 20).high == 1.0
    assert beta_binomial_interval(20, 20).low == pytest.approx(1 - beta_binomial_interval(0, 20).high)


@pytest.mark.parametrize(
    ("wins", "more", "says"),
    [
        ({}, {}, "at least two variants, got 0"),
        ({"A": 3}, {}, "at least two variants, got 1"),
        ({"A": 3, "B": -1}, {}, "votes for B must be a whole number of at least 0, got -1"),
        ({"A": 3, "B": 1.5}, {}, "votes for B must be a whole number of at least 0, got 1.5"),
        ({"A": 3, "B": float("nan")}, {}, "votes for B must be a whole number"),
        ({"A": 3, "B": 1}, {"ties": -1}, "ties must be a whole number"),
        ({"A": 3, "B": 1}, {"level": 1.0}, "level must lie between 0 and 1"),
        ({"A": 3, "B": 1}, {"smallest_lead": 20}, "smallest_lead must lie from 0 to 1"),
    ],
)
def test_bad_votes_are_refused(wins: dict[str, float], more: dict[str, float], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        vote_verdict(wins, **more)  # type: ignore[arg-type]
    assert says in str(caught.value)
