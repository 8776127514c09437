"""Answers of other formats in the shape of OpenAI's chat, where they hold more than text: several answers, log-probs, thoughts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aiplat_lab.core.types import Json, Message, Response, Usage

MOST_CALLS = 1000
"""The most calls of tools that one answer may make; whoever puts pieces together makes room for as many as the highest number."""


def sound(calls: Sequence[Mapping[str, Json]]) -> bool:
    """Whether pieces of tool calls can be put together: numbers that are numbers, and texts that are texts."""
    for call in calls:
        index, function = call.get("index", 0), call.get("function", {})
        if type(index) is not int or not 0 <= index < MOST_CALLS or not isinstance(function, Mapping):
            return False
        if not all(isinstance(function.get(name), str | None) for name in ("name", "arguments")):
            return False
    return True


@dataclass(slots=True)
class Choice:
    """One answer to a request."""

    text: str = ""
    reasoning: str = ""
    calls: list[dict[str, Json]] = field(default_factory=list)
    finish_reason: str = ""
    logprobs: list[dict[str, Json]] = field(default_factory=list)

    @property
    def rich(self) -> bool:
        """Whether there is more than text and calls of tools."""
        return bool(self.reasoning or self.logprobs)


def answer_of(
    choice: Choice, usage: Usage | None, *, body: Mapping[str, Json] | None, model: str = "", flags: tuple[str, ...] = ()
) -> Response:
    """The response that an answer stands for, flagged where it does not say why it ended or what it used."""
    missing = (*(() if choice.finish_reason else ("no_finish_reason",)), *(() if usage else ("no_usage",)))
    return Response(
        text=choice.text,
        finish_reason=choice.finish_reason,
        usage=usage,
        response_model=model,
        body=body,
        tool_calls=tuple(choice.calls),
        flags=(*missing, *flags),
    )


def joined(messages: Sequence[Message], blocks: Callable[[Message], list[dict[str, Json]]]) -> list[dict[str, Json]]:
    """The messages as lists of blocks, without the system's, neighbours of one role in one, tool results as the user's."""
    made: list[dict[str, Json]] = []
    for message in messages:
        if message.role in {"system", "developer"}:
            continue
        role, held = "assistant" if message.role == "assistant" else "user", blocks(message)
        if held and made and made[-1]["role"] == role:
            made[-1]["content"] = [*made[-1]["content"], *held]
        elif held:
            made.append({"role": role, "content": held})
    return made


def mapping(value: Json) -> Mapping[str, Json]:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def body_of(choices: Sequence[Choice], *, response_id: str, model: str, usage: Usage | None) -> dict[str, Json]:
    """The answers as the body of a chat completion."""
    made: list[dict[str, Json]] = []
    for index, choice in enumerate(choices):
        message: dict[str, Json] = {"role": "assistant", "content": choice.text or None, "refusal": None}
        if choice.reasoning:
            message["reasoning_content"] = choice.reasoning
        if choice.calls:
            message["tool_calls"] = choice.calls
        logprobs = {"content": choice.logprobs, "refusal": None} if choice.logprobs else None
        made.append({"index": index, "message": message, "finish_reason": choice.finish_reason or "stop", "logprobs": logprobs})
    body: dict[str, Json] = {"id": response_id, "object": "chat.completion", "created": int(time.time()), "model": model, "choices": made}
    return body | ({"usage": usage_of(usage)} if usage else {})


def event_of(delta: dict[str, Json], *, response_id: str, model: str, logprobs: Sequence[Json] = ()) -> dict[str, Json]:
    """One piece of an answer as an event of a chat stream."""
    told = {"content": list(logprobs), "refusal": None} if logprobs else None
    choice = {"index": 0, "delta": delta, "finish_reason": None, "logprobs": told}
    return {"id": response_id, "object": "chat.completion.chunk", "created": int(time.time()), "model": model, "choices": [choice]}


def usage_of(usage: Usage) -> dict[str, Json]:
    """The tokens as OpenAI counts them: the whole, and what of it is cached or thought."""
    return {
        "prompt_tokens": usage.total_input_tokens,
        "completion_tokens": usage.total_output_tokens,
        "total_tokens": usage.total_input_tokens + usage.total_output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
