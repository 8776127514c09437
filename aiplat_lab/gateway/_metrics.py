"""Counters of this process in Prometheus' text format; the ledger is what counts for money."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from aiplat_lab.core.errors import AiplatError, CallCancelled, CallRefused
from aiplat_lab.core.types import TOKEN_CLASSES, Request, Response
from aiplat_lab.gateway.row import error_type

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_MOST_MODELS = 200
_OTHER = "other"


WAITS_S = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0)
_MOST_WORDS = 100
_SCOPES = frozenset({"everyone", "team", "project", "cost_centre", "provider", "tag"})
"""Budgets that are shown by name; those of users, keys and notebooks would give a label for each of them."""

Sample = tuple[str, Mapping[str, str], float]
"""A name, its labels and the value."""


class Histogram:
    """How often a figure fell within each of some bounds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Counts a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str, labels: Mapping[str, str] | None = None) -> Iterator[str]:
        """It in Prometheus' text format."""
        known = labels or {}
        total = 0
        for limit, count in zip((*self._bounds, None), self._counts, strict=True):
            total += count
            yield _line(f"{name}_bucket", {**known, "le": "+Inf" if limit is None else f"{limit:g}"}, total)
        yield _line(f"{name}_sum", known, round(self._sum, 6))
        yield _line(f"{name}_count", known, total)


class Watch:
    """A call under way, as a context."""

    __slots__ = ("_answered", "_begun", "_metrics", "_request")

    def __init__(self, metrics: Metrics, request: Request) -> None:
        self._metrics = metrics
        self._request = request
        self._answered: Response | None = None

    def __enter__(self) -> Callable[[Response], None]:
        self._begun = time.perf_counter()
        self._metrics.in_flight += 1
        return self._note

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._metrics.in_flight -= 1
        self._metrics.ended(self._request, time.perf_counter() - self._begun, self._answered, error)

    def _note(self, response: Response) -> None:
        self._answered = response


