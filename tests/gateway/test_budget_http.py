"""Budgets under 64 callers in two processes, through a real gateway over HTTP."""

from __future__ import annotations

from pathlib import Path

import budgetstorm
import pytest
from budgetstorm import CALL, Case


def test_storms_over_http(tmp_path: Path) -> None:
    chosen = {case.name: case for case in budgetstorm.cases()}
    cases = [chosen[name] for name in ("nested", "tagged", "provider", "five", "over")]
    with budgetstorm.gateway(tmp_path / "home", cases) as (place, keys):
        found = {case.name: budgetstorm.storm(place, case, keys[case.name], callers=64) for case in cases}
        for name, result in found.items():
            assert not result.wrong, (name, result.wrong[0])
            assert name == "over" or (result.ratio <= 1 and result.flagged == 0), (name, result)
            assert result.answered + result.refused == 64
        assert found["nested"].answered == 12 and found["tagged"].answered == 7 and found["provider"].answered == 13
        five = found["five"]
        assert (five.answered, five.refused) == (64, 0) and five.spent_usd == [five.ledger_usd] == [CALL * 64]
        assert all(float(one["x-aiplat-budget-left-usd"]) > 4 for one in five.notes)
        over = found["over"]
        assert over.flagged > 0 and over.spent_usd[0] == over.ledger_usd
        assert over.ratio <= 4, "beyond the limit by what the calls under way were charged beyond theirs"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_refusal_and_a_fitted_limit_in_both_faces(tmp_path: Path, path: str) -> None:
    import httpx

    case = Case("small", [{"limit_usd": CALL * 8, "key": 0}])
    with budgetstorm.gateway(tmp_path / "home", [case]) as (place, keys):
        headers = {"Authorization": f"Bearer {keys['small'][0]['key']}"}
        body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 50_000}
        refused = httpx.post(place.http + path, json=body, headers=headers)
        assert refused.status_code == 402 and "max_tokens" in refused.text
        assert refused.json()["error"]["type"] == ("insufficient_quota" if "chat" in path else "billing_error")
        if "chat" in path:
            del body["max_tokens"]
            answer = httpx.post(place.http + path, json=body, headers=headers)
            assert 16 <= int(answer.headers["x-aiplat-max-tokens"]) <= 210
            assert float(answer.headers["x-aiplat-budget-left-usd"]) == pytest.approx(float(CALL * 7))
