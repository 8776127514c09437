"""`/metrics` as Prometheus reads it."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from served import Served, served

from aiplat_lab.core.errors import AiplatError
from aiplat_lab.core.types import Request, Response, Usage
from aiplat_lab.gateway._metrics import Metrics, breaker_samples, budget_samples, queue_samples

BUDGETS = """
[[budgets]]
team = "risk"
limit_usd = 5
[[budgets]]
user = "ada"
limit_usd = 1
"""
WANTED = {
    "aiplat_calls",
    "aiplat_cost_usd",
    "aiplat_saved_usd",
    "aiplat_tokens",
    "aiplat_cache",
    "aiplat_refused",
    "aiplat_errors",
    "aiplat_attempts",
    "aiplat_call_seconds",
    "aiplat_time_to_first_token_seconds",
    "aiplat_queued_seconds",
    "aiplat_in_flight",
    "aiplat_budget_limit_usd",
    "aiplat_budget_spent_usd",
    "aiplat_budget_held_usd",
    "aiplat_queue_waiting",
    "aiplat_queue_running",
    "aiplat_breaker_open",
    "aiplat_uptime_seconds",
    "aiplat_spool_bytes",
    "aiplat_ledger_seq",
    "aiplat_ledger_backlog_rows",
    "aiplat_incidents",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("metrics") / "home", tables=BUDGETS) as found:
        yield found


def read(text: str) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(families: dict[str, Any], metric: str, /, **labels: str) -> float:
    samples = (one for family in families.values() for one in family.samples if one.name == metric)
    return sum(one.value for one in samples if labels.items() <= one.labels.items())


def test_a_scrape_after_calls_of_every_kind(place: Served):
    secret = place.key(team="risk", user_id="ada")
    who = {"team": "risk", "project": "churn", "user_id": "ada", "notebook": "secret.ipynb"}
    place.client.chat("one", model="priced", cache="on", attribution=who)
    place.client.chat("one", model="priced", cache="on", attribution=who)
    with place.client.stream("two", model="priced", cache="off", attribution=who) as pieces:
        list(pieces)
    for model, team in (("up/status-401", "other"), ("priced", "poor"), ("priced-claude", "london")):
        with pytest.raises(AiplatError):
            place.client.chat("three", model=model, cache="off", attribution={"team": team})
    scrape = urllib.request.Request(f"{place.http}/metrics", headers={"Authorization": f"Bearer {secret}"})
    with urllib.request.urlopen(scrape, timeout=20) as reply:
        assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = reply.read().decode()
    families = read(text)
    assert set(families) >= WANTED, WANTED - set(families)
    for family in families.values():
        assert family.documentation and family.type in {"counter", "gauge", "histogram"}, family
    assert value(families, "aiplat_calls_total", model="priced", status="ok", provider="up") == 3
    assert value(families, "aiplat_calls_total", status="refused") == 2 and value(families, "aiplat_calls_total", status="error") == 1
    assert value(families, "aiplat_refused_total", policy="budget") == value(families, "aiplat_refused_total", policy="residency") == 1
    assert value(families, "aiplat_errors_total", type="budget_exceeded") == 1 and value(families, "aiplat_errors_total", type="auth") == 1
    assert value(families, "aiplat_cache_total", cache="hit") == 1
    assert value(families, "aiplat_tokens_total", model="priced", **{"class": "output"}) == 40
    one = 25 * 2.5e-6 + 20 * 10e-6
    assert value(families, "aiplat_cost_usd_total", model="priced") == pytest.approx(2 * one)
    assert value(families, "aiplat_saved_usd_total") == pytest.approx(one)
    assert value(families, "aiplat_call_seconds_count") == 6 and value(families, "aiplat_call_seconds_bucket", le="+Inf") == 6
    assert value(families, "aiplat_time_to_first_token_seconds_count", provider="up") == 1
    assert value(families, "aiplat_budget_spent_usd", scope="team", name="risk") == pytest.approx(2 * one)
    assert value(families, "aiplat_budget_limit_usd", scope="team", name="risk") == 5
    assert value(families, "aiplat_ledger_seq") >= 6 and value(families, "aiplat_spool_bytes") > 0
    for hidden in (secret, "ada", "secret.ipynb", "churn", "upstream-key", "file:"):
        assert hidden not in text, f"{hidden} is no label"
    labels = {label for family in families.values() for one in family.samples for label in one.labels}
    assert not labels & {"user", "user_id", "notebook", "key", "key_id", "call_id", "prompt"}


def test_names_that_callers_choose_make_no_labels_without_end():
    metrics = Metrics()
    for number in range(5000):
        with metrics.watch(Request(model=f'm"\\{number}\n')) as note:
            note(Response(provider="up", usage=Usage(input_tokens=1), text="x"))
    families = read(metrics.text())
    assert len(families["aiplat_calls"].samples) <= 201
    assert value(families, "aiplat_calls_total") == 5000 and value(families, "aiplat_calls_total", model="other") == 4800
    for number in range(500):
        metrics.refused(f"policy {number}", f"type {number}")
    assert len(read(metrics.text())["aiplat_refused"].samples) <= 101


def test_what_other_parts_tell_is_well_formed():
    budget = {"scope": "team", "name": "a", "period": "day", "limit_usd": "1", "spent_usd": "0.5", "held_usd": "0"}
    queues = [
        {"limit": "up/echo", "kind": "deployment", "running": 3, "waiting": 2},
        {"limit": "key k1", "kind": "scope", "running": 1, "waiting": 4},
        {"limit": "key k2", "kind": "scope", "running": 1, "waiting": 1},
    ]
    breakers = [{"deployment": "up/echo", "state": "open", "opened": 2}, {"deployment": "up/b", "state": "half-open", "opened": 1}]
    hidden = {**budget, "scope": "user", "name": "ada"}
    samples = [*budget_samples([budget, hidden, budget]), *queue_samples(queues), *breaker_samples(breakers)]
    families = read(Metrics().text(samples))
    assert len(families["aiplat_budget_spent_usd"].samples) == 1
    assert value(families, "aiplat_queue_waiting", limit="scopes") == 5 and value(families, "aiplat_queue_waiting", limit="up/echo") == 2
    assert value(families, "aiplat_breaker_open", deployment="up/echo") == 1 and value(families, "aiplat_breaker_opened_total") == 3


def test_the_log_of_a_scrape_names_no_key(place: Served):
    place.client.status()  # which starts it
    assert "aiplat-" not in Path(place.home.log_file).read_text()
