"""Runs through a real gateway: scores, errors, caps, repeats, resuming; the model's requests are counted at the model."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import pytest
from evalkit import place as make_place
from evalkit import rows, write
from nbclient import NotebookClient
from served import Served, wait_for

from aiplat_lab.core.errors import EvalError, UsageError
from aiplat_lab.core.types import Message, Request
from aiplat_lab.evals import Progress, Run, Sample, Score, evaluate, load, measure, run
from aiplat_lab.evals._plan import make


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with make_place(tmp_path_factory.mktemp("evals")) as found:
        yield found


@pytest.fixture(autouse=True)
def forget(place: Served) -> None:
    place.upstream.reset()


def go(place: Served, evalset: Any, **options: Any) -> Run:
    options = {"model": "m", "scorers": "exact", "cache": "off", "progress": False, "client": place.client, **options}
    return evaluate(evalset, **options)


def test_a_run_is_computed_from_its_rows(place: Served) -> None:
    found = go(place, rows(50), name="first", concurrency=16)
    main = found.summary()[0]
    assert (found.status, found.errors, found.missing, found.cached) == ("complete", 0, 0, 0)
    assert (main.scorer, main.n, main.mean, main.method) == ("exact", 50, 0.8, "Wilson")
    assert main.low == pytest.approx(0.6696, abs=1e-4) and main.high == pytest.approx(0.8876, abs=1e-4)
    calls = place.client.view("recent_calls", experiment=found.id, limit=100)
    assert len(calls) == 50 and set(calls["surface"]) == {"eval"}
    assert found.cost_usd == sum(calls["cost_usd"])
    assert found.cost_usd == 50 * (2 * Decimal(1000) + 2 * Decimal(2000)) / 1_000_000
    call = place.client.call(found.rows[7]["call_id"])
    assert call["tags"] == {"sample": "s0007", "epoch": "1"} and call["text"] == "say 7"


def test_slices_frame_and_report_say_the_same(place: Served) -> None:
    found = go(place, rows(30), scorers=["exact", "token_f1", "latency"])
    slices = found.slices()
    assert [(one["slice"], one["value"], one["n"]) for one in slices] == [("third", "0", 10), ("third", "1", 10), ("third", "2", 10)]
    assert sum(one["n"] * one["mean"] for one in slices) / 30 == pytest.approx(0.8)
    frame = found.frame()
    assert frame.shape[0] == 30 and frame["exact"].mean() == pytest.approx(0.8)
    assert {"sample_id", "epoch", "passed", "cost_usd", "latency", "slice_third"} <= set(frame.columns)
    report = json.loads(found.report())
    assert report["scorers"] == ["exact", "token_f1"], "measured seconds are in the ledger, not in the report"
    assert found.id not in found.report() and report["summary"][0]["mean"] == 0.8
    assert "exact" in repr(found) and "<table>" in found._repr_html_()


def test_clusters_widen_the_interval(place: Served) -> None:
    data = [
        {**one, "cluster": f"doc{index // 5}", "target": one["target"] if index // 5 % 2 else "x"} for index, one in enumerate(rows(50))
    ]
    alone, together = go(place, rows(50, wrong_every=2)).summary()[0], go(place, data).summary()[0]
    assert together.clusters == 10 and together.method == "Wilson on clusters"
    assert together.low is not None and alone.low is not None and together.high is not None and alone.high is not None
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (None, "say 1"),
        ("Tell me: {{ text }}", "Tell me: say 1"),
        ([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "{{text}}!"}], "say 1!"),
        (lambda values: f"<{values['text']}>", "<say 1>"),
        (lambda values: Request(model="", messages=(Message("user", values["text"] + "?"),)), "say 1?"),
        ("{{ text }} {{text}}", "say 1 say 1"),
    ],
)
def test_a_prompt_may_be_whatever_makes_a_request(place: Served, prompt: Any, said: str) -> None:
    go(place, rows(2), prompt=prompt)
    assert said in [seen.body["messages"][-1]["content"] for seen in place.upstream.requests]


def test_a_value_that_looks_like_a_template_is_never_filled_again(place: Served) -> None:
    go(place, [{"id": "a", "input": {"text": "{{ secret }}", "secret": "no"}}], prompt="Say {{ text }}", scorers="regex:secret")
    assert place.upstream.requests[0].body["messages"][-1]["content"] == "Say {{ secret }}"


def test_settings_go_with_each_request(place: Served) -> None:
    found = go(place, rows(2), settings={"temperature": 0, "max_tokens": 7})
    assert all(seen.body["temperature"] == 0 for seen in place.upstream.requests)
    assert run(found.id, client=place.client)._row["settings"] == {"temperature": 0, "max_tokens": 7}


# --- errors are not wrong answers -------------------------------------------------------------------------------------


def test_a_scorer_that_raises_or_gives_nonsense_is_an_error_of_that_sample_alone(place: Served) -> None:
    nonsense = [None, math.nan, 2, -1, "good", [1]]

    def odd(answer: str, sample: Sample) -> Any:
        index = int(sample.id[1:])
        if index == 9:
            raise ZeroDivisionError("by zero")
        return nonsense[index] if index < len(nonsense) else True

    found = go(place, rows(12), scorers=[odd, "exact"])
    summary = {one.scorer: one for one in found.summary()}
    assert (summary["odd"].n, summary["odd"].mean, summary["odd"].errors) == (5, 1.0, 7)
    assert (summary["exact"].n, summary["exact"].errors) == (12, 0)
    assert found.status == "errors" and "7 without a score of 12" in found.reason
    by_id = {row["sample_id"]: row for row in found.rows}
    assert by_id["s0009"]["errors"] == {"odd": "raised ZeroDivisionError: by zero"}
    assert "None" in by_id["s0000"]["error"] and by_id["s0000"]["score"] is None


def test_scorers_may_be_async_or_slow_without_holding_up_the_others(place: Served) -> None:
    threads = set()

    async def waits(answer: str, sample: Sample) -> float:
        await asyncio.sleep(0.001)
        return 1.0

    def works(answer: str, sample: Sample) -> Score:
        threads.add(threading.current_thread().name)
        return Score(0.5, "half")

    found = go(place, rows(6), scorers=[waits, works])
    assert [one.mean for one in found.summary()] == [1.0, 0.5]
    assert "aiplat-eval" not in threads
    assert found.rows[0]["notes"] == {"works": "half"}


def test_a_provider_that_is_down_for_half_a_run_gives_errors_and_resume_retries_only_them(place: Served) -> None:
    down = threading.Event()
    asked: Counter[str] = Counter()

    def model(values: dict[str, str]) -> Request:
        return Request(model="", messages=(Message("user", values["text"]),))

    answer = place.upstream._chat

    async def flaky(request: Any, body: Any, wire: Any) -> Any:
        text = body["messages"][-1]["content"]
        asked[text] += 1
        if down.is_set() and int(text.split()[1]) >= 20:
            from aiohttp import web

            return web.json_response(wire.error(400, "the model is down"), status=400)
        return await answer(request, body, wire)

    place.upstream._chat = flaky  # type: ignore[method-assign]
    try:
        down.set()
        found = go(place, rows(40), prompt=model, name="half")
        assert (found.status, found.errors) == ("errors", 20)
        assert "20 without an answer of 40" in found.reason
        assert found.summary()[0].n == 20 and found.summary()[0].mean == pytest.approx(0.8)
        down.clear()
        asked.clear()
        again = go(place, rows(40), resume=found.id, prompt=model, model=None, scorers=None)
        assert (again.status, again.errors, again.id) == ("complete", 0, found.id)
        assert set(asked) == {f"say {index}" for index in range(20, 40)} and set(asked.values()) == {1}
        assert again.summary()[0].n == 40
    finally:
        place.upstream._chat = answer  # type: ignore[method-assign]


def test_what_holds_for_every_sample_ends_the_run_at_once(place: Served) -> None:
    found = go(place, rows(60), model="up/echo", concurrency=2, settings={"max_tokens": 5})
    assert found.status == "complete"
    from aiplat_lab.core.types import Attribution

    plan = make(place.client, load(rows(60)), model="m", scorers="exact", who=Attribution(team="poor"), cache="off", concurrency=2)
    from aiplat_lab.evals._evaluate import _carry_out

    place.upstream.reset()
    poor = _carry_out(place.client, plan, new=True, tell=lambda _: None)
    assert poor.status == "failed" and "budget" in poor.reason
    assert len(place.upstream.requests) == 0 and poor.missing >= 58


# --- money ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 4])
def test_the_cap_is_never_passed_by_more_than_the_calls_in_flight(place: Served, concurrency: int) -> None:
    price = Decimal("0.006")  # two tokens in at 1,000 dollars a million, two out at 2,000
    cap = Decimal("0.05")
    found = go(place, rows(100), max_cost_usd=cap, concurrency=concurrency, model="slow")
    assert found.status == "capped" and "cap of $0.05" in found.reason
    assert cap <= found.cost_usd <= cap + concurrency * price
    assert found.missing == 100 - len(found.rows) and len(found.rows) == len(place.upstream.requests)
    more = go(place, rows(100), resume=found.id, max_cost_usd=1, model=None, scorers=None)
    assert more.status == "complete" and more.cost_usd == 100 * price
    assert len(place.upstream.requests) == 100


def test_a_cap_of_nothing_asks_nothing_that_costs(place: Served) -> None:
    found = go(place, rows(5), max_cost_usd=0)
    assert (found.status, len(found.rows), len(place.upstream.requests)) == ("capped", 0, 0)
    assert found.summary()[0].mean is None and "no scores yet" in found.sentence
    free = go(place, rows(5), max_cost_usd=0, model="free")
    assert (free.status, len(free.rows)) == ("complete", 5)


def test_a_cap_that_cannot_be_held_is_refused(place: Served) -> None:
    with pytest.raises(EvalError, match="price of unpriced is not known"):
        go(place, rows(5), max_cost_usd=1, model="unpriced")
    for cap in (-1, "many", math.nan):
        with pytest.raises(UsageError, match="0 or more US dollars"):
            go(place, rows(5), max_cost_usd=cap)
    assert not place.upstream.requests


def test_judges_are_booked_under_the_run_and_count_for_the_cap(place: Served) -> None:
    asks = "judge:rubric=Say exactly this"
    found = go(place, rows(10), scorers=["exact", asks], max_cost_usd="0.5", concurrency=1)
    assert found.status == "capped"
    costs = {row["scorer"]: Decimal(row["cost_usd"]) for row in found.costs}
    assert costs["judge"] > costs[""] > 0
    assert Decimal("0.5") <= found.cost_usd <= Decimal("0.5") + costs["judge"]


def test_a_judge_in_form_gives_shares_and_one_out_of_form_gives_errors(place: Served) -> None:
    data = [{"id": f"a{mark}", "input": {"text": f"mark {mark}"}, "target": str(mark)} for mark in (1, 3, 5, 9)]

    async def judging(request: Any, body: Any, wire: Any) -> Any:
        text = body["messages"][-1]["content"]
        if text.startswith("You judge"):
            mark = text.split("Reference:")[1].split()[0]
            body = {**body, "messages": [{"role": "user", "content": json.dumps({"reason": "as told", "score": int(mark)})}]}
        return await answer(request, body, wire)

    answer = place.upstream._chat
    place.upstream._chat = judging  # type: ignore[method-assign]
    try:
        found = go(place, data, scorers="judge:rubric=Be fair,repeats=2", model="m", epochs=2)
    finally:
        place.upstream._chat = answer  # type: ignore[method-assign]
    by_id = {row["sample_id"]: row for row in found.rows}
    assert [by_id[f"a{mark}"]["score"] for mark in (1, 3, 5)] == [0.0, 0.5, 1.0]
    assert by_id["a5"]["notes"] == {found.scorers[0]: "as told"}
    assert "out of form" in by_id["a9"]["error"] and by_id["a9"]["score"] is None
    assert (found.status, found.summary()[0].n, found.summary()[0].errors) == ("errors", 3, 2)
    calls = place.client.sql(
        "SELECT tags['draw'] AS draw, count(*) AS n FROM calls WHERE experiment = ? AND tags['scorer'] = 'judge' GROUP BY 1 ORDER BY 1",
        [found.id],
    )
    assert calls.rows() == [("1", 8), ("2", 6)], "a mark out of form is not asked for twice"


def test_similarity_is_the_cosine_of_embeddings_through_the_gateway(place: Served) -> None:
    data = [{"id": "same", "input": {"text": "hello"}, "target": "hello"}, {"id": "other", "input": {"text": "hello"}, "target": "bye"}]
    found = go(place, data, scorers="similarity:model=up/echo,threshold=0.999")
    by_id = {row["sample_id"]: row for row in found.rows}
    assert by_id["same"]["score"] == pytest.approx(1.0) and by_id["same"]["passed"] is True
    assert 0 < by_id["other"]["score"] < 0.999 and by_id["other"]["passed"] is False
    assert {row["scorer"]: row["calls"] for row in found.costs} == {"": 2, "similarity": 2}


def test_a_dry_run_sends_nothing_and_says_what_it_would_cost(place: Served) -> None:
    before = len(place.client.view_rows("eval_run_list"))
    found = evaluate(
        rows(40), model="m", scorers=["exact", "judge:repeats=3"], epochs=2, dry_run=True, client=place.client, settings={"max_tokens": 10}
    )
    assert (found.calls, found.scorer_calls) == (320, 240)
    assert found.low_usd is not None and found.high_usd is not None and 0 < found.low_usd < found.high_usd
    assert not place.upstream.requests and len(place.client.view_rows("eval_run_list")) == before
    assert evaluate(rows(4), model="unpriced", scorers="exact", dry_run=True, client=place.client).low_usd is None


def test_the_estimate_holds_the_real_cost(place: Served) -> None:
    data = [{"id": f"a{index}", "input": {"text": "word " * (20 + index)}, "target": "word " * (20 + index)} for index in range(20)]
    options: dict[str, Any] = {"model": "m", "scorers": "exact", "settings": {"max_tokens": 60}, "client": place.client}
    guess = evaluate(data, dry_run=True, **options)
    real = evaluate(data, cache="off", progress=False, **options)
    assert guess.low_usd is not None and guess.high_usd is not None
    assert guess.low_usd * Decimal("0.6") <= real.cost_usd <= guess.high_usd * Decimal("1.2")


# --- repeats and the cache --------------------------------------------------------------------------------------------


def test_repeats_never_read_each_other_and_a_second_run_costs_nothing(place: Served) -> None:
    first = go(place, rows(6), epochs=3, cache="auto", prompt="repeat {{ text }}", scorers="contains")
    assert len(place.upstream.requests) == 18 and first.cached == 0
    assert first.summary()[0].n == 6, "repeats are averaged: a sample counts once"
    second = go(place, rows(6), epochs=3, cache="auto", prompt="repeat {{ text }}", scorers="contains")
    assert len(place.upstream.requests) == 18
    assert (second.cached, second.cost_usd) == (18, 0)
    assert "18 cached" in second.sentence
    fresh = go(place, rows(6), epochs=3, cache="refresh", prompt="repeat {{ text }}", scorers="contains")
    assert (fresh.cached, len(place.upstream.requests)) == (0, 36)


# --- two runs, taken up again -----------------------------------------------------------------------------------------


def test_two_runs_of_one_name_are_told_apart_by_their_ids(place: Served) -> None:
    a, b = go(place, rows(5), name="same"), go(place, rows(6), name="same")
    assert a.id != b.id and len(a.rows) == 5 and len(b.rows) == 6
    assert run("same", client=place.client).id == b.id, "a name means the newest run of it"
    assert run(a.id, client=place.client).name == "same"
    listed = [row for row in place.client.view_rows("eval_run_list") if row["name"] == "same"]
    assert {row["run_id"] for row in listed} == {a.id, b.id}


def test_an_unknown_run_offers_the_nearest(place: Served) -> None:
    go(place, rows(1), name="tickets-weekly")
    with pytest.raises(UsageError, match="Did you mean tickets-weekly"):
        run("ticket-weekly", client=place.client)
    with pytest.raises(UsageError, match="there is no run"):
        go(place, None, resume="01999999-0000-7000-8000-000000000000", model=None, scorers=None)


def test_a_finished_run_that_is_taken_up_again_does_nothing(place: Served, tmp_path: Path) -> None:
    data = write(tmp_path / "d.jsonl", rows(10))
    found = go(place, str(data))
    asked, report, ends = len(place.upstream.requests), found.report(), len(place.client.sql("SELECT * FROM eval_ends"))
    again = evaluate(resume=found.id, client=place.client, progress=False)
    assert again.report() == report and len(place.upstream.requests) == asked
    assert len(place.client.sql("SELECT * FROM eval_ends")) == ends


def test_a_changed_evalset_is_refused(place: Served, tmp_path: Path) -> None:
    data = write(tmp_path / "e.jsonl", rows(10))
    found = go(place, str(data), max_cost_usd="0.01", concurrency=1)
    assert found.status == "capped"
    write(data, [*rows(9), {**rows(10)[9], "target": "changed"}])
    with pytest.raises(UsageError, match="has changed since the run"):
        evaluate(resume=found.id, client=place.client)
    write(data, rows(10)[::-1])
    assert evaluate(resume=found.id, client=place.client, max_cost_usd=1, progress=False).status == "complete"
    data.unlink()
    with pytest.raises(UsageError, match="cannot be read again"):
        evaluate(resume=found.id, client=place.client)


def test_another_prompt_or_scorer_is_refused_when_a_run_is_taken_up_again(place: Served) -> None:
    found = go(place, rows(10), max_cost_usd="0.01", concurrency=1, prompt="Say {{ text }}")
    with pytest.raises(UsageError, match="prompt has changed"):
        evaluate(rows(10), resume=found.id, prompt="Tell {{ text }}", client=place.client)
    with pytest.raises(UsageError, match="was begun with the scorers exact"):
        evaluate(rows(10), resume=found.id, scorers="contains", client=place.client)
    mine = go(place, rows(4), scorers=lambda answer, sample: None)
    with pytest.raises(UsageError, match="may have used a function"):
        evaluate(rows(4), resume=mine.id, client=place.client)


def test_a_scorer_that_was_mended_scores_the_answers_that_are_there(place: Served) -> None:
    def mine(answer: str, sample: Sample) -> Any:
        raise RuntimeError("not yet")

    found = go(place, rows(5), scorers=mine)
    assert (found.status, len(place.upstream.requests)) == ("errors", 5)
    mine = lambda answer, sample: True  # noqa: E731
    mine.__name__ = "mine"
    again = go(place, rows(5), resume=found.id, scorers=mine, model=None)
    assert (again.status, again.summary()[0].mean, len(place.upstream.requests)) == ("complete", 1.0, 5)
    assert again.cost_usd == 5 * Decimal("0.006"), "the answers are not paid twice"


def test_a_run_that_is_interrupted_can_be_taken_up_again(place: Served) -> None:
    from aiplat_lab.evals._runner import Runner

    plan = make(place.client, load(rows(40)), model="slow", scorers="exact", cache="off", concurrency=4)
    place.client.record("eval_run", plan.record())
    runner = Runner(plan, place.client, prior={}, paid={}, costs=True, tell=lambda _: None)

    async def work() -> Any:
        task = asyncio.create_task(runner.run())
        while len(place.upstream.requests) < 12:
            await asyncio.sleep(0.002)
        runner.interrupt()
        return await task

    ending = asyncio.run(work())
    assert ending.status == "interrupted"
    again = go(place, rows(40), resume=plan.run_id, model=None, scorers=None)
    assert again.status == "complete" and len(again.rows) == 40
    assert len(place.upstream.requests) == 40, "what was under way was finished by the gateway, and is not paid twice"


# --- bad input, before anything is asked ------------------------------------------------------------------------------

WRONG = [
    ({"model": "nobody"}, "there is no model 'nobody'"),
    ({"scorers": "exat"}, "Did you mean exact"),
    ({"scorers": ["exact", "exact"]}, "given twice"),
    ({"scorers": []}, "at least one scorer"),
    ({"epochs": 0}, "epochs is 0"),
    ({"concurrency": 0}, "concurrency is 0"),
    ({"prompt": "Say {{ wrong }}"}, "the sample s0000 of samples cannot be asked: .* wrong"),
    ({"prompt": lambda values: 7}, "must give a text, messages or a Request"),
    ({"prompt": lambda values: 1 / 0}, "raised ZeroDivisionError"),
    ({"prompt": 7}, "is no prompt"),
    ({"prompt": [{"content": "x"}]}, "messages are written as"),
    ({"prompt": "nothing.prompt.md"}, "there is no prompt file"),
]


@pytest.mark.parametrize(("options", "said"), WRONG)
def test_what_does_not_fit_is_told_in_one_line_and_nothing_is_asked(place: Served, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        go(place, rows(3), **options)
    assert "\n" not in caught.value.message and not place.upstream.requests


def test_samples_of_several_variables_need_a_prompt(place: Served) -> None:
    with pytest.raises(UsageError, match="a prompt must say what to do with them"):
        go(place, [{"id": "a", "input": {"x": "1", "y": "2"}}])
    with pytest.raises(UsageError, match="which evalset"):
        go(place, None)


# --- who watches ------------------------------------------------------------------------------------------------------


def test_progress_tells_done_cost_and_time_left(place: Served) -> None:
    seen: list[Progress] = []
    go(place, rows(30), model="slow", concurrency=4, progress=seen.append)
    assert (seen[-1].done, seen[-1].total, seen[-1].failed) == (30, 30, 0)
    assert seen[-1].spent_usd == 30 * Decimal("0.006")
    assert all(a.done <= b.done for a, b in pairwise(seen))
    assert any(one.left_s for one in seen)


def test_it_runs_inside_a_notebooks_event_loop(place: Served) -> None:
    async def cell() -> Run:
        return go(place, rows(3))

    assert asyncio.run(cell()).status == "complete"


def test_the_plugin_measure_is_not_a_share(place: Served) -> None:
    @measure
    def words(answer: str, sample: Sample) -> float:
        return float(len(answer.split()))

    found = go(place, rows(4), scorers=["exact", words])
    assert found.rows[0]["scores"]["words"] == 2.0
    assert wait_for(lambda: found.status == "complete")


def test_an_executed_notebook_keeps_no_lines_of_progress(place: Served, tmp_path: Path) -> None:
    """A run in a notebook that nobody watches writes nothing to standard error."""
    cell = nbformat.v4.new_code_cell(
        "from aiplat_lab.client import connect; from aiplat_lab.evals import evaluate\n"
        f"run = evaluate([{{'id': 'a', 'input': {{'text': 'a'}}, 'target': 'a'}}], prompt='{{{{ text }}}}', model='m', scorers='exact', "
        f"client=connect({str(place.home.path)!r}))\nprint(run.status)"
    )
    nb = nbformat.v4.new_notebook(cells=[cell])
    NotebookClient(nb, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}, timeout=120).execute()
    assert [(out.name, out.text) for out in nb.cells[0].outputs] == [("stdout", "complete\n")]
