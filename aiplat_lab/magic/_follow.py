"""The next request of a cell that asks more than once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aiplat_lab.core.ids import new_id
from aiplat_lab.core.types import Json, Message, Request


def followed(request: Request, messages: Sequence[Message], **changes: Json) -> Request:
    """The next request of a cell: the same with more messages, as a child of the first."""
    return replace(
        request, messages=(*request.messages, *messages), call_id=new_id(), parent_id=request.parent_id or request.call_id, **changes
    )
