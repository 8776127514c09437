"""The fair queue: shares, order, deadlines, rates and pauses, in a loop whose time is made."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from itertools import pairwise

import pytest
from flowkit import run_fake
from hypothesis import given, settings
from hypothesis import strategies as st

from aiplat_lab.core.types import Message, Request, Usage
from aiplat_lab.policies._queue import BATCH_EVERY, Limit, Place, Rank
from aiplat_lab.policies._rates import Bucket, Estimates


def now() -> float:
    return asyncio.get_running_loop().time()


async def enter(limit: Limit, rank: Rank, tokens: int = 1, *, within_s: float = 1e9) -> Place:
    """A place as the policy takes it."""
    place = limit.enter_now(tokens)
    if place is not None:
        return place
    waiting = limit.join(rank, tokens)
    try:
        async with asyncio.timeout(within_s):
            return await waiting.place
    except (TimeoutError, asyncio.CancelledError):
        limit.quit(waiting)
        raise


# --- buckets ----------------------------------------------------------------------------------------------------------


def test_a_bucket_fills_evenly() -> None:
    bucket = Bucket(60)
    assert bucket.level(0.0) == 60
    bucket.take(60, 0.0)
    assert bucket.wait_s(1, 0.0) == pytest.approx(1.0)
    assert bucket.wait_s(1, 0.0, ahead=9) == pytest.approx(10.0)
    assert bucket.level(30.0) == pytest.approx(30.0)
    assert bucket.level(1000.0) == 60


def test_more_than_a_minute_waits_for_a_full_bucket_and_is_made_good() -> None:
    bucket = Bucket(60)
    bucket.take(1, 0.0)
    assert bucket.wait_s(600, 0.0) == pytest.approx(1.0)
    bucket.take(600, 1.0)
    assert bucket.wait_s(1, 1.0) == pytest.approx(541.0)


def test_a_bucket_never_holds_more_than_a_minute() -> None:
    bucket = Bucket(10)
    bucket.give(1000, 0.0)
    assert bucket.level(0.0) == 10


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 40)), min_size=1, max_size=60))
def test_what_passes_keeps_to_the_rate(steps: list[tuple[float, int]]) -> None:
    """Over any stretch of time no more than a minute's allowance and what flowed in since is taken."""
    bucket, at, taken = Bucket(100), 0.0, []
    for passed, amount in steps:
        at += passed
        if not bucket.wait_s(amount, at):
            bucket.take(amount, at)
            taken.append((at, amount))
    for index, (since, _) in enumerate(taken):
        total = 0
        for until, amount in taken[index:]:
            total += amount
            assert total <= 100 + (until - since) * 100 / 60 + 1e-6


def test_time_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(60)
    bucket.take(60, 100.0)
    assert bucket.level(50.0) == pytest.approx(0.0)


# --- order ------------------------------------------------------------------------------------------------------------


def test_first_come_first_served_within_a_team_and_class() -> None:
    async def run() -> None:
        limit, served = Limit("x", parallel=1), []

        async def call(number: int) -> None:
            place = await enter(limit, Rank("a"))
            served.append(number)
            await asyncio.sleep(0.1)
            place.leave()

        await asyncio.gather(*(call(number) for number in range(50)))
        assert served == list(range(50))
        assert limit.running == limit.waiting == 0

    run_fake(run())


def saturated(weights: dict[str, float], *, seed: int, served: int = 600, size: int = 1, **figures: int) -> Counter[str]:
    """How many places each team got while all of them always had calls waiting, which came and lasted at random."""

    async def run() -> Counter[str]:
        chance = random.Random(seed)
        limit, counts = Limit("x", **figures), Counter[str]()
        if limit.requests:
            limit.requests.take(limit.requests.per_minute, now())

        async def call(team: str) -> None:
            place = await enter(limit, Rank(team, weights[team]), chance.randint(1, size))
            try:
                counts[team] += counts.total() < served
                await asyncio.sleep(chance.uniform(0.01, 0.1))
            finally:
                place.leave()

        async def team_of(name: str) -> None:
            tasks = set()
            while counts.total() < served:
                if sum(count for team, _, count in limit.flows() if team == name) < 40:
                    tasks |= {asyncio.create_task(call(name)) for _ in range(chance.randint(5, 60))}
                await asyncio.sleep(chance.uniform(0.001, 0.02))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        await asyncio.gather(*(team_of(name) for name in weights))
        assert limit.running == limit.waiting == 0
        return counts

    return run_fake(run())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("weights", "figures"),
    [
        ({"a": 1, "b": 1}, {"parallel": 3}),
        ({"a": 1, "b": 3}, {"parallel": 2}),
        ({"a": 1, "b": 2, "c": 5}, {"rpm": 1200}),
        ({"a": 0.5, "b": 1.5, "c": 2}, {"rpm": 6000, "parallel": 4}),
    ],
)
def test_shares_follow_the_weights(weights: dict[str, float], figures: dict[str, int], seed: int) -> None:
    counts = saturated(weights, seed=seed, **figures)
    for team, weight in weights.items():
        wanted = weight / sum(weights.values())
        assert counts[team] / counts.total() == pytest.approx(wanted, rel=0.10), counts


