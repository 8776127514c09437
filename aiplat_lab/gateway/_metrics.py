"""Counters of this process in Prometheus' text format; the ledger is what counts for money."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiplat_lab.core.errors import AiplatError, CallCancelled, CallRefused
from aiplat_lab.core.types import TOKEN_CLASSES, Request, Response

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_MOST_MODELS = 200
_OTHER = "other"


class Metrics:
    """What this gateway process has done since it started."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._calls: Counter[tuple[str, str, str, str]] = Counter()
        self._cost: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._tokens: Counter[tuple[str, str, str]] = Counter()
        self._cache: Counter[str] = Counter()
        self._buckets = [0] * (len(BUCKETS_S) + 1)
        self._seconds = 0.0
        self._models: set[str] = set()

    @contextmanager
    def watch(self, request: Request) -> Iterator[Callable[[Response], None]]:
        """Counts one call; what is yielded is told of its answer."""
        model = self._model(request.model)
        answered: list[Response] = []
        begun = time.perf_counter()
        status = "cancelled"
        self.in_flight += 1
        try:
            yield answered.append
            status = "ok" if answered else "cancelled"
        except CallRefused:
            status = "refused"
            raise
        except CallCancelled:
            raise
        except AiplatError:
            status = "error"
            raise
        finally:
            self.in_flight -= 1
            response = answered[0] if answered else None
            self._calls[model, response.provider if response else "", status, request.attribution.surface] += 1
            self._time(time.perf_counter() - begun)
            if response is not None:
                self._answer(model, response)

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """All of it in Prometheus' text format.

        Args:
            gauges: further gauges by name, each with its help text and value.
        """
        lines = [
            *_head("aiplat_calls_total", "counter", "Calls by model, provider, status and surface."),
            *(
                _line("aiplat_calls_total", {"model": model, "provider": provider, "status": status, "surface": surface}, count)
                for (model, provider, status, surface), count in sorted(self._calls.items())
            ),
            *_head("aiplat_cost_usd_total", "counter", "Cost of answered calls in US dollars; the ledger holds the exact figures."),
            *(_line("aiplat_cost_usd_total", {"model": m, "provider": p}, cost) for (m, p), cost in sorted(self._cost.items())),
            *_head("aiplat_tokens_total", "counter", "Tokens by class; the five classes do not overlap."),
            *(_line("aiplat_tokens_total", {"model": m, "provider": p, "class": c}, n) for (m, p, c), n in sorted(self._tokens.items())),
            *_head("aiplat_cache_total", "counter", "Answered calls by what the cache did."),
            *(_line("aiplat_cache_total", {"cache": state}, count) for state, count in sorted(self._cache.items())),
            *_head("aiplat_call_seconds", "histogram", "Time from a call's arrival to its end, in seconds."),
            *self._histogram(),
            *_head("aiplat_in_flight", "gauge", "Calls under way."),
            _line("aiplat_in_flight", {}, self.in_flight),
        ]
        for name, (meaning, value) in gauges.items():
            lines += [*_head(name, "gauge", meaning), _line(name, {}, value)]
        return "\n".join(lines) + "\n"

    def _model(self, name: str) -> str:
        """The name as a label; unknown names beyond a limit count together, since callers choose them."""
        if name not in self._models and len(self._models) >= _MOST_MODELS:
            return _OTHER
        self._models.add(name)
        return name

    def _time(self, seconds: float) -> None:
        self._buckets[bisect_left(BUCKETS_S, seconds)] += 1
        self._seconds += seconds

    def _answer(self, model: str, response: Response) -> None:
        self._cache[response.cache] += 1
        if response.cache == "hit":
            return
        if response.cost_usd is not None:
            self._cost[model, response.provider] += float(response.cost_usd)
        if response.usage is not None:
            for name in TOKEN_CLASSES:
                self._tokens[model, response.provider, name.removesuffix("_tokens")] += getattr(response.usage, name)

    def _histogram(self) -> Iterator[str]:
        total = 0
        for limit, count in zip((*BUCKETS_S, None), self._buckets, strict=True):
            total += count
            yield _line("aiplat_call_seconds_bucket", {"le": "+Inf" if limit is None else f"{limit:g}"}, total)
        yield _line("aiplat_call_seconds_sum", {}, round(self._seconds, 6))
        yield _line("aiplat_call_seconds_count", {}, total)


def breaker_text(breakers: Iterable[Mapping[str, Any]]) -> str:  # Any: as `Breakers.describe` gives it
    """The breakers of the deployments that failed lately, in Prometheus' text format."""
    rows = list(breakers)
    states = {"closed": 0.0, "half-open": 0.5, "open": 1.0}
    lines = [
        *_head("aiplat_breaker_open", "gauge", "Whether a deployment is left alone after failures: 0 no, 0.5 one call tries it, 1 yes."),
        *(_line("aiplat_breaker_open", {"deployment": one["deployment"]}, states[one["state"]]) for one in rows),
        *_head("aiplat_breaker_opened_total", "counter", "How often a deployment was left alone."),
        *(_line("aiplat_breaker_opened_total", {"deployment": one["deployment"]}, one["opened"]) for one in rows),
    ]
    return "\n".join(lines) + "\n"


def _head(name: str, kind: str, meaning: str) -> tuple[str, str]:
    return f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value!r}" if inside else f"{name} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
