"""The batch APIs of OpenAI and Anthropic: a file or a list of bodies in, a file of lines out.

Sources: OpenAI's reference of `files` and `batches`, Anthropic's of Message Batches; both take up to a day and charge half.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from aiplat_lab.core.batches import BatchAnswer, BatchState
from aiplat_lab.core.errors import ProviderError
from aiplat_lab.core.types import Deployment, Json, Request, Response
from aiplat_lab.providers._chat_shape import mapping
from aiplat_lab.providers._failures import Where, bad_reply, failure, from_error_object, from_status
from aiplat_lab.providers._http import Endpoint, Form
from aiplat_lab.providers._openai_wire import count

TIER = "batch"
"""What `Usage.service_tier` says of an answer out of a batch."""
WINDOW = "24h"
"""How long OpenAI may take; it offers no other."""
_OPENAI_OVER = frozenset({"completed", "failed", "expired", "cancelled"})

Read = Callable[[Mapping[str, Json]], Response | None]
"""What reads a whole reply of the wire."""


class OpenAIBatches:
    """Batches by file, as OpenAI has them.

    Args:
        endpoint: where.
        read: reads a chat reply.
    """

    def __init__(self, endpoint: Endpoint, read: Read) -> None:
        self._endpoint = endpoint
        self._read = read

    async def submit(self, batch_id: str, bodies: Mapping[str, Mapping[str, Json]], where: Where) -> str:
        """Uploads the bodies, each under its call id, and begins the batch; gives the provider's name of it."""
        lines = [{"custom_id": call_id, "method": "POST", "url": "/v1/chat/completions", "body": body} for call_id, body in bodies.items()]
        data = b"".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n" for line in lines)
        form = Form(f"{batch_id}.jsonl", data, {"purpose": "batch"})
        uploaded = _object(await self._endpoint.fetch("POST", "/files", form=form), where)
        body = {"input_file_id": _text(uploaded, "id", where), "endpoint": "/v1/chat/completions", "completion_window": WINDOW}
        return _text(await self._endpoint.send_json("/batches", {**body, "metadata": {"aiplat_batch": batch_id}}), "id", where)

    async def state(self, remote_id: str, where: Where) -> BatchState:
        """How far it is."""
        data = _object(await self._endpoint.fetch("GET", f"/batches/{remote_id}"), where)
        counts = mapping(data.get("request_counts"))
        errors = mapping(data.get("errors")).get("data")
        said = [str(one.get("message", "")) for one in errors if isinstance(one, Mapping)] if isinstance(errors, Sequence) else []
        over = str(data.get("status")) in _OPENAI_OVER
        return BatchState(
            over=over, done=count(counts.get("completed")), failed=count(counts.get("failed")), error=" ".join(said) if over else ""
        )

    async def answers(self, remote_id: str, where: Where) -> list[BatchAnswer]:
        """What has come; the files are taken away afterwards, where the provider lets us."""
        data = _object(await self._endpoint.fetch("GET", f"/batches/{remote_id}"), where)
        files = [str(data[name]) for name in ("output_file_id", "error_file_id") if data.get(name)]
        found = []
        for name in files:
            for line in _lines(await self._endpoint.fetch("GET", f"/files/{name}/content"), where):
                found.append(self._answer(line, where))
        for name in [*files, *([str(data["input_file_id"])] if data.get("input_file_id") else [])]:
            try:
                await self._endpoint.fetch("DELETE", f"/files/{name}")
            except ProviderError:
                pass  # the answers are here; the provider takes its files away by itself in time
        return found

    async def cancel(self, remote_id: str, where: Where) -> None:
        """Asks to stop."""
        await self._endpoint.send_json(f"/batches/{remote_id}/cancel", {})

    def _answer(self, line: Mapping[str, Json], where: Where) -> BatchAnswer:
        call_id = str(line.get("custom_id", ""))
        reply = mapping(line.get("response"))
        body = mapping(reply.get("body"))
        status = reply.get("status_code")
        if line.get("error"):
            return BatchAnswer(call_id=call_id, error=from_error_object(where, line["error"]))
        if status != 200:
            error = from_status(where, status if isinstance(status, int) else 500, {}, json.dumps(body).encode())
            return BatchAnswer(call_id=call_id, error=error)
        return _read_answer(call_id, self._read(body), body, where)