@settings(max_examples=6, deadline=None)
@given(st.lists(st.floats(0.2, 5.0), min_size=2, max_size=4), st.integers(0, 10_000))
def test_any_weights_under_saturation(weights: list[float], seed: int) -> None:
    named = {f"team{index}": weight for index, weight in enumerate(weights)}
    counts = saturated(named, seed=seed, served=600, parallel=3)
    for team, weight in named.items():
        wanted = weight / sum(weights)
        assert abs(counts[team] / counts.total() - wanted) <= max(0.10 * wanted, 0.02), (counts, named)


def test_tokens_are_shared_by_weight_where_calls_differ_in_size() -> None:
    async def run() -> None:
        limit, used, chance = Limit("x", tpm=60_000), Counter[str](), random.Random(5)
        limit.enter_now(60_000)

        async def call(team: str, tokens: int) -> None:
            await enter(limit, Rank(team, 1.0), tokens)
            used[team] += tokens

        tasks = [asyncio.create_task(call("small", chance.randint(50, 150))) for _ in range(900)]
        tasks += [asyncio.create_task(call("large", chance.randint(500, 1500))) for _ in range(90)]
        await asyncio.sleep(60.0)
        assert used["small"] / used.total() == pytest.approx(0.5, abs=0.05), used
        assert used.total() == pytest.approx(60_000, rel=0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run_fake(run())


def test_people_come_before_batches_which_go_on() -> None:
    async def run() -> None:
        limit, served = Limit("x", parallel=1), []

        async def call(batch: bool) -> None:
            place = await enter(limit, Rank("a", 1.0, batch))
            served.append(batch)
            await asyncio.sleep(0.1)
            place.leave()

        await asyncio.gather(*(call(True) for _ in range(30)), *(call(False) for _ in range(60)))
        both = served[1:75]  # both waited
        assert sum(both) / len(both) == pytest.approx(1 / BATCH_EVERY, abs=0.05)
        assert all(True in both[index : index + BATCH_EVERY] for index in range(len(both) - BATCH_EVERY))

    run_fake(run())


def test_a_team_that_slept_gets_no_credit_and_is_served_soon() -> None:
    async def run() -> None:
        limit, served = Limit("x", parallel=1), []

        async def call(team: str) -> None:
            place = await enter(limit, Rank(team))
            served.append(team)
            await asyncio.sleep(0.1)
            place.leave()

        busy = [asyncio.create_task(call("busy")) for _ in range(100)]
        await asyncio.sleep(5.0)
        before = len(served)
        await asyncio.gather(*(call("late") for _ in range(10)))
        assert served[before : before + 3].count("late") >= 1
        between = served[before : served.index("late", before) + 19]
        assert between.count("late") == pytest.approx(len(between) / 2, abs=2)
        await asyncio.gather(*busy)

    run_fake(run())


def test_a_large_call_is_not_passed_over_for_ever() -> None:
    """While it waits for its tokens, smaller ones do not take them away."""

    async def run() -> None:
        limit, done = Limit("x", tpm=1000), []

        async def call(name: str, tokens: int) -> None:
            await enter(limit, Rank(name), tokens)
            done.append((name, now()))

        limit.enter_now(1000)
        tasks = [asyncio.create_task(call("large", 900))]
        for _ in range(400):
            tasks.append(asyncio.create_task(call("small", 20)))
            await asyncio.sleep(0.5)
        at = next(at for name, at in done if name == "large")
        assert at - 1000.0 < 130.0
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run_fake(run())


def test_a_call_larger_than_a_minute_goes_alone_when_the_bucket_is_full() -> None:
    async def run() -> None:
        limit = Limit("x", tpm=100)
        began = now()
        (await enter(limit, Rank("a"), 50)).leave()
        (await enter(limit, Rank("a"), 1000)).leave()
        assert now() - began == pytest.approx(30.0, abs=0.1)
        await enter(limit, Rank("a"), 10)
        assert now() - began == pytest.approx(30.0 + 546.0, abs=0.2)

    run_fake(run())


# --- leaving ----------------------------------------------------------------------------------------------------------


def test_a_deadline_is_kept_and_leaves_nothing() -> None:
    async def run() -> None:
        limit = Limit("x", parallel=1)
        place = await enter(limit, Rank("a"))
        began = now()
        with pytest.raises(TimeoutError):
            await enter(limit, Rank("a"), within_s=3.0)
        assert now() - began == pytest.approx(3.0)
        assert limit.waiting == 0 and limit.running == 1
        place.leave()
        place.leave()
        assert limit.running == 0

    run_fake(run())


def test_whoever_leaves_lets_the_next_one_in() -> None:
    async def run() -> None:
        limit = Limit("x", tpm=600)
        limit.enter_now(600)
        large = asyncio.create_task(enter(limit, Rank("a"), 600))
        small = asyncio.create_task(enter(limit, Rank("a"), 10))
        await asyncio.sleep(2.0)
        assert limit.waiting == 2
        large.cancel()
        await small
        assert now() == pytest.approx(1002.0, abs=0.1)

    run_fake(run())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 100_000), st.sampled_from([{"parallel": 2}, {"rpm": 120}, {"tpm": 2000, "parallel": 3}]))
