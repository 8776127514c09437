"""A call as a row of the ledger, and a row as what it was: an answer or an error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aiplat_lab.core.documents import Document, read_response, request_document, response_document
from aiplat_lab.core.errors import AiplatError, CallCancelled, CallLost, ProviderError, from_wire, redact, shorten
from aiplat_lab.core.types import STANDARD_TIERS, Attribution, Call, Price, Response, Usage

Row = dict[str, Any]  # Any: str, int, float, Decimal, aware time, bool, dict of tags, list of flags, or None
GATEWAY_LOST = "gateway_lost"
_MESSAGE_BYTES = 400
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


def begin_row(call: Call) -> Row:
    """What is known when a call begins."""
    request = call.request
    return {
        "call_id": request.call_id,
        "parent_id": request.parent_id or None,
        "started_at": call.started_at,
        "operation": request.operation,
        "request_model": request.model,
        "stream": request.stream,
        **attributed(request.attribution),
    }


def end_row(call: Call, asked: Document) -> tuple[Row, dict[str, bytes]]:
    """The whole row of a call that ended, and the payloads it names.

    Args:
        call: the call, with `ended_at` set.
        asked: the request's document, as the caller sent it.
    """
    asked = request_document(call.recorded_request) if call.recorded_request is not None else asked
    payloads = dict(asked.payloads)
    answered = call.recorded_response or _answered(call)
    response_hash = None
    if answered is not None:
        document = response_document(answered)
        payloads.update(document.payloads)
        response_hash = document.hash
    response = call.response
    deployment = call.deployment
    row: Row = {
        **begin_row(call),
        "ended_at": call.ended_at,
        "provider": (response.provider if response else "") or (deployment.provider if deployment else "") or None,
        "response_model": (response.response_model if response else "") or None,
        "region": (response.region if response else "") or (deployment.region if deployment else "") or None,
        "status": call.status,
        "error_type": error_type(call.error) if call.error else None,
        "error_message": error_message(call.error) if call.error else None,
        "policy": call.policy or None,
        "attempts": call.attempts,
        **_tokens(response.usage if response else call.state.get("usage")),
        "cost_usd": call.cost_usd,
        "baseline_cost_usd": call.baseline_cost_usd,
        "price_version": call.price.version if call.price else None,
        **_unit_prices(call.price, response.usage if response else call.state.get("usage")),
        "latency_s": call.latency_s,
        "time_to_first_token_s": call.time_to_first_token_s,
        "queued_s": call.queued_s,
        "cache": call.cache,
        "route": call.route or None,
        "findings": call.findings,
        "batch_id": call.state.get("batch_id"),
        "finish_reason": (response.finish_reason if response else "") or None,
        "flags": list(dict.fromkeys([*(response.flags if response else ()), *call.flags])),
        "request_hash": asked.hash,
        "response_hash": response_hash,
    }
    return row, payloads


def error_type(error: BaseException) -> str:
    """The word for an error in the ledger, such as `budget_exceeded`, `rate_limited` or `timeout`."""
    if isinstance(error, ProviderError):
        return error.reason
    if isinstance(error, CallCancelled):
        return "cancelled"
    return _CAPITAL.sub("_", type(error).__name__).lower()


def error_message(error: BaseException) -> str:
    """The error in one short line without anything that looks like a key."""
    return shorten(redact(str(error.args[0]) if error.args else type(error).__name__), _MESSAGE_BYTES)


def recorded(row: Mapping[str, Any], payload: bytes | None) -> Response:  # Any: a row's values
    """The answer that a row holds.

    Args:
        row: a row of `calls`.
        payload: its response document, or None when there is none.

    Raises:
        AiplatError: the call was not answered; the same error as then, or `CallLost`.
    """
    call_id = str(row["call_id"])
    if row["status"] == "ok" and payload is not None:
        return read_response(row, payload)
    if row["status"] == "ok":
        raise CallLost(f"the call {call_id} was answered, and its text was erased since; ask again under a new call id", call_id=call_id)
    if row.get("error_type") == GATEWAY_LOST:
        raise CallLost(
            f"the gateway stopped while the call {call_id} was under way; ask again under a new call id, with this one as parent_id",
            call_id=call_id,
        )
    if row["status"] == "cancelled":
        raise CallCancelled(f"the call {call_id} was cancelled; ask again under a new call id", call_id=call_id)
    raise _error(row, call_id)


def _error(row: Mapping[str, Any], call_id: str) -> AiplatError:  # Any: a row's values
    name = "".join(part.capitalize() for part in str(row.get("error_type") or "").split("_"))
    facts = {
        "message": row.get("error_message") or f"the call {call_id} failed",
        "call_id": call_id,
    }
    if row["status"] == "refused":
        return from_wire(
            {
                **facts,
                "type": name if name.endswith(("Refused", "Exceeded", "Limited")) else "CallRefused",
                "policy": row.get("policy") or "",
            }
        )
    error = from_wire({**facts, "type": name})
    if type(error) is AiplatError and row.get("provider"):
        return ProviderError(
            error.message,
            provider=str(row["provider"]),
            model=str(row.get("request_model") or ""),
            reason=str(row.get("error_type") or "provider_error"),
            call_id=call_id,
        )
    return error


def _answered(call: Call) -> Response | None:
    """The whole answer, or the part of it that had come."""
    if call.response is not None:
        return call.response
    return Response(text="".join(call.partial)) if call.partial else None


def attributed(who: Attribution) -> Row:
    """Who pays for a call and where it came from, by column."""
    row: Row = {
        "surface": who.surface,
        "team": who.team or None,
        "project": who.project or None,
        "cost_centre": who.cost_centre or None,
        "user_id": who.user_id or None,
        "key_id": who.key_id or None,
        "notebook": who.notebook or None,
        "cell_id": who.cell_id or None,
        "prompt_name": who.prompt_name or None,
        "prompt_version": who.prompt_version or None,
        "experiment": who.experiment or None,
        "variant": who.variant or None,
        "tags": {str(key): str(value) for key, value in who.tags.items()},
    }
    return row


def _tokens(usage: Usage | None) -> Row:
    return {
        "input_tokens": usage.input_tokens if usage else None,
        "cache_read_tokens": usage.cache_read_tokens if usage else None,
        "cache_write_tokens": usage.cache_write_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "reasoning_tokens": usage.reasoning_tokens if usage else None,
        "other_units": {name: str(count) for name, count in _other(usage).items() if count} if usage else {},
    }


def _other(usage: Usage) -> dict[str, int]:
    return {**usage.other, "cache_write_1h_tokens": usage.cache_write_1h_tokens}


def _unit_prices(price: Price | None, usage: Usage | None) -> Row:
    """The prices by which the row can be priced again from itself, and the tier of service they are for."""
    return {
        "input_usd_per_mtok": price.input_usd_per_mtok if price else None,
        "output_usd_per_mtok": price.output_usd_per_mtok if price else None,
        "cache_read_usd_per_mtok": price.cache_read_usd_per_mtok if price else None,
        "cache_write_usd_per_mtok": price.cache_write_usd_per_mtok if price else None,
        "reasoning_usd_per_mtok": price.reasoning_usd_per_mtok if price else None,
        "other_prices_usd": _other_prices(price, usage) if price else {},
        "service_tier": _tier(price, usage),
    }


def _other_prices(price: Price, usage: Usage | None) -> dict[str, str]:
    """The prices of units that the call used, as text; a request is one whether it was counted or not."""
    found = {
        name: f"{usd:f}" for name, usd in price.other_usd.items() if name == "requests" or (usage is not None and usage.other.get(name))
    }
    if price.cache_write_1h_usd_per_mtok is not None and usage is not None and usage.cache_write_1h_tokens:
        found["cache_write_1h_usd_per_mtok"] = f"{price.cache_write_1h_usd_per_mtok:f}"
    if price.discount:
        found["discount"] = f"{price.discount:f}"
    return found


def _tier(price: Price | None, usage: Usage | None) -> str | None:
    """The tier of service that was paid, or the one that was served where nobody knows a price."""
    if price is not None:
        return price.service_tier or None
    served = usage.service_tier.lower() if usage is not None else ""
    return None if served in STANDARD_TIERS else served
