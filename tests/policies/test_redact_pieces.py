"""A stream cut anywhere gives the caller the same text as the whole answer, in every wire."""

from __future__ import annotations

import itertools
import json
from typing import Any

from corpuskit import key
from hypothesis import given, settings
from hypothesis import strategies as st

from aiplat_lab.core.errors import ContentRefused
from aiplat_lab.core.types import Chunk, Request, Response
from aiplat_lab.policies._mask import Examination, Vault, open_end
from aiplat_lab.policies._walk import changed
from aiplat_lab.policies.detectors import DETECTORS, chosen
from aiplat_lab.policies.redact import Answer, Seen

MAIL, PEM = "jane.doe@example.com", '-----BEGIN "KEY"-----\nline\\two\n'
EMAIL, KEY = DETECTORS["email"], DETECTORS["private_key"]
OBSERVE = chosen([])


def seen(*, output: str = "") -> Seen:
    """A request in which an address and a key of several lines were masked, as `<EMAIL_1>` and `<PRIVATE_KEY_1>`."""
    vault = Vault()
    assert vault.placeholder(EMAIL, MAIL) == "<EMAIL_1>" and vault.placeholder(KEY, PEM) == "<PRIVATE_KEY_1>"
    one = Seen(Request(model="m"), Examination({}, (), vault), vault)
    if output:
        one.answer = Examination({name: output for name in DETECTORS}, OBSERVE, vault, back=False)  # type: ignore[misc]
    return one


def cut(text: str, places: list[int]) -> list[str]:
    marks = sorted({min(place, len(text)) for place in places} | {0, len(text)})
    return [text[start:end] for start, end in itertools.pairwise(marks)]


def run(answer: Answer, chunks: list[Chunk]) -> list[Chunk]:
    out = [piece for chunk in chunks for piece in answer.of(chunk)]
    return [*out, *answer.end()]


texts = st.lists(
    st.sampled_from(
        ["<EMAIL_1>", "<PRIVATE_KEY_1>", "<EMAIL_2>", "<EMAIL", "<", "&lt;EMAIL_1&gt;", "\\u003c", "_1>", "a word ", "<b>", "&", "\\", "ö"]
    )
).map("".join)
places = st.lists(st.integers(0, 120), max_size=30)


@given(texts, places)
@settings(max_examples=200, deadline=None)
def test_text_is_restored_however_it_is_cut(text: str, marks: list[int]) -> None:
    one = seen()
    answer = Answer(one, restores=True, name="redact")
    out = run(answer, [Chunk(text=part) for part in cut(text, marks)] + [Chunk(finish_reason="stop")])
    encoded = text.lstrip()[:1] in ("{", "[")
    assert "".join(piece.text for piece in out) == one.vault.restored(text, encoded)
    assert answer.text == text and out[-1].finish_reason == "stop"


