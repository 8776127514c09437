"""`%%ai` in a shell, through the real gateway, against a real upstream."""

from __future__ import annotations

import json
import pickle
from decimal import Decimal

import pytest
from magickit import CANARY, MIME, Lab

from aiplat_lab.core.errors import (
    AiplatError,
    BudgetExceeded,
    CallCancelled,
    GatewayUnavailable,
    PromptError,
    ProviderError,
    UnknownModel,
    UsageError,
)
from aiplat_lab.magic._reply import Reply


def test_an_answer_is_one_output_with_all_that_is_known(lab: Lab) -> None:
    lab.shell.push({"name": "Ann {n}", "n": 3})
    ran = lab.run("%%ai echo --fresh --tag topic=hello --team risk --project p1\nHello **{name}**, {{n}} <b>x</b>")
    assert ran.error is None
    call = ran.call
    row = lab.row(call["call_id"])
    assert call["text"] == "Hello **Ann {n}**, {n} <b>x</b>"
    assert (call["schema"], call["status"], call["format"], call["model"], call["provider"]) == (1, "ok", "markdown", "echo", "up")
    assert (call["input_tokens"], call["output_tokens"], call["cache"], call["region"]) == (5, 5, "miss", "uk")
    assert Decimal(call["cost_usd"]) == Decimal("0.00005") == Decimal(row["cost_usd"])
    assert (call["currency"], Decimal(call["usd_rate"]), call["error"], call["flags"]) == ("GBP", Decimal("0.5"), None, [])
    assert (call["request_hash"], call["response_hash"]) == (row["request_hash"], row["response_hash"])
    assert (row["surface"], row["team"], row["project"], row["status"]) == ("magic", "risk", "p1", "ok")
    assert dict(row["tags"]) == {"topic": "hello"}
    data = ran.outputs[0]["data"]
    foot = f"echo · 5 → 5 tokens · £0.000025 · {data['text/plain'].split(' · ')[3]} · cache miss · call {call['call_id'][-8:]}"
    assert data["text/plain"] == f"Hello **Ann {{n}}**, {{n}} <b>x</b>\n\n{foot}"
    assert "<strong>Ann {n}</strong>" in data["text/html"] and "<b>" not in data["text/html"] and foot in data["text/html"]
    assert "&lt;b>x&lt;/b>" in data["text/markdown"] and data["text/markdown"].endswith(f"*{foot}*")
    assert set(data) == {MIME, "text/html", "text/markdown", "text/plain"}
    assert ran.outputs[0]["metadata"]["jupyter_ai"] == {"provider_id": "up", "model_id": "echo"}
    assert CANARY not in json.dumps(ran.outputs)


def test_the_default_model_and_the_names_of_models(lab: Lab) -> None:
    assert lab.run("%%ai\none").call["model"] == "echo"
    lab.shell.run_line_magic("config", "AiMagics.aliases = {'quick': 'nearly', 'nearly': 'up:instant'}")
    assert lab.run("%%ai quick\none").call["model"] == "up/instant"
    assert lab.run("%%ai @up:instant\none").call["model"] == "up/instant"
    assert lab.run("%%ai up/instant\none").call["model"] == "up/instant"
    lab.shell.run_line_magic("config", "AiMagics.default_language_model = 'up/stream-3'")
    assert lab.run("%%ai\none").call["model"] == "up/stream-3"


def test_the_same_cell_again_is_answered_from_the_ledger(lab: Lab) -> None:
    first = lab.run("%%ai\nsay this once")
    again = lab.run("%%ai\nsay this once")
    asked = sum(seen.model == "echo" for seen in lab.upstream.requests)
    assert asked == 1 and again.call["text"] == first.call["text"]
    assert (again.call["cache"], Decimal(again.call["cost_usd"])) == ("hit", 0)
    assert again.call["call_id"] != first.call["call_id"]
    assert "replayed, first asked just now, saved £0.0000" in again.outputs[0]["data"]["text/plain"]
    assert lab.run("%%ai --fresh\nsay this once").call["cache"] == "miss"
    assert lab.run("%%ai --cache off\nsay this once").call["cache"] == "off"


