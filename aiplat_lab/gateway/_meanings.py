"""The vectors of questions, for the semantic cache."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from aiplat_lab.core.types import Call, Request, Response


def embedder(handle: Callable[[Request], Awaitable[Response]], model: str) -> Callable[[Call, str], Awaitable[Sequence[float]]]:
    """Gives the vector of a question on behalf of its call: by a call of its own, under the team's rules and in the ledger.

    Args:
        handle: the way through the gateway.
        model: the model that embeds.
    """

    async def embed(call: Call, text: str) -> Sequence[float]:
        who = replace(call.request.attribution, surface="cache", key_id="")
        request = Request(model=model, operation="embed", inputs=(text,), attribution=who, parent_id=call.id, cache="on")
        return (await handle(request)).embeddings[0]

    return embed