class AnthropicBatches:
    """Message Batches, as Anthropic has them; arguments as `OpenAIBatches`."""

    def __init__(self, endpoint: Endpoint, read: Read) -> None:
        self._endpoint = endpoint
        self._read = read

    async def submit(self, batch_id: str, bodies: Mapping[str, Mapping[str, Json]], where: Where) -> str:
        """Hands the bodies in, each under its call id; gives the provider's name of the batch."""
        requests = [{"custom_id": call_id, "params": dict(body)} for call_id, body in bodies.items()]
        return _text(await self._endpoint.send_json("/v1/messages/batches", {"requests": requests}), "id", where)

    async def state(self, remote_id: str, where: Where) -> BatchState:
        """How far it is."""
        data = _object(await self._endpoint.fetch("GET", f"/v1/messages/batches/{remote_id}"), where)
        counts = mapping(data.get("request_counts"))
        failed = sum(count(counts.get(name)) for name in ("errored", "canceled", "expired"))
        return BatchState(over=data.get("processing_status") == "ended", done=count(counts.get("succeeded")), failed=failed)

    async def answers(self, remote_id: str, where: Where) -> list[BatchAnswer]:
        """What has come."""
        raw = await self._endpoint.fetch("GET", f"/v1/messages/batches/{remote_id}/results")
        return [self._answer(line, where) for line in _lines(raw, where)]

    async def cancel(self, remote_id: str, where: Where) -> None:
        """Asks to stop."""
        await self._endpoint.send_json(f"/v1/messages/batches/{remote_id}/cancel", {})

    def _answer(self, line: Mapping[str, Json], where: Where) -> BatchAnswer:
        call_id = str(line.get("custom_id", ""))
        result = mapping(line.get("result"))
        kind = str(result.get("type", ""))
        if kind == "succeeded":
            message = mapping(result.get("message"))
            return _read_answer(call_id, self._read(message), message, where)
        if kind == "errored":
            error = mapping(result.get("error"))
            return BatchAnswer(call_id=call_id, error=from_error_object(where, error.get("error") or error))
        return BatchAnswer(call_id=call_id, error=unanswered(where, kind or "unanswered"))


class Batched:
    """What a provider with a batch API adds to its chats.

    Its class sets `batches` and `_batch_api` when it is made, and says in `_batch_body` what a call's body is.
    """

    batches: bool
    """Whether the host has one."""
    _name: str
    _endpoint: Endpoint
    _batch_api: OpenAIBatches | AnthropicBatches

    def _batch_body(self, request: Request, deployment: Deployment) -> dict[str, Json]:
        raise NotImplementedError

    async def submit_batch(self, batch_id: str, requests: Sequence[Request], deployment: Deployment) -> str:
        """Hands the requests in as one batch; gives its name there."""
        bodies = {one.call_id: self._batch_body(one, deployment) for one in requests}
        return await self._batch_api.submit(batch_id, bodies, self._endpoint.where(deployment.model))

    async def batch_state(self, remote_id: str, deployment: Deployment) -> BatchState:
        """How far the batch is."""
        return await self._batch_api.state(remote_id, self._endpoint.where(deployment.model))

    async def batch_answers(self, remote_id: str, deployment: Deployment) -> list[BatchAnswer]:
        """What has come of a batch that is over."""
        found = await self._batch_api.answers(remote_id, self._endpoint.where(deployment.model))
        return [one.of(self._name, deployment.region) for one in found]

    async def cancel_batch(self, remote_id: str, deployment: Deployment) -> None:
        """Asks the provider to stop the batch."""
        await self._batch_api.cancel(remote_id, self._endpoint.where(deployment.model))


def unanswered(where: Where, why: str) -> ProviderError:
    """The error of a call that its batch did not answer: `canceled`, `expired`, …"""
    return failure(where, f"the batch did not answer this call ({why}). Hand it in again.", reason="unavailable", retryable=True)


def _read_answer(call_id: str, response: Response | None, body: Mapping[str, Json], where: Where) -> BatchAnswer:
    if response is None:
        return BatchAnswer(call_id=call_id, error=bad_reply(where, "JSON that holds no answer", json.dumps(body)[:400].encode()))
    usage = replace(response.usage, service_tier=TIER) if response.usage is not None else None
    return BatchAnswer(call_id=call_id, response=replace(response, usage=usage))


def _lines(raw: bytes, where: Where) -> Iterator[Mapping[str, Json]]:
    for line in raw.splitlines():
        if line.strip():
            yield _object(line, where)


def _object(raw: bytes, where: Where) -> Mapping[str, Json]:
    try:
        data: Any = json.loads(raw)  # Any: JSON from outside, narrowed here
    except (ValueError, RecursionError):
        raise bad_reply(where, "a batch in something that is not JSON", raw[:400]) from None
    if not isinstance(data, dict):
        raise bad_reply(where, f"a JSON {type(data).__name__} instead of an object", raw[:400])
    return data


def _text(data: Mapping[str, Json], name: str, where: Where) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not value:
        raise bad_reply(where, f"a batch without {name!r}", json.dumps(data)[:400].encode())
    return value