def test_settings_and_system_are_sent(lab: Lab) -> None:
    lab.run('%%ai --system "Be brief" --temperature 0.5 --max-tokens 7 --seed 3 --stop END -m {"top_p": 0.5} --fresh\none two')
    body = lab.upstream.requests[-1].body
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert (body["temperature"], body["seed"], body["stop"], body["top_p"]) == (0.5, 3, ["END"], 0.5)
    assert 7 in (body.get("max_tokens"), body.get("max_completion_tokens"))


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_the_reply_in_a_variable(lab: Lab, stream: str) -> None:
    ran = lab.run(f"%%ai -o answer --quiet {stream} --fresh\n" + '[{{"a": 1}}, {{"a": 2}}]')
    assert ran.error is None and ran.outputs == []
    answer = lab.shell.user_ns["answer"]
    assert isinstance(answer, Reply) and isinstance(answer, str)
    assert answer == answer.text == '[{"a": 1}, {"a": 2}]'
    assert answer.json == [{"a": 1}, {"a": 2}] and answer.df.to_dict(as_series=False) == {"a": [1, 2]}
    assert answer.usage is not None and answer.usage.output_tokens == 4
    assert answer.cost == Decimal("0.00004") and answer.call_id == lab.row(answer.call_id)["call_id"]
    assert answer.request.model == "echo" and answer.response.text == answer.text
    assert lab.shell.user_ns["_ai"] is answer
    assert pickle.loads(pickle.dumps(answer)).usage == answer.usage
    assert '[{"a": 1}, {"a": 2}]' in lab.run("answer").printed
    assert MIME in answer._repr_mimebundle_()


def test_unknown_cost_is_said_to_be_unknown(lab: Lab) -> None:
    ran = lab.run("%%ai up/instant --fresh\none")
    assert ran.call["cost_usd"] is None and "cost unknown" in ran.outputs[0]["data"]["text/plain"]


def test_flags_are_said(lab: Lab) -> None:
    assert "ended without a finish reason" in str(lab.run("%%ai up/no-finish --fresh\none").outputs), "perhaps cut off: no success"
    plain = lab.run("%%ai up/no-usage --fresh\none").outputs[0]["data"]["text/plain"]
    assert "tokens unknown" in plain
    assert "cut at the token limit" in lab.run("%%ai --max-tokens 1 --fresh\none two").outputs[0]["data"]["text/plain"]


def test_code(lab: Lab) -> None:
    ran = lab.run("%%ai -f code -o code\nx = a < b")
    said = "x = a < b Answer with source code only, with no text before or after it."
    assert ran.call["text"] == lab.shell.user_ns["code"] == said
    assert ran.call["format"] == "code" and "x = a &lt; b" in ran.outputs[0]["data"]["text/html"]
    assert "```\nx = a < b" in ran.outputs[0]["data"]["text/markdown"]


def test_json(lab: Lab) -> None:
    ran = lab.run('%%ai -f json -o parts\n```json\n{"amount": 12, "who": ["a"]}\n```')
    assert ran.error is None and lab.shell.user_ns["parts"].json == {"amount": 12, "who": ["a"]}
    assert json.loads(ran.call["text"]) == {"amount": 12, "who": ["a"]}


def test_json_that_is_none_fails_the_cell_and_keeps_the_reply(lab: Lab) -> None:
    ran = lab.run("%%ai up/instant -f json -o parts --fresh\nanything")
    assert isinstance(ran.error, ProviderError) and ran.error.reason == "bad_reply"
    assert "not with JSON" in ran.printed and len(ran.printed.strip().splitlines()) == 1
    assert ran.call["status"] == "ok" and ran.call["error"]["type"] == "ProviderError"
    assert lab.shell.user_ns["parts"].startswith("Hello from the upstream")
    with pytest.raises(ProviderError, match="not with JSON"):
        _ = lab.shell.user_ns["parts"].json


def test_html_stands_in_a_frame_that_runs_nothing(lab: Lab) -> None:
    html = lab.run("%%ai -f html\n<b>hi</b><script>alert(1)</script>").outputs[0]["data"]["text/html"]
    assert '<iframe sandbox=""' in html and "<script" not in html and "default-src &#x27;none&#x27;" in html


def test_an_answer_with_html_is_shown_as_text(lab: Lab) -> None:
    data = lab.run("%%ai\n<img src=x onerror=alert(1)> and <script>alert(2)</script>").outputs[0]["data"]
    assert "<img" not in data["text/html"] and "<script" not in data["text/html"]
    assert "<img" not in data["text/markdown"] and "<script" not in data["text/markdown"]


