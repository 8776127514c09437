"""Spans and metrics of calls, sent to the organisation's own OpenTelemetry collector by a thread of its own.

A call only puts its row into a queue. Whatever the collector does, no call waits for it or fails by it: a full queue drops the
oldest, and what was dropped or could not be sent is counted and said in `aiplat status`.
"""

from __future__ import annotations

import importlib
import logging
import re
import secrets
import threading
from collections import deque
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Any, NamedTuple

from aiplat_lab.core.errors import ConfigError
from aiplat_lab.core.settings import SETTINGS_FILE, Settings, TelemetrySettings, secret
from aiplat_lab.core.types import Call, Request, Response
from aiplat_lab.core.version import VERSION
from aiplat_lab.gateway import otel

logger = logging.getLogger(__name__)
MOST_WAITING = 4096
"""Calls that may wait to be sent; beyond it the oldest are dropped."""
_BATCH = 256
_EVERY_S = 1.0
_METRICS_EVERY_MS = 10_000
_SEND_S = 5.0
_TRACEPARENT = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$")
_REFERENCES = ("env:", "file:", "keyring:", "cmd:", "vault:")

TRACEPARENT: ContextVar[str] = ContextVar("traceparent", default="")
"""The trace that the request under way belongs to, as its header says."""


class _Ended(NamedTuple):
    """What a span is made of, later."""

    row: Mapping[str, Any]  # Any: a row's values
    settings: Mapping[str, Any]
    traceparent: str
    request: Request | None
    response: Response | None


