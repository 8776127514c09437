"""A real HTTP upstream for the tests, with every fault that a provider can show; the model's name chooses which.

    with FaultServer() as upstream:
        ...base_url = upstream.openai_url          # http://127.0.0.1:PORT/v1
        ...base_url = upstream.url                 # Anthropic's wire: POST /v1/messages

Whatever follows an `@` in a model's name is ignored: `echo@a` and `echo@b` are two models that behave alike.

| model | what it does |
|---|---|
| `echo` | answers with the last user text; one token a word; honours `max_tokens` (finish reason `length`) |
| `echo-Nms` | as `echo`, N milliseconds later |
| `instant` | a fixed short text, 25 tokens in and 20 out |
| `status-NNN` | that HTTP status; `status-429` with `Retry-After: 1` |
| `status-429-no-header`, `status-429-date` | without `Retry-After`; with an HTTP date two seconds ahead |
| `status-NNN-after-N` | that status with `Retry-After: N` for the first request of this model, then `instant` |
| `status-NNN-once` | that status without `Retry-After` for the first request, then `instant` |
| `status-NNN-until-S` | that status with `Retry-After: 2` for all until S seconds after the first request, then `instant` |
| `status-NNN-first-N` | that status without `Retry-After` for the first N requests, then `instant` |
| `context-length`, `unknown-model` | 400 and 404 in the words of the real services |
| `hang`, `slow-first-Ns`, `slow-headers-Ns` | never answers; N seconds before the first text; before the first byte |
| `stream-N`, `slow-stream`, `endless-stream` | N chunks; one chunk each 50 ms, 200 in all; no end |
| `hang-headers`, `cut-json` | 200 and its headers, then silence; half of a plain answer, then a reset |
| `cut-after-N` | N chunks, then a reset |
| `error-first`, `limited-stream` | an error event before any chunk; one of too many requests after 3 chunks |
| `paced-N-Mms` | N chunks, one each M milliseconds |
| `cut-stream`, `cut-clean`, `cut-first`, `hang-stream` | breaks after 3 chunks: reset, ended without its end marker, before any; silent |
| `bad-chunk`, `stream-error` | a chunk that is not JSON; an error event after 3 chunks |
| `no-finish`, `no-usage`, `no-done` | no finish reason; no usage; no end marker after a finish reason |
| `bad-json`, `html-reply`, `empty-reply`, `list-reply` | 200 with half a JSON text, an HTML page, nothing, a JSON list |
| `overuse` | 4 times `max_tokens` (20 when none is given) |
| `cached`, `cache-write`, `reasoning`, `usage-on-choice-chunk`, `usage-on-every-chunk` | the shapes of usage |
| `tools` | calls the tool `weather`; told its result, says it |
| `filtered` | finish reason `content_filter` |
| `ignores-stream` | answers a stream with one plain reply |
| `newer-limit`, `no-stream-options` | 400 for `max_tokens`, 422 for `stream_options`, in the words of real hosts |
| `bag-of-words` | embeds a text by its words alone: the same words in another order are the same vector |
| `leaky` | 400 whose message repeats the key that it was sent |
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from aiohttp import web

FIXED_TEXT = "Hello from the upstream, which answers at once."
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


@dataclass
class Seen:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    query: str = ""
    peer: str = ""
    """The client's address and port: the same for requests that share a connection."""
    at: float = field(default_factory=time.monotonic)

    @property
    def model(self) -> str:
        return str(self.body.get("model", "")) if isinstance(self.body, dict) else ""


@dataclass
class Answer:
    """What a model says, before it is put into a wire format."""

    pieces: list[str]
    finish: str | None = "stop"
    fresh: int = 25
    cached: int = 0
    written: int = 0
    output: int = 20
    reasoning: int = 0
    usage: bool = True
    tool: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def _words(text: str) -> list[str]:
    return [word + " " for word in text.split()[:-1]] + text.split()[-1:]


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text") or part.get("content") or "") for part in content or [])


