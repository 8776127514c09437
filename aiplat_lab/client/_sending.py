"""What is sent for one call, and what is sent after a failure: each call is finished or reported, once."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from aiplat_lab.client._wire import Reply, Target, unreachable
from aiplat_lab.core.errors import AiplatError, CallLost, GatewayUnavailable, UsageError, from_wire
from aiplat_lab.core.ids import derived_id, id_time, is_id, new_id
from aiplat_lab.core.types import Request

MOST_SENDS = 5
"""How often one call is sent when the gateway goes away each time."""
PATH = "/api/calls"
HEADERS = {"Content-Type": "application/json"}


def pause_s(sent: int) -> float:
    """Seconds to wait before something is sent again: a process that was just killed may take connections a moment longer."""
    return 0.0 if sent <= 1 else 0.02 * 4 ** (sent - 2)


def encoded(data: Any) -> bytes:  # Any: JSON, or not
    """What is sent to the gateway, as JSON.

    Raises:
        UsageError: it holds something that JSON cannot.
    """
    try:
        return json.dumps(data, ensure_ascii=False).encode("utf-8", "replace")
    except (TypeError, ValueError) as error:
        raise UsageError(f"this cannot be sent: {error}. Settings and records hold texts, numbers, lists and dicts.") from None


class Sending:
    """One call on its way.

    A call whose connection broke is sent again under the same id: the gateway answers it from the ledger when it was recorded.
    When a gateway was killed in the middle of it, nobody knows the answer, and the call is made once more under a new id that
    names the lost one as its parent; for a detached call that id follows from the lost one, so that it too is found again.
    """

    def __init__(self, request: Request, target: Target) -> None:
        self.request = request
        self.sent = 0
        self._target = target
        self._renewed = False

    def body(self) -> bytes:
        """What to send now.

        Raises:
            UsageError: it holds something that JSON cannot.
        """
        self.sent += 1
        return encoded(self.request.to_json())

    def broke(self, error: OSError, *, shown: bool = False) -> float:
        """The connection broke; gives the seconds after which the call is to be sent again.

        Args:
            error: how it broke.
            shown: whether a part of the answer was given away already.

        Raises:
            GatewayUnavailable: it is not to be sent again.
        """
        if shown:
            raise GatewayUnavailable(
                "the gateway went away in the middle of this answer; the text until then is not whole. Run it again to have all of it. "
                f"The ledger shows the call as {self.request.call_id}.",
                call_id=self.request.call_id,
            ) from None
        if self.sent >= MOST_SENDS:
            raise unreachable(self._target, error, call_id=self.request.call_id) from None
        return pause_s(self.sent)

    def failed(self, error: AiplatError, *, shown: bool = False) -> None:
        """The gateway answered with an error; returns when the call is to be made again under a new id.

        Raises:
            AiplatError: `error`, otherwise.
        """
        if not isinstance(error, CallLost) or self._renewed or shown:
            raise error from None
        self._renewed = True
        lost = self.request.call_id
        again = derived_id(id_time(lost), lost, "again") if self.request.detached and is_id(lost) else new_id()
        self.request = replace(self.request, call_id=again, parent_id=lost)


def error_of(reply: Reply) -> AiplatError:
    """The error that an answer holds."""
    data = reply.json()
    error = data.get("error") if isinstance(data, dict) else None
    if isinstance(error, dict) and "type" in error:
        return from_wire(error)
    return GatewayUnavailable(f"what answers there is not an aiplat-lab gateway: HTTP {reply.status}. Check AIPLAT_GATEWAY.")


def checked(reply: Reply) -> Any:  # Any: JSON
    """The JSON of a good answer.

    Raises:
        AiplatError: the answer holds an error.
    """
    if reply.status != 200:
        raise error_of(reply)
    return reply.json()
