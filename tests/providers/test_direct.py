"""Connections of our own to a host: kept, given up and refused as HTTP/1.1 wants it."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable

import aiohttp
import httpx
import pytest

from aiplat_lab.providers._direct import Direct
from aiplat_lab.providers._transports import lean

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Host:
    """A server that answers each request on a connection with the next of some byte strings; an empty one closes it."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.connections = 0
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self.answers:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
                self.heads.append(head)
                self.bodies.append(await reader.readexactly(length))
                answer = self.answers.pop(0)
                if not answer:
                    break
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def answered(body: bytes, *headers: str) -> bytes:
    more = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def with_host(host: Host, use: Callable[[Direct, httpx.URL], Awaitable[None]]) -> None:
    async def main() -> None:
        server = await asyncio.start_server(host, "127.0.0.1", 0)
        direct = Direct(None)
        try:
            await use(direct, httpx.URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/chat?a=%2Fb"))
        finally:
            await direct.aclose()
            server.close()

    asyncio.run(main())


async def post(direct: Direct, url: httpx.URL, content: bytes = b"{}", **headers: str) -> bytes:
    answer = await direct.ask("POST", url, headers.items(), content, connect_s=5)
    try:
        return await answer.whole()
    finally:
        await answer.aclose()


def test_a_request_is_sent_as_it_is_written_and_a_connection_serves_many() -> None:
    host = Host(*(answered(b"%d" % number) for number in range(4)))

    async def use(direct: Direct, url: httpx.URL) -> None:
        for number in range(4):
            assert await post(direct, url, b"x" * 200_000 if number == 2 else b"{}", Own="1") == b"%d" % number

    with_host(host, use)
    assert host.connections == 1
    assert host.heads[0].startswith(b"POST /v1/chat?a=%2Fb HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nOwn: 1\r\nContent-Length: 2\r\n\r\n" in host.heads[0]
    assert len(host.bodies[2]) == 200_000


def test_bodies_in_chunks_compressed_and_up_to_the_end_of_the_connection() -> None:
    packed = gzip.compress(b"hello " * 100)
    host = Host(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        answered(packed, "Content-Encoding: gzip"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + answered(b"after"),
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nall there is",
    )

    async def use(direct: Direct, url: httpx.URL) -> None:
        assert await post(direct, url) == b"abcde"
        assert await post(direct, url) == b"hello " * 100
        assert await post(direct, url) == b"after"
        assert await post(direct, url) == b""
        assert await post(direct, url) == b"all there is"

    with_host(host, use)
    assert host.connections == 1


def test_a_connection_is_not_used_again_that_ended_or_was_not_read_to_its_end() -> None:
    host = Host(answered(b"1", "Connection: close"), answered(b"2" * 1000)[:-10], answered(b"3") + b"HTTP/1.1 200 OK\r\n", answered(b"4"))

    async def use(direct: Direct, url: httpx.URL) -> None:
        assert await post(direct, url) == b"1"
        half = await direct.ask("POST", url, [], b"", connect_s=5)
        assert (await half.more()).startswith(b"2")
        assert not half.ready()
        await half.aclose()
        assert await post(direct, url) == b"3"
        await asyncio.sleep(0.05)  # what came too much has arrived by now, whichever way it was cut
        assert await post(direct, url) == b"4"

    with_host(host, use)
    assert host.connections >= 3


def test_an_idle_connection_that_its_host_closed_is_replaced() -> None:
    host = Host(answered(b"1"), b"", answered(b"2"))

    async def use(direct: Direct, url: httpx.URL) -> None:
        assert await post(direct, url) == b"1"
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await post(direct, url)
        assert await post(direct, url) == b"2"

    with_host(host, use)
    assert host.connections == 2


@pytest.mark.parametrize(
    "answer",
    [b"NONSENSE\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", answered(b"y" * 50)[:-5]],
    ids=["line", "length", "cut"],
)
def test_what_is_no_answer_is_an_error_and_its_connection_is_given_up(answer: bytes) -> None:
    class Cut(Host):
        async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self.connections:
                self.answers = [answered(b"good")]
            else:
                self.answers = self.answers[:1]  # after which the connection ends
            await super().__call__(reader, writer)

    host = Cut(answer)

    async def use(direct: Direct, url: httpx.URL) -> None:
        with pytest.raises(aiohttp.ClientError):
            await post(direct, url)
        assert await post(direct, url) == b"good"

    with_host(host, use)


def test_a_caller_who_leaves_takes_the_connection_with_him() -> None:
    came = asyncio.Event()
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        came.set()
        await reader.read()
        gone.set()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        direct = Direct(None)
        task = asyncio.create_task(post(direct, httpx.URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"), b""))
        await came.wait()
        task.cancel()
        async with asyncio.timeout(5):
            await gone.wait()
        await direct.aclose()
        server.close()

    asyncio.run(main())


@pytest.mark.parametrize("value", ["a\r\nX-More: 1", "a\nb", "a\rb", "a\0b"], ids=["crlf", "lf", "cr", "nul"])
def test_a_header_cannot_carry_a_second_one(value: str) -> None:
    host = Host(answered(b"never"))

    async def use(direct: Direct, url: httpx.URL) -> None:
        with pytest.raises(httpx.LocalProtocolError):
            await post(direct, url, b"", Own=value)

    with_host(host, use)
    assert not host.connections


def test_no_connection_is_said_as_httpx_says_it() -> None:
    async def main() -> None:
        direct = Direct(None)
        server = await asyncio.start_server(Host(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        with pytest.raises(httpx.ConnectError):
            await post(direct, httpx.URL(f"http://127.0.0.1:{port}/"))
        with pytest.raises(httpx.ConnectError):
            await post(direct, httpx.URL("http://host.invalid/"))

    asyncio.run(main())


def test_behind_a_proxy_another_client_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def kind(*, trust_env: bool) -> str:
        transport = lean(secure=False, trust_env=trust_env)
        await transport.aclose()
        return type(transport).__name__

    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert asyncio.run(kind(trust_env=True)) == "Direct"
    monkeypatch.setenv("https_proxy", "http://proxy.invalid:3128")
    assert asyncio.run(kind(trust_env=True)) != "Direct"
    assert asyncio.run(kind(trust_env=False)) == "Direct"