def _answer(name: str, body: dict[str, Any]) -> Answer:
    messages = body.get("messages") or []
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if name == "echo" or name.startswith("echo-"):
        said = next((_content(m["content"]) for m in reversed(messages) if m["role"] == "user"), "")
        sent = sum(len(_content(m.get("content")).split()) for m in messages) + len(_content(body.get("system")).split())
        words = _words(said) or [""]
        cut = limit is not None and len(words) > limit
        words = words[:limit] if cut else words
        return Answer(words, "length" if cut else "stop", fresh=max(sent, 1), output=max(len(words), 1))
    if name == "overuse":
        count = 4 * (limit or 5)
        return Answer(["word "] * count, "length", output=count)
    if name.startswith("stream-") and name[7:].isdigit():
        return Answer([f"{WORDS[index % 10]} " for index in range(int(name[7:]))], output=int(name[7:]))
    if name.startswith("cut-after-"):
        return Answer([f"{WORDS[index % 10]} " for index in range(int(name[10:]) + 5)], output=int(name[10:]) + 5)
    if name.startswith("paced-"):
        count = int(name.split("-")[1])
        return Answer([f"{WORDS[index % 10]} " for index in range(count)], output=count)
    if name == "slow-stream":
        return Answer([f"{WORDS[index % 10]} " for index in range(200)], output=200)
    if name == "tools":
        last = messages[-1] if messages else {}
        if last.get("role") == "tool" or "tool_result" in json.dumps(last.get("content", "")):
            return Answer(_words("The tool says " + _content(last.get("content"))))
        return Answer([], "tool_calls", tool={"id": "call_1", "name": "weather", "arguments": {"city": "Leeds"}})
    answer = Answer(_words(FIXED_TEXT))
    shapes: dict[str, dict[str, Any]] = {
        "cached": {"fresh": 36, "cached": 64},
        "cache-write": {"fresh": 20, "cached": 64, "written": 16},
        "reasoning": {"output": 20, "reasoning": 30},
        "no-finish": {"finish": None},
        "no-usage": {"usage": False},
        "filtered": {"finish": "content_filter"},
    }
    for key, value in shapes.get(name, {}).items():
        setattr(answer, key, value)
    return answer


class _OpenAIWire:
    @staticmethod
    def usage(answer: Answer) -> dict[str, Any]:
        prompt, completion = answer.fresh + answer.cached + answer.written, answer.output + answer.reasoning
        usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        if answer.cached:
            usage["prompt_tokens_details"] = {"cached_tokens": answer.cached}
        if answer.reasoning:
            usage["completion_tokens_details"] = {"reasoning_tokens": answer.reasoning}
        return usage

    @staticmethod
    def _tool(answer: Answer) -> list[dict[str, Any]]:
        assert answer.tool is not None
        function = {"name": answer.tool["name"], "arguments": json.dumps(answer.tool["arguments"])}
        return [{"id": answer.tool["id"], "type": "function", "function": function}]

    @classmethod
    def whole(cls, answer: Answer, body: dict[str, Any]) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
        if answer.tool:
            message["tool_calls"] = cls._tool(answer)
        choice = {"index": 0, "message": message, "finish_reason": answer.finish, "logprobs": None}
        reply: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice]}
        if answer.usage:
            reply["usage"] = cls.usage(answer)
        return reply

    @classmethod
    def events(cls, answer: Answer, body: dict[str, Any], name: str) -> list[bytes]:
        def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            data = {
                "id": "chatcmpl-1",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": body["model"],
                "choices": [choice],
                **more,
            }
            return b"data: " + json.dumps(data).encode() + b"\n\n"

        every = {"usage": cls.usage(answer)} if name == "usage-on-every-chunk" else {}
        found = [chunk({"role": "assistant", "content": piece}, **every) for piece in answer.pieces]
        if answer.tool:
            start = cls._tool(answer)[0]
            half = len(start["function"]["arguments"]) // 2
            first = {**start, "index": 0, "function": {"name": answer.tool["name"], "arguments": start["function"]["arguments"][:half]}}
            found.append(chunk({"role": "assistant", "content": None, "tool_calls": [first]}))
            found.append(chunk({"tool_calls": [{"index": 0, "function": {"arguments": start["function"]["arguments"][half:]}}]}))
        wanted = answer.usage and (body.get("stream_options") or {}).get("include_usage")
        on_choice = {"usage": cls.usage(answer)} if name in {"usage-on-choice-chunk", "usage-on-every-chunk"} else {}
        found.append(chunk({}, answer.finish, **on_choice))
        if wanted and not on_choice:
            found.append(chunk({}, usage=cls.usage(answer), choices=[]))
        return found if name == "no-done" else [*found, b"data: [DONE]\n\n"]

    @staticmethod
    def error(status: int, message: str, code: str | None = None) -> dict[str, Any]:
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}


