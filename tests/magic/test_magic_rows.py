"""`%%ai --each` and `%%ai --bg` in a shell: what they give, keep, show and refuse."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pandas
import polars
import pytest
from magickit import Lab

from aiplat_lab.core.errors import AiplatError, BudgetExceeded, CallCancelled, ProviderError, UnknownModel, UsageError
from aiplat_lab.magic import _each

ROWS = "application/vnd.aiplat.rows+json"


@pytest.fixture
def df(lab: Lab) -> polars.DataFrame:
    frame = polars.DataFrame({"text": ["a", "b", None, "a", " "], "n": [1, 2, 3, 4, 5]})
    lab.shell.user_ns["df"] = frame
    return frame


def test_a_cell_asks_each_row_and_fills_the_column(lab: Lab, df: polars.DataFrame) -> None:
    ran = lab.run("%%ai --each df.text --into df.new --workers 4 -o found\nSay {text} {row} of row {n}")
    assert ran.error is None and ran.complaints == ""
    new = lab.shell.user_ns["df"]
    assert new["new"].to_list() == ["Say a a of row 1", "Say b b of row 2", None, "Say a a of row 4", None]
    assert new["new_error"].to_list() == [None] * 5
    assert df.columns == ["text", "n"], "the frame that was there is not changed"
    [shown] = [one for one in ran.outputs if not one["update"]]
    assert ran.outputs[-1]["data"][ROWS] | {"cost_usd": ""} == {
        "schema": 1, "id": lab.shell.user_ns["found"].id, "status": "complete", "rows": 5, "done": 3, "failed": 0, "skipped": 2,
        "unasked": 0, "duplicates": 0, "unpriced": 0, "known": 0, "cost_usd": "", "currency": "GBP", "usd_rate": "0.5", "failures": [],
    }  # fmt: skip
    assert "3 of 5 rows answered, 2 empty and skipped, £" in ran.outputs[-1]["data"]["text/plain"]
    assert shown["transient"]["display_id"]


def test_running_it_again_costs_nothing_and_duplicates_are_asked_once(lab: Lab, df: polars.DataFrame) -> None:
    cell = "%%ai --each df.text --into df.again\nDuplicates: {text}"
    lab.run(cell)
    assert len(lab.upstream.requests) == 2
    ran = lab.run(cell)
    assert len(lab.upstream.requests) == 2
    said = ran.outputs[-1]["data"][ROWS]
    assert (said["known"], said["duplicates"]) == (2, 1) and float(said["cost_usd"]) == 0


def test_other_kinds_of_rows(lab: Lab) -> None:
    names = lab.shell.user_ns
    names["words"] = ["x", None, "y"]
    lab.run("%%ai --each words --into answers\nSay {row}")
    assert names["answers"] == ["Say x", None, "Say y"]
    names["pf"] = pandas.DataFrame({"the text": ["x", float("nan")]}, index=["p", "q"])
    lab.run('%%ai --each "pf.the text" --into pf.new\nSay {row}')
    assert names["pf"].loc["p", "new"] == "Say x" and names["pf"]["new"].isna()["q"]
    names["made"] = {"t": ["x"], "u": [2]}
    lab.run("%%ai --each made --into other.new\nSay {row.t} {u}")
    assert names["other"] == {"t": ["x"], "u": [2], "new": ["Say x 2"], "new_error": [None]} and "new" not in names["made"]


def test_json_gives_columns(lab: Lab) -> None:
    lab.shell.user_ns["df"] = polars.DataFrame({"text": ['{"team": "a", "n": 1}', '{"team": "b"}', "none"]})
    ran = lab.run("%%ai -f json --each df.text --into df\n{text}")
    assert ran.error is None
    new = lab.shell.user_ns["df"]
    assert new["team"].to_list() == ["a", "b", None] and new["n"].to_list() == [1, None, None]
    assert "not with JSON" in new["error"].to_list()[2]


def test_failed_rows_are_told_and_raise_headless_unless_lenient(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.shell.user_ns["df"] = polars.DataFrame({"text": ["a", "b"]})
    cell = "%%ai up/status-400 --each df.text --into df.new {}\nSay {{text}}"
    ran = lab.run(cell.format(""))
    assert ran.error is None and "2 failed" in ran.outputs[-1]["data"]["text/plain"]
    assert lab.shell.user_ns["df"]["new_error"].to_list()[0].startswith("ProviderError: up: ")
    monkeypatch.setenv("AIPLAT_HEADLESS", "1")
    lab.shell.magics_manager.registry["AiMagics"]._session = None
    ran = lab.run(cell.format(""))
    assert isinstance(ran.error, ProviderError) and "2 of 2 rows failed; row 0" in str(ran.error) and len(str(ran.error)) <= 800
    assert lab.shell.user_ns["df"].columns == ["text", "new", "new_error"], "what is done is kept"
    assert lab.run(cell.format("--lenient")).error is None


def test_a_cap_stops_before_it_could_be_passed(lab: Lab) -> None:
    lab.shell.user_ns["df"] = polars.DataFrame({"text": [f"cap {index}" for index in range(200)]})
    ran = lab.run("%%ai --each df.text --into df.new --max-cost 0.0005 --max-tokens 20\nSay {text}")
    assert isinstance(ran.error, BudgetExceeded) and "raise the cap" in str(ran.error)
    said = ran.outputs[-1]["data"][ROWS]
    assert said["status"] == "capped" and 0 < said["done"] < 200 and said["unasked"] == 200 - said["done"]
    assert float(said["cost_usd"]) * 0.5 <= 0.0005
    assert lab.shell.user_ns["df"]["new"].drop_nulls().len() == said["done"]


def test_an_interrupt_keeps_what_is_done(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.shell.user_ns["df"] = polars.DataFrame({"text": [f"stop {index}" for index in range(40)]})

    pressed: list[int] = []

    def tell(*_: Any) -> Any:
        def interrupt(now: Any) -> None:
            if now.done >= 8 and not pressed:
                pressed.append(now.done)
                raise KeyboardInterrupt

        return interrupt

    monkeypatch.setattr(_each, "_tell", tell)
    ran = lab.run("%%ai up/echo-50ms --each df.text --into df.new --workers 4\nSay {text}")
    assert isinstance(ran.error, CallCancelled) and "Stopped by hand" in str(ran.error)
    kept = lab.shell.user_ns["df"]
    assert kept["new"].drop_nulls().len() >= 8 and kept["new_error"][39] == "not asked"
    monkeypatch.undo()
    lab.run("%%ai up/echo-50ms --each df.text --into df.new --workers 8\nSay {text}")
    assert lab.shell.user_ns["df"]["new"].null_count() == 0
    assert len(lab.upstream.requests) == 40, "no row reached the model twice"


@pytest.mark.parametrize(
    ("line", "body", "said"),
    [
        ("--each df.txt", "Say {row}", "df has no column 'txt'. Did you mean text?"),
        ("--each dff.text", "Say {row}", "dff is not a variable of this notebook. Did you mean df?"),
        ("--each df.text --into df", "Say {row}", "name a new column, df.answer"),
        ("--each df.text --into short.new", "Say {row}", "short has 3 rows, df.text 5"),
        ("--each three --into three.new", "Say {row}", "three has no columns"),
        ("--each df.text --into 3x.new", "Say {row}", "it takes a variable"),
        ("--each df.text", "Say nothing", "names no column of df"),
        ("--each df.text --workers 65", "Say {row}", "it takes up to 64"),
        ("--each df.text --repeat 2", "Say {row}", "--repeat has no meaning beside --each"),
        ("--each df.text --dry-run", "Say {row}", "--dry-run has no meaning beside --each"),
        ("--into df.new", "Say {row}", "--into goes with --each"),
        ("--workers 4", "Say {row}", "--workers goes with --each"),
        ("--each number", "Say {row}", "number is a int, which holds no rows"),
    ],
    ids=["column", "variable", "over", "length", "list", "name", "same", "workers", "repeat", "dry", "into", "alone", "kind"],
)
def test_what_does_not_fit_is_one_line_and_sends_nothing(lab: Lab, df: polars.DataFrame, line: str, body: str, said: str) -> None:
    lab.shell.user_ns |= {"three": [1, 2, 3], "short": {"a": [1, 2, 3]}, "number": 7}
    ran = lab.run(f"%%ai {line}\n{body}")
    assert isinstance(ran.error, UsageError) and said in str(ran.error)
    assert not lab.upstream.requests


def test_no_rows_and_an_unknown_model(lab: Lab, df: polars.DataFrame) -> None:
    lab.shell.user_ns["none"] = df.clear()
    ran = lab.run("%%ai --each none.text --into none.new\nSay {text}")
    assert ran.error is None and "no rows" in ran.outputs[-1]["data"]["text/plain"]
    assert lab.shell.user_ns["none"].columns == ["text", "n", "new", "new_error"]
    assert isinstance(lab.run("%%ai nosuch --each df.text\nSay {text}").error, UnknownModel)


def test_a_value_that_cannot_be_written_is_a_failed_row(lab: Lab) -> None:
    class Broken:
        def __str__(self) -> str:
            raise ValueError("no text")

    lab.shell.user_ns["things"] = ["a", Broken(), "c"]
    ran = lab.run("%%ai --each things --into said\nSay {row}")
    assert ran.error is None
    assert lab.shell.user_ns["said"] == ["Say a", None, "Say c"]
    assert "ValueError: no text" in ran.outputs[-1]["data"][ROWS]["failures"][0]["error"]


# --- in the background ------------------------------------------------------------------------------------------------


def test_a_handle_comes_at_once_and_the_answer_later(lab: Lab) -> None:
    begun = time.monotonic()
    ran = lab.run("%%ai up/echo-500ms --bg -o later\nSay hello")
    assert ran.error is None and time.monotonic() - begun < 0.4
    assert "Asked in the background" in ran.outputs[0]["data"]["text/plain"]
    handle = lab.shell.user_ns["later"]
    assert not handle.done and handle.text == "" and "still coming" in repr(handle)
    with pytest.raises(TimeoutError, match="still coming"):
        handle.wait(0.01)
    assert handle.wait(10).text == "Say hello"
    assert handle.done and handle.text == "Say hello" and handle.error is None
    assert handle.cancel() is False


def test_a_handle_can_be_awaited(lab: Lab) -> None:
    lab.run("%%ai --bg -o later --fresh\nSay awaited")

    async def cell() -> Any:
        return await lab.shell.user_ns["later"]

    assert asyncio.run(cell()).text == "Say awaited"


def test_a_cancelled_call_in_the_background_is_cancelled_at_the_provider(lab: Lab) -> None:
    lab.run("%%ai up/hang --bg -o later\nSay never")
    handle = lab.shell.user_ns["later"]
    assert handle.cancel()
    with pytest.raises(CallCancelled):
        handle.wait(10)
    assert isinstance(handle.error, CallCancelled) and "failed" in repr(handle)


def test_failures_in_the_background_stand_in_the_handle(lab: Lab) -> None:
    assert lab.run("%%ai up/status-400 --bg -o later\nSay no").error is None
    with pytest.raises(ProviderError):
        lab.shell.user_ns["later"].wait(10)
    assert isinstance(lab.run("%%ai --bg --each nothing.at\n{row}").error, UsageError), "what can be said at once is said at once"


def test_headless_waits_and_raises(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIPLAT_HEADLESS", "1")
    ran = lab.run("%%ai up/echo-100ms --bg -o later\nSay headless")
    assert ran.error is None and lab.shell.user_ns["later"].done
    assert isinstance(lab.run("%%ai up/status-400 --bg\nSay no").error, AiplatError)


def test_rows_in_the_background_fill_the_frame_when_they_are_done(lab: Lab, df: polars.DataFrame) -> None:
    lab.run("%%ai up/echo-100ms --each df.text --into df.new --bg -o later\nSay {text} aside")
    handle = lab.shell.user_ns["later"]
    lab.shell.user_ns["df"] = lab.shell.user_ns["df"].with_columns(m=polars.lit(1))  # the notebook goes on meanwhile
    assert handle.wait(10).counts()["done"] == 3
    assert lab.shell.user_ns["df"].columns == ["text", "n", "m", "new", "new_error"]
    lab.run("%%ai up/echo-100ms --each df.text --bg -o stopped --workers 1 --fresh\nSay {text} {n} {m}")
    lab.shell.user_ns["stopped"].cancel()
    with pytest.raises(CallCancelled, match="Stopped by hand"):
        lab.shell.user_ns["stopped"].wait(10)


def test_a_row_whose_answer_does_not_fit_the_schema_has_an_error_of_its_own(lab: Lab) -> None:
    lab.shell.push({"shape": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}})
    lab.shell.user_ns["rows"] = ['{"n": 1}', '{"n": "one"}']
    ran = lab.run("%%ai --schema shape --each rows -o found --lenient\n{row}")
    assert ran.error is None, ran.error
    found = lab.shell.user_ns["found"]
    assert found.values[0] == {"n": 1}
    assert "does not fit shape" in str(found.errors[1])
