"""What calls cost, worked out by hand: awkward shapes of usage, tiers, dates and own prices, exact to the last digit.

Each case is a body as its provider writes it (or a usage, where the format has its reader elsewhere), and the arithmetic stands in
the comment: prices are US dollars a million tokens, as published by the providers and dated in the list, sums are in millionths.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from aiplat_lab.core.settings import parse
from aiplat_lab.core.types import Deployment, Price, Usage
from aiplat_lab.prices import Prices, cost
from aiplat_lab.providers import _anthropic_wire, _openai_wire

NOV = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)

BOOK = """
[providers.openai]
kind = "openai"
[providers.anthropic]
kind = "anthropic"
[providers.google]
kind = "gemini"
[providers.aws]
kind = "bedrock"
[providers.groq]
kind = "openai"
[providers.deepseek]
kind = "openai"
[providers.perplexity]
kind = "openai"
[providers.mistral]
kind = "openai"
[providers.x-ai]
kind = "openai"
[providers.work]
kind = "openai"
base_url = "https://acme.openai.azure.com/openai/v1"
[providers.vllm]
kind = "openai"
base_url = "http://127.0.0.1:8000/v1"
[providers.ours]
kind = "openai"
base_url = "http://127.0.0.1:8001/v1"
[providers.deal]
kind = "openai"
base_url = "https://api.openai.com/v1"
[[prices]]
provider = "deal"
model = "*"
discount = 0.15
[[prices]]
provider = "deal"
model = "gpt-4o*"
discount = 0.2
since = "2026-06-01"
[[prices]]
provider = "deal"
model = "gpt-4o*"
discount = 0.3
since = "2026-10-01"
until = "2026-11-01"
[[prices]]
provider = "deal"
model = "gpt-4o"
region = "uk"
input_usd_per_mtok = 2.75
output_usd_per_mtok = 11
cache_read_usd_per_mtok = 1.375
[[prices]]
provider = "ours"
model = "tuned-*"
input_usd_per_mtok = 0.4
output_usd_per_mtok = 0.8
other_usd = { images = 0.04, requests = 0.001 }
[[prices]]
provider = "ours"
model = "tuned-*"
service_tier = "batch"
discount = 0.5
input_usd_per_mtok = 0.4
output_usd_per_mtok = 0.8
[[prices]]
provider = "work"
model = "gpt-4o"
service_tier = "batch"
discount = 0.5
"""
PRICES = Prices(parse(BOOK))


class Case(NamedTuple):
    name: str
    provider: str
    model: str
    used: Any
    """A usage, or the reply of a provider."""
    dollars: str | None
    """None where nobody can know."""
    at: datetime = NOV
    more: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    here: dict[str, Any] = {}  # noqa: RUF012 (never changed)


def chat(prompt: int, completion: int, *, tier: str = "default", total: int | None = None, **details: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total or prompt + completion, **details}
    return {"wire": "chat", "usage": usage, "service_tier": tier}


def cached(number: int, **more: int) -> dict[str, Any]:
    return {"prompt_tokens_details": {"cached_tokens": number, **more}}


def responses(into: int, out: int, *, read: int = 0, thought: int = 0, output: Any = ()) -> dict[str, Any]:
    usage = {"input_tokens": into, "output_tokens": out, "total_tokens": into + out,
             "input_tokens_details": {"cached_tokens": read}, "output_tokens_details": {"reasoning_tokens": thought}}  # fmt: skip
    return {"wire": "chat", "usage": usage, "output": list(output)}


def claude(into: int, out: int, *, read: int = 0, m5: int = 0, h1: int = 0, **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": into, "output_tokens": out,
             "cache_read_input_tokens": read, "cache_creation_input_tokens": m5 + h1,
             "cache_creation": {"ephemeral_5m_input_tokens": m5, "ephemeral_1h_input_tokens": h1},
             "service_tier": "standard", **more}  # fmt: skip
    return {"wire": "messages", "usage": usage}


def gone(**units: int) -> Usage:
    return Usage(**{name: units.pop(name) for name in list(units) if name.endswith("_tokens") and name in Usage.__slots__}, other=units)


BATCH = {"options": {"processing": "batch"}}
CASES = [
    # --- cached and reasoning tokens, chat format
    Case("plain", "openai", "gpt-4o", chat(25, 20), "0.0002625"),  # 25 × 2.5 + 20 × 10 = 62.5 + 200
    Case("cached", "openai", "gpt-4o", chat(100, 20, **cached(64)), "0.00037"),  # 36 × 2.5 + 64 × 1.25 + 20 × 10 = 90 + 80 + 200
    Case("all cached", "openai", "gpt-4o", chat(64, 0, **cached(64)), "0.00008"),  # 64 × 1.25
    Case("more cached than asked", "openai", "gpt-4o", chat(10, 0, **cached(99)), "0.0000125"),  # 10 × 1.25: no more than there was
    Case("reasoning inside", "openai", "gpt-5-mini", chat(1000, 500, completion_tokens_details={"reasoning_tokens": 400}),
         "0.00125"),  # 1000 × 0.25 + 500 × 2 = 250 + 1000
    Case("reasoning beside", "x-ai", "grok-4", chat(1000, 100, total=1500, completion_tokens_details={"reasoning_tokens": 400}),
         "0.0105"),  # 1000 × 3 + (100 + 400) × 15 = 3000 + 7500
    Case("cached by another name", "deepseek", "deepseek-chat", chat(1000, 100, prompt_cache_hit_tokens=600), "0.00026"
         ),  # 12:00 UTC is the dear time: 400 × 0.27 + 600 × 0.07 + 100 × 1.1 = 108 + 42 + 110
    Case("by night", "deepseek", "deepseek-chat", chat(1000, 100, prompt_cache_hit_tokens=600), "0.00013",
         NOV.replace(hour=16, minute=30)),  # 400 × 0.135 + 600 × 0.035 + 100 × 0.55 = 54 + 21 + 55
    Case("last minute of the day", "deepseek", "deepseek-chat", chat(1000, 0), "0.00027", NOV.replace(hour=16, minute=29, second=59)),
    # --- the Responses format
    Case("responses", "openai", "gpt-5-mini", responses(1000, 500, read=900, thought=450), "0.0010475"
         ),  # 100 × 0.25 + 900 × 0.025 + 500 × 2 = 25 + 22.5 + 1000
    Case("searches", "openai", "gpt-5", responses(2000, 300, output=[{"type": "web_search_call", "action": {"type": "search"}},
         {"type": "web_search_call", "action": {"type": "open_page"}}, {"type": "web_search_call"}, {"type": "message"}]),
         "0.0255"),  # 2000 × 1.25 + 300 × 10 = 5500; two searches at 10 a thousand = 0.02
    Case("files searched", "openai", "gpt-5", responses(800, 0, output=[{"type": "file_search_call"}]), "0.0035"),  # 1000 + 0.0025
    # --- tiers of service
    Case("flex served", "openai", "gpt-5", chat(1000, 1000, tier="flex", **cached(400)), "0.0054"
         ),  # 600 × 0.625 + 400 × 0.0625 + 1000 × 5 = 375 + 25 + 5000
    Case("priority served", "openai", "gpt-4o", chat(1000, 1000, tier="priority"), "0.02125"),  # 4250 + 17000
    Case("asked, not served", "openai", "gpt-4o", chat(1000, 1000, tier="default"), "0.0125", more={"tier": "priority"}),  # 2500 + 10000
    Case("asked, nothing said", "openai", "gpt-5", gone(input_tokens=1000, output_tokens=1000), "0.005625", more={"tier": "flex"}),
    Case("the deployment's", "openai", "gpt-5", gone(input_tokens=1000, output_tokens=1000), "0.005625", here={"service_tier": "flex"}),
    Case("batch", "openai", "gpt-4o", chat(1000, 1000), "0.00625", more=BATCH),  # 1250 + 5000, whatever the body says
    Case("batch, cached", "openai", "gpt-4o", chat(1000, 0, **cached(1000)), "0.00125", more=BATCH),  # cached input has no batch price
    Case("a tier without a price", "openai", "gpt-4o", chat(1000, 1000, tier="flex"), None),
    Case("before tiers were dated", "openai", "gpt-5", chat(1000, 1000, tier="flex"), None, datetime(2026, 1, 1, tzinfo=UTC)),
    Case("flex at the standard price", "groq", "openai/gpt-oss-120b", chat(1000, 1000, tier="flex"), "0.00075"),  # 150 + 600
    Case("on demand", "groq", "openai/gpt-oss-120b", chat(1000, 1000, tier="on_demand"), "0.00075"),
    Case("batch elsewhere", "mistral", "mistral-large-2512", chat(1000, 1000), "0.001", more=BATCH),  # 250 + 750
    # --- Anthropic
    Case("two lives of a cache", "anthropic", "claude-sonnet-4-5", claude(20, 20, read=64, m5=16, h1=10), "0.0004992"
         ),  # 20 × 3 + 64 × 0.3 + 16 × 3.75 + 10 × 6 + 20 × 15 = 60 + 19.2 + 60 + 60 + 300
    Case("an hour only", "anthropic", "claude-opus-4-8", claude(0, 1, h1=1000), "0.010025"),  # 1000 × 10 + 25
    Case("in a batch", "anthropic", "claude-opus-4-8", claude(1000, 100, m5=100, h1=100) | {}, "0.0045625", more=BATCH
         ),  # 1000 × 2.5 + 100 × 12.5 + 100 × 3.125 + 100 × 5 = 2500 + 1250 + 312.5 + 500
    Case("said to be a batch", "anthropic", "claude-opus-4-8", claude(1000, 100, service_tier="batch"), "0.00375"),  # 2500 + 1250
    Case("fast", "anthropic", "claude-opus-4-8", claude(1000, 100, speed="fast"), "0.015"),  # 1000 × 10 + 100 × 50
    Case("searching", "anthropic", "claude-sonnet-4-5",
         claude(1000, 100, server_tool_use={"web_search_requests": 3, "web_fetch_requests": 9}),
         "0.0345"),  # 3000 + 1500; three searches at 10 a thousand, pages are free
    Case("just not long", "anthropic", "claude-sonnet-4-5", claude(1, 1000, read=199_999), "0.0750027"
         ),  # 200,000 in all: 1 × 3 + 199,999 × 0.3 + 1000 × 15 = 3 + 59,999.7 + 15,000
    Case("just long", "anthropic", "claude-sonnet-4-5", claude(2, 1000, read=199_999), "0.1425114"
         ),  # 200,001: 2 × 6 + 199,999 × 0.6 + 1000 × 22.5 = 12 + 119,999.4 + 22,500
    Case("long, before", "anthropic", "claude-opus-4-6", claude(250_000, 100), "2.50375", datetime(2026, 3, 12, 23, 59, 59, tzinfo=UTC)
         ),  # 250,000 × 10 + 100 × 37.5
    Case("long, after", "anthropic", "claude-opus-4-6", claude(250_000, 100), "1.2525", datetime(2026, 3, 13, tzinfo=UTC)),  # × 5, × 25
    # --- Gemini, Bedrock, Azure
    Case("long, cached, thinking", "google", "gemini-2.5-pro", gone(input_tokens=150_000, cache_read_tokens=100_000, output_tokens=1000,
         reasoning_tokens=2000), "0.445"),  # 250,000: 150,000 × 2.5 + 100,000 × 0.25 + 3000 × 15 = 375,000 + 25,000 + 45,000
    Case("short, cached, thinking", "google", "gemini-2.5-pro", gone(input_tokens=100_000, cache_read_tokens=100_000, output_tokens=1000,
         reasoning_tokens=2000), "0.1675"),  # 200,000: 125,000 + 12,500 + 30,000
    Case("sound in", "google", "gemini-2.5-flash", gone(input_tokens=1000, output_tokens=100, input_audio_tokens=600), "0.00097"
         ),  # 400 × 0.3 + 600 × 1 + 100 × 2.5 = 120 + 600 + 250
    Case("sound in the cache", "google", "gemini-2.5-flash", gone(cache_read_tokens=1000, cache_audio_read_tokens=400), "0.000058"
         ),  # 600 × 0.03 + 400 × 0.1 = 18 + 40
    Case("sound counted twice", "google", "gemini-2.5-flash", gone(input_tokens=600, cache_read_tokens=400, input_audio_tokens=1000,
         cache_audio_read_tokens=400), "0.00064"),  # no part is more than its class: 600 × 1 + 400 × 0.1
    Case("a picture out", "google", "gemini-2.5-flash-image", gone(input_tokens=100, output_tokens=1300, output_image_tokens=1290),
         "0.038755"),  # 100 × 0.3 + 10 × 2.5 + 1290 × 30 = 30 + 25 + 38,700
    Case("in the region", "aws", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", gone(input_tokens=1000, cache_write_tokens=100,
         cache_write_1h_tokens=40, output_tokens=100), "0.0054615"),  # 3300 + 60 × 4.125 + 40 × 6.6 + 1650 = 3300 + 247.5 + 264 + 1650
    Case("anywhere", "aws", "global.anthropic.claude-sonnet-4-5-20250929-v1:0", gone(input_tokens=1000, output_tokens=100), "0.0045"),
    Case("azure", "work", "gpt-4o", chat(100, 20, **cached(64)), "0.00037"),  # as at OpenAI
    Case("azure, batch by the price book", "work", "gpt-4o", chat(1000, 1000), "0.00625", more=BATCH),  # half of 2500 + 10000
    Case("azure, another tier", "work", "gpt-4o", chat(1000, 1000, tier="priority"), None),  # OpenAI's tiers are not Azure's
    # --- sound, pictures, requests, searches beside tokens
    Case("sound both ways", "openai", "gpt-realtime", chat(1000, 500, prompt_tokens_details={"cached_tokens": 200, "audio_tokens": 700,
         "cached_tokens_details": {"audio_tokens": 100, "text_tokens": 100}}, completion_tokens_details={"audio_tokens": 400}), "0.04728"
         ),  # fresh text 200 × 4 + fresh sound 600 × 32 + cached 200 × 0.4 + text 100 × 16 + sound 400 × 64 = 800+19200+80+1600+25600
    Case("a picture in", "openai", "gpt-image-1", gone(input_tokens=1000, input_image_tokens=900, output_tokens=1000), "0.0495"
         ),  # 100 × 5 + 900 × 10 + 1000 × 40 = 500 + 9000 + 40,000
    Case("a fee for each request", "perplexity", "sonar", chat(1000, 1000), "0.014"),  # 1000 + 1000; 12 a thousand requests
    Case("research", "perplexity", "sonar-deep-research", chat(100, 1000, citation_tokens=5000, num_search_queries=10,
         reasoning_tokens=20_000, total=21_100), "0.1282"),  # 200 + 8000 + 60,000 + 10,000 = 78,200; ten searches = 0.05
    Case("pages", "mistral", "mistral-ocr-latest", gone(input_document_pages=7), "0.028"),  # 7 × 4 a thousand
    Case("seconds", "openai", "whisper-1", gone(audio_seconds=90), "0.009"),  # 0.36 an hour
    Case("characters", "openai", "tts-1", gone(input_characters=2000), "0.03"),  # 15 a million
    # --- dates
    Case("o3, dear", "openai", "o3", chat(1000, 1000), "0.05", datetime(2025, 6, 9, 23, 59, 59, tzinfo=UTC)),  # 10,000 + 40,000
    Case("o3, cheap", "openai", "o3", chat(1000, 1000), "0.01", datetime(2025, 6, 10, tzinfo=UTC)),  # 2000 + 8000
    # --- the local price book and own prices
    Case("less 15 %", "deal", "gpt-5-mini", chat(1000, 1000, **cached(200)), "0.00187425"
         ),  # (800 × 0.25 + 200 × 0.025 + 1000 × 2) × 0.85 = (200 + 5 + 2000) × 0.85
    Case("less 20 %", "deal", "gpt-4o-mini", chat(1000, 1000), "0.0006"),  # (150 + 600) × 0.8
    Case("less 30 % in October", "deal", "gpt-4o-mini", chat(1000, 1000), "0.000525", datetime(2026, 10, 31, 23, 59, tzinfo=UTC)),
    Case("less 15 % in May", "deal", "gpt-4o-mini", chat(1000, 1000), "0.0006375", datetime(2026, 5, 31, tzinfo=UTC)),
    Case("a price for the region", "deal", "gpt-4o", chat(1000, 1000, **cached(200)), "0.013475", here={"region": "uk"}
         ),  # 800 × 2.75 + 200 × 1.375 + 1000 × 11 = 2200 + 275 + 11,000
    Case("searches less 15 %", "deal", "gpt-5", responses(0, 100, output=[{"type": "web_search_call"}]), "0.00935"),  # (1000; 0.01) × 0.85
    Case("own model", "ours", "tuned-7b", chat(1000, 1000), "0.0022"),  # 400 + 800; 0.001 a request
    Case("own model, pictures", "ours", "Tuned-7B", gone(input_tokens=1000, images=3), "0.1214"),  # 400; 0.001; 3 × 0.04
    Case("own model, batch", "ours", "tuned-7b", chat(1000, 1000), "0.0006", more=BATCH),  # (400 + 800) × 0.5
    Case("own price", "vllm", "x", chat(1000, 1000, tier="priority"), "0.0045", here={"price": Price(version="aiplat.toml",
         input_usd_per_mtok=Decimal("1.5"), output_usd_per_mtok=Decimal(3))}),  # 1500 + 3000, in any tier
    Case("own price, nothing", "vllm", "x", chat(1000, 1000), "0", here={"price": Price(version="aiplat.toml",
         input_usd_per_mtok=Decimal(0), output_usd_per_mtok=Decimal(0))}),
    # --- unknown
    Case("no such model", "openai", "gpt-of-tomorrow", chat(1, 1), None),
    Case("own model without a price", "vllm", "our-finetune", chat(1, 1), None),
    Case("pictures without a price", "openai", "gpt-4o", gone(input_tokens=1, images=1), None),
    Case("searches without a price", "aws", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", gone(input_tokens=1, web_searches=1), None),
    Case("own price, searches", "vllm", "x", gone(input_tokens=1, web_searches=1), None, here={"price": Price(version="aiplat.toml",
         input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(1))}),
]  # fmt: skip


def usage_of(used: Any) -> Usage | None:
    if isinstance(used, Usage):
        return used
    if used["wire"] == "messages":
        return _anthropic_wire.read_usage(used["usage"])
    return _openai_wire.read_usage(used["usage"], tier=used.get("service_tier"), output=used.get("output"))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_worked_out_by_hand(case: Case) -> None:
    usage = usage_of(case.used)
    assert usage is not None
    price = PRICES.of(Deployment(provider=case.provider, model=case.model, **case.here), case.at, usage=usage, **case.more)
    assert (None if price is None else cost(usage, price)) == (None if case.dollars is None else Decimal(case.dollars))


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 40
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize(
    ("provider", "model", "version"),
    [
        ("openai", "gpt-4o", r"genai-prices [\d.]+"),
        ("deal", "gpt-5-mini", r"aiplat\.toml#[0-9a-f]{8} on genai-prices [\d.]+"),
        ("ours", "tuned-7b", r"aiplat\.toml#[0-9a-f]{8}"),
    ],
)
def test_a_price_says_which_book_it_is_from(provider: str, model: str, version: str) -> None:
    import re

    price = PRICES.of(Deployment(provider=provider, model=model), NOV)
    assert price is not None
    assert re.fullmatch(version, price.version)


def test_an_entry_that_changes_gets_another_id() -> None:
    def version(text: str) -> str:
        price = Prices(parse(BOOK + text)).of(Deployment(provider="vllm", model="m"), NOV)
        assert price is not None
        return price.version

    one = '[[prices]]\nmodel = "m"\ninput_usd_per_mtok = 1\noutput_usd_per_mtok = 2\n'
    assert version(one) == version(one)
    assert version(one) != version(one.replace("= 2", "= 2.5"))
