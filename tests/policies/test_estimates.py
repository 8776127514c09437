"""What calls are expected to take: input from bytes, output from answers before; and bounds from what was counted."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import tokenkit
from hypothesis import given
from hypothesis import strategies as st

from aiplat_lab.core.types import Attribution, Call, Deployment, Message, Price, Request
from aiplat_lab.policies._estimates import FIRST_RATIO, Estimates, size_of, task_of
from aiplat_lab.policies._inputs import Inputs, heads_of
from aiplat_lab.policies._worst import input_bound

FREE = Price(version="t", input_usd_per_mtok=Decimal(0), output_usd_per_mtok=Decimal(0))
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def asked(*texts: str, **more: object) -> Request:
    roles = ("user", "assistant")
    return Request(model="m", messages=tuple(Message(roles[index % 2], text) for index, text in enumerate(texts)), **more)  # type: ignore[arg-type]


def test_the_stand_in_counts_as_measured() -> None:
    rng, most = random.Random(3), {"English": (0.12, 0.37), "code": (0.12, 0.32), "JSON": (0.25, 0.40), "CJK": (0.19, 0.42)}
    most |= {"base64": (0.55, 0.90), "digits": (0.30, 0.42)}
    for kind, make in tokenkit.KINDS.items():
        ratios = [tokenkit.tokens(text) / len(text.encode()) for text in (make(rng) for _ in range(30))]
        assert most[kind][0] <= min(ratios) and max(ratios) <= most[kind][1], (kind, min(ratios), max(ratios))


@pytest.mark.parametrize("seed", range(3))
def test_input_is_covered_after_fifty_calls_and_not_held_for_much_more(seed: int) -> None:
    rng, estimates = random.Random(seed), Estimates()
    covered = calls = held = true = 0
    for index in range(1500):
        _, text = tokenkit.a_text(rng)
        request, counted = asked(text), tokenkit.tokens(text) + rng.randint(6, 11)
        size = size_of(request)
        if index >= 50:
            guess = estimates.input_tokens("p/m", size)
            calls, covered, held, true = calls + 1, covered + (guess >= counted), held + guess, true + counted
        estimates.learn_input("p/m", size, counted)
    assert covered / calls >= 0.995 and held / true <= 1.5, (covered / calls, held / true)


def test_each_model_has_a_ratio_of_its_own_and_begins_with_the_common_one() -> None:
    estimates, rng = Estimates(), random.Random(1)
    text = tokenkit.english(rng)
    size = size_of(asked(text))
    assert size.kind == "prose" and estimates.input_tokens("p/a", size) >= len(text) * FIRST_RATIO
    for _ in range(20):
        estimates.learn_input("p/a", size, 3 * tokenkit.tokens(text))
        estimates.learn_input("p/b", size, tokenkit.tokens(text))
    assert estimates.input_tokens("p/a", size) > 2.5 * estimates.input_tokens("p/b", size)
    assert estimates.input_tokens("p/c", size) >= len(text) * FIRST_RATIO


def test_a_long_text_is_sampled_and_a_dense_one_known() -> None:
    rng = random.Random(2)
    short = tokenkit.english(rng)
    one, many = size_of(asked(short)), size_of(asked((short + " ") * 400))
    assert abs(many.units / (one.units * 400) - 1) < 0.1 and many.kind == one.kind
    assert size_of(asked(tokenkit.base64_text(rng))).kind == "dense" and size_of(asked("")).raw_bytes == 0
    assert size_of(asked(tokenkit.digits(rng))).kind == "digits" and size_of(asked(tokenkit.east_asian(rng))).kind == "script"


@given(st.text(max_size=300))
def test_no_text_breaks_the_estimate(text: str) -> None:
    size = size_of(asked(text))
    assert size.units > 0 and Estimates().input_tokens("p/m", size) >= 0


def test_output_is_learned_for_a_task() -> None:
    estimates = Estimates()
    short, long = task_of(asked("x", attribution=Attribution(prompt_name="short"))), task_of(asked("x"))
    for index in range(30):
        estimates.learn_output("p/m", short, 10 + index % 3)
        estimates.learn_output("p/m", long, 1000)
    found = estimates.output("p/m", short)
    assert found is not None and (found.mean, found.most, found.known) == (11, 12, 30)
    assert (estimates.output("p/m", "another task") or found).most == 1000, "all of the model's where the task is new"
    assert estimates.output("p/other", short) is None


def test_the_shape_of_a_request_is_its_task() -> None:
    plain = task_of(asked("x"))
    assert plain == task_of(asked("another question"))
    assert plain != task_of(asked("x", settings={"tools": [{"type": "function"}]}))
    assert plain != task_of(asked("x", settings={"response_format": {"type": "json_object"}}))
    told = Request(model="m", messages=(Message("system", "Be brief."), Message("user", "x")))
    assert task_of(told) not in (plain, task_of(Request(model="m", messages=(Message("system", "Be long."), Message("user", "x")))))


def test_memory_is_bounded() -> None:
    estimates, inputs = Estimates(), Inputs()
    deployment = Deployment(provider="p", model="m")
    for index in range(25_000):
        estimates.learn_output("p/m", f"task {index}", 5)
        call = Call(request=asked(f"{index}"), started_at=NOW, deployment=deployment, state={"request_hash": str(index)})
        inputs.learn(call, 10, 30, heads_of(call.request))
    assert len(estimates._answers) <= 4_001 and len(inputs._heads) <= 20_000 and len(inputs._counted) <= 20_000


def test_bounds_from_what_was_counted() -> None:
    inputs, deployment = Inputs(), Deployment(provider="p", model="m")

    def bound(request: Request, mark: str = "new") -> int:
        call = Call(request=request, started_at=NOW, deployments=(deployment,), deployment=deployment, state={"request_hash": mark})
        return inputs.of(call, [(deployment, FREE)], input_bound(request), heads_of(request)).get("p/m", input_bound(request))

    first = asked("word " * 1000)
    inputs.learn(
        Call(request=first, started_at=NOW, deployment=deployment, state={"request_hash": "one"}), 1000, input_bound(first), heads_of(first)
    )
    assert bound(first, "one") == 1000
    longer = asked("word " * 1000, "an answer", "and more")
    assert 1000 < bound(longer) < 1100 < input_bound(longer), "the beginning as it was counted, a token for each byte of the rest"
    assert bound(asked("word " * 999)) == input_bound(asked("word " * 999)), "another text is not known"
    tools = asked("word " * 1000, "an answer", settings={"tools": [{"type": "function"}]})
    assert bound(tools) == input_bound(tools), "with tools it is another beginning"
    inputs.learn(
        Call(request=first, started_at=NOW, deployment=deployment, state={"request_hash": "two"}),
        input_bound(first) + 7,
        input_bound(first),
        heads_of(first),
    )
    assert bound(asked("quite new")) == input_bound(asked("quite new")) + 7, "whoever counted more than the bytes may do so again"