def test_random_arrivals_and_cancellations_leak_nothing(seed: int, figures: dict[str, int]) -> None:
    async def run() -> None:
        chance, limit = random.Random(seed), Limit("x", **figures)
        order: dict[tuple[str, bool], list[int]] = {}

        async def call(number: int) -> None:
            await asyncio.sleep(number * 0.01)
            rank = Rank(chance.choice("abc"), 1.0, chance.random() < 0.3)
            place = await enter(limit, rank, chance.randint(1, 200), within_s=chance.uniform(0.1, 20))
            order.setdefault((rank.team, rank.batch), []).append(number)
            try:
                await asyncio.sleep(chance.uniform(0.0, 1.0))
            finally:
                if chance.random() < 0.2:
                    place.undo()
                place.settle(chance.randint(0, 400))
                place.leave()

        tasks = [asyncio.create_task(call(number)) for number in range(120)]
        for _ in range(40):
            await asyncio.sleep(chance.uniform(0, 0.5))
            chance.choice(tasks).cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert limit.running == limit.waiting == 0
        assert not [one for one in results if isinstance(one, Exception) and not isinstance(one, TimeoutError)]
        for served in order.values():
            assert served == sorted(served), "first come, first served"

    run_fake(run())


def test_nobody_starves() -> None:
    """With every team and class always waiting, each gets a place at least once in a bounded number of places."""

    async def run() -> None:
        limit, served = Limit("x", parallel=1), []
        ranks = [Rank(team, weight, batch) for team, weight in (("a", 8.0), ("b", 1.0), ("c", 0.5)) for batch in (False, True)]

        async def call(rank: Rank) -> None:
            place = await enter(limit, rank)
            served.append((rank.team, rank.batch))
            await asyncio.sleep(0.01)
            place.leave()

        await asyncio.gather(*(call(rank) for rank in ranks for _ in range(200)))
        head = served[:600]
        for rank in ranks:
            places = [index for index, one in enumerate(head) if one == (rank.team, rank.batch)]
            gap = max(after - before for before, after in pairwise(places))
            assert gap <= (9.5 / rank.weight + 2) * (BATCH_EVERY if rank.batch else 2), (rank, gap)

    run_fake(run())


# --- what is said -----------------------------------------------------------------------------------------------------


def test_positions_and_expectations_are_honest() -> None:
    async def run() -> None:
        limit = Limit("x", rpm=60)
        for _ in range(60):
            limit.enter_now(1)
        waits = [limit.join(Rank("a"), 1) for _ in range(10)]
        assert [limit.position(one) for one in waits] == list(range(1, 11))
        expected = [limit.expected_s(limit.position(one) - 1, 1) for one in waits]
        began = now()
        for one, seconds in zip(waits, expected, strict=True):
            await one.place
            assert now() - began == pytest.approx(seconds, abs=0.02)

    run_fake(run())


