"""What goes with a cell, and what follows its answer: schemas, tools, images, files, threads, tries, and jupyter-ai's ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from IPython.utils.capture import capture_output
from magickit import Lab, Ran, make_shell
from pydantic import BaseModel

from aiplat_lab.core.errors import ProviderError, UnknownModel, UsageError
from aiplat_lab.core.types import Message, Request, Response
from aiplat_lab.magic._attach import attached
from aiplat_lab.magic._schema import Schema
from aiplat_lab.magic._steps import Thread
from aiplat_lab.magic._tools import Tools

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 20


class Order(BaseModel):
    number: str
    pounds: float


def sent(lab: Lab, index: int = -1) -> dict[str, Any]:
    body: dict[str, Any] = lab.upstream.requests[index].body
    return body


def cell(lab: Lab, text: str) -> Ran:
    """A cell that is counted, as those of a notebook are."""
    with capture_output() as seen:
        result = lab.shell.run_cell(text, store_history=True)
    outputs = [{"data": one.data, "metadata": one.metadata} for one in seen.outputs]
    return Ran(result.error_before_exec or result.error_in_exec, seen.stdout, seen.stderr, outputs)


# --- schemas ----------------------------------------------------------------------------------------------------------


def test_an_answer_that_fits_a_pydantic_model_is_kept_as_one(lab: Lab) -> None:
    lab.shell.push({"Order": Order, "wanted": json.dumps({"number": "A-7", "pounds": 12.5})})
    ran = lab.run("%%ai --schema Order -o order\n{wanted}")
    assert ran.error is None
    order = lab.shell.user_ns["order"]
    assert order.parsed == Order(number="A-7", pounds=12.5)
    assert order.json == {"number": "A-7", "pounds": 12.5}
    asked = sent(lab)
    assert asked["response_format"]["json_schema"]["schema"] == Order.model_json_schema()
    assert "fits Order" in ran.outputs[0]["data"]["text/plain"]


def test_an_answer_that_does_not_fit_is_asked_for_once_more_and_then_fails_the_cell(lab: Lab) -> None:
    lab.shell.push({"Order": Order})
    ran = lab.run('%%ai --schema Order -o misfit --no-stream\n{{"number": 7}}')
    assert isinstance(ran.error, ProviderError)
    assert "after one repair" in str(ran.error)
    assert len(lab.upstream.requests) == 2
    assert [message["role"] for message in sent(lab)["messages"]] == ["user", "assistant", "user"]
    assert lab.shell.user_ns["misfit"].parsed is None
    calls = lab.client.post("/api/query", {"sql": "SELECT parent_id FROM calls WHERE surface = 'magic' ORDER BY started_at DESC LIMIT 2"})[
        "rows"
    ]
    assert [bool(call["parent_id"]) for call in calls] == [True, False]


def test_a_repair_says_what_is_wrong_and_its_answer_counts() -> None:
    schema = Schema.of("shape", {"shape": {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}})
    request = schema.asked(Request(model="m", messages=(Message("user", "x"),)))
    again = schema.next(request, Response(text='{"a": "seven"}'))
    assert again is not None
    assert again.parent_id == request.call_id
    assert "integer" in again.messages[-1].text()
    assert schema.next(again, Response(text='Here: ```json\n{"a": 7}\n```')) is None
    assert schema.value == {"a": 7}
    assert schema.note() == "fits shape after one repair"


@pytest.mark.parametrize("given", [3, str, {"type": "thing"}, {"properties": {"a": 4}}], ids=["number", "class", "type", "part"])
def test_what_is_no_schema_is_refused_before_anything_is_sent(given: object) -> None:
    with pytest.raises(UsageError, match="Nothing was sent"):
        Schema.of("given", {"given": given})


# --- tools ------------------------------------------------------------------------------------------------------------


def weather(city: str, days: int = 1, unit: Literal["C", "F"] = "C", tags: list[str] | None = None) -> dict[str, str]:
    """Tells the weather of a city."""
    return {"city": city, "sky": "dull"}


def test_a_function_runs_when_a_person_lets_it_and_the_model_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or "y")
    lab.shell.push({"weather": weather})
    ran = lab.run("%%ai up/tools --tools weather -o said\nHow is it in Leeds?")
    assert ran.error is None, ran.error
    assert asked == ["The model asks to run weather(city='Leeds'). Let it? [y]es, [n]o, [a]lways: "]
    assert "dull" in lab.shell.user_ns["said"]
    foot = ran.outputs[-1]["data"]["text/plain"]
    assert "tools: weather ×1" in foot
    assert "2 calls" in foot
    assert sent(lab)["messages"][-1]["role"] == "tool"
    described = sent(lab, 0)["tools"][0]["function"]
    assert described["description"] == "Tells the weather of a city."
    assert described["parameters"]["required"] == ["city"]
    assert described["parameters"]["properties"]["unit"] == {"enum": ["C", "F"]}


def test_a_function_that_is_not_let_run_does_not(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    ran_it: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text: "n")
    lab.shell.push({"weather": lambda city: ran_it.append(city)})
    ran = lab.run("%%ai up/tools --tools weather -o said --fresh\nAnd now?")
    assert ran.error is None
    assert not ran_it
    assert "did not let" in lab.shell.user_ns["said"]


def test_where_nobody_watches_a_function_needs_a_setting(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIPLAT_HEADLESS", "1")
    lab.shell.push({"weather": weather})
    refused = lab.run("%%ai up/tools --tools weather\nHow is it in York?")
    assert isinstance(refused.error, UsageError)
    assert "allow_tools" in str(refused.error)
    lab.run("%config AiMagics.allow_tools = True")
    assert lab.run("%%ai up/tools --tools weather -o said\nHow is it in York?").error is None
    assert "dull" in lab.shell.user_ns["said"]


def test_a_function_that_raises_and_one_that_is_not_there_are_told_to_the_model() -> None:
    def bad(city: str) -> str:
        raise RuntimeError("no such city")

    tools = Tools.of(["bad"], {"bad": bad}, lambda name, call: True)
    calls = (
        {"id": "1", "function": {"name": "bad", "arguments": '{"city": "X"}'}},
        {"id": "2", "function": {"name": "other", "arguments": "{}"}},
        {"id": "3", "function": {"name": "bad", "arguments": '{"town": 1}'}},
        {"id": "4", "function": {"name": "bad", "arguments": "not JSON"}},
    )
    more = tools.next(Request(model="m", messages=(Message("user", "x"),)), Response(tool_calls=calls))
    assert more is not None
    told = [message.text() for message in more.messages[-4:]]
    assert told[0] == "Error: RuntimeError: no such city"
    assert "no function 'other'" in told[1]
    assert all("arguments of bad are wrong" in text for text in told[2:])


def test_a_model_that_asks_for_tools_without_end_is_stopped() -> None:
    tools = Tools.of(["weather"], {"weather": weather}, lambda name, call: True)
    asked = Response(tool_calls=({"id": "1", "function": {"name": "weather", "arguments": '{"city": "X"}'}},))
    request: Request | None = Request(model="m", messages=(Message("user", "x"),))
    with pytest.raises(ProviderError, match="no answer"):
        for _ in range(20):
            assert request is not None
            request = tools.next(request, asked)


# --- images and files -------------------------------------------------------------------------------------------------


def test_images_and_files_go_before_the_text(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("the notes")
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.7 x")
    lab.shell.push({"picture": PNG})
    ran = lab.run(f"%%ai --image picture --file {tmp_path / 'notes.txt'} --file {tmp_path / 'paper.pdf'} --dry-run\nWhat is this?")
    assert ran.error is None, ran.error
    request = attached(
        Request(model="m", messages=(Message("user", "x"),)),
        images=["picture"],
        files=[str(tmp_path / "notes.txt"), str(tmp_path / "paper.pdf")],
        names={"picture": PNG},
    )
    kinds = [part["type"] for part in request.messages[0].content or ()]  # type: ignore[index]
    assert kinds == ["text", "file", "image_url", "text"]


class Pillow:
    def save(self, out: Any, format: str) -> None:
        assert format == "PNG"
        out.write(PNG)


class Figure:
    def savefig(self, out: Any, format: str, bbox_inches: str) -> None:
        out.write(PNG)


@pytest.mark.parametrize("value", [PNG, bytearray(PNG), Pillow(), Figure()], ids=["bytes", "bytearray", "pillow", "figure"])
def test_an_image_may_be_an_object_of_several_libraries(value: object) -> None:
    request = attached(Request(model="m", messages=(Message("user", "x"),)), images=["it"], files=(), names={"it": value})
    assert request.messages[0].content[0]["image_url"]["url"].startswith("data:image/png;base64,")  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("it", b"GIF90", "no PNG"),
        ("it", 3, "takes bytes"),
        ("gone.png", None, "cannot be read"),
        ("it", b"\x89PNG\r\n\x1a\n" * 3_000_000, "MB"),
    ],
    ids=["kind", "number", "missing", "large"],
)
def test_an_image_that_is_none_is_refused(name: str, value: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        attached(Request(model="m", messages=(Message("user", "x"),)), images=[name], files=(), names={"it": value})


def test_a_file_that_cannot_be_sent_is_refused(tmp_path: Path) -> None:
    request = Request(model="m", messages=(Message("user", "x"),))
    for name, content, said in (
        ("a.bin", b"\xff\xfe\x00", "UTF-8"),
        ("b.txt", b"x" * 500_000, "500,000 characters"),
        ("c.txt", b"a\0b", "not a text"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=said):
            attached(request, images=(), files=[str(tmp_path / name)], names={})
    with pytest.raises(UsageError, match="no file"):
        attached(request, images=(), files=[str(tmp_path)], names={})


# --- threads ----------------------------------------------------------------------------------------------------------


def test_a_thread_sends_the_turns_before_the_cell_and_says_so(lab: Lab) -> None:
    cell(lab, "%%ai --thread t\none")
    ran = cell(lab, "%%ai --thread t\ntwo")
    assert [message["content"] for message in sent(lab)["messages"]] == ["one", "one", "two"]
    assert "thread t: 1 turn, 6 characters sent before it" in ran.outputs[-1]["data"]["text/plain"]
    cell(lab, "%%ai --thread t --history 1\nthree")
    assert [message["content"] for message in sent(lab)["messages"]] == ["two", "two", "three"]
    cell(lab, "%%ai\nalone")
    assert len(sent(lab)["messages"]) == 1
    lab.run("%ai reset t")
    cell(lab, "%%ai --thread t\nfour")
    assert len(sent(lab)["messages"]) == 1


def test_a_cell_that_runs_again_takes_its_own_turns_place() -> None:
    thread = Thread("t")
    for cell, text in (("a", "1"), ("b", "2"), ("c", "3")):
        thread.keep(cell, (Message("user", text), Message("assistant", text)))
    assert [message.text() for message in thread.before("b", None)] == ["1", "1"]
    thread.keep("b", (Message("user", "new"), Message("assistant", "new")))
    assert [message.text() for message in thread.before("d", 2)] == ["new", "new", "3", "3"]
    assert thread.before("d", 0) == ()


def test_max_history_sends_earlier_cells_as_jupyter_ai_does(lab: Lab) -> None:
    lab.run("%config AiMagics.max_history = 1")
    for text in ("alpha", "beta", "gamma"):
        cell(lab, f"%%ai\n{text}")
    assert [message["content"] for message in sent(lab)["messages"]] == ["beta", "beta", "gamma"]


def test_a_failure_is_tried_again_as_often_as_asked(lab: Lab) -> None:
    ran = lab.run("%%ai up/status-500-first-1 --retries 1\nagain")
    assert ran.error is None, ran.error
    assert "Trying again in 1 s" in ran.complaints
    assert len(lab.upstream.requests) == 2


# --- jupyter-ai's ways ------------------------------------------------------------------------------------------------

CORPUS = [
    "%%ai up:echo\nSay it",
    "%%ai up/echo\nSay it",
    "%%ai @up/echo\nSay it",
    "%%ai up-chat:echo\nSay it",
    "%%ai up:echo -f code\nA function of primes",
    "%%ai up:echo --format html\nA square in SVG",
    "%%ai up:echo -f math\nThe heat equation",
    "%%ai up:echo -f markdown\nA table of planets",
    "%%ai up:echo -f text\nPlain words",
    "%%ai up:echo -f json\n[1, 2]",
    "%%ai chatgpt\nA joke without numbers",
    "%%ai chatgpt --format code\nLower case in Python",
    "%%ai instant\nBy the bare name at its provider",
    '%%ai up:echo -m {"temperature": 0.1}\nSpaces in JSON',
    "%%ai up:echo -m '{\"temperature\": 0.1}'\nQuoted JSON",
    '%%ai up:echo --model-parameters {"temperature": 0.1, "max_tokens": 20}\nLong name',
    "%%ai up:echo -n eu-west-1\nA region",
    '%%ai up:echo --request-schema {"prompt": "<prompt>"} --response-path choices.[0].text\nAn endpoint',
    '%%ai up:echo -q {"prompt": "<prompt>"} -p generated_text\nAn endpoint, short',
    "%%ai up:echo --api-key-name MY_KEY\nA key",
    '%%ai up:echo\nA poem about {topic}, and {{"json": true}}',
    "%%ai up:echo\nExplain this:\n--\n{In[1]}",
    "%%ai up:echo\nMore on {Out[2]}",
    "%ai list",
    "%ai list up",
    "%ai models",
    "%ai help",
    "%ai version",
    "%ai alias mine up:echo",
    "%%ai mine\nBy the alias",
    "%ai update mine up:instant",
    "%ai dealias mine",
    "%ai register mine up:echo",
    "%ai delete mine",
    "%ai reset",
    "%config AiMagics.default_language_model = 'up:echo'",
    "%%ai\nThe default",
    "%config AiMagics.aliases = {'quick': 'up:echo'}",
    "%%ai quick\nBy configuration",
    "%config AiMagics.max_history = 0",
    "%load_ext jupyter_ai_magics",
    "%load_ext jupyter_ai",
    "%load_ext jupyter_ai_magic_commands",
]
"""Lines in the forms that the documentation of jupyter-ai 2 and of its magic commands 0.0.4 shows, with prompts of our own."""


def test_cells_of_both_dialects_run_unchanged(lab: Lab) -> None:
    lab.shell.push({"topic": "rain"})
    lab.shell.run_cell("1 + 1", store_history=True)
    lab.shell.run_cell("[3]", store_history=True)
    failed = {cell: str(error) for cell in CORPUS if (error := lab.run(cell).error) is not None}
    assert failed == {}


def test_err_holds_the_traceback_of_the_cell_that_failed(lab: Lab) -> None:
    lab.shell.run_cell("1 / 0", store_history=True)
    number = lab.shell.execution_count - 1
    assert "ZeroDivisionError" in lab.shell.user_ns["Err"][number]
    assert lab.run("%%ai -o said\nWhat is wrong in {Err[" + str(number) + "]}?").error is None
    assert "ZeroDivisionError" in lab.shell.user_ns["said"]
    for word in ("error", "fix"):
        assert lab.run(f"%ai {word} up/echo").error is None
        assert "ZeroDivisionError" in str(lab.shell.user_ns["_ai"])
        assert "1 / 0" in str(lab.shell.user_ns["_ai"])


def test_the_names_of_jupyter_ai_are_answered_only_where_it_is_absent(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = make_shell()
    assert shell.extension_manager.load_extension("jupyter_ai") == "already loaded"
    monkeypatch.setattr("aiplat_lab.magic.find_spec", lambda name: object())
    with pytest.raises(ModuleNotFoundError):
        shell.extension_manager.load_extension("jupyter_ai")


def test_a_name_that_is_none_of_these_is_unknown(lab: Lab) -> None:
    assert isinstance(lab.run("%%ai nothing-like-it\nx").error, UnknownModel)


def test_what_is_sent_stands_above_the_answer_when_asked(lab: Lab) -> None:
    lab.shell.push({"picture": PNG})
    ran = lab.run("%%ai up/echo --show-request --image picture --temperature 0 --system Short\n<b>Hi</b>")
    assert ran.error is None, ran.error
    shown = ran.outputs[0]["data"]
    assert shown["text/plain"] == "system: Short\nuser: [image_url] <b>Hi</b>\nto up/echo · temperature 0"
    assert "<b>" not in shown["text/html"]


def test_each_of_several_answers_has_steps_of_its_own(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda text: "a")
    lab.shell.push({"weather": weather})
    ran = lab.run("%%ai up/tools --tools weather --repeat 2 -o several\nHow is it in Bath?")
    assert ran.error is None, ran.error
    assert ["dull" in reply for reply in lab.shell.user_ns["several"]] == [True, True]


def test_a_cell_in_the_background_does_not_ask_for_a_word(lab: Lab) -> None:
    lab.shell.push({"weather": weather})
    ran = lab.run("%%ai up/tools --tools weather --bg -o later\nHow is it in Hull?")
    assert isinstance(ran.error, UsageError)
    assert not lab.upstream.requests
