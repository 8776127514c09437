"""Requests whose parts hold something else than they must: told by name, and recorded as refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from badkit import Place, bad_place, clear, said

from aiplat_lab.core.errors import LedgerError, UsageError


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with bad_place(tmp_path_factory.mktemp("requests")) as found:
        found.key = str(found.client.post("/api/keys", {"team": "risk"})["key"])
        yield found
        found.is_well()


@pytest.mark.parametrize("body", ["", "{", "[1]", '"text"', '{"model": "fine"}', '{"model": 3, "messages": []}', "\ud800", "[" * 100_000])
def test_a_body_that_is_no_request(place: Place, body: str):
    before = place.calls()
    raw = body.encode("utf-8", "surrogatepass").decode("latin-1")
    for path in ("/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/messages", "/api/calls"):
        told = place.post(path, raw, place.key)
        assert told.status == 400 and clear(told.message), (path, told)
    assert place.calls() == before + 5, "each is a refused call of the key"


@pytest.mark.parametrize(
    ("path", "fields", "told"),
    [
        ("/api/calls", {"model": 3}, "'model' must be the name of a model"),
        ("/api/calls", {"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ("/api/calls", {"messages": [{"role": 5, "content": "x"}]}, "messages[0]"),
        ("/api/calls", {"settings": [1]}, "'settings'"),
        ("/api/calls", {"cache": "maybe"}, "auto or on or refresh or off"),
        ("/api/calls", {"operation": "delete"}, "chat or embed"),
        ("/api/calls", {"operation": "embed", "inputs": [1]}, "inputs[0]"),
        ("/api/calls", {"timeout_s": "soon"}, "a number of seconds"),
        ("/api/calls", {"attribution": {"tags": [1]}}, "'tags'"),
        ("/api/calls", {"attribution": {"team": 5}}, "'team'"),
        ("/api/calls", {"call_id": 5}, "UUIDv7"),
        ("/api/calls", {"call_id": "x"}, "UUIDv7"),
        ("/api/calls", {"body": 5}, "'body'"),
        ("/v1/chat/completions", {"stream_options": 5, "stream": True}, "'stream_options'"),
        ("/v1/chat/completions", {"max_tokens": "many"}, "a whole number"),
        ("/v1/chat/completions", {"tools": 5}, "a list of tools"),
        ("/v1/messages", {"max_tokens": "many"}, "a whole number"),
        ("/v1/responses", {"input": "x", "tools": 5}, "a list of tools"),
        ("/v1/embeddings", {"input": 5}, "'input'"),
    ],
)
def test_a_field_that_holds_something_else(place: Place, path: str, fields: dict[str, Any], told: str):
    before = place.calls()
    body = {"model": "fine", "messages": [{"role": "user", "content": "hello"}], **fields}
    answer = place.post(path, json.dumps(body), place.key)
    assert answer.status == 400 and told in clear(answer.message)
    assert place.calls() == before + 1
    row = place.client.view_rows("recent_calls", limit=1)[0]
    assert (row["status"], row["error_type"], row["team"], float(row["cost_usd"])) == ("refused", "usage_error", "risk", 0)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/query", {"sql": 5}),
        ("/api/query", {"sql": "SELECT $1", "params": 5}),
        ("/api/query", {"sql": "SELECT 1", "limit": "many"}),
        ("/api/views/recent_calls", {"limit": 10**30}),
        ("/api/views/recent_calls", {"since": "soon"}),
        ("/api/views/no such view", {}),
        ("/api/export", {"path": "/nowhere/\0"}),
        ("/api/snapshot", {"path": ""}),
        ("/api/keys", {"models": 5}),
        ("/api/keys", {"expires_at": "2020-01-01"}),
        ("/api/records", {"kind": 5, "row": {}}),
    ],
)
def test_what_the_owner_asks_wrongly(place: Place, path: str, body: dict[str, Any]):
    from urllib.parse import quote

    with pytest.raises((UsageError, LedgerError)) as caught:
        place.client.post(quote(path), body)
    assert "failed inside" not in said(caught.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"temperature": object()}, "cannot be sent"),
        ({"cache": "maybe"}, "auto or on or refresh or off"),
        ({"model": 5}, "'model'"),
        ({"attribution": {"taem": "risk"}}, "Did you mean team"),
        ({"attribution": {"team": 5}}, "'team' must be a text"),
        ({"attribution": "risk"}, '{"team": "risk"}'),
    ],
)
def test_what_python_asks_wrongly(place: Place, options: dict[str, Any], told: str):
    before = place.calls()
    with pytest.raises(UsageError) as caught:
        place.client.chat("hello", **options)
    assert told in said(caught.value) and place.calls() == before
