"""A detached call belongs to the gateway: it is finished and recorded though the caller has left, and is made once."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from served import Served, served, wait_for

from aiplat_lab.client import connect
from aiplat_lab.core.errors import AiplatError, ProviderError, UsageError
from aiplat_lab.core.ids import derived_id, id_time, is_id, new_id
from aiplat_lab.core.types import Message, Request


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("detached") / "home") as found:
        yield found


def detached(model: str, text: str) -> Request:
    return Request(model=f"up/{model}", messages=(Message("user", text),), cache="off", detached=True)


def send_and_leave(place: Served, request: Request) -> None:
    """Sends a call and hangs up as soon as the model was asked."""
    asked = len(place.upstream.requests)
    body = json.dumps(request.to_json()).encode()
    with socket.socket(socket.AF_UNIX) as wire:
        wire.connect(str(place.client.status()["socket"]))
        head = f"POST /api/calls HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        wire.sendall(head.encode() + body)
        assert wait_for(lambda: len(place.upstream.requests) > asked)


def status_of(place: Served, call_id: str) -> str:
    try:
        return str(place.client.call(call_id)["status"])
    except AiplatError:
        return ""


def test_a_detached_call_is_finished_and_recorded_though_the_caller_left(place: Served) -> None:
    request = detached("echo-300ms", "keep me")
    send_and_leave(place, request)
    assert wait_for(lambda: status_of(place, request.call_id))
    found = place.client.call(request.call_id)
    assert (found["status"], found["text"]) == ("ok", "keep me")


def test_any_other_call_is_cancelled_when_the_caller_leaves(place: Served) -> None:
    request = replace(detached("echo-5000ms", "drop me"), detached=False)
    send_and_leave(place, request)
    assert wait_for(lambda: status_of(place, request.call_id))
    assert place.client.call(request.call_id)["status"] == "cancelled"


def test_who_asks_again_by_the_same_id_waits_for_it_and_the_model_is_asked_once(place: Served) -> None:
    request = detached("echo-400ms@twice", "only once")
    send_and_leave(place, request)
    answer = place.client.chat(request)
    assert answer.text == "only once"
    assert place.client.chat(request).text == "only once"
    assert sum(seen.model == "echo-400ms@twice" for seen in place.upstream.requests) == 1


def test_two_at_once_with_the_same_id_are_one_call(place: Served) -> None:
    request = detached("echo-200ms@both", "together")
    texts: list[str] = []
    callers = [threading.Thread(target=lambda: texts.append(connect(place.home).chat(request).text)) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(20)
    assert texts == ["together"] * 4
    assert sum(seen.model == "echo-200ms@both" for seen in place.upstream.requests) == 1


def test_a_detached_call_that_fails_fails_the_same_way_again(place: Served) -> None:
    request = detached("status-400", "no")
    for _ in range(2):
        with pytest.raises(ProviderError):
            place.client.chat(request)
    assert sum(seen.model == "status-400" for seen in place.upstream.requests) == 1


def test_a_stream_cannot_be_detached(place: Served) -> None:
    with pytest.raises(UsageError, match="cannot be detached"), place.client.stream(detached("echo", "x")) as pieces:
        list(pieces)


def test_a_detached_call_is_cancelled_by_its_id(place: Served) -> None:
    request = detached("echo-5000ms@cancel", "stop")
    send_and_leave(place, request)
    assert place.client.cancel(request.call_id)
    assert wait_for(lambda: status_of(place, request.call_id))
    assert place.client.call(request.call_id)["status"] == "cancelled"


def test_a_gateway_that_is_told_to_end_lets_detached_calls_end(tmp_path: Path) -> None:
    with served(tmp_path / "home") as place:
        request = detached("echo-600ms", "last words")
        send_and_leave(place, request)
        place.client.stop()
        assert place.client.call(request.call_id)["text"] == "last words"


def test_the_async_face_cancelled_in_the_middle_leaves_a_detached_call_to_the_gateway(place: Served) -> None:
    request = detached("echo-300ms@async", "still here")

    async def go() -> None:
        task = asyncio.create_task(place.client.achat(request))
        await asyncio.sleep(0)
        while not any(seen.model == "echo-300ms@async" for seen in place.upstream.requests):
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(go())
    assert place.client.chat(request).text == "still here"
    assert sum(seen.model == "echo-300ms@async" for seen in place.upstream.requests) == 1


def test_an_id_follows_from_what_it_is_about() -> None:
    at = id_time(new_id())
    first = derived_id(at, "run", "sample", 1, 1)
    assert is_id(first)
    assert id_time(first) == at
    assert first == derived_id(at, "run", "sample", 1, 1)
    assert len({derived_id(at, "run", sample, epoch, 1) for sample in range(200) for epoch in range(5)}) == 1000
    assert derived_id(at, "a", "b") != derived_id(at, "ab")
