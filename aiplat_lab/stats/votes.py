"""The running verdict of a preference test: who is preferred, or how many more votes it takes; valid at every look."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from aiplat_lab.core.errors import UsageError
from aiplat_lab.stats import _check, _words
from aiplat_lab.stats.sequential import beta_binomial_interval, votes_needed

VoteState: TypeAlias = Literal["winner", "no_difference", "open"]
"""`winner`: one variant is preferred to each other. `no_difference`: no lead of the size that matters is left. `open`: more
votes are needed."""

SMALLEST_LEAD = 0.2
"""The lead that matters unless another is named: 60 to 40."""

WORTH_SAYING = 0.6
"""That a lead larger than this (80 to 20) is excluded is no news."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the votes say so far."""

    state: VoteState
    winner: str | None
    """The variant that is preferred, or None as long as that is not shown."""
    ahead: str | None
    """The variant with most votes, or None when two share that place."""
    rival: str | None
    """The variant closest behind, with which `ahead` is compared."""
    share: float
    """Of the votes for one of these two, the share of the one that is ahead."""
    low: float
    """The lower end of the interval of that share, valid at every look."""
    high: float
    level: float
    """The level of the whole verdict, over all variants and all looks."""
    votes: int
    """All votes, ties included."""
    ties: int
    wins: tuple[tuple[str, int], ...]
    """Votes for each variant, in the given order."""
    votes_needed: int | None
    """About how many more votes until a winner at the present rate, ties included; None when none is in sight."""
    largest_missed: float
    """The largest lead of one variant over another that is not excluded yet, as a share of their votes: 0.2 is 60 to 40."""
    sentence: str


def vote_verdict(wins: Mapping[str, int], *, ties: int = 0, level: float = 0.95, smallest_lead: float = SMALLEST_LEAD) -> Verdict:
    """The verdict of a preference test with two or more variants, after any number of votes and looks.

    Votes must be independent: many votes of one person on one input are not. Ties count for neither. Each variant is
    compared with each other one on the votes for these two, and a winner must beat every other. With k variants each
    pair is tested at α/(k−1): whoever is truly best, a false winner must first have won a false victory over it, and it
    takes part in k−1 pairs, so a false winner is ever declared with a chance of at most α.

    Args:
        wins: votes by variant; at least two variants.
        ties: votes without a preference.
        smallest_lead: the lead that matters; when larger ones are excluded, the verdict is "no difference".

    Raises:
        UsageError: fewer than two variants, or a count that is negative or not whole.
    """
    names = list(wins)
    if len(names) < 2:
        raise UsageError(f"A preference test needs at least two variants, got {len(names)}.")
    votes = {name: _check.count(wins[name], f"votes for {name}") for name in names}
    even = _check.count(ties, "ties")
    _check.share(smallest_lead, "smallest_lead")
    strict = 1 - (1 - _check.open_share(level, "level")) / (len(names) - 1)
    ranked = sorted(names, key=lambda name: -votes[name])  # stable: equal ones keep the given order
    first, second = ranked[0], ranked[1]
    pair = votes[first] + votes[second]
    interval = beta_binomial_interval(votes[first], pair, level=strict)
    won = all(beta_binomial_interval(votes[first], votes[first] + votes[other], level=strict).low > 0.5 for other in ranked[1:])
    lead = _largest_lead(votes, strict)
    total = sum(votes.values()) + even
    state: VoteState = "winner" if won else "no_difference" if lead <= smallest_lead else "open"
    verdict = Verdict(
        state=state,
        winner=first if won else None,
        ahead=first if votes[first] > votes[second] else None,
        rival=second if votes[first] > votes[second] else None,
        share=interval.value,
        low=interval.low,
        high=interval.high,
        level=level,
        votes=total,
        ties=even,
        wins=tuple(votes.items()),
        votes_needed=0 if won else _more(votes[first], pair, total, strict),
        largest_missed=lead,
        sentence="",
    )
    return _worded(verdict, strict)


def _largest_lead(votes: Mapping[str, int], level: float) -> float:
    """The largest lead, between any two variants and either way, that the votes do not exclude."""
    names = list(votes)
    largest = 0.0
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            interval = beta_binomial_interval(votes[one], votes[one] + votes[other], level=level)
            largest = max(largest, 1 - 2 * interval.low, 2 * interval.high - 1)
    return largest


def _more(first: int, pair: int, total: int, level: float) -> int | None:
    """More votes of any kind, from those that the leading pair needs at the rate at which votes fall on it."""
    needed = votes_needed(first, pair, level=level)
    if needed is None or pair == 0:
        return needed
    return math.ceil(needed * total / pair)


def _worded(v: Verdict, strict: float) -> Verdict:
    return replace(v, sentence=_sentence(v, strict))


def _sentence(v: Verdict, strict: float) -> str:
    if v.votes == 0:
        least = _words.plural(votes_needed(0, 0, level=strict) or 0, "vote")
        return f"No votes yet: a winner takes at least {least}."
    tied = f", {_words.plural(v.ties, 'tie')}" if v.ties else ""
    basis = f"{_words.plural(v.votes, 'vote')}{tied}"
    if sum(count for _, count in v.wins) == 0:
        return f"No winner yet: {basis}, none for a variant."
    if v.ahead is None:
        most = max(count for _, count in v.wins)
        level = [name for name, count in v.wins if count == most]
        standing = f"{' and '.join([', '.join(level[:-1]), level[-1]])} are level at {most:,} each"
    else:
        standing = f"{v.ahead} leads {v.rival} {dict(v.wins)[v.ahead]:,} to {dict(v.wins)[v.rival or '']:,}"
    decimals = _words.places([100 * v.low, 100 * v.high, 100 * v.share], (50.0,))
    low, high, share = (_words.number(100 * value, decimals) for value in (v.low, v.high, v.share))
    found = f"{share} %, {_words.percent(v.level)} interval {low} to {high} %, valid at every look; {basis}"
    if v.state == "winner":
        result = standing.removeprefix(f"{v.ahead} leads {v.rival} ")
        if len(v.wins) == 2:
            return f"{v.winner} is preferred to {v.rival}: {result} ({found})."
        return f"{v.winner} is preferred to each other variant: {result} against {v.rival}, the next best ({found})."
    missed = f"{math.ceil(100 * v.largest_missed - 1e-9)} points"
    if v.state == "no_difference":
        return f"No difference that matters: {standing} ({found}); no lead of more than {missed} would have been missed."
    if v.votes_needed is None:
        excluded = f", and a lead of more than {missed} is excluded" if v.largest_missed < WORTH_SAYING else ""
        return f"No winner yet: {standing} ({found}); none is in sight at this rate{excluded}."
    more = f"about {_words.about(v.votes_needed)} more {'vote' if v.votes_needed == 1 else 'votes'} needed"
    return f"No winner yet: {standing} ({found}); {more} at this rate."
