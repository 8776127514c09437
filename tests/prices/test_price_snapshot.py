"""The prices of well-known models, frozen on a day: an upgrade of the list that changes one of them is seen here, and reviewed as a diff.

`python tests/prices/test_price_snapshot.py` writes the file anew; what it then changes belongs into the commit's message.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from aiplat_lab.core.settings import parse
from aiplat_lab.core.types import Deployment
from aiplat_lab.prices import Prices, differences, frozen

FILE = Path(__file__).parent / "snapshot" / "prices.json"
HOSTS = {
    "openai": "gpt-6 gpt-5 gpt-4 gpt-3.5-turbo o1 o3 o4 text-embedding gpt-realtime gpt-image whisper tts",
    "anthropic": "claude",
    "google": "gemini-3 gemini-2",
    "aws": "anthropic amazon.nova global. regional.",
    "mistral": "mistral codestral ministral magistral",
    "cohere": "command embed",
    "groq": "llama openai whisper",
    "deepseek": "deepseek",
    "x-ai": "grok",
    "azure": "gpt",
    "perplexity": "sonar",
}
"""The providers, and how the names of the models begin that are worth watching."""
MOST = 24
"""Of each provider, at most so many."""
TIERS = (
    ("openai", "gpt-5", "flex"),
    ("openai", "gpt-5", "priority"),
    ("openai", "gpt-4o", "batch"),
    ("openai", "o3", "batch"),
    ("anthropic", "claude-opus-4-8", "batch"),
    ("anthropic", "claude-opus-4-8", "fast"),
    ("google", "gemini-2.5-pro", "batch"),
)


def settings() -> Any:
    return parse("".join(f'[providers.{name}]\nkind = "openai"\n' for name in HOSTS))


def well_known() -> list[Deployment]:
    from genai_prices.data_snapshot import get_snapshot

    found = []
    for provider in get_snapshot().providers:
        begins = tuple(HOSTS.get(provider.id, "").split())
        names = [model.id for model in provider.models if begins and model.id.startswith(begins) and not model.deprecated]
        found += [Deployment(provider=provider.id, model=name) for name in sorted(names)[:MOST]]
    found += [Deployment(provider="azure", model=name) for name in ("gpt-4o", "gpt-4.1", "gpt-5", "gpt-5-mini", "o3")]  # OpenAI's models
    return found + [Deployment(provider=provider, model=model, service_tier=tier) for provider, model, tier in TIERS]


def test_no_known_price_has_changed() -> None:
    kept = json.loads(FILE.read_text(encoding="utf-8"))
    at = datetime.fromisoformat(kept["at"])
    deployments = [_deployment(name) for name in kept["prices"]]
    now = frozen(Prices(settings()), deployments, at)
    changed = differences(kept["prices"], now)
    assert not changed, (
        f"prices changed with {kept['source']} → the list that is installed; look, then write the snapshot anew: {changed[:5]}"
    )


def _deployment(name: str) -> Deployment:
    provider, _, rest = name.partition("/")
    model, _, tier = rest.partition(" (")
    return Deployment(provider=provider, model=model, service_tier=tier.rstrip(")"))


def test_the_snapshot_watches_enough() -> None:
    kept = json.loads(FILE.read_text(encoding="utf-8"))["prices"]
    assert len(kept) >= 150
    assert sum(price is None for price in kept.values()) < len(kept) / 10
    assert {name.partition("/")[0] for name in kept} == set(HOSTS)
    assert any(len(bands or ()) > 1 for bands in kept.values())


def test_a_change_is_told() -> None:
    before = {"a/x": [{"beyond_input_tokens": 0, "input_usd_per_mtok": "2", "other_usd": {"requests": "1"}}], "a/y": None, "a/z": None}
    now = {
        "a/x": [{"beyond_input_tokens": 0, "input_usd_per_mtok": "3"}, {"beyond_input_tokens": 9, "input_usd_per_mtok": "4"}],
        "a/y": [{"beyond_input_tokens": 0, "input_usd_per_mtok": "1"}],
    }
    assert [(row["deployment"], row["price"], row["before"], row["now"]) for row in differences(before, now)] == [
        ("a/x", "input_usd_per_mtok", "2", "3"),
        ("a/x", "input_usd_per_mtok beyond 9 input tokens", None, "4"),
        ("a/x", "requests", "1", None),
        ("a/y", "input_usd_per_mtok", None, "1"),
        ("a/y", "known", "no", None),
        ("a/z", "all", "listed", "not listed"),
    ]
    assert differences(now, now) == []


def test_times_of_day_change_on_the_minute() -> None:
    """Prices are looked up once a minute, so none may change within one."""
    from genai_prices.data_snapshot import get_snapshot

    for provider in get_snapshot().providers:
        for model in provider.models:
            for one in model.prices if isinstance(model.prices, list) else ():
                for name in ("start_time", "end_time"):
                    moment = getattr(one.constraint, name, None)
                    assert moment is None or (moment.second, moment.microsecond) == (0, 0)


ODD = ("GPT-4o", " gpt-4o ", "gpt-4o\n", "'; DROP TABLE", "x" * 10_000, "ü/é😀", "(", "*", "", "gpt-4o\0", "..", "\ud800")


@pytest.mark.parametrize("name", ODD)
def test_odd_names_of_models_are_unknown_or_have_a_price(name: str) -> None:
    price = Prices(settings()).of(Deployment(provider="openai", model=name), datetime.now(UTC))
    assert price is None or price.input_usd_per_mtok > 0


if __name__ == "__main__":
    import genai_prices

    now = datetime.now(UTC).replace(microsecond=0)
    data = {"at": now.isoformat(), "source": f"genai-prices {genai_prices.__version__}"}
    FILE.write_text(json.dumps({**data, "prices": frozen(Prices(settings()), well_known(), now)}, indent=1) + "\n", encoding="utf-8")