def test_positions_count_other_teams_and_people_before_batches() -> None:
    async def run() -> None:
        limit = Limit("x", parallel=1)
        first = limit.enter_now(1)
        assert first is not None
        people = [limit.join(Rank(team), 1) for _ in range(5) for team in "ab"]
        batch = limit.join(Rank("c", 1.0, True), 1)
        assert limit.position(people[-1]) in range(9, 13)
        assert limit.position(batch) == 1 + (BATCH_EVERY - 1)
        served = []
        place = first
        everybody = [*people, batch]
        while limit.waiting:
            place.leave()
            done = next(one for one in everybody if one.place.done())
            everybody.remove(done)
            served.append(done)
            place = done.place.result()
        assert served.index(batch) == BATCH_EVERY - 1
        place.leave()

    run_fake(run())


# --- a provider's pause -----------------------------------------------------------------------------------------------


def test_after_a_pause_one_goes_first_and_then_more() -> None:
    async def run() -> None:
        limit, sent = Limit("x"), []
        limit.hold_back(2.0)

        async def call() -> None:
            place = await enter(limit, Rank("a"))
            sent.append(now() - 1000.0)
            await asyncio.sleep(0.05)
            limit.answered()
            place.leave()

        await asyncio.gather(*(call() for _ in range(64)))
        assert min(sent) == pytest.approx(2.0, abs=0.01)
        assert sum(at < 2.04 for at in sent) == 1
        assert max(sent) < 3.0
        await asyncio.sleep(2.0)
        limit.wait_s(1, now())
        assert limit.idle

    run_fake(run())


def test_a_refused_probe_pauses_again() -> None:
    """64 callers, a provider that refuses all until a time: few requests are wasted, and nobody is lost."""

    async def run() -> None:
        limit, attempts, until = Limit("x"), [], 1007.0

        async def call(number: int) -> None:
            await asyncio.sleep(0.01 * number)
            while True:
                place = await enter(limit, Rank("a"))
                attempts.append(now())
                await asyncio.sleep(0.005)
                refused = now() < until
                if refused:
                    limit.hold_back(2.0)
                else:
                    limit.answered()
                place.leave()
                if not refused:
                    return

        await asyncio.gather(*(call(number) for number in range(64)))
        assert len(attempts) <= 1.2 * 64, len(attempts)
        assert max(attempts) < until + 4.0
        assert limit.running == limit.waiting == 0

    run_fake(run())


def test_changed_figures_hold_from_now_on() -> None:
    async def run() -> None:
        limit = Limit("x", parallel=1)
        place = limit.enter_now(1)
        assert place is not None and limit.enter_now(1) is None
        limit.change(rpm=None, tpm=None, parallel=None)
        assert limit.enter_now(1) is not None
        limit.change(rpm=None, tpm=None, parallel=0)
        assert limit.closed and limit.enter_now(1) is None

    run_fake(run())


# --- estimates --------------------------------------------------------------------------------------------------------


def test_estimates_begin_careful_and_learn() -> None:
    known = Estimates()
    request = Request(model="m", messages=(Message("user", "x" * 1000),))
    assert known.of(request) == 1000 * 0.4 + 6 + 512
    limited = Request(model="m", messages=request.messages, settings={"max_tokens": 100, "n": 2})
    assert known.of(limited) == 1000 * 0.4 + 6 + 200
    for _ in range(60):
        known.learn(request, Usage(input_tokens=206, output_tokens=50))
    assert known.of(request) == pytest.approx(256, abs=2)
    assert known.of(limited) == pytest.approx(256, abs=2)
    assert known.of(limited, asked=True) == pytest.approx(406, abs=2)
    assert known.of(Request(model="m", operation="embed", inputs=("x" * 1000,))) <= 210


def test_pictures_tools_and_odd_texts_are_counted() -> None:
    known = Estimates()
    parts = ({"type": "text", "text": "what"}, {"type": "image_url", "image_url": {"url": "https://x/a.png"}})
    assert known.of(Request(model="m", messages=(Message("user", parts),))) > 1500
    tools = [{"type": "function", "function": {"name": "f", "description": "d" * 1000}}]
    assert known.of(Request(model="m", messages=(Message("user", "x"),), settings={"tools": tools})) > 900
    assert known.of(Request(model="m", messages=(Message("user", "\ud800"), Message("assistant", None)))) > 0
