"""The gate on the embedded model and its labelled siblings: the broken one is caught, the light one is not called a regression."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aiplat_lab.client import Client, connect
from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import Message, Request
from aiplat_lab.evals import Run, compare, evaluate, gate, load

pytestmark = [pytest.mark.local_model, pytest.mark.slow]
SHOWN = ("The delivery was quick and kind.", "It broke on the first day.", "I am delighted with the quality.", "The bill was wrong.")
COUNT = 14


@pytest.fixture(scope="module")
def client(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    found = connect(Home(tmp_path_factory.mktemp("local") / "home").create())
    yield found
    found.stop()


def copying(values: dict[str, str]) -> Request:
    """Four examples of copying a ticket, and a fifth to copy: what a small model can do, and one without a layer cannot."""
    examples = "".join(f"Ticket: {text}\nCopy: {text}\n\n" for text in SHOWN)
    text = f"{examples}Ticket: {values['text']}\nCopy:"
    settings = {"completion": True, "temperature": 0, "max_tokens": 16, "stop": ["\n"]}
    return Request(model="", messages=(Message("user", text),), settings=settings)


@pytest.fixture(scope="module")
def runs(client: Client) -> dict[str, Run]:
    texts = sorted((next(iter(sample.input.values())) for sample in load("ticket-sentiment").samples), key=len)[:COUNT]
    tickets = [{"id": f"t{index:02}", "input": {"text": str(text)}, "target": str(text)} for index, text in enumerate(texts)]
    models = ("smollm2", "smollm2-lite", "smollm2-broken")
    return {
        model: evaluate(
            tickets,
            prompt=copying,
            model=model,
            scorers=["normalised", "token_f1"],
            name=model,
            concurrency=2,
            client=client,
            progress=False,
        )
        for model in models
    }


def test_the_broken_sibling_is_caught(client: Client, runs: dict[str, Run]) -> None:
    assert all(run.status == "complete" for run in runs.values())
    found = gate(runs["smollm2-broken"], runs["smollm2"], 0.05, client=client)
    assert (found.verdict, found.exit_code) == ("regression", 1), found.sentence


def test_the_light_sibling_is_not_called_a_regression_on_so_few_samples(client: Client, runs: dict[str, Run]) -> None:
    found = gate(runs["smollm2-lite"], runs["smollm2"], 0.05, client=client)
    assert found.verdict != "regression", found.sentence
    assert found.exit_code in (0, 3)
    assert compare(runs["smollm2"], runs["smollm2-lite"], margin=0.05, client=client).verdict in ("cannot_tell", "not_worse")