def test_right_to_left_text_and_emoji_and_a_lone_surrogate(lab: Lab) -> None:
    lab.shell.push({"odd": "a\ud800b"})
    ran = lab.run("%%ai --fresh\nשלום 👩‍🔬 {odd}")
    assert ran.error is None and ran.call["text"].startswith("שלום 👩‍🔬 a")


def test_an_undefined_name_warns_a_person_and_stops_a_machine(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.shell.push({"customer": "Ann"})
    ran = lab.run("%%ai --fresh\nDear {custmer}")
    assert ran.error is None and "Did you mean customer?" in ran.complaints
    assert ran.call["text"] == "Dear {custmer}"
    sent = len(lab.upstream.requests)
    monkeypatch.setenv("AIPLAT_HEADLESS", "1")
    lab.shell.magics_manager.registry["AiMagics"]._session = None
    ran = lab.run("%%ai --fresh\nDear {custmer}")
    assert isinstance(ran.error, PromptError) and ran.outputs == [] and len(lab.upstream.requests) == sent
    assert lab.run("%%ai --fresh --lenient\nDear {custmer}").error is None


FAILURES = [
    ("%%ai up/status-401\nx", ProviderError, "key"),
    ("%%ai up/status-429\nx", ProviderError, ""),
    ("%%ai up/status-500\nx", ProviderError, ""),
    ("%%ai closed/any\nx", ProviderError, ""),
    ("%%ai up/hang --timeout 1\nx", ProviderError, ""),
    ("%%ai up/bad-json --no-stream\nx", ProviderError, ""),
    ("%%ai up/bad-chunk --stream\nx", ProviderError, ""),
    ("%%ai up/cut-first --stream\nx", ProviderError, ""),
    ("%%ai up/context-length\nx", ProviderError, ""),
    ("%%ai up/leaky\nx", ProviderError, ""),
    ("%%ai ehco\nx", UnknownModel, "echo"),
    ("%%ai dear --team tight\nx", BudgetExceeded, "tight"),
    ("%%ai\n   \n", UsageError, "no text"),
    ("%%ai --fromat code\nx", UsageError, "--format"),
    ("%%ai\n{env}", PromptError, "environment"),
    ("%ai modles", UsageError, "models"),
    ("%ai alias chatgpt", UsageError, "NAME MODEL"),
    ("%ai alias quick echho", UsageError, "echo"),
    ("%ai dealias nothing", UsageError, "no alias"),
    ("%ai reset nothing", UsageError, "threads"),
    ("%%ai --schema Nothing\nx", UsageError, "no such variable"),
    ('%%ai --schema {"type": "thing"}\nx', UsageError, "JSON Schema"),
    ('%%ai --schema {"type": "object"} -f code\nx', UsageError, "no place beside"),
    ("%%ai --tools nothing\nx", UsageError, "no such function"),
    ("%%ai --image missing.png\nx", UsageError, "cannot be read"),
    ("%%ai --file missing.txt\nx", UsageError, "cannot be read"),
    ("%%ai --file /\nx", UsageError, "no file"),
    ("%ai cancel", UsageError, "CALL_ID"),
    ("%ai last", UsageError, "no cell"),
]


@pytest.mark.parametrize("headless", ["", "1"])
@pytest.mark.parametrize(("cell", "kind", "said"), FAILURES, ids=[cell.replace("\n", " ") for cell, _, _ in FAILURES])
def test_each_failure_is_one_short_line_and_fails_the_cell(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, cell: str, kind: type[AiplatError], said: str, headless: str
) -> None:
    import os

    monkeypatch.setenv("AIPLAT_HEADLESS", headless)
    lab.shell.push({"env": os.environ})
    ran = lab.run(cell)
    assert type(ran.error) is kind, (ran.error, ran.printed)
    lines = ran.printed.strip().splitlines()
    assert len(lines) == 1 and said in lines[0] and kind.__name__ in lines[0]
    assert len(ran.printed.strip().encode()) <= 800 and CANARY not in ran.printed
    for output in ran.outputs:
        assert output["data"][MIME]["status"] in {"error", "refused"} and CANARY not in json.dumps(output)
        row = lab.row(output["data"][MIME]["call_id"])
        assert row["status"] == output["data"][MIME]["status"]


@pytest.mark.parametrize("cell", ["%%ai", "%%ai echo\n", "%%ai 'a model'\n\n", "%%ai\n \n\t\n"])
def test_an_empty_cell_sends_nothing(lab: Lab, cell: str) -> None:
    ran = lab.run(cell)
    assert isinstance(ran.error, UsageError) and "no text" in ran.printed and lab.upstream.requests == []


def test_a_large_answer(lab: Lab) -> None:
    lab.shell.push({"large": "word & <b> " * 90_000})
    ran = lab.run("%%ai --cache off --no-stream\n{large}")
    assert ran.error is None and len(ran.call["text"]) > 900_000 and "text/html" not in ran.outputs[0]["data"]


def test_a_notebook_that_was_renamed(lab: Lab) -> None:
    first = lab.run("%%ai\nwhere, before and after")
    lab.shell.push({"__aiplat_notebook__": "work/renamed ü.ipynb"})
    again = lab.run("%%ai\nwhere, before and after")
    assert lab.row(again.call["call_id"])["notebook"] == "work/renamed ü.ipynb"
    assert again.call["cache"] == "hit" and again.call["text"] == first.call["text"], "the name is no part of the question"


def test_a_notebook_of_another_front_end(lab: Lab) -> None:
    lab.shell.push({"__vsc_ipynb_file__": "/somewhere/else/note.ipynb"})
    call = lab.run("%%ai --fresh\nwhere").call
    assert lab.row(call["call_id"])["notebook"] == "/somewhere/else/note.ipynb"


def test_an_interrupt_outside_of_a_call_is_one_line_too(lab: Lab) -> None:
    class Slow:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    lab.shell.push({"slow": Slow()})
    ran = lab.run("%%ai\n{slow}")
    assert isinstance(ran.error, CallCancelled) and len(ran.printed.strip().splitlines()) == 1 and lab.upstream.requests == []


def test_a_429_that_passes_is_waited_for(lab: Lab) -> None:
    ran = lab.run("%%ai retried --fresh\nx")
    assert ran.error is None and ran.call["status"] == "ok"


def test_a_stream_that_breaks_off_keeps_its_part(lab: Lab) -> None:
    ran = lab.run("%%ai up/cut-stream --fresh\nx")
    assert isinstance(ran.error, ProviderError)
    assert ran.call["status"] == "error" and ran.call["text"].strip() != "" and ran.call["error"]["type"] == "ProviderError"
    assert lab.row(ran.call["call_id"])["status"] == "error"


def test_a_gateway_that_is_not_there(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIPLAT_GATEWAY", "http://127.0.0.1:9")
    ran = lab.run("%%ai\nx")
    assert isinstance(ran.error, GatewayUnavailable) and "127.0.0.1:9" in ran.printed and len(ran.printed.strip().splitlines()) == 1


def test_commands(lab: Lab) -> None:
    lab.run("%%ai --fresh\nremember me")
    models = lab.run("%ai models")
    assert models.error is None and "echo (default)" in models.outputs[0]["data"]["text/plain"]
    assert lab.run("%ai list").outputs[0]["data"]["text/plain"] == models.outputs[0]["data"]["text/plain"]
    assert "up/echo" in lab.run("%ai list up").outputs[0]["data"]["text/plain"]
    assert "nothing yet" in lab.run("%ai list nobody").outputs[0]["data"]["text/plain"]
    assert lab.run("%ai last").call["text"] == "remember me"
    assert "gateway" in lab.run("%ai status").outputs[0]["data"]["text/plain"]
    cost = lab.run("%ai cost").outputs[0]["data"]
    assert "£" in cost["text/plain"] and "<table" in cost["text/html"]
    for by in ("model", "team", "project", "user", "day"):
        assert lab.run(f"%ai cost --by {by}").error is None
    assert "echo" in lab.run("%ai cost --by model").outputs[0]["data"]["text/plain"]
    assert lab.run("%ai version").outputs[0]["data"]["text/plain"].startswith("aiplat-lab ")
    shown = lab.run("%ai help").outputs[0]["data"]["text/plain"]
    assert "--max-tokens" in shown and "%%ai" in shown
    assert lab.run("%ai").outputs[0]["data"]["text/plain"] == shown
    gone = lab.run(f"%ai cancel {lab.shell.user_ns['_ai'].call_id}")
    assert gone.error is None and "not under way" in gone.outputs[0]["data"]["text/plain"]


def test_the_help_reads_well(lab: Lab) -> None:
    shown = lab.shell.inspector.info(lab.shell.find_cell_magic("ai"))["docstring"]
    assert shown.startswith("Ask a model from a cell.") and "%%ai openai/gpt-5-mini -f code" in shown
    assert max(len(line) for line in shown.splitlines()) <= 130