class Metrics:
    """What this gateway process has done since it started."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._calls: Counter[tuple[str, str, str, str]] = Counter()
        self._cost: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._saved = 0.0
        self._tokens: Counter[tuple[str, str, str]] = Counter()
        self._cache: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._attempts: Counter[str] = Counter()
        self._seconds = Histogram(BUCKETS_S)
        self._first: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(BUCKETS_S))
        self._queued = Histogram(WAITS_S)
        self._models: set[str] = set()

    def watch(self, request: Request) -> Watch:
        """Counts one call; what is entered is told of its answer."""
        return Watch(self, request)

    def ended(self, request: Request, seconds: float, response: Response | None, error: BaseException | None) -> None:
        """Counts a call that ended."""
        status = "ok" if response is not None and error is None else "cancelled"
        if isinstance(error, CallRefused):
            status = "refused"
            self.refused(error.policy, error_type(error))
        elif isinstance(error, AiplatError) and not isinstance(error, CallCancelled):
            status = "error"
            self._count(self._errors, error_type(error))
        model = self._model(request.model)
        self._calls[model, response.provider if response else "", status, request.attribution.surface] += 1
        self._seconds.add(seconds)
        if response is not None:
            self._answer(model, response)

    def refused(self, policy: str, kind: str) -> None:
        """Counts a refusal."""
        self._count(self._refused, policy)
        self._count(self._errors, kind)

    def text(self, samples: Iterable[tuple[str, str, str, Iterable[Sample]]] = ()) -> str:
        """All of it in Prometheus' text format.

        Args:
            samples: further metrics: name, kind, meaning, and their samples.
        """
        families: list[tuple[str, str, str, Iterable[str]]] = [
            ("aiplat_calls_total", "counter", "Calls by model, provider, status and surface.", self._call_lines()),
            (
                "aiplat_cost_usd_total",
                "counter",
                "Cost of answered calls in US dollars; the ledger holds the exact figures.",
                (_line("aiplat_cost_usd_total", {"model": m, "provider": p}, cost) for (m, p), cost in sorted(self._cost.items())),
            ),
            (
                "aiplat_saved_usd_total",
                "counter",
                "What cached answers would have cost.",
                [_line("aiplat_saved_usd_total", {}, self._saved)],
            ),
            (
                "aiplat_tokens_total",
                "counter",
                "Tokens by class; the five classes do not overlap.",
                (_line("aiplat_tokens_total", {"model": m, "provider": p, "class": c}, n) for (m, p, c), n in sorted(self._tokens.items())),
            ),
            ("aiplat_cache_total", "counter", "Answered calls by what the cache did.", _by("aiplat_cache_total", "cache", self._cache)),
            (
                "aiplat_refused_total",
                "counter",
                "Calls that were refused, by policy.",
                _by("aiplat_refused_total", "policy", self._refused),
            ),
            (
                "aiplat_errors_total",
                "counter",
                "Calls that failed or were refused, by the error's word.",
                _by("aiplat_errors_total", "type", self._errors),
            ),
            (
                "aiplat_attempts_total",
                "counter",
                "Requests that answered calls took at providers, retries and fallbacks included.",
                _by("aiplat_attempts_total", "provider", self._attempts),
            ),
            ("aiplat_call_seconds", "histogram", "Time from a call's arrival to its end.", self._seconds.lines("aiplat_call_seconds")),
            (
                "aiplat_time_to_first_token_seconds",
                "histogram",
                "Time from a call's arrival to the first text passed on, by provider.",
                (
                    line
                    for name, one in sorted(self._first.items())
                    for line in one.lines("aiplat_time_to_first_token_seconds", {"provider": name})
                ),
            ),
            (
                "aiplat_queued_seconds",
                "histogram",
                "Time that answered calls waited for a place under a limit.",
                self._queued.lines("aiplat_queued_seconds"),
            ),
            ("aiplat_in_flight", "gauge", "Calls under way.", [_line("aiplat_in_flight", {}, self.in_flight)]),
        ]
        for name, kind, meaning, found in samples:
            families.append((name, kind, meaning, (_line(one, labels, value) for one, labels, value in found)))
        return "\n".join(line for name, kind, meaning, lines in families for line in (*_head(name, kind, meaning), *lines)) + "\n"

    def _call_lines(self) -> Iterator[str]:
        for (model, provider, status, surface), count in sorted(self._calls.items()):
            labels = {"model": model, "provider": provider, "status": status, "surface": surface}
            yield _line("aiplat_calls_total", labels, count)

    def _model(self, name: str) -> str:
        """The name as a label; unknown names beyond a limit count together, since callers choose them."""
        if name not in self._models and len(self._models) >= _MOST_MODELS:
            return _OTHER
        self._models.add(name)
        return name

    def _count(self, counter: Counter[str], word: str) -> None:
        counter[word if word in counter or len(counter) < _MOST_WORDS else _OTHER] += 1

    def _answer(self, model: str, response: Response) -> None:
        self._cache[response.cache] += 1
        self._queued.add(_number(response.notes.get("queued-s")))
        if response.cache == "hit":
            self._saved += float(response.baseline_cost_usd or 0)
            return
        self._attempts[response.provider] += response.attempts
        if response.time_to_first_token_s is not None:
            self._first[response.provider].add(response.time_to_first_token_s)
        if response.cost_usd is not None:
            self._cost[model, response.provider] += float(response.cost_usd)
        if response.usage is not None:
            for name in TOKEN_CLASSES:
                self._tokens[model, response.provider, name.removesuffix("_tokens")] += getattr(response.usage, name)


def budget_samples(budgets: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, list[Sample]]]:  # Any: JSON
    """What budgets allow, have spent and hold; of those that hold a user, a key or a notebook none."""
    shown = [one for one in budgets if one["scope"] in _SCOPES]
    known = list({(one["scope"], one["name"], one["period"]): one for one in shown}.values())
    for what, meaning in (("limit", "US dollars that a budget allows."), ("spent", "US dollars spent."), ("held", "US dollars held.")):
        name = f"aiplat_budget_{what}_usd"
        labelled = [({key: str(one[key]) for key in ("scope", "name", "period")}, float(one[f"{what}_usd"])) for one in known]
        yield name, "gauge", meaning, [(name, labels, value) for labels, value in labelled]


def queue_samples(queues: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, list[Sample]]]:  # Any: JSON
    """How many calls wait and run under the limits of deployments, and under all others together."""
    for what, meaning in (("waiting", "Calls that wait for a place under a limit."), ("running", "Calls that run under a limit.")):
        counted: Counter[str] = Counter()
        for one in queues:
            counted[str(one["limit"]) if one["kind"] == "deployment" else "scopes"] += int(one[what])
        name = f"aiplat_queue_{what}"
        yield name, "gauge", meaning, [(name, {"limit": limit}, count) for limit, count in sorted(counted.items())]


def breaker_samples(breakers: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, list[Sample]]]:  # Any: JSON
    """Which deployments are left alone after failures."""
    states = {"closed": 0.0, "half-open": 0.5, "open": 1.0}
    rows = list(breakers)
    meaning = "Whether a deployment is left alone after failures: 0 no, 0.5 one call tries it, 1 yes."
    found = [("aiplat_breaker_open", {"deployment": str(one["deployment"])}, states.get(str(one["state"]), 0.0)) for one in rows]
    yield "aiplat_breaker_open", "gauge", meaning, list(found)
    name = "aiplat_breaker_opened_total"
    opened = [(name, {"deployment": str(one["deployment"])}, float(one.get("opened") or 0)) for one in rows]
    yield name, "counter", "How often a deployment was left alone.", list(opened)


def gauge(name: str, meaning: str, value: float, *, kind: str = "gauge") -> tuple[str, str, str, list[Sample]]:
    """A metric of one sample."""
    return name, kind, meaning, [(name, {}, value)]


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _by(name: str, label: str, counter: Mapping[str, float]) -> Iterator[str]:
    return (_line(name, {label: word}, count) for word, count in sorted(counter.items()))


def _head(name: str, kind: str, meaning: str) -> tuple[str, str]:
    return f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value!r}" if inside else f"{name} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
