"""`ask()` and `aask()`: what a cell does, from Python."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest
from magickit import Lab

import aiplat_lab
from aiplat_lab.core.errors import AiplatError, BudgetExceeded, UsageError

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def weather(city: str) -> str:
    """The weather of a city."""
    return f"rain in {city}"


def test_a_prompt_is_sent_as_it_stands(lab: Lab) -> None:
    lab.shell.push({"name": "Ann"})
    reply = aiplat_lab.ask("Hello {name}", model="up/echo", temperature=0.5, system="Be brief")
    assert reply == "Hello {name}" and reply.request.settings["temperature"] == 0.5
    body = lab.upstream.requests[-1].body
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert lab.row(reply.call_id)["surface"] == "python"


def test_an_answer_that_fits_is_parsed(lab: Lab) -> None:
    assert aiplat_lab.ask('{"city": "Leeds"}', model="up/echo", schema=CITY).parsed == {"city": "Leeds"}
    pydantic = pytest.importorskip("pydantic")
    place = pydantic.create_model("Place", city=(str, ...))
    assert aiplat_lab.ask('{"city": "York"}', model="up/echo", schema=place).parsed == place(city="York")


def test_tools_run_when_they_may(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "rain in Leeds" in aiplat_lab.ask("What is the weather?", model="up/tools", tools=[weather], allow_tools=True)

    def nobody(question: str) -> str:
        assert "weather(city='Leeds')" in question
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    with pytest.raises(UsageError, match="nobody answers"):
        aiplat_lab.ask("And the weather now?", model="up/tools", tools=[weather])


def test_pictures_and_files_go_with_it(lab: Lab, tmp_path: Path) -> None:
    note = tmp_path / "a note.txt"
    note.write_text("buy milk", encoding="utf-8")
    aiplat_lab.ask("What is this?", model="up/echo", images=[PNG], files=[note])
    sent = str(lab.upstream.requests[-1].body["messages"][-1]["content"])
    assert "data:image/png;base64," in sent and "buy milk" in sent


def test_a_conversation_goes_on_and_can_be_awaited(lab: Lab) -> None:
    aiplat_lab.ask("one", model="up/echo", thread="talk")
    reply = asyncio.run(aiplat_lab.aask("two", model="up/echo"))
    assert reply == "two" and [message.text() for message in reply.request.messages] == ["two"]


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"schema": 3}, UsageError),
        ({"schema": {"type": "thing"}}, UsageError),
        ({"tools": [3]}, UsageError),
        ({"images": [3]}, UsageError),
        ({"images": [b"GIF?"]}, UsageError),
        ({"files": ["nowhere.txt"]}, UsageError),
        ({"retries": -1}, UsageError),
        ({"max_cost": "much"}, UsageError),
        ({"logit_bias": object()}, UsageError),
        ({"api_key": "sk-1"}, UsageError),
        ({"model": "dear", "max_cost": 0.01}, BudgetExceeded),
    ],
    ids=["schema", "type", "tool", "image", "kind", "file", "retries", "cost", "object", "key", "dear"],
)  # fmt: skip
def test_each_mistake_is_one_error_and_sends_nothing(lab: Lab, options: dict[str, object], kind: type[AiplatError]) -> None:
    with pytest.raises(kind):
        aiplat_lab.ask("x", **{"model": "up/echo", **options})  # type: ignore[arg-type]
    assert not lab.upstream.requests
