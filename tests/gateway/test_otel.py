"""The names of the GenAI convention, checked against the ledger's own columns."""

from __future__ import annotations

import json
from decimal import Decimal

from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

from aiplat_lab.core.types import Message, Request, Response
from aiplat_lab.gateway.otel import ATTRIBUTES, DURATION, PROVIDERS, SETTINGS, TOKEN_USAGE, asked, attributes, content
from aiplat_lab.ledger import CALL_COLUMNS


def test_every_column_exists() -> None:
    assert set(ATTRIBUTES) <= set(CALL_COLUMNS)


def test_a_row_as_a_span() -> None:
    row = {
        "call_id": "c",
        "operation": "embed",
        "provider": "mine",
        "request_model": "fast",
        "input_tokens": 20,
        "cache_read_tokens": 64,
        "cache_write_tokens": 16,
        "output_tokens": None,
        "finish_reason": "stop",
        "cost_usd": Decimal("0.1"),
        "team": "",
    }
    found = attributes(row, kind="openai")
    assert found["gen_ai.operation.name"] == "embeddings" and found["gen_ai.provider.name"] == "openai"
    assert found["gen_ai.usage.input_tokens"] == 100 and found["gen_ai.usage.cache_read.input_tokens"] == 64
    assert "gen_ai.usage.output_tokens" not in found and "aiplat.team" not in found
    assert found["gen_ai.response.finish_reasons"] == ["stop"] and found["aiplat.cost_usd"] == "0.1"


def test_every_name_is_one_of_the_convention():
    known = {value for value in vars(gen_ai_attributes).values() if isinstance(value, str) and value.startswith("gen_ai.")}
    used = {*ATTRIBUTES.values(), *SETTINGS.values()} - {"error.type"}
    used |= {"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"}
    used |= {"gen_ai.response.finish_reasons", "gen_ai.request.stream", "gen_ai.token.type"}
    used |= {"gen_ai.system_instructions", "gen_ai.input.messages", "gen_ai.output.messages"}
    assert used <= known, used - known
    measures = {value for value in vars(gen_ai_metrics).values() if isinstance(value, str)}
    assert {TOKEN_USAGE, DURATION} <= measures
    providers = {one.value for one in gen_ai_attributes.GenAiProviderNameValues}
    assert set(PROVIDERS.values()) <= providers, set(PROVIDERS.values()) - providers


def test_settings_as_attributes():
    found = asked({"temperature": 0, "stop": ["a", "b"], "n": 3, "max_completion_tokens": 9, "seed": True, "top_p": "x", "tools": []})
    assert found == {
        "gen_ai.request.temperature": 0,
        "gen_ai.request.stop_sequences": ["a", "b"],
        "gen_ai.request.choice.count": 3,
        "gen_ai.request.max_tokens": 9,
    }


def test_content_holds_calls_of_tools_and_their_results():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked_for = Request(
        model="m", messages=(Message("assistant", None, {"tool_calls": [call]}), Message("tool", "rain", {"tool_call_id": "c"}))
    )
    found = content(asked_for, Response(tool_calls=(call,), finish_reason="tool_calls"))
    assert json.loads(found["gen_ai.input.messages"])[1]["parts"] == [{"type": "tool_call_response", "id": "c", "response": "rain"}]
    assert json.loads(found["gen_ai.output.messages"])[0]["parts"][0]["name"] == "f"
    assert "gen_ai.system_instructions" not in found and "gen_ai.output.messages" not in content(asked_for, None)
