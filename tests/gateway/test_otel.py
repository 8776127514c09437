"""The names of the GenAI convention, checked against the ledger's own columns."""

from __future__ import annotations

from decimal import Decimal

from aiplat_lab.gateway.otel import ATTRIBUTES, attributes
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
