"""What routing and the cache save, on models whose prices and scores are known beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Served, served

from aiplat_lab.core.errors import EvalError, UsageError
from aiplat_lab.evals import savings

MODELS = """
[models.strong]
deployments = [{ provider = "up", model = "echo", input_usd_per_mtok = 1000, output_usd_per_mtok = 1000 }]
[models.routed]
strategy = "cheapest"
deployments = [
  { provider = "up", model = "echo", input_usd_per_mtok = 1000, output_usd_per_mtok = 1000 },
  { provider = "up", model = "echo@small", input_usd_per_mtok = 600, output_usd_per_mtok = 600 },
]
[models.worse]
deployments = [{ provider = "up", model = "instant", input_usd_per_mtok = 1, output_usd_per_mtok = 1 }]
[models.unpriced]
deployments = [{ provider = "up", model = "echo@unpriced" }]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("savings") / "home", tables=MODELS) as found:
        yield found


def questions(count: int = 30) -> list[dict[str, Any]]:
    return [
        {"id": f"q{i}", "input": {"text": "word " * (1 + i % 5) + str(i)}, "target": "word " * (1 + i % 5) + str(i)} for i in range(count)
    ]


def test_what_is_saved_is_counted(place: Served) -> None:
    told: list[str] = []
    found = savings(
        questions(), strong="strong", routed="routed", client=place.client, scorer="exact", again=0.5, margin=0.2, tell=told.append
    )
    assert (found.questions, found.calls, found.cached) == (30, 45, 15)
    assert found.by_routing == pytest.approx(0.4, abs=0.001), "echo costs by the word on both sides, at 0.6 of the price"
    assert found.saved == pytest.approx(1 - found.routed_usd / found.strong_usd)
    assert found.saved_low < found.saved < found.saved_high and found.by_cache == pytest.approx(found.saved - found.by_routing)
    assert found.uncached_usd == pytest.approx(0.6 * found.strong_usd)
    assert (found.score_strong, found.score_routed, found.equal) == (1.0, 1.0, True)
    assert "% saved (95 % interval" in found.sentence and "at a score that is at most 20 points lower" in found.sentence
    assert told == ["45 calls to strong, the cache off", "45 calls to routed, the cache on"]


def test_a_worse_score_is_no_saving(place: Served) -> None:
    found = savings(questions(), strong="strong", routed="worse", client=place.client, scorer="exact", again=0)
    assert found.saved > 0.9 and found.equal is False and found.score_routed == 0
    assert "the score is worse, so this is no like-for-like saving" in found.sentence


def test_too_few_questions_say_so(place: Served) -> None:
    found = savings(questions(6), strong="strong", routed="routed", client=place.client, scorer="exact", again=0, margin=0.01)
    assert found.equal is None and "so few questions cannot tell" in found.sentence


def test_what_cannot_be_compared_is_refused(place: Served) -> None:
    with pytest.raises(EvalError, match="not known; give its deployments a price"):
        savings(questions(4), strong="strong", routed="unpriced", client=place.client, scorer="exact", again=0)
    with pytest.raises(UsageError, match=r"again is 1\.5"):
        savings(questions(4), strong="strong", routed="routed", client=place.client, again=1.5)
    with pytest.raises(UsageError, match="nosuch"):
        savings(Path("/nosuch.jsonl"), strong="strong", routed="routed", client=place.client)
