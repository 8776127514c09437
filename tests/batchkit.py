"""A real HTTP upstream with the batch APIs of OpenAI and Anthropic, whose batches end when the test says so."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

from aiohttp import web


class BatchServer:
    """`with BatchServer() as upstream`: `upstream.url` for Anthropic's wire, `upstream.url + "/v1"` for OpenAI's.

    A question answers with its last user text; `fail me` is answered with an error, `forget me` with nothing. Batches end at
    `release()`.
    """

    def __init__(self) -> None:
        self.url = ""
        self.released = False
        self.refuse = 0
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.cancelled: set[str] = set()
        self.chats = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> BatchServer:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def release(self) -> None:
        self.released = True

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/files/{id}/content", self._content)
        app.router.add_delete("/v1/files/{id}", self._delete)
        app.router.add_post("/v1/batches", self._create)
        app.router.add_get("/v1/batches/{id}", self._state)
        app.router.add_post("/v1/batches/{id}/cancel", self._cancel)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/messages/batches", self._create_messages)
        app.router.add_get("/v1/messages/batches/{id}", self._state_messages)
        app.router.add_get("/v1/messages/batches/{id}/results", self._results_messages)
        app.router.add_post("/v1/messages/batches/{id}/cancel", self._cancel)
        runner = web.AppRunner(app)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    # --- OpenAI -----------------------------------------------------------------------------------------------------

    async def _upload(self, request: web.Request) -> web.Response:
        if self.refuse:
            return web.json_response({"error": {"message": "no batches today"}}, status=self.refuse)
        form = await request.post()
        assert form["purpose"] == "batch"
        name = f"file-{len(self.files) + 1}"
        self.files[name] = form["file"].file.read()  # type: ignore[union-attr]
        return web.json_response({"id": name, "object": "file"})

    async def _content(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["id"]])

    async def _delete(self, request: web.Request) -> web.Response:
        self.files.pop(request.match_info["id"])
        return web.json_response({"deleted": True})

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        assert (body["endpoint"], body["completion_window"]) == ("/v1/chat/completions", "24h")
        lines = [json.loads(line) for line in self.files[body["input_file_id"]].splitlines()]
        name = f"batch_{len(self.batches) + 1}"
        self.batches[name] = {"lines": lines, "input": body["input_file_id"], "metadata": body["metadata"]}
        return web.json_response({"id": name, "status": "validating"})

    async def _state(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        batch = self.batches[name]
        count = len(batch["lines"])
        if not self.released:
            return web.json_response({"id": name, "status": "in_progress", "request_counts": {"total": count, "completed": 0, "failed": 0}})
        done = [line for line in (_openai_line(one) for one in batch["lines"]) if line]
        good = [line for line in done if line["response"]["status_code"] == 200]
        bad = [line for line in done if line not in good]
        for file, lines in (("out", good), ("err", bad)):
            self.files[f"{name}-{file}"] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        status = "cancelled" if name in self.cancelled else "completed" if len(done) == count else "expired"
        counts = {"total": count, "completed": len(good), "failed": len(bad)}
        found = {"id": name, "status": status, "request_counts": counts, "input_file_id": batch["input"]}
        return web.json_response({**found, "output_file_id": f"{name}-out", "error_file_id": f"{name}-err" if bad else None})

    async def _cancel(self, request: web.Request) -> web.Response:
        self.cancelled.add(request.match_info["id"])
        return web.json_response({"id": request.match_info["id"], "status": "cancelling"})

    async def _chat(self, request: web.Request) -> web.Response:
        self.chats += 1
        return web.json_response(_openai_body(await request.json()))

    # --- Anthropic --------------------------------------------------------------------------------------------------

    async def _create_messages(self, request: web.Request) -> web.Response:
        name = f"msgbatch_{len(self.batches) + 1}"
        self.batches[name] = {"lines": (await request.json())["requests"]}
        return web.json_response({"id": name, "type": "message_batch", "processing_status": "in_progress"})

    async def _state_messages(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        count = len(self.batches[name]["lines"])
        over = self.released
        counts = {"processing": 0 if over else count, "succeeded": count if over else 0, "errored": 0, "canceled": 0, "expired": 0}
        return web.json_response({"id": name, "processing_status": "ended" if over else "in_progress", "request_counts": counts})

    async def _results_messages(self, request: web.Request) -> web.Response:
        lines = [_anthropic_line(one) for one in self.batches[request.match_info["id"]]["lines"]]
        return web.Response(body=b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def _said(messages: list[dict[str, Any]]) -> str:
    content = messages[-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _openai_body(body: dict[str, Any]) -> dict[str, Any]:
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    choice = {"index": 0, "message": {"role": "assistant", "content": _said(body["messages"])}, "finish_reason": "stop"}
    return {"id": "chatcmpl-1", "object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage}


def _openai_line(line: dict[str, Any]) -> dict[str, Any] | None:
    said = _said(line["body"]["messages"])
    if said == "forget me":
        return None
    if said == "fail me":
        reply = {"status_code": 400, "body": {"error": {"message": "that is too much", "type": "invalid_request_error"}}}
    else:
        reply = {"status_code": 200, "request_id": "r", "body": _openai_body(line["body"])}
    return {"id": "x", "custom_id": line["custom_id"], "response": reply, "error": None}


def _anthropic_line(line: dict[str, Any]) -> dict[str, Any]:
    said = _said(line["params"]["messages"])
    if said == "fail me":
        error = {"type": "error", "error": {"type": "invalid_request_error", "message": "that is too much"}}
        return {"custom_id": line["custom_id"], "result": {"type": "errored", "error": error}}
    if said == "forget me":
        return {"custom_id": line["custom_id"], "result": {"type": "expired"}}
    usage = {"input_tokens": 100, "output_tokens": 50, "service_tier": "batch"}
    message = {"id": "m", "type": "message", "role": "assistant", "model": line["params"]["model"], "stop_reason": "end_turn"}
    message |= {"content": [{"type": "text", "text": said}], "usage": usage}
    return {"custom_id": line["custom_id"], "result": {"type": "succeeded", "message": message}}
