"""The HTTP surface under bodies and bytes that nobody should send: an answer in one sentence, no 500, no hang, no traceback."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fuzzkit import BOTH, checked, fuzz, host_of, mutate, post_head, raw, sane, status_of
from served import Served, served

from aiplat_lab.gateway._openapi import document
from aiplat_lab.gateway.server import ROUTES

PATHS = (
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1beta/models/priced:generateContent",
    "/v1beta/models/priced:streamGenerateContent",
    "/v1beta/models/priced:batchEmbedContents",
    "/api/calls",
)
DEEP = b"[" * 100_000


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("fuzz") / "home") as found:
        yield found
        sane(found, found.key(team="risk", name="last"))


@pytest.fixture(scope="module")
def key(place: Served) -> str:
    return place.key(team="risk")


def send(place: Served, key: str, path: str, body: bytes, *lines: str) -> tuple[int, str]:
    answer = raw(place, post_head(key, path, f"Content-Length: {len(body)}", "Connection: close", *lines) + body)
    return status_of(answer), answer.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")


def test_every_route_is_in_the_document():
    found = document(ROUTES)
    listed = {(method.upper(), path) for path, methods in found["paths"].items() for method in methods}
    assert len(listed) == len(ROUTES)
    for method, path, *_ in ROUTES:
        plain = path.replace(":.+}", "}")
        about = found["paths"][plain][method.lower()]
        assert (method, plain) in listed and about["summary"], path
        if path.startswith(("/v1/", "/v1beta/")) and method == "POST":
            assert about["requestBody"]["content"]["application/json"]["schema"].get("properties"), f"{path} has no schema"
    assert len({about["operationId"] for methods in found["paths"].values() for about in methods.values()}) == len(ROUTES)


def test_bodies_made_from_the_document(place: Served, key: str):
    """A few each, since making them takes long; tests/bench/bench_fuzz.py makes many, and wrong ones too."""
    seen = fuzz(place, key, examples=2, modes=BOTH[:1])
    assert seen.total() >= 15, seen
    assert set(seen) <= {200, 400, 401, 403, 404, 405, 409, 410, 413, 415, 429, 502, 503, 504}, seen


def test_good_bodies_with_a_wrong_part(place: Served, key: str):
    seen = mutate(place, key, count=25, seed=20261126)
    assert seen[200] >= 10 and seen[400] >= 30, seen
    assert set(seen) <= {200, 400, 404, 502, 503}, seen


BODIES: dict[str, bytes] = {
    "deep": DEEP,
    "deep object": b'{"a":' * 100_000,
    "deep within": b'{"model":"up/echo","messages":[{"role":"user","content":"x"}],"x":' + b"[" * 900 + b"]" * 900 + b"}",
    "invalid UTF-8": b'{"model":"up/echo","messages":[{"role":"user","content":"\xff\xfe"}]}',
    "UTF-16": '{"model":"up/echo"}'.encode("utf-16"),
    "NaN": b'{"model":"up/echo","temperature":NaN,"messages":[{"role":"user","content":"x"}]}',
    "Infinity": b'{"model":"up/echo","temperature":-Infinity,"messages":[{"role":"user","content":"x"}]}',
    "a huge number": b'{"model":"up/echo","temperature":1e999,"messages":[{"role":"user","content":"x"}]}',
    "a huge integer": b'{"model":"up/echo","max_tokens":' + b"9" * 5000 + b',"messages":[{"role":"user","content":"x"}]}',
    "nothing": b"",
    "null": b"null",
    "a text": b'"x"',
    "two objects": b"{}{}",
    "a form": b"model=up%2Fecho&messages=x",
    "a null byte": b'{"model":"up/echo"\x00}',
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_none(place: Served, key: str, name: str):
    before = place.rows(status="refused")
    for path in PATHS:
        status, text = send(place, key, path, BODIES[name])
        checked(status, text, (name, path))
        assert status == 400, (name, path, text[:200])
        assert 0 < len(json.loads(text)["error"]["message"].encode()) <= 800
    assert len(place.rows(status="refused")) == len(before) + len(PATHS) - 1, "each is recorded, but for the counting of tokens"


MODEL = "up/echo"
TAKEN: dict[str, bytes] = {
    "a lone surrogate": rb'{"model":"up/echo","messages":[{"role":"user","content":"a\ud800b"}],"user":"\udfff"}',
    "a lone surrogate in the model": rb'{"model":"up/\ud800","messages":[{"role":"user","content":"x"}]}',
    "null bytes": rb'{"model":"up/echo","messages":[{"role":"user","content":"a\u0000b"}],"user":"\u0000"}',
    "duplicate keys": b'{"model":"nothing","model":"up/echo","messages":[{"role":"user","content":"x"}]}',
    "a mark of byte order": b'\xef\xbb\xbf{"model":"up/echo","messages":[{"role":"user","content":"x"}]}',
    "a long name": b'{"model":"' + b"x" * 1_000_000 + b'","messages":[{"role":"user","content":"x"}]}',
    "calls that are none": b'{"model":"claude/echo","messages":[{"role":"assistant","tool_calls":[5]}]}',
    "a call without a function": b'{"model":"claude/echo","messages":[{"role":"assistant","tool_calls":[{"id":5,"function":7}]}]}',
    "arguments that are none": b'{"model":"claude/echo","messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":5}}]}]}',
    "a tool that is none": b'{"model":"claude/echo","messages":[{"role":"user","content":"x"}],"tools":[5]}',
    "a shape that is none": b'{"model":"claude/echo","messages":[{"role":"user","content":"x"}],'
    b'"response_format":{"type":"json_schema","json_schema":[]}}',
    "a stop that is none": b'{"model":"claude/echo","messages":[{"role":"user","content":"x"}],"stop":5}',
    "an image that is none": b'{"model":"claude/echo","messages":[{"role":"user","content":[{"type":"image_url","image_url":[]}]}]}',
    "a part without a type": b'{"model":"claude/echo","messages":[{"role":"user","content":[{}]}]}',
    "a negative limit": b'{"model":"priced","max_tokens":-5,"messages":[{"role":"user","content":"x"}]}',
}


@pytest.mark.parametrize("name", TAKEN)
def test_an_odd_body_is_answered_or_refused(place: Served, key: str, name: str):
    began = time.monotonic()
    for body in (
        TAKEN[name],
        TAKEN[name].replace(b"claude/echo", b"up/echo"),
        TAKEN[name].replace(b'{"model"', b'{"stream":true,"model"', 1),
    ):
        status, text = send(place, key, "/v1/chat/completions", body)
        checked(status, text, name)
        assert status in {200, 400, 404, 502, 503}, (name, status, text[:300])
    assert time.monotonic() - began < 20


def test_blocks_and_parts_of_the_other_wires_that_are_none(place: Served, key: str):
    values: list[Any] = [
        None,
        5,
        "x",
        [],
        [5],
        {},
        {"type": 5},
        {"type": "x"},
        [{"type": "tool_result"}],
        [{"type": "tool_use", "input": 5}],
    ]
    for model in ("up/echo", "claude/echo"):
        for value in values:
            for body in (
                {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": value}]},
                {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "x"}], "system": value},
                {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "x"}], "tools": value},
                {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "x"}], "tool_choice": value},
                {
                    "model": model,
                    "max_tokens": 5,
                    "messages": [{"role": "user", "content": "x"}],
                    "thinking": value,
                    "output_config": value,
                },
            ):
                status, text = send(place, key, "/v1/messages", json.dumps(body).encode())
                checked(status, text, body)
                assert status in {200, 400}, (body, status, text[:200])
            for body in ({"model": model, "input": [{"role": "user", "content": value}]}, {"model": model, "input": "x", "text": value}):
                status, text = send(place, key, "/v1/responses", json.dumps(body).encode())
                checked(status, text, body)


def test_a_body_that_is_too_large_is_told_before_it_is_read(place: Served, key: str):
    status, text = send(place, key, "/v1/chat/completions", b'{"x":"' + b"a" * 33_000_000 + b'"}')
    assert status == 413 and "larger than 32 MB" in text
    row = place.rows(status="refused")[0]
    assert row["error_type"] == "usage_error"
    assert json.loads(send(place, key, "/v1/messages", b" " * 33_000_000)[1])["error"]["type"] == "request_too_large"


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (["Transfer-Encoding: chunked"], b"zz\r\n{}\r\n0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"-5\r\n{}\r\n0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"ffffffffffffffffffffff\r\n{}"),
        (["Transfer-Encoding: chunked"], b"5\r\n{}"),
        (["Transfer-Encoding: chunked", "Content-Length: 5"], b"2\r\n{}\r\n0\r\n\r\n"),
        (["Content-Length: -5"], b"{}"),
        (["Content-Length: many"], b"{}"),
        (["Content-Length: 2", "Content-Length: 7"], b"{}"),
        (["Content-Length: 5000"], b"{}"),
        (["Content-Encoding: gzip", "Content-Length: 2"], b"{}"),
        (["Content-Encoding: nonsense", "Content-Length: 2"], b"{}"),
        (["Content-Length: 2", "X-Big: " + "a" * 20_000], b"{}"),
        (["Content-Length: 2", *(f"X-{n}: {n}" for n in range(500))], b"{}"),
        (["Content-Length: 2", "x-aiplat-tags: \xff\xfe"], b"{}"),
        (["Content-Length: 2", "X-Null: a\x00b"], b"{}"),
        (["Content-Length: 2", "No colon"], b"{}"),
        (["Expect: 100-continue", "Content-Length: 2"], b"{}"),
        (["Expect: nonsense", "Content-Length: 2"], b"{}"),
    ],
)
def test_requests_that_are_no_http(place: Served, key: str, lines: list[str], body: bytes):
    began = time.monotonic()
    answer = raw(place, post_head(key, "/v1/chat/completions", "Connection: close", *lines) + body, wait_s=1.0)
    assert b"HTTP/1.1 500" not in answer, answer[:400]
    checked(status_of(answer), answer.decode("latin-1"), lines)
    assert time.monotonic() - began < 10
    assert status_of(answer) in {0, 400, 413, 415, 417, 431} or b"100 Continue" in answer, answer[:300]


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"\x00" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
)
def test_bytes_that_are_something_else(place: Served, data: bytes):
    answer = raw(place, data, wait_s=1.0)
    assert status_of(answer) in {0, 400, 404, 405, 505} and b"Traceback" not in answer


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "application/json; charset=utf-7", "\xff"]
)
def test_another_type_of_content_is_read_as_json(place: Served, key: str, kind: str):
    body = json.dumps({"model": "up/echo", "messages": [{"role": "user", "content": "x"}]}).encode()
    head = post_head(key, "/v1/chat/completions", f"Content-Length: {len(body)}", "Connection: close")
    answer = raw(place, head.replace(b"application/json", kind.encode("latin-1"), 1) + body)
    assert status_of(answer) in {200, 400, 415}


def test_wrong_methods(place: Served, key: str):
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD", "NONSENSE"):
        head = f"{method} /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
        answer = raw(place, head.encode())
        assert status_of(answer) in {400, 403, 404, 405}, (method, answer[:100])


def test_slow_senders_keep_nobody_waiting(place: Served, key: str):
    """Half requests stay open while others are answered; each ends when its sender does."""
    slow = []
    for _ in range(50):
        line = socket.create_connection(host_of(place), timeout=5)
        line.sendall(post_head(key, "/v1/chat/completions", "Content-Length: 500") + b'{"model":')
        slow.append(line)
    began = time.monotonic()
    body = json.dumps({"model": "up/echo", "messages": [{"role": "user", "content": "quick"}]}).encode()
    status, text = send(place, key, "/v1/chat/completions", body)
    assert status == 200 and "quick" in text and time.monotonic() - began < 5
    for line in slow:
        line.close()