@given(places, st.booleans())
@settings(max_examples=60, deadline=None)
def test_tool_calls_and_passed_on_events_are_restored_and_escaped(marks: list[int], sideways: bool) -> None:
    arguments = json.dumps({"to": "<EMAIL_1>", "key": "<PRIVATE_KEY_1>"})
    if sideways:
        arguments = arguments.replace("<", "\\u003c").replace(">", "\\u003e")
    chunks = []
    for part in cut(arguments, marks):
        call = {"index": 0, "function": {"arguments": part}}
        chunks.append(Chunk(tool_calls=(call,), body={"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}))
    answer = Answer(seen(), restores=True, name="redact")
    out = run(
        answer, [*chunks, Chunk(finish_reason="tool_calls", body={"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})]
    )
    plain = "".join(piece.tool_calls[0]["function"]["arguments"] for piece in out if piece.tool_calls)
    deltas = [piece.body["choices"][0]["delta"] for piece in out if piece.body]
    passed = "".join(delta["tool_calls"][0]["function"]["arguments"] for delta in deltas if delta)
    assert json.loads(plain) == json.loads(passed) == {"to": MAIL, "key": PEM}
    assert len(out) == len(chunks) + 1, "no event is added or lost"
    whole = Response(tool_calls=({"id": "1", "function": {"name": "f", "arguments": plain}},))
    assert answer.calls(whole)[0]["function"]["arguments"] == arguments  # type: ignore[index]


def _events(wire: str, parts: list[str]) -> list[dict[str, Any]]:
    if wire == "anthropic":
        made = [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": part}} for part in parts]
        return [{"type": "content_block_start", "index": 0}, *made, {"type": "content_block_stop", "index": 0}, {"type": "message_stop"}]
    if wire == "responses":
        made = [
            {"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "content_index": 0, "delta": part} for part in parts
        ]
        return [*made, {"type": "response.output_text.done", "item_id": "i", "text": "".join(parts)}]
    if wire == "gemini":
        return [{"candidates": [{"index": 0, "content": {"parts": [{"text": part}]}}]} for part in parts]
    if wire == "bedrock":
        return [{"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": part}}} for part in parts]
    return [{"choices": [{"index": index, "delta": {"content": part}}]} for part in parts for index in (0, 1)]


def _told(wire: str, events: list[Any]) -> list[str]:
    if wire == "anthropic":
        return ["".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")]
    if wire == "responses":
        return ["".join(event["delta"] for event in events if "delta" in event), *(event["text"] for event in events if "text" in event)]
    if wire == "gemini":
        return ["".join(event["candidates"][0]["content"]["parts"][0]["text"] for event in events)]
    if wire == "bedrock":
        return ["".join(event["contentBlockDelta"]["delta"]["text"] for event in events)]
    return [
        "".join(event["choices"][0]["delta"]["content"] for event in events if event["choices"][0]["index"] == index) for index in (0, 1)
    ]


@given(st.sampled_from(["openai", "anthropic", "responses", "gemini", "bedrock"]), places)
@settings(max_examples=100, deadline=None)
def test_the_events_of_every_wire_are_restored_in_their_order(wire: str, marks: list[int]) -> None:
    text = "Dear <EMAIL_1>, <b>not this</b> and <EMAIL_9>; again <EMAIL_1>"
    events = _events(wire, cut(text, marks))
    out = run(Answer(seen(), restores=True, name="redact"), [Chunk(body=event) for event in events])
    bodies = [piece.body for piece in out]
    assert [list(body) for body in bodies if body] == [list(event) for event in events]
    assert set(_told(wire, bodies)) == {text.replace("<EMAIL_1>", MAIL)}


@given(places, st.integers(0, 400))
@settings(max_examples=60, deadline=None)
def test_what_the_model_writes_is_masked_however_it_is_cut(marks: list[int], lead: int) -> None:
    text = "x " * lead + f"Ask poe@example.org, card 4111 1111 1111 1111, {key('github_token', 3)} or <EMAIL_1>. " + "The end. " * 30
    one = seen(output="mask")
    answer = Answer(one, restores=True, name="redact")
    parts = [piece for start in range(0, len(text), 60) for piece in cut(text[start : start + 60], marks)]
    out = run(answer, [Chunk(text=part, body={"choices": [{"index": 0, "delta": {"content": part}}]}) for part in parts])
    told = "".join(piece.text for piece in out)
    assert "poe@" not in told and "4111" not in told and "ghp_" not in told and "gho_" not in told and "github_pat" not in told
    assert "<EMAIL_2>" in told and "<CARD_1>" in told and MAIL in told and told.endswith("The end. ")
    assert "".join(piece.body["choices"][0]["delta"]["content"] for piece in out if piece.body) == told
    assert one.answer is not None and one.answer.counts == {"card": 1, "email": 1, "github_token": 1}


def test_a_stream_is_stopped_before_what_is_refused() -> None:
    answer = Answer(seen(output="refuse"), restores=False, name="redact")
    told: list[str] = []
    try:
        for word in ("one word " * 80 + "poe@example.org " + "after it " * 80).split(" "):
            told += [piece.text for piece in answer.of(Chunk(text=word + " "))]
    except ContentRefused as error:
        assert "email (1)" in str(error) and "poe@" not in str(error)
    else:
        raise AssertionError("nothing was refused")
    assert told and not any("poe" in text or "after" in text for text in told)


def test_a_private_key_in_pieces_is_held_until_its_end() -> None:
    pem = key("private_key", 5)
    one = seen(output="mask")
    out = run(Answer(one, restores=False, name="redact"), [Chunk(text=pem[start : start + 7]) for start in range(0, len(pem), 7)])
    assert "".join(piece.text for piece in out) == "<PRIVATE_KEY_2>"


def test_where_a_placeholder_may_begin() -> None:
    for text, place in (
        ("abc", 3),
        ("abc<", 3),
        ("a<EMAIL_1", 1),
        ("a<EMAIL_1>", 10),
        ("a<b", 3),
        ("x &l", 2),
        ("\\u00", 0),
        ("", 0),
        ("<EMAIL\n", 7),
    ):
        assert open_end(text) == place, text


def test_placeholders_are_one_for_one() -> None:
    vault = Vault(["the caller wrote <EMAIL_1> and <EMAIL_2>"])
    assert [vault.placeholder(EMAIL, text) for text in ("a@x.io", "b@x.io", "a@x.io")] == ["<EMAIL_3>", "<EMAIL_4>", "<EMAIL_3>"]
    assert vault.restored("<EMAIL_1> <EMAIL_3> <EMAIL_4>", False) == "<EMAIL_1> a@x.io b@x.io"


def test_bytes_and_words_of_the_wire_are_left_alone() -> None:
    given = {
        "type": "text_delta",
        "signature": "a@b.com",
        "source": {"media_type": "image/png", "data": "a@b.com"},
        "url": "data:text/plain;base64,a@b.com",
        "note": "a@b.com",
    }
    found = changed(given, lambda text, encoded: text.replace("a@b.com", "*"))
    assert found == {**given, "note": "*"}
    blob = "QUJD" * 400
    assert changed({"bytes": blob}, lambda text, encoded: "changed") == {"bytes": blob}
    assert changed(given["source"], lambda text, encoded: text) is given["source"]
