"""Calls handed to the batch APIs of OpenAI and Anthropic through a real gateway process, and joined when they come back."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from batchkit import BatchServer

from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import BudgetExceeded, CapabilityRefused, ProviderError, ResidencyRefused, UnknownCall, UsageError
from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import Attribution, Message, Request

TOML = """
[gateway]
batch_poll_s = 0.05
[providers.openai]
kind = "openai"
base_url = "{url}/v1"
api_key = "file:{key}"
region = "uk"
[providers.anthropic]
kind = "anthropic"
base_url = "{url}"
api_key = "file:{key}"
region = "us"
[models.fast]
deployments = [{{ provider = "openai", model = "gpt-4o-mini" }}]
[models.claude]
deployments = [{{ provider = "anthropic", model = "claude-sonnet-4-5" }}]
[models.priced]
deployments = [{{ provider = "openai", model = "own", input_usd_per_mtok = 2, output_usd_per_mtok = 10, max_output_tokens = 1000 }}]
[teams.london]
residency = ["uk"]
[[budgets]]
team = "poor"
limit_usd = 0.000001
[[budgets]]
team = "held"
limit_usd = 1.0
"""


@pytest.fixture
def upstream() -> Iterator[BatchServer]:
    with BatchServer() as server:
        yield server


@pytest.fixture
def client(home: Home, upstream: BatchServer) -> Iterator[Client]:
    key = home.path / "up.key"
    key.write_text("upstream-key-0123456789")
    home.settings_file.write_text(TOML.format(url=upstream.url, key=key))
    with connect(home) as made:
        yield made


def asked(model: str, *texts: str, team: str = "", **settings: Any) -> list[Request]:
    who = Attribution(surface="python", team=team)
    return [Request(model=model, messages=(Message("user", text),), settings=settings, attribution=who) for text in texts]


def until(what: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    end = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
    return found


def over(client: Client, batch_id: str) -> dict[str, Any]:
    return until(lambda: (found := client.batch(batch_id))["status"] not in {"submitting", "running", "cancelling"} and found)


def test_a_batch_of_openais_comes_back_as_calls_at_the_batch_price(client: Client, upstream: BatchServer) -> None:
    requests = asked("fast", "one", "two", "fail me", "forget me", max_tokens=60)
    (batch,) = client.submit_batch(requests)
    assert (batch["status"], batch["calls"], batch["provider"]) == ("running", 4, "openai")
    assert client.batch(batch["id"])["call_list"][0]["status"] is None
    with pytest.raises(UnknownCall, match=batch["id"]):
        client.chat(requests[0])  # it waits, and is not paid twice
    assert [one["id"] for one in client.submit_batch(requests)] == [batch["id"]]
    upstream.release()
    found = over(client, batch["id"])
    assert (found["status"], found["done"], found["failed"]) == ("ended", 2, 2)
    rows = [client.call(one.call_id) for one in requests]
    assert [row["status"] for row in rows] == ["ok", "ok", "error", "error"]
    assert rows[0]["text"] == "one"
    assert {row["batch_id"] for row in rows} == {batch["id"]}
    assert rows[0]["service_tier"] == "batch"
    # gpt-4o-mini, half of 0.15 and 0.60 US dollars a million: 100 in, 50 out
    assert Decimal(rows[0]["cost_usd"]) == Decimal("0.0000225")
    assert Decimal(rows[2]["cost_usd"]) == 0
    assert "too much" in rows[2]["error_message"]
    assert client.chat(requests[0]).text == "one"  # asked again, it is the same answer
    assert (upstream.chats, len(upstream.batches)) == (0, 1)
    assert not upstream.files  # nothing is left with the provider
    assert client.verify()["ok"]


def test_a_batch_of_anthropics(client: Client, upstream: BatchServer) -> None:
    requests = asked("claude", "one", "fail me", "forget me")
    (batch,) = client.submit_batch(requests)
    upstream.release()
    over(client, batch["id"])
    rows = [client.call(one.call_id) for one in requests]
    assert [row["status"] for row in rows] == ["ok", "error", "error"]
    # claude-sonnet-4-5, half of 3 and 15 US dollars a million: 100 in, 50 out
    assert Decimal(rows[0]["cost_usd"]) == Decimal("0.000525")
    assert "expired" in rows[2]["error_message"]


def test_a_killed_gateway_joins_the_batch_afterwards(client: Client, home: Home, upstream: BatchServer) -> None:
    requests = asked("priced", "one", "two", team="held", max_tokens=1000)
    (batch,) = client.submit_batch(requests)
    held = next(one for one in client.status()["budgets"] if one["name"] == "held")["held_usd"]
    assert Decimal(held) > Decimal("0.02")
    os.kill(client.status()["pid"], signal.SIGKILL)
    again = until(lambda: next((one for one in client.status()["budgets"] if one["name"] == "held" and Decimal(one["held_usd"])), None))
    assert Decimal(again["held_usd"]) == Decimal(held)
    upstream.release()
    assert over(client, batch["id"])["done"] == 2
    assert [client.call(one.call_id)["text"] for one in requests] == ["one", "two"]
    now = next(one for one in client.status()["budgets"] if one["name"] == "held")
    assert Decimal(now["held_usd"]) == 0
    assert Decimal(now["spent_usd"]) == sum(Decimal(client.call(one.call_id)["cost_usd"]) for one in requests)
    assert len(upstream.batches) == 1


def test_rules_hold_when_it_is_handed_in(client: Client, upstream: BatchServer) -> None:
    with pytest.raises(BudgetExceeded):
        client.submit_batch(asked("priced", "one", team="poor"))
    with pytest.raises(ResidencyRefused):
        client.submit_batch(asked("claude", "one", team="london"))
    with pytest.raises(CapabilityRefused, match="no batch API"):
        client.submit_batch(asked("smollm2", "one"))
    assert [row["status"] for row in client.view_rows("recent_calls", limit=10)] == ["refused"] * 3
    refused, passed = asked("priced", "one", team="poor")[0], asked("priced", "two")[0]
    (batch,) = client.submit_batch([refused, passed])
    assert batch["calls"] == 1
    assert client.call(refused.call_id)["status"] == "refused"


def test_what_cannot_be_handed_in(client: Client, upstream: BatchServer) -> None:
    with pytest.raises(UsageError, match="requests"):
        client.submit_batch([])
    one = asked("fast", "one")[0]
    with pytest.raises(UsageError, match="twice"):
        client.submit_batch([one, one])
    with pytest.raises(UsageError, match="embed"):
        client.submit_batch([Request(model="fast", operation="embed", inputs=("a",))])
    with pytest.raises(UnknownCall):
        client.batch("batch-nothing")
    with pytest.raises(UnknownCall):
        client.cancel_batch("batch-nothing")
    upstream.refuse = 403
    with pytest.raises(ProviderError, match="no batches today"):
        client.submit_batch([one])
    assert client.call(one.call_id)["status"] == "error"
    assert client.batches()[0]["status"] == "failed"
    assert Decimal(client.call(one.call_id)["cost_usd"] or 0) == 0


def test_a_cancelled_batch(client: Client, upstream: BatchServer) -> None:
    (batch,) = client.submit_batch(asked("fast", "one"))
    assert client.cancel_batch(batch["id"])["status"] == "cancelling"
    assert upstream.cancelled == {"batch_1"}
    upstream.release()
    assert over(client, batch["id"])["status"] == "ended"


def test_a_key_sees_the_batches_of_its_team(client: Client, upstream: BatchServer) -> None:
    ours = connect(url=client.status()["http"], key=client.post("/api/keys", {"team": "london"})["key"])
    (mine,) = ours.submit_batch(asked("fast", "one"))
    (other,) = client.submit_batch(asked("fast", "two", team="paris"))
    assert [one["id"] for one in ours.batches()] == [mine["id"]]
    assert ours.batch(mine["id"])["team"] == "london"
    with pytest.raises(Exception, match="another team"):
        ours.batch(other["id"])
    ours.close()


def test_an_evaluation_that_can_wait(client: Client, upstream: BatchServer) -> None:
    from aiplat_lab.evals import evaluate

    samples = [{"id": str(index), "input": {"text": f"word {index}"}, "target": f"word {index}"} for index in range(5)]
    with pytest.raises(UsageError, match="cannot stop a batch"):
        evaluate(samples, prompt="{{ text }}", model="fast", scorers="exact", batch=True, max_cost_usd=1, client=client)
    upstream.release()
    run = evaluate(samples, prompt="{{ text }}", model="fast", scorers="exact", batch=True, client=client, progress=False)
    assert (run.status, run.summary()[0].mean, upstream.chats, len(upstream.batches)) == ("complete", 1.0, 0, 1)
    again = evaluate(samples, prompt="{{ text }}", scorers="exact", resume=run, batch=True, client=client, progress=False)
    assert (again.status, len(upstream.batches)) == ("complete", 1)


def test_the_command(client: Client, home: Home, upstream: BatchServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from aiplat_lab.cli import main

    file = tmp_path / "questions.jsonl"
    file.write_text('{"prompt": "one"}\n\n{"messages": [{"role": "user", "content": "two"}], "max_tokens": 9}\n')
    assert main(["batch", "submit", str(file), "--model", "fast", "--json"]) == 0
    (made,) = json.loads(capsys.readouterr().out)
    assert made["calls"] == 2
    upstream.release()
    over(client, made["id"])
    assert main(["batch", "show", made["id"]]) == 0
    assert "ok" in capsys.readouterr().out
    assert main(["batch", "list"]) == 0
    assert made["id"] in capsys.readouterr().out
    for text, said in (
        ("", "no question"),
        ("{", "line 1: not JSON"),
        ("{}", 'either "prompt" or "messages"'),
        ('{"messages": [1]}', "messages"),
    ):
        file.write_text(text)
        assert main(["batch", "submit", str(file)]) == 2
        assert said in capsys.readouterr().err
    assert main(["batch", "submit", str(tmp_path / "nothing")]) == 2
    assert main(["batch", "cancel", "batch-nothing"]) in (1, 2)