class _AnthropicWire:
    STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal", None: None}  # noqa: RUF012

    @staticmethod
    def usage(answer: Answer) -> dict[str, Any]:
        usage = {"input_tokens": answer.fresh, "cache_creation_input_tokens": answer.written, "cache_read_input_tokens": answer.cached}
        details = {"output_tokens_details": {"thinking_tokens": answer.reasoning}} if answer.reasoning else {}
        return {**usage, "output_tokens": answer.output + answer.reasoning, **details}

    @classmethod
    def _blocks(cls, answer: Answer) -> list[dict[str, Any]]:
        if answer.tool:
            return [{"type": "tool_use", "id": answer.tool["id"], "name": answer.tool["name"], "input": answer.tool["arguments"]}]
        thought = [{"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"}] if answer.reasoning else []
        return [*thought, {"type": "text", "text": answer.text}]

    @classmethod
    def whole(cls, answer: Answer, body: dict[str, Any]) -> dict[str, Any]:
        reply = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": cls._blocks(answer)}
        reply |= {"stop_reason": cls.STOPS[answer.finish], "stop_sequence": None}
        return {**reply, "usage": cls.usage(answer)} if answer.usage else reply

    @classmethod
    def events(cls, answer: Answer, body: dict[str, Any], name: str) -> list[bytes]:
        def event(kind: str, **data: Any) -> bytes:
            return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()

        start = {**cls.whole(answer, body), "content": [], "stop_reason": None}
        if answer.usage:
            start["usage"] = {**cls.usage(answer), "output_tokens": 1}
            start["usage"].pop("output_tokens_details", None)
        found = [event("message_start", message=start)]
        for index, block in enumerate(cls._blocks(answer)):
            empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}[block["type"]]
            found.append(event("content_block_start", index=index, content_block={**block, **empty}))
            found += [event("content_block_delta", index=index, delta=delta) for delta in cls._deltas(block, answer)]
            found.append(event("content_block_stop", index=index))
        details = cls.usage(answer).get("output_tokens_details")
        usage = {"usage": {"output_tokens": answer.output + answer.reasoning} | ({"output_tokens_details": details} if details else {})}
        found.append(event("message_delta", delta={"stop_reason": cls.STOPS[answer.finish]}, **(usage if answer.usage else {})))
        return found if name == "no-done" else [*found, event("message_stop")]

    @staticmethod
    def _deltas(block: dict[str, Any], answer: Answer) -> list[dict[str, Any]]:
        if block["type"] == "thinking":
            return [{"type": "thinking_delta", "thinking": block["thinking"]}, {"type": "signature_delta", "signature": "c2ln"}]
        if block["type"] == "tool_use":
            text = json.dumps(block["input"])
            return [{"type": "input_json_delta", "partial_json": part} for part in (text[:5], text[5:])]
        return [{"type": "text_delta", "text": piece} for piece in answer.pieces]

    @staticmethod
    def error(status: int, message: str, code: str | None = None) -> dict[str, Any]:
        kinds = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
        kind = kinds.get(status) or {429: "rate_limit_error", 529: "overloaded_error"}.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


CONTEXT = {
    _OpenAIWire: "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens. "
    "Please reduce the length of the messages.",
    _AnthropicWire: "prompt is too long: 212345 tokens > 200000 maximum",
}


