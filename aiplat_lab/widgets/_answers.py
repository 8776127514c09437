"""One answer of one variant to one input, while it comes and when it is whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from aiplat_lab.core.errors import AiplatError, CallCancelled, CallRefused
from aiplat_lab.core.types import Request, Response

State: TypeAlias = Literal["waiting", "running", "ok", "error", "refused", "cancelled"]
ENDED: frozenset[State] = frozenset({"ok", "error", "refused", "cancelled"})


@dataclass(slots=True, kw_only=True)
class Answer:
    """What one variant says to one input. One thread writes it; others read it."""

    variant: str
    input_id: str
    request: Request
    state: State = "waiting"
    pieces: list[str] = field(default_factory=list)
    """The text as it came."""
    call_id: str = ""
    model: str = ""
    """As it was asked for."""
    response_model: str = ""
    provider: str = ""
    region: str = ""
    finish_reason: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    full_cost_usd: Decimal | None = None
    """What it costs when it does not come from the cache."""
    latency_s: float | None = None
    time_to_first_token_s: float | None = None
    cache: str = ""
    error_type: str = ""
    error: str = ""
    failure: AiplatError | None = None

    @property
    def text(self) -> str:
        """What has come until now."""
        return "".join(self.pieces)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ENDED

    def finish(self, response: Response) -> None:
        """The call came to its end."""
        usage = response.usage
        self.pieces = [response.text]
        self.call_id = response.call_id or self.call_id
        self.response_model, self.provider, self.region = response.response_model, response.provider, response.region
        self.finish_reason, self.cache = response.finish_reason, response.cache
        self.input_tokens = usage.total_input_tokens if usage else None
        self.output_tokens = usage.total_output_tokens if usage else None
        self.cost_usd, self.latency_s = response.cost_usd, response.latency_s
        self.full_cost_usd = response.baseline_cost_usd if response.cache == "hit" else response.cost_usd
        self.time_to_first_token_s = response.time_to_first_token_s
        self.state = "ok"

    def fail(self, error: AiplatError) -> None:
        """The call failed; what had come until then stays."""
        self.call_id = error.call_id or self.call_id
        self.failure = error
        self.error_type, self.error = type(error).__name__, error.message
        self.state = "refused" if isinstance(error, CallRefused) else "cancelled" if isinstance(error, CallCancelled) else "error"

    def recall(self, row: Mapping[str, Any], text: str) -> None:  # Any: the values of a view
        """Takes the facts of a call that is in the ledger."""
        self.pieces = [text]
        self.call_id = str(row["call_id"])
        self.model = str(row.get("request_model") or self.model)
        self.response_model, self.provider = str(row.get("response_model") or ""), str(row.get("provider") or "")
        self.region, self.finish_reason = str(row.get("region") or ""), str(row.get("finish_reason") or "")
        self.cache = str(row.get("cache") or "")
        self.input_tokens, self.output_tokens = row.get("input_tokens"), row.get("output_tokens")
        self.cost_usd = _usd(row.get("cost_usd"))
        self.full_cost_usd = _usd(row.get("baseline_cost_usd")) if self.cache == "hit" else self.cost_usd
        self.latency_s, self.time_to_first_token_s = row.get("latency_s"), row.get("time_to_first_token_s")
        self.state = "ok"


def _usd(value: Any) -> Decimal | None:  # Any: money as a view gives it
    return None if value is None else Decimal(str(value))