class Telemetry:
    """The queue, the thread and the exporters.

    Args:
        settings: with `telemetry.otlp_endpoint` set.

    Raises:
        ConfigError: the packages are not installed, or a header's reference leads nowhere.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.telemetry
        self._kinds = {name: provider.kind for name, provider in settings.providers.items()}
        self._waiting: deque[_Ended] = deque(maxlen=MOST_WAITING)
        self._wake = threading.Event()
        self._closing = False
        self.sent = 0
        """Spans that the collector has taken."""
        self.dropped = 0
        """Spans that it has not: the queue was full, or sending failed."""
        self._failing = False
        self._sender = _Sender(self._settings)
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def ended(self, call: Call, row: Mapping[str, Any]) -> None:  # Any: a row's values
        """Notes a call that is recorded."""
        kept = (call.request, call.response) if self._settings.content else (None, None)
        self._put(_Ended(row, call.request.settings, TRACEPARENT.get(), *kept))

    def refused(self, row: Mapping[str, Any]) -> None:  # Any: a row's values
        """Notes a call that was refused before it began."""
        self._put(_Ended(row, {}, TRACEPARENT.get(), None, None))

    def news(self) -> list[str]:
        """What a person should know: that the collector takes nothing."""
        if not self._failing:
            return []
        return [f"spans cannot be sent to {self._settings.otlp_endpoint}: {self.dropped} were dropped; calls are not affected"]

    def close(self, *, within_s: float = 2.0) -> None:
        """Sends what waits, as far as that can be done in so many seconds."""
        self._closing = True
        self._wake.set()
        self._thread.join(within_s)

    def _put(self, one: _Ended) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self.dropped += 1
        self._waiting.append(one)
        if len(self._waiting) >= _BATCH:
            self._wake.set()

    def _run(self) -> None:
        while not (self._closing and not self._waiting):
            self._wake.wait(_EVERY_S)
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                self._send(batch)
                if self._failing and self._closing:
                    return
        self._sender.close()

    def _send(self, batch: list[_Ended]) -> None:
        try:
            taken = self._sender.send([(one, self._kinds.get(str(one.row.get("provider")), "")) for one in batch])
        except Exception as error:  # the border of a library: whatever it is, calls go on and a person hears of it
            logger.warning("spans could not be made or sent: %s", type(error).__name__)
            taken = False
        if taken:
            self.sent += len(batch)
        else:
            self.dropped += len(batch)
        if taken is self._failing:
            logger.warning("the collector at %s %s", self._settings.otlp_endpoint, "takes spans again" if taken else "takes no spans")
        self._failing = not taken


def start(settings: Settings) -> Telemetry | None:
    """The telemetry that the settings ask for; None where they ask for none.

    Raises:
        ConfigError: as `Telemetry`.
    """
    return Telemetry(settings) if settings.telemetry.otlp_endpoint else None


def parent_of(traceparent: str) -> tuple[int, int, bool] | None:
    """Trace, span and whether it is sampled, out of a W3C `traceparent` header; None where it is none."""
    found = _TRACEPARENT.match(traceparent.strip().lower())
    if not found or found[1] == "0" * 32 or found[2] == "0" * 16 or traceparent.lower().startswith("ff"):
        return None
    return int(found[1], 16), int(found[2], 16), bool(int(found[3], 16) & 1)


class _Sender:
    """The exporters of OpenTelemetry's SDK, which only this class touches."""

    def __init__(self, settings: TelemetrySettings) -> None:
        base = settings.otlp_endpoint.rstrip("/")
        if not base.startswith(("http://", "https://")):
            raise ConfigError(f"{SETTINGS_FILE}: telemetry.otlp_endpoint is {base!r}; it must begin with http:// or https://")
        headers = {name: _header(name, value) for name, value in settings.headers.items()}
        traces, metrics, sdk, self._trace, resources, scopes, reading, views = _modules()
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # our own line says it, once
        self._sdk = sdk
        self._resource = resources.Resource({"service.name": "aiplat-lab", "service.version": VERSION})
        self._scope = scopes.InstrumentationScope("aiplat_lab", VERSION)
        self._exporter = traces.OTLPSpanExporter(endpoint=f"{base}/v1/traces", headers=headers, timeout=_SEND_S)
        exporter = metrics.OTLPMetricExporter(endpoint=f"{base}/v1/metrics", headers=headers, timeout=_SEND_S)
        reader = reading.PeriodicExportingMetricReader(exporter, export_interval_millis=_METRICS_EVERY_MS, export_timeout_millis=5000)
        bounds = {otel.TOKEN_USAGE: otel.TOKEN_BUCKETS, otel.DURATION: otel.DURATION_BUCKETS_S}
        shapes = [
            views.View(instrument_name=name, aggregation=views.ExplicitBucketHistogramAggregation(buckets))
            for name, buckets in bounds.items()
        ]
        from_sdk = importlib.import_module("opentelemetry.sdk.metrics")
        self._meters = from_sdk.MeterProvider([reader], resource=self._resource, views=shapes, shutdown_on_exit=False)
        meter = self._meters.get_meter("aiplat_lab", VERSION)
        self._tokens = meter.create_histogram(otel.TOKEN_USAGE, unit="{token}", description="Number of input and output tokens used.")
        self._seconds = meter.create_histogram(otel.DURATION, unit="s", description="GenAI operation duration.")

    def send(self, batch: list[tuple[_Ended, str]]) -> bool:
        """Whether the collector took the spans."""
        spans = []
        for one, kind in batch:
            self._measure(one.row, kind)
            span = self._span(one, kind)
            if span is not None:
                spans.append(span)
        return not spans or self._exporter.export(spans).name == "SUCCESS"

    def close(self) -> None:
        """Sends the metrics of the last seconds."""
        self._meters.shutdown(timeout_millis=1500)

    def _measure(self, row: Mapping[str, Any], kind: str) -> None:
        about = otel.measured(row, kind=kind)
        if row.get("latency_s") is not None:
            self._seconds.record(float(row["latency_s"]), about)
        if row.get("cache") != "hit":
            for name, count in otel.tokens(row).items():
                self._tokens.record(count, {**about, "gen_ai.token.type": name})

    def _span(self, one: _Ended, kind: str) -> Any:  # Any: a span of the SDK
        trace, row = self._trace, one.row
        parent = parent_of(one.traceparent)
        if parent is not None and not parent[2]:
            return None  # whoever began the trace keeps no part of it
        trace_id = parent[0] if parent else secrets.randbits(128) or 1
        above = trace.SpanContext(parent[0], parent[1], True, trace.TraceFlags(1)) if parent else None
        told = otel.content(one.request, one.response) if one.request is not None else {}
        failed = row.get("status") in ("error", "refused")
        status = trace.Status(trace.StatusCode.ERROR, str(row.get("error_message") or "")) if failed else trace.Status()
        return self._sdk.ReadableSpan(
            name=otel.span_name(row),
            context=trace.SpanContext(trace_id, secrets.randbits(64) or 1, False, trace.TraceFlags(1)),
            parent=above,
            resource=self._resource,
            attributes={**otel.asked(one.settings), **otel.attributes(row, kind=kind), **told},
            kind=trace.SpanKind.CLIENT,
            status=status,
            start_time=_nanos(row["started_at"]),
            end_time=_nanos(row.get("ended_at") or row["started_at"]),
            instrumentation_scope=self._scope,
        )


def _nanos(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000


def _header(name: str, value: str) -> str:
    if not value.startswith(_REFERENCES):
        return value
    try:
        return secret(value).reveal().strip()
    except ConfigError as error:
        raise ConfigError(f"{SETTINGS_FILE}: telemetry.headers.{name}: {error.message}") from None


def _modules() -> tuple[Any, ...]:  # Any: the SDK's modules
    """The packages of the extra, which come when they are needed and not before.

    Raises:
        ConfigError: they are not installed.
    """
    names = (
        "exporter.otlp.proto.http.trace_exporter",
        "exporter.otlp.proto.http.metric_exporter",
        "sdk.trace",
        "trace",
        "sdk.resources",
        "sdk.util.instrumentation",
        "sdk.metrics.export",
        "sdk.metrics.view",
    )
    try:
        return tuple(importlib.import_module(f"opentelemetry.{name}") for name in names)
    except ImportError as error:
        raise ConfigError(
            f"{SETTINGS_FILE}: telemetry.otlp_endpoint is set, and {error.name or 'a package'} is not installed; "
            "run `pip install aiplat-lab[otel]`, or leave it empty"
        ) from None
