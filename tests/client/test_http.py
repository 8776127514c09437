"""HTTP as bytes: whatever the pieces in which a response comes, it reads the same."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiplat_lab.client._http import MAX_HEAD_BYTES, BrokenReply, Incoming, request_bytes


def read(raw: bytes, cuts: list[int] | None = None, *, end: bool = False) -> tuple[Incoming, bytes]:
    incoming = Incoming()
    places = sorted({min(cut, len(raw)) for cut in cuts or []} | {0, len(raw)})
    body = b"".join(incoming.feed(raw[a:b]) for a, b in itertools.pairwise(places) if not incoming.complete)
    if end:
        body += incoming.feed(b"")
    return incoming, body


def chunked(pieces: list[bytes]) -> bytes:
    body = b"".join(f"{len(piece):x};note=1\r\n".encode() + piece + b"\r\n" for piece in pieces if piece)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\nX-Trailer: yes\r\n\r\n"


@given(st.binary(max_size=300), st.lists(st.integers(0, 400)))
def test_a_body_of_known_length_reads_the_same_in_any_pieces(body: bytes, cuts: list[int]):
    raw = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nX-Name:  some value \r\n\r\n".encode() + body
    incoming, found = read(raw, cuts)
    assert (incoming.status, found, incoming.complete, incoming.keep_alive) == (200, body, True, True)
    assert incoming.headers["x-name"] == "some value"


@given(st.lists(st.binary(max_size=80), max_size=6), st.lists(st.integers(0, 700)))
def test_a_chunked_body_reads_the_same_in_any_pieces(pieces: list[bytes], cuts: list[int]):
    incoming, found = read(chunked(pieces), cuts)
    assert (found, incoming.complete, incoming.keep_alive) == (b"".join(pieces), True, True)


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4), st.integers(0, 300))
def test_an_answer_that_is_cut_never_looks_whole(pieces: list[bytes], cut: int):
    raw = chunked(pieces)
    raw = raw[: min(cut, len(raw) - 1)]
    with pytest.raises(BrokenReply):
        read(raw, end=True)


def test_a_body_without_a_length_ends_with_the_connection():
    incoming, found = read(b"HTTP/1.1 200 OK\r\n\r\nall of it", end=True)
    assert (found, incoming.complete, incoming.keep_alive) == (b"all of it", True, False)


def test_what_announces_the_answer_is_passed_over():
    incoming, found = read(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    assert (incoming.status, found, incoming.keep_alive) == (201, b"ok", False)


def test_an_answer_without_a_body():
    incoming, found = read(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (incoming.status, found, incoming.complete) == (204, b"", True)


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * (MAX_HEAD_BYTES + 1),
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * (MAX_HEAD_BYTES + 1),
    ],
)
def test_what_is_not_http_is_told_as_such(raw: bytes):
    with pytest.raises(BrokenReply):
        read(raw)


def test_a_connection_that_ends_at_once():
    with pytest.raises(BrokenReply, match="without an answer"):
        Incoming().feed(b"")


def test_a_request_is_one_piece():
    assert request_bytes("GET", "/healthz", {"Host": "x"}) == b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    assert request_bytes("POST", "/a", {"Host": "x"}, b"{}") == b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
