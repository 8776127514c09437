"""Calls as a gateway would record them, for tests and benchmarks of the ledger."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from aiplat_lab.core.ids import new_id

START = datetime(2026, 5, 1, 8, 0, tzinfo=UTC)
TEAMS = ("risk", "pricing", "claims", "research", None)
MODELS = ("fast", "careful", "smollm2", "embedder")
USERS = tuple(f"user{number}" for number in range(40))
PROJECTS = tuple(f"project-{number}" for number in range(12))


def a_call(**values: Any) -> dict[str, Any]:
    """One answered call; `values` replaces or adds columns."""
    started = values.get("started_at") or START
    row: dict[str, Any] = {
        "call_id": new_id(started),
        "started_at": started,
        "ended_at": started + timedelta(seconds=1.25),
        "operation": "chat",
        "surface": "magic",
        "team": "risk",
        "project": "churn",
        "user_id": "ada",
        "notebook": "churn.ipynb",
        "request_model": "fast",
        "provider": "up",
        "response_model": "gpt-5-mini",
        "region": "uk",
        "status": "ok",
        "attempts": 1,
        "input_tokens": 120,
        "cache_read_tokens": 10,
        "cache_write_tokens": 0,
        "output_tokens": 40,
        "reasoning_tokens": 5,
        "cost_usd": Decimal("0.001250000"),
        "baseline_cost_usd": Decimal("0.001250000"),
        "price_version": "genai-prices 0.2.3",
        "latency_s": 1.25,
        "time_to_first_token_s": 0.3,
        "queued_s": 0.0,
        "cache": "miss",
        "stream": True,
        "finish_reason": "stop",
        "flags": [],
        "tags": {},
    }
    row.update(values)
    return row


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@contextmanager
def opened(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A file of DuckDB as any program may open it, for looking and for tampering."""
    con = duckdb.connect(":memory:")
    try:
        con.execute(f"ATTACH '{path}' AS ledger")
        con.execute("USE ledger")
        yield con
    finally:
        con.close()


def put(payloads: dict[str, bytes], document: Any) -> str:
    body = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    payloads[digest(body)] = body
    return digest(body)


_VOCABULARY = (
    "the model please summarise risk of this customer table with short answer and give reasons for each step data set column "
    "value mean loss claim price forecast monthly report team analysis check list result explain why not than more less next "
    "quarter policy region growth error rate budget spend token prompt version review label score test sample feature drift"
)
_WORDS = _VOCABULARY.split()


def soup(rng: random.Random, size_bytes: int) -> str:
    """English-looking text of about that length."""
    phrases = [" ".join(rng.choice(_WORDS) for _ in range(rng.randint(3, 9))) for _ in range(size_bytes // 30 + 1)]
    return ". ".join(phrases)[:size_bytes]


def many_calls(
    count: int, *, seed: int = 1, every_s: float = 15.0, payloads: bool = False
) -> Iterator[tuple[dict[str, Any], dict[str, bytes]]]:
    """Calls in time order, with the payload mix of the ledger's measurements: 1.2 KB of system prompt from 400 versions, 0.85 KB
    of user text and 1 KB of answer, a quarter of them repeats."""
    rng = random.Random(seed)
    systems = [soup(rng, 1200) for _ in range(400)] if payloads else []
    asked: list[tuple[str, str]] = []
    for number in range(count):
        started = START + timedelta(seconds=number * every_s + rng.random())
        status = rng.choices(("ok", "error", "refused", "cancelled"), (93, 4, 2, 1))[0]
        hit = status == "ok" and rng.random() < 0.15
        cost = Decimal(rng.randint(50, 90_000)) / 10**7
        bodies: dict[str, bytes] = {}
        request_hash: str | None = rng.randbytes(32).hex()
        response_hash = rng.randbytes(32).hex() if status == "ok" else None
        if payloads:
            if asked and rng.random() < 0.25:
                user, answer = rng.choice(asked[-5000:])
            else:
                user, answer = soup(rng, 850), soup(rng, 1000)
                asked.append((user, answer))
            messages = [put(bodies, {"role": "system", "content": rng.choice(systems)}), put(bodies, {"role": "user", "content": user})]
            request_hash = put(bodies, {"operation": "chat", "model": "fast", "messages": messages, "settings": {"temperature": 0}})
            response_hash = put(bodies, {"text": answer})
        latency = rng.expovariate(0.5)
        team = rng.choice(TEAMS)
        yield (
            a_call(
                started_at=started,
                ended_at=started + timedelta(seconds=latency),
                team=team,
                project=rng.choice(PROJECTS),
                cost_centre=f"CC-{TEAMS.index(team)}",
                user_id=rng.choice(USERS),
                notebook=f"notebook-{rng.randint(0, 200)}.ipynb",
                surface=rng.choice(("magic", "python", "http", "report")),
                request_model=rng.choice(MODELS),
                status=status,
                error_type="timeout" if status == "error" else "budget_exceeded" if status == "refused" else None,
                policy="budget" if status == "refused" else None,
                attempts=0 if status == "refused" or hit else 1,
                input_tokens=rng.randint(20, 4000),
                cache_read_tokens=0,
                output_tokens=rng.randint(1, 900),
                reasoning_tokens=0,
                cost_usd=Decimal(0) if hit or status == "refused" else cost,
                baseline_cost_usd=cost,
                latency_s=round(latency, 6),
                time_to_first_token_s=round(latency / 5, 6),
                cache="hit" if hit else "miss",
                prompt_name=f"prompt-{rng.randint(0, 30)}" if rng.random() < 0.5 else None,
                request_hash=request_hash,
                response_hash=response_hash,
            ),
            bodies,
        )
