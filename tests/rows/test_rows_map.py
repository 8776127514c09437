"""`map_rows()` against a real gateway: what is paid once, what holds the cap, what a stop keeps, and what is refused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas
import polars
import pytest
from faults import FaultServer
from served import Served, stop, write_settings

import aiplat_lab
from aiplat_lab.client import connect
from aiplat_lab.core.errors import AiplatError, BudgetExceeded, CallCancelled, ProviderError, UnknownModel, UsageError
from aiplat_lab.core.progress import Progress
from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import Message, Request, Response
from aiplat_lab.rows import Engine, Mapped, Row, map_rows

MORE = """
[models.cheap]
deployments = [{ provider = "up", model = "echo", input_usd_per_mtok = 10, output_usd_per_mtok = 100, max_output_tokens = 50 }]
[models.slow]
deployments = [{ provider = "up", model = "echo-100ms", input_usd_per_mtok = 10, output_usd_per_mtok = 100, max_output_tokens = 50 }]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = Home(tmp_path_factory.mktemp("rows") / "home").create()
    with FaultServer() as upstream, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIPLAT_HOME", str(home.path))
        write_settings(home, upstream, tables=MORE)
        with connect(home) as client:
            yield Served(home, upstream, client)
        stop(home)


@pytest.fixture(autouse=True)
def _fresh(place: Served) -> None:
    place.upstream.reset()


def go(place: Served, data: Any, prompt: Any = "Say {text}", **options: Any) -> Mapped:
    return map_rows(data, prompt, **{"model": "cheap", "progress": False, "client": place.client, **options})


def texts(name: str, count: int) -> dict[str, list[str]]:
    return {"text": [f"{name} {index}" for index in range(count)]}


def in_ledger(place: Served, found: Mapped) -> tuple[int, Decimal]:
    """How many calls the ledger has of a map, and what they cost."""
    query = "SELECT count(*) AS calls, sum(cost_usd) AS cost FROM calls WHERE tags['rows'] = ? AND parent_id::VARCHAR = ?"
    row = place.client.sql(query, [found.id, found.id]).row(0)
    return int(row[0]), Decimal(row[1] or 0)


