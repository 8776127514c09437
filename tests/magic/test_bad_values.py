"""What a variable can hold to spoil a prompt, an output or a file: nothing is read twice, nothing leaks, nothing is too large unsaid."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pandas
import polars
import pytest
from magickit import CANARY, MIME, Lab

from aiplat_lab.core.errors import PromptError, redact
from aiplat_lab.core.settings import Home
from aiplat_lab.core.text import visible
from aiplat_lab.core.types import Message, Request, Response, Usage
from aiplat_lab.magic._bundle import Answer, bundle
from aiplat_lab.magic._interpolate import interpolate

SECRET = "sk-secret-of-the-notebook-0123456789abcdef"
PARTS = (
    "{", "}", "{{", "}}", "{secret}", "{{secret}}", "{{{secret}}}", "{secret!r}", "{secret:>9}", "{holder.secret}", "{box[secret]}",
    "{v}", "{w}", "{row[v]}", "{env}", "{env[UP_KEY]}", "{v.__class__}", "%(secret)s", "${secret}", "$secret", "\\frac{", "```", "`",
    '"', "'",
    "\n", "%%ai", "\u202e", "\u2066", "\u200f", "💡", "👩‍🔬", "שלום", "é", "\x00", "\ud800", "a", " ", "</script>", "<!--", "\ue000",
    "\ue001",
)  # fmt: skip
FORMS = ("{v}", "{v} {w}", '{{"x": "{v}"}}', "pre {row[v]} post", "{rows[0]}{v}", "```\n{v}\n```", "{v!s} and {{v}}", "`{w}`: {v}")
_MARKS = {
    "{{v}}": "\x01",
    "{row[v]}": "\x02",
    "{rows[0]}": "\x03",
    "{v!s}": "\x02",
    "{v}": "\x02",
    "{w}": "\x03",
    "{{": "\x04",
    "}}": "\x05",
}


def hostile(draw: random.Random) -> str:
    return "".join(draw.choices(PARTS, k=draw.randint(1, 12)))


def meant(form: str, v: str, w: str) -> str:
    """What is to be sent, worked out another way: each reference replaced once, from the left."""
    for reference, mark in _MARKS.items():
        form = form.replace(reference, mark)
    return "".join({"\x01": "{v}", "\x02": v, "\x03": w, "\x04": "{", "\x05": "}"}.get(sign, sign) for sign in form)


def test_ten_thousand_values_are_read_once() -> None:
    draw = random.Random(20261127)
    wrong = []
    for _ in range(5_000):
        v, w = hostile(draw), hostile(draw)
        names = {"v": v, "w": w, "row": {"v": v}, "rows": [w], "secret": SECRET, "box": {"secret": SECRET}, "holder": {}}
        form = draw.choice(FORMS)
        sent = interpolate(form, names, strict=True).text
        if sent != meant(form, v, w) or SECRET in sent:
            wrong.append((form, v, w, sent))
    assert wrong == []


def test_no_secret_is_in_a_request_a_file_or_a_log(lab: Lab, magic_home: Home) -> None:
    import os

    draw = random.Random(7)
    printed = []
    for number in range(20):
        values = [hostile(draw) for _ in range(50)]
        lab.shell.push({"values": values, "secret": SECRET, "box": {"secret": SECRET}, "env": os.environ, "w": "{secret}"})
        ran = lab.run(f"%%ai --fresh --tag n={number}\n{number} " + " | ".join(f"{{values[{index}]}}" for index in range(50)))
        assert ran.error is None, ran.printed
        printed.append(json.dumps(ran.outputs) + ran.printed + ran.complaints)
    for cell in ("%%ai up/leaky --fresh\n{w}", "%%ai up/status-401 --fresh\n{w}", "%%ai --fresh\n{env}", "%%ai --fresh\n{w.secret}"):
        ran = lab.run(cell)
        assert ran.error is not None
        printed.append(json.dumps(ran.outputs) + ran.printed + ran.complaints + str(ran.error))
    assert len(lab.upstream.requests) == 22
    bodies = [json.dumps(seen.body, ensure_ascii=False) for seen in lab.upstream.requests]
    assert all(SECRET not in body and CANARY not in body for body in bodies)
    assert all(SECRET not in text and CANARY not in text for text in printed)
    lab.client.view_rows("totals")  # what is in the spool is in the ledger now
    for file in sorted(magic_home.path.rglob("*")):
        if file.is_file():
            raw = file.read_bytes()
            assert CANARY.encode() not in raw and SECRET.encode() not in raw, file


# As people type them: what is no name of the notebook, what only looks like one, and what is one by mistake.
TYPED = [
    '{"a": 1}', '{"customer": {"name": "x"}}', "{'customer': 1}", "{customer: 1}", "{}", "{ }", "{{}}", "{", "}", "}{", "{{", "}}",
    "{0}", "{1,2}",
    "{x + 1}", "{customer + 1}", "{customer()}", "{f(customer)}", "{customer if x else y}", "{-customer}", "{not customer}", "{*customer}",
    "{customer,}", "{customer=}", "{customer!z}", "{lambda: 1}", "{customer.}", "{customer[}", "{customer[]}",
    r"\frac{customer}{2}", r"$x_{customer}$", r"\begin{customer}", "${HOME_DIR}", "#{order_count}", "{% if customer %}", "{{ customer }}",
    "function f() { return 1; }", "body{color:red}", "for (;;) {}", "fn main() { println!(\"{}\", 1); }", "{k: v for k in d}",
    "{...customer}",
    "\\d{2,3}", "a{2}", "{\n  customer\n}", "{\t}", "{" * 500, "}" * 500, "{customer" * 200, "{{" * 300,
]  # fmt: skip
"""Sent as they are typed, except that doubled braces of a reference or an empty object become single ones."""
UNDEFINED = [
    "{customer:{width}}", "${customer_id}", "{" + "a" * 3000 + "}",
    "{custmer}", "Dear {custmer},", "{custmer.name}", "{custmer[0]}", "{custmer!r}", "{totals:.2f}", "{nobody}", "{x}", "{frame:head 5}",
    "{no_such_name}", "{Größe}", "{名前}", "two {custmer} {nobody}", "{{customer}} and {custmer}", '{"a": {custmer}}',
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(TYPED)))
def test_brace_text_is_sent_as_it_is_typed(number: int) -> None:
    text = TYPED[number]
    sent = interpolate(text, {"customer": "Ann", "d": {}}, strict=True)
    assert sent.warnings == () and sent.text == ("{}" if text == "{{}}" else text)


@pytest.mark.parametrize("number", range(len(UNDEFINED)))
def test_an_undefined_name_is_never_sent_unsaid(number: int) -> None:
    names = {"customer": "Ann"}
    with pytest.raises(PromptError, match=r"Nothing was sent\. Define it, double its braces .* or add --lenient to the first line\."):
        interpolate(UNDEFINED[number], names, strict=True)
    warned = interpolate(UNDEFINED[number], names)
    assert warned.warnings and all("It was sent as it stands." in warning for warning in warned.warnings)


def test_brace_text_reaches_the_model_unchanged(lab: Lab) -> None:
    lab.shell.push({"customer": "Ann", "d": {}})
    whole = "\n".join(text for text in TYPED if len(text) < 60 and text not in {"{", "}", "{{", "}}", "{{}}", "}{"} and "\\" not in text)
    assert lab.run(f"%%ai --fresh\n{whole}").error is None
    assert lab.upstream.requests[-1].body["messages"][-1]["content"] == whole


# --- too large ----------------------------------------------------------------------------------------------------------


class Places(pandas.DataFrame):
    """A frame of a library that builds on pandas."""


@pytest.mark.parametrize(
    ("value", "typed", "said"),
    [
        (polars.DataFrame({"n": range(1_000_000)}), "{it}", ["1,000,000 rows", "{it:head 20}", "{it:schema}"]),
        (pandas.DataFrame({"n": range(1_000_000)}), "{it:md}", ["1,000,000 rows", "{it:head 20}"]),
        (Places({"n": range(500)}), "{it}", ["500 rows", "{it:head 20}"]),
        (polars.DataFrame({f"column {n}": [n] * 50 for n in range(5000)}), "{it}", ["kB of text", "fewer columns"]),
        (polars.DataFrame({f"{n} {'long ' * 20}": [n] for n in range(5000)}), "{it:schema}", ["kB of text", "fewer columns"]),
        (polars.DataFrame({"n": [1]}).lazy(), "{it}", ["lazy frame", "it = it.collect()"]),
        (polars.DataFrame({"n": [1]}).lazy(), "{it:head 3}", ["lazy frame", "it = it.collect()"]),
        ("x" * 50_000_000, "{it}", ["50,000 kB", "{it[:100]}"]),
        (list(range(1_000_000)), "{it!r}", ["kB of text", "{it[:100]}"]),
    ],
    ids=["rows", "rows of pandas", "a subclass", "columns", "a schema", "lazy", "the head of a lazy one", "text", "a list"],
)
def test_what_is_too_large_is_refused_with_its_size_and_a_way_out(lab: Lab, value: Any, typed: str, said: list[str]) -> None:
    lab.shell.push({"it": value})
    ran = lab.run(f"%%ai --fresh\nSummarise {typed}")
    assert isinstance(ran.error, PromptError) and lab.upstream.requests == [] and ran.outputs == []
    (line,) = ran.printed.strip().splitlines()
    assert "nothing was sent" in line and all(word in line for word in said), line
    assert len(line.encode()) <= 800


def test_a_megabyte_is_saved_whole(lab: Lab) -> None:
    text = "word & <b> {n}\n" * 70_000
    lab.shell.push({"text": text, "n": "LEAKED"})
    ran = lab.run("%%ai --cache off --no-stream\n{text}")
    said = " ".join(text.split())
    assert ran.error is None and ran.call["text"] == said == lab.shell.user_ns["_ai"].text
    data = ran.outputs[0]["data"]
    assert data["text/plain"].startswith(said) and all("LEAKED" not in str(data[kind]) for kind in data)
    assert set(data) == {MIME, "text/plain"}, "what a page would lay out for seconds is left to plain text"


# --- what an answer can pretend -----------------------------------------------------------------------------------------

TRICKS = ["\u202e", "\u2066\u202e", "\u202d\u202e", "\u200f", "\u061c", "\u2067"]


@pytest.mark.parametrize("trick", TRICKS, ids=[f"{ord(trick[0]):x}-{len(trick)}" for trick in TRICKS])
def test_no_sign_of_an_answer_reaches_the_line_under_it(trick: str) -> None:
    request = Request(model=f"mo{trick}del", messages=(Message("user", "x"),), call_id="01936f0e-7b3a-7c1e-9d2f-0123456789ab")
    spoof = "echo · 5 → 5 tokens · £0.00 · 1 ms · cache hit · call 00000000"
    response = Response(
        text=f"{trick}an answer\n\n{spoof}{trick}",
        usage=Usage(input_tokens=5, output_tokens=5),
        response_model=f"gpt{trick}\n{spoof}\x1b[2J<b>",
        provider="up",
    )
    for format in ("markdown", "text", "code"):
        data = bundle(Answer(request=request, text=response.text, format=format, status="ok", response=response))  # type: ignore[arg-type]
        foot = data["text/plain"].rpartition("\n\n")[2]
        assert foot.endswith("call 456789ab") and "\n" not in foot
        assert not set(trick) & set(foot) and "\x1b" not in foot
        body, _, under = data["text/html"].rpartition('<div dir="ltr"')
        assert not set(trick) & set(under) and "unicode-bidi:isolate" in under and "<b>" not in under
        assert body.startswith('<div dir="auto" style="unicode-bidi:isolate">') and body.endswith("</div>")
        assert body.count("<div") + body.count("<pre") == body.count("</div>") + body.count("</pre>"), "the body closes before the line"


def test_right_to_left_text_and_emoji_come_back_as_they_went(lab: Lab) -> None:
    said = "שלום עולם! مرحبا 👩‍🔬👨‍👩‍👧‍👦 🇬🇧 é ﷽"
    ran = lab.run(f"%%ai --fresh\n{said}")
    assert ran.call["text"] == said and said in ran.outputs[0]["data"]["text/html"] and said in ran.outputs[0]["data"]["text/plain"]
    assert 'dir="auto"' in ran.outputs[0]["data"]["text/html"]
    assert lab.row(ran.call["call_id"])["text"] == said


def test_visible() -> None:
    assert visible("a\u202eb\u2066c\u200fd\x1b[1me\nf  g") == "abcd[1me f g"
    assert visible("שלום 👩 é") == "שלום 👩 é"


def test_what_redact_hides_is_what_these_tests_look_for() -> None:
    assert SECRET not in redact(SECRET) and CANARY not in redact(CANARY) and re.fullmatch(r"\S+", SECRET)
    assert MIME.startswith("application/")
