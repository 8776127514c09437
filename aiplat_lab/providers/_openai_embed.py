"""Embeddings in OpenAI's format, which several kinds of host speak beside their own."""

from __future__ import annotations

import json
from collections.abc import Mapping

from aiplat_lab.core.types import Deployment, Request, Response
from aiplat_lab.providers import _openai_wire as openai_wire
from aiplat_lab.providers._failures import bad_reply, from_error_object
from aiplat_lab.providers._http import Endpoint
from aiplat_lab.providers._wired import MISSHAPEN


async def embeddings(
    endpoint: Endpoint, path: str, request: Request, deployment: Deployment, *, headers: Mapping[str, str] | None = None
) -> Response:
    """One vector for each input, in order.

    Raises:
        ProviderError: whatever went wrong there.
    """
    body = openai_wire.embed_body(request, deployment)
    data = (await endpoint.reply(path, body, request=request, deployment=deployment, headers=headers)).data
    try:
        vectors = openai_wire.read_vectors(data, len(request.inputs) or None)
    except MISSHAPEN:
        vectors = None
    if vectors is None:
        where = endpoint.where(deployment.model)
        if data.get("error"):
            raise from_error_object(where, data["error"])
        raise bad_reply(where, "something that is not one vector for each text", json.dumps(data)[:400].encode())
    usage = openai_wire.read_usage(data.get("usage"))
    return Response(
        embeddings=vectors,
        finish_reason="stop",
        usage=usage,
        provider=endpoint.name,
        region=deployment.region,
        response_model=str(data.get("model") or ""),
        body=data if request.wire == openai_wire.EMBEDDINGS else None,
        flags=() if usage else ("no_usage",),
    )