# --- whatever people keep rows in -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        polars.DataFrame({"text": ["a", None, "b", "a"], "n": [1, 2, 3, 4]}),
        pandas.DataFrame({"text": ["a", None, "b", "a"], "n": [1, 2, 3, 4]}, index=[9, 8, 7, 6]),
        {"text": ["a", None, "b", "a"], "n": [1, 2, 3, 4]},
        [{"text": "a", "n": 1}, {"n": 2}, {"text": "b", "n": 3}, {"text": "a", "n": 4}],
    ],
    ids=["polars", "pandas", "dict", "records"],
)
def test_answers_come_back_in_the_order_and_kind_of_the_rows(place: Served, data: Any) -> None:
    found = go(place, data, "Say {text}", column="text", into="new")
    assert list(found) == ["Say a", None, "Say b", "Say a"]
    frame = found.frame
    assert type(frame) is type(data)
    rows = frame.to_dicts() if hasattr(frame, "to_dicts") else frame.to_dict("records") if hasattr(frame, "to_dict") else frame
    if isinstance(rows, dict):
        rows = [dict(zip(rows, one, strict=True)) for one in zip(*rows.values(), strict=True)]
    assert [row["n"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["new"] == "Say a" and rows[2]["new"] == "Say b"
    assert all(row["new_error"] is None or row["new_error"] != row["new_error"] for row in rows)
    if isinstance(data, pandas.DataFrame):
        assert list(frame.index) == [9, 8, 7, 6]
    if isinstance(data, polars.DataFrame):
        assert frame.schema["new_error"] == polars.String
    given = data[0] if isinstance(data, list) else data
    assert "new" not in given, "what was given is not changed"


def test_lists_series_and_whole_rows(place: Served) -> None:
    assert list(go(place, ["x", "", None, float("nan"), "y"], "Say {row}")) == ["Say x", None, None, None, "Say y"]
    assert list(go(place, polars.Series("word", ["x", "y"]), "Say {word}")) == ["Say x", "Say y"]
    assert list(go(place, pandas.Series(["x", pandas.NA]), "Say {row}")) == ["Say x", None]
    two = {"a": ["x"], "b": [2]}
    assert list(go(place, two, "{a} {b} {row.b} {{not}}".replace("{{not}}", "{other}"))) == ["x 2 2 {other}"]
    assert list(go(place, two, lambda row: f"{row.a} and {row['b']}")) == ["x and 2"]
    assert list(go(place, two, "{{ a }} or {{ b }}")) == ["x or 2"]


def test_no_rows_ask_nothing(place: Served) -> None:
    for empty in (polars.DataFrame({"text": []}, schema={"text": polars.String}), {"text": []}):
        found = go(place, empty, into="new")
        assert list(found) == [] and found.ending.status == "complete" and "no rows" in found.sentence
    assert not place.upstream.requests


def test_a_value_is_never_read_again(place: Served) -> None:
    assert list(go(place, {"text": ["{n} {row}"], "n": ["secret"]}, "Say {text}", column="text")) == ["Say {n} {row}"]


# --- paid once --------------------------------------------------------------------------------------------------------


def test_duplicates_are_paid_once_and_asking_again_costs_nothing(place: Served) -> None:
    data = {"text": [f"dup {index % 10}" for index in range(100)]}
    found = go(place, data, workers=16)
    assert len(place.upstream.requests) == 10
    assert found.counts()["duplicates"] == 90 and found.counts()["done"] == 100
    calls, cost = in_ledger(place, found)
    assert calls == 10 and found.cost_usd == cost
    again = go(place, data, workers=16)
    assert list(again) == list(found) and again.cost_usd == 0 and len(place.upstream.requests) == 10
    assert again.counts()["known"] == 10


def test_workers_bound_what_is_under_way(place: Served) -> None:
    begun = time.monotonic()
    found = go(place, texts("bound", 12), model="slow", workers=3)
    took = time.monotonic() - begun
    assert found.counts()["done"] == 12
    assert took >= 0.4, "twelve rows of 0.1 s, three at once, take four rounds"
    at = sorted(one.at for one in place.upstream.requests)
    assert all(later - earlier >= 0.09 for earlier, later in zip(at, at[3:], strict=False)), "never a fourth before the first is over"


def test_a_stop_keeps_what_is_done_and_resuming_pays_for_the_rest_alone(place: Served) -> None:
    data = texts("stop", 60)
    over: list[Progress] = []
    engine_stop = threading.Event()

    def tell(now: Progress) -> None:
        over.append(now)
        if now.done >= 10 and not engine_stop.is_set():
            engine_stop.set()
            raise KeyboardInterrupt  # as an interrupt of the kernel reaches the cell

    found = go(place, data, model="slow", workers=4, progress=tell)
    counts = found.counts()
    assert found.ending.status == "stopped" and counts["done"] >= 10 and counts["unasked"] >= 40
    assert "Stopped by hand" in found.sentence and found.errors[-1] == "not asked"
    deadline = time.monotonic() + 10
    while place.client.status()["in_flight"] and time.monotonic() < deadline:
        time.sleep(0.02)  # the gateway finishes what was asked
    again = go(place, data, model="slow", workers=16)
    assert again.counts()["done"] == 60
    assert len(place.upstream.requests) == 60, "each row reached the model once, over both"
    assert again.counts()["known"] >= counts["done"]


def test_a_cancelled_task_stops_asking(place: Served) -> None:
    async def cell() -> None:
        task = asyncio.create_task(
            aiplat_lab.amap_rows(texts("task", 200), "Say {text}", model="slow", workers=2, progress=False, client=place.client)
        )
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cell())
    seen = len(place.upstream.requests)
    assert 0 < seen < 60


def test_the_async_twin_gives_the_same(place: Served) -> None:
    found = asyncio.run(aiplat_lab.amap_rows({"text": ["twin"]}, "Say {text}", model="cheap", progress=False, client=place.client))
    assert list(found) == ["Say twin"]


# --- the cap ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 16])
def test_a_cap_is_never_passed_and_keeps_what_is_done(place: Served, workers: int) -> None:
    cap = Decimal("0.03")
    data = texts(f"capped{workers}", 400)
    found = go(place, data, workers=workers, max_cost=cap)
    counts = found.counts()
    assert found.ending.status == "capped" and counts["done"] > 20 and counts["unasked"] > 0
    assert 0 < found.cost_usd <= cap
    _, spent = in_ledger(place, found)
    assert spent == found.cost_usd, "the ledger has no call that the map does not know"
    assert cap - spent < Decimal("0.02"), "and it stops no sooner than the next row could pass it"
    again = go(place, data, workers=workers, max_cost=cap)
    assert again.counts()["done"] > counts["done"], "the second cap pays for further rows alone"
    with pytest.raises(BudgetExceeded, match="raise the cap"):
        go(place, texts("dear", 3), model="cheap", max_cost="0.0001", strict=True)


def test_a_cap_over_a_model_without_a_price_sends_nothing(place: Served) -> None:
    with pytest.raises(BudgetExceeded, match="no price is known for up/echo"):
        go(place, {"text": ["a"]}, model="up/echo", max_cost=1)
    assert not place.upstream.requests


# --- rows that fail ---------------------------------------------------------------------------------------------------


def test_a_failed_row_does_not_stop_the_others(place: Served) -> None:
    def ask(row: Row) -> str:
        if row["n"] == 2:
            raise ValueError("no such row")
        return f"Say {row['n']}"

    found = go(place, {"n": [1, 2, 3]}, ask)
    assert list(found) == ["Say 1", None, "Say 3"] and found.failed == [1]
    assert found.errors[1] == "PromptError: the function ask raised ValueError: no such row"
    with pytest.raises(AiplatError, match=r"1 of 3 rows failed; row 1: PromptError.*2 of 3 rows answered.*The answers are kept") as caught:
        go(place, {"n": [1, 2, 3]}, ask, strict=True)
    assert list(caught.value.details["mapped"]) == ["Say 1", None, "Say 3"]


def test_failures_of_the_model_are_typed_and_may_be_tried_again(place: Served) -> None:
    found = go(place, texts("bad", 3), model="up/status-400")
    assert all(str(error).startswith("ProviderError: ") for error in found.errors)
    assert found.failures()[0]["failed"] == 3
    with pytest.raises(ProviderError, match="3 of 3 rows failed"):
        go(place, texts("bad", 3), model="up/status-400", strict=True)
    assert go(place, {"text": ["again"]}, model="up/status-400").failed == [0], "a failure is asked again, not remembered"


def test_what_holds_for_all_rows_is_raised_once(place: Served) -> None:
    with pytest.raises(UnknownModel, match="nosuch") as caught:
        go(place, texts("all", 100), model="nosuch", workers=4)
    assert caught.value.details["mapped"].counts()["unasked"] >= 90


def test_json_becomes_columns(place: Served) -> None:
    data = {"text": ['{"team": "a", "n": 1}', '{"team": "b"}', "no json"]}
    found = go(place, data, "{text}", into="x", parse="json")
    assert found.columns["x_team"] == ["a", "b", None] and found.columns["x_n"] == [1, None, None]
    assert found.failed == [2] and "not JSON" in str(found.errors[2])
    assert list(go(place, {"text": ["7"]}, "{text}", parse=int)) == [7]
    assert "ValueError" in str(go(place, {"text": ["seven"]}, "{text}", parse=int).errors[0])


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        (polars.DataFrame({"text": ["a"]}), {"column": "txt"}, "rows has no column 'txt'. Did you mean text?"),
        ({"text": ["a"]}, {"workers": 0}, "whole number from 1 to 64"),
        ({"text": ["a"]}, {"max_cost": -1}, "US dollars above 0"),
        ({"text": ["a"]}, {"into": ""}, "name of the new column"),
        ({"text": ["a"]}, {"retries": -1}, "0 or more"),
        ({"text": ["a"]}, {"parse": "xml"}, '"json" or a function'),
        ({"text": ["a"], "n": []}, {}, "not of one length (text 1, n 0)"),
        ({"text": "a"}, {}, "no list of values"),
        ([{"text": "a"}, "b"], {}, "rows[1] is a str"),
        (7, {}, "is a int, which holds no rows"),
        ("abc", {}, "is a str, which holds no rows"),
        (pandas.DataFrame([[1, 2]], columns=["a", "a"]), {}, "two columns 'a'"),
    ],
    ids=["column", "workers", "cap", "into", "retries", "parse", "lengths", "no-list", "mixed", "number", "text", "twice"],
)
def test_what_does_not_fit_is_said_and_nothing_is_sent(place: Served, data: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        go(place, data, **options)
    assert said in caught.value.message
    assert not place.upstream.requests


def test_a_prompt_that_names_no_column_is_refused(place: Served) -> None:
    with pytest.raises(UsageError, match=r"names no column.*\{text\}"):
        go(place, {"text": ["a"]}, "Say {txet} please")
    with pytest.raises(UsageError, match="is no prompt"):
        go(place, {"text": ["a"]}, 7)


def test_progress_counts_what_a_person_wants_to_know(place: Served) -> None:
    seen: list[Progress] = []
    go(place, {"text": ["p1", "p2", "p1", None]}, column="text", progress=seen.append)
    last = seen[-1]
    assert (last.done, last.total, last.failed, last.unit, last.over) == (3, 3, 0, "rows", True)
    assert last.spent_usd > 0


def test_an_answer_that_is_not_wanted_is_a_failed_row(place: Served) -> None:
    def read(response: Response) -> str:
        raise CallCancelled("not wanted")

    engine = Engine(place.client, 2, lambda row: Request(model="cheap", messages=(Message("user", f"row {row}"),)), read=read)
    engine.run()
    assert [one.status for one in engine.results] == ["failed", "failed"]


def test_a_kernel_that_dies_pays_nothing_twice(place: Served, tmp_path: Path) -> None:
    """A process killed in the middle: the next one asks by the same rows, and the model sees each once."""
    script = (
        "from aiplat_lab import map_rows\n"
        "map_rows({'text': [f'killed {i}' for i in range(60)]}, 'Say {text}', model='slow', workers=4, progress=False)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path)
    deadline = time.monotonic() + 60
    while len(place.upstream.requests) < 12 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    while place.client.status()["in_flight"] and time.monotonic() < deadline:
        time.sleep(0.02)
    before = len(place.upstream.requests)
    assert 12 <= before < 60
    found = go(place, {"text": [f"killed {i}" for i in range(60)]}, model="slow", workers=16)
    assert found.counts()["done"] == 60 and len(place.upstream.requests) == 60
    assert found.counts()["known"] == before