class FaultServer:
    """The upstream: its own thread and event loop, on a free loopback port."""

    def __init__(self, *, key: str = "", port: int = 0) -> None:
        self.key = key
        """With a key set, a request with another one gets 401."""
        self.requests: list[Seen] = []
        self.disconnects: list[float] = []
        """`time.monotonic()` of each request whose client left before the answer was complete."""
        self.open_requests = 0
        self.chunks_sent = 0
        self._port = port
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fault-server", daemon=True)

    def __enter__(self) -> FaultServer:
        self._thread.start()
        assert self._ready.wait(10), "the fault server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def open_connections(self) -> int:
        return len(self._runner.server.connections) if self._runner.server else 0

    def reset(self) -> None:
        """Forgets what was seen, first requests included, once the last client's leaving was noticed."""
        self.wait_for(lambda: not self.open_requests, 2.0)
        self.requests.clear()
        self.disconnects.clear()
        self.chunks_sent = 0

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = 5.0) -> bool:
        """Whether `condition` came true in time; for what happens in the server's thread."""
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        app = web.Application(client_max_size=64 * 1024 * 1024)
        for prefix in ("/v1", ""):
            app.router.add_post(f"{prefix}/chat/completions", lambda r: self._guard(r, self._chat, _OpenAIWire))
            app.router.add_post(f"{prefix}/embeddings", lambda r: self._guard(r, self._embed, _OpenAIWire))
            app.router.add_get(f"{prefix}/models", lambda r: self._guard(r, self._models, _OpenAIWire))
        app.router.add_post("/v1/messages", lambda r: self._guard(r, self._chat, _AnthropicWire))
        app.router.add_post("/v1/messages/count_tokens", lambda r: self._guard(r, self._count, _AnthropicWire))
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self._ready.set()
        await self._stop.wait()
        await self._runner.cleanup()

    async def _guard(self, request: web.Request, handler: Callable[..., Any], wire: Any) -> web.StreamResponse:
        raw = await request.read()
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            return web.json_response(wire.error(400, "the body is not JSON"), status=400)
        peer = str(request.transport.get_extra_info("peername")) if request.transport else ""
        self.requests.append(
            Seen(request.method, request.path, {k.lower(): v for k, v in request.headers.items()}, body, request.query_string, peer)
        )
        given = request.headers.get("x-api-key") or request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.key and given != self.key:
            message = f"Incorrect API key provided: {given}. You can find your API key in the settings."
            return web.json_response(wire.error(401, message, "invalid_api_key"), status=401)
        self.open_requests += 1
        try:
            return await handler(request, body, wire)
        except (asyncio.CancelledError, ConnectionError):
            self.disconnects.append(time.monotonic())
            raise
        finally:
            self.open_requests -= 1

    # --- the routes -----------------------------------------------------------------------------------------------------

    async def _models(self, _request: web.Request, _body: Any, _wire: Any) -> web.Response:
        data = [{"id": name, "object": "model", "created": 1, "owned_by": "tests"} for name in ("echo", "instant")]
        return web.json_response({"object": "list", "data": data})

    async def _count(self, _request: web.Request, body: dict[str, Any], _wire: Any) -> web.Response:
        return web.json_response({"input_tokens": sum(len(_content(m["content"]).split()) for m in body["messages"])})

    async def _embed(self, _request: web.Request, body: dict[str, Any], wire: Any) -> web.StreamResponse:
        name = body["model"].partition("@")[0]
        fault = await self._fault(name, body, wire)
        if fault is not None:
            return fault
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        data = []
        for index, text in enumerate(texts):
            vector: Any = [byte / 255 for byte in hashlib.sha256(str(text).encode()).digest()[:8]]
            if name == "bag-of-words":
                vector = [0.01] * 64
                for word in str(text).lower().strip("?.!").split():
                    vector[hashlib.sha256(word.encode()).digest()[0] % 64] += 1.0
            if body.get("encoding_format") == "base64":
                vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
            data.append({"object": "embedding", "index": index, "embedding": vector})
        tokens = sum(len(str(text).split()) for text in texts)
        reply: dict[str, Any] = {"object": "list", "data": data[::-1] if name == "unordered" else data, "model": body["model"]}
        if name != "no-usage":
            reply["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
        return web.json_response(reply)

    async def _chat(self, request: web.Request, body: dict[str, Any], wire: Any) -> web.StreamResponse:
        name = str(body.get("model", "")).partition("@")[0]
        fault = await self._fault(name, body, wire)
        if fault is not None:
            return fault
        answer = _answer(name, body)
        if name == "hang-headers" or (name == "cut-json" and not body.get("stream")):
            return await self._broken_off(request, name, wire.whole(answer, body))
        if body.get("stream") and name != "ignores-stream":
            return await self._stream(request, name, answer, body, wire)
        if name.startswith("slow-first-"):
            await asyncio.sleep(float(name[11:-1]))
        return web.json_response(wire.whole(answer, body), headers={"Set-Cookie": "session=somebody; Path=/"})

    async def _fault(self, name: str, body: dict[str, Any], wire: Any) -> web.StreamResponse | None:
        """The reply that is no answer, or None."""
        if name.startswith("status-"):
            return self._status(name, body, wire)
        if name == "hang":
            await asyncio.sleep(3600)
        if name.startswith("echo-"):
            await asyncio.sleep(int(name[5:-2]) / 1000)
        if name.startswith("slow-headers-"):
            await asyncio.sleep(float(name[13:-1]))
        if name == "context-length":
            return web.json_response(wire.error(400, CONTEXT[wire], "context_length_exceeded"), status=400)
        if name == "newer-limit" and "max_tokens" in body:
            message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
            return web.json_response(wire.error(400, message, "unsupported_parameter"), status=400)
        if name == "no-stream-options" and "stream_options" in body:
            return web.json_response({"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"]}]}, status=422)
        if name == "unknown-model":
            message = "The model `unknown-model` does not exist or you do not have access to it."
            return web.json_response(wire.error(404, message, "model_not_found"), status=404)
        if name == "leaky":
            sent = {key: value for key, value in self.requests[-1].headers.items() if key in {"authorization", "x-api-key"}}
            return web.json_response(wire.error(400, f"bad request with {sent}"), status=400)
        replies = {"bad-json": '{"id": "chatcmpl-1", "choices": [', "empty-reply": "", "list-reply": "[1, 2]"}
        if name in replies:
            return web.Response(text=replies[name], content_type="application/json")
        if name == "html-reply":
            return web.Response(text="<html><body>A proxy's sign-in page</body></html>", content_type="text/html")
        return None

    async def _broken_off(self, request: web.Request, name: str, whole: dict[str, Any]) -> web.StreamResponse:
        """The head of an answer, and never the rest."""
        raw = json.dumps(whole).encode()
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(raw))})
        await response.prepare(request)
        if name == "hang-headers":
            await asyncio.sleep(3600)
        await response.write(raw[: len(raw) // 2])
        await asyncio.sleep(0.02)
        assert request.transport is not None
        request.transport.abort()
        return response

    def _status(self, name: str, body: dict[str, Any], wire: Any) -> web.Response | None:
        status, _, more = name.removeprefix("status-").partition("-")
        first = sum(seen.model == body["model"] for seen in self.requests) == 1
        headers = {"Retry-After": "1"} if status == "429" else {}
        if more == "no-header":
            headers = {}
        elif more == "date":
            headers = {"Retry-After": formatdate(time.time() + 2, usegmt=True)}
        elif more.startswith("first-"):
            if sum(seen.model == body["model"] for seen in self.requests) > int(more.removeprefix("first-")):
                return None
            headers = {}
        elif more == "once" or more.startswith("after-"):
            if not first:
                return None
            headers = {} if more == "once" else {"Retry-After": more.removeprefix("after-")}
        if more.startswith("until-"):
            began = next(seen.at for seen in self.requests if seen.model == body["model"])
            if time.monotonic() - began >= float(more.removeprefix("until-")):
                return None
            headers = {"Retry-After": "2"}
        return web.json_response(wire.error(int(status), f"the upstream says {status}"), status=int(status), headers=headers)

    async def _stream(self, request: web.Request, name: str, answer: Answer, body: dict[str, Any], wire: Any) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        if name == "cut-first":
            request.transport.abort()
            return response
        if name.startswith("slow-first-"):
            await asyncio.sleep(float(name[11:-1]))
        async for event in self._events(name, wire.events(answer, body, name), wire):
            if event is None:
                request.transport.abort()
                return response
            await response.write(event)
            self.chunks_sent += 1
        await response.write_eof()
        return response

    async def _events(self, name: str, events: list[bytes], wire: Any) -> AsyncIterator[bytes | None]:
        """The events as this behaviour sends them; None breaks the connection."""
        head = 3 + 2 * (wire is _AnthropicWire)
        if name == "endless-stream":
            middle = events[head - 1]
            for event in events[:head]:
                yield event
            while True:
                await asyncio.sleep(0.005)
                yield middle
        for index, event in enumerate(events):
            if index == head and name == "cut-stream":
                await asyncio.sleep(0.05)
                yield None
            if index == head and name == "cut-clean":
                return
            if index == head and name == "hang-stream":
                await asyncio.sleep(3600)
            if index == head and name == "bad-chunk":
                yield b'data: {"choices": [{"delta": {"content": \n\n'
            if name.startswith("cut-after-") and index == head - 3 + int(name[10:]):
                await asyncio.sleep(0.05)
                yield None
            if (index == head and name in {"stream-error", "limited-stream"}) or name == "error-first":
                status = 429 if name == "limited-stream" else 529
                error = json.dumps(wire.error(status, "too many requests" if status == 429 else "the upstream is overloaded")).encode()
                yield (b"event: error\n" if wire is _AnthropicWire else b"") + b"data: " + error + b"\n\n"
                return
            if name == "slow-stream":
                await asyncio.sleep(0.05)
            elif name.startswith("paced-"):
                await asyncio.sleep(int(name.split("-")[2].removesuffix("ms")) / 1000)
            yield event


if __name__ == "__main__":  # alone, for benchmarks: python tests/faults.py [PORT]; ends with its standard input
    import sys

    with FaultServer(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0) as server:
        print(server.url, flush=True)
        sys.stdin.read()
