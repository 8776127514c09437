"""Spans and metrics, as a real OTLP/HTTP collector gets them from a real gateway."""

from __future__ import annotations

import gzip
import json
import sys
import threading
import time
import timeit
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from served import Served, served, wait_for

from aiplat_lab.core.errors import AiplatError, ConfigError
from aiplat_lab.core.settings import parse
from aiplat_lab.gateway import telemetry
from aiplat_lab.gateway.telemetry import MOST_WAITING, Telemetry, parent_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRET = "collector-key-0123456789"


@dataclass
class Collector:
    """Takes OTLP over HTTP, and says what it is told to say."""

    status: int = 200
    spans: list[Span] = field(default_factory=list)
    metrics: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    resources: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def span(self, call_id: str) -> Span:
        assert wait_for(lambda: any(about(one).get("aiplat.call_id") == call_id for one in self.spans), 10), "no span came"
        (found,) = [one for one in self.spans if about(one)["aiplat.call_id"] == call_id]
        return found


def _value(any_value: Any) -> Any:
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in any_value.array_value.values]
    return getattr(any_value, kind)


def about(span: Any) -> dict[str, Any]:
    return {one.key: _value(one.value) for one in span.attributes}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            raw = gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw
            if found.status == 200 and self.path == "/v1/traces":
                sent = ExportTraceServiceRequest.FromString(raw)
                for resource in sent.resource_spans:
                    found.resources.append({one.key: _value(one.value) for one in resource.resource.attributes})
                    found.spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            elif found.status == 200 and self.path == "/v1/metrics":
                sent = ExportMetricsServiceRequest.FromString(raw)
                found.metrics.extend(one for r in sent.resource_metrics for scope in r.scope_metrics for one in scope.metrics)
            found.headers.append(dict(self.headers))
            self.send_response(found.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


def _tables(collector: Collector, folder: Path, more: str = "") -> str:
    (folder / "collector.key").write_text(SECRET)
    headers = f'{{ Authorization = "file:{folder / "collector.key"}", x-tenant = "risk" }}'
    return f'[telemetry]\notlp_endpoint = "{collector.url}"\nheaders = {headers}\n{more}'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("telemetry")
    with served(folder / "home", tables=_tables(collector, folder)) as found:
        yield found


def post(place: Served, body: Any, key: str, **headers: str) -> str:
    """A chat by HTTP; gives the call's id."""
    request = urllib.request.Request(f"{place.http}/v1/chat/completions", data=json.dumps(body).encode(), method="POST")
    for name, value in {**headers, "Authorization": f"Bearer {key}"}.items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            reply.read()
            return str(reply.headers["x-aiplat-call-id"])
    except urllib.error.HTTPError as error:
        error.read()
        return str(error.headers["x-aiplat-call-id"])


ASK = [{"role": "user", "content": "the private question"}]


def test_an_answered_call_is_a_span_of_the_callers_trace(place: Served, collector: Collector):
    body = {"model": "priced", "messages": ASK, "temperature": 0.25, "max_tokens": 50, "seed": 7, "stop": "END", "top_p": 1, "n": 1}
    call_id = post(place, body, place.key(team="risk", project="churn"), traceparent=f"00-{TRACE}-{SPAN}-01")
    span = collector.span(call_id)
    assert (span.name, span.kind, span.status.code) == ("chat priced", Span.SPAN_KIND_CLIENT, Status.STATUS_CODE_UNSET)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN) and len(span.span_id) == 8
    row = place.client.call(call_id)
    told = about(span)
    latency_s = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
    assert latency_s == pytest.approx(row["latency_s"], abs=2e-3)
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "priced",
        "gen_ai.response.model": row["response_model"],
        "gen_ai.request.temperature": 0.25,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.seed": 7,
        "gen_ai.request.top_p": 1,
        "gen_ai.request.stop_sequences": ["END"],
        "gen_ai.request.stream": False,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 25,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.cache_creation.input_tokens": 0,
        "gen_ai.usage.reasoning.output_tokens": 0,
        "aiplat.call_id": call_id,
        "aiplat.team": "risk",
        "aiplat.project": "churn",
        "aiplat.surface": "http",
        "aiplat.status": "ok",
        "aiplat.region": "uk",
        "aiplat.cost_usd": told["aiplat.cost_usd"],
        "aiplat.cache": row["cache"],
        "aiplat.attempts": 1,
    }
    assert float(told["aiplat.cost_usd"]) == float(row["cost_usd"])
    assert collector.resources[-1]["service.name"] == "aiplat-lab"
    sent = {name.lower(): value for name, value in collector.headers[-1].items()}
    assert (sent["authorization"], sent["x-tenant"]) == (SECRET, "risk")


def test_refused_failed_and_streamed_calls_are_spans_too(place: Served, collector: Collector):
    key = place.key(team="risk")
    refused = collector.span(post(place, {"model": "priced", "messages": ASK}, place.key(team="poor")))
    assert refused.status.code == Status.STATUS_CODE_ERROR and about(refused)["error.type"] == "budget_exceeded"
    assert about(refused)["aiplat.policy"] == "budget" and not refused.parent_span_id
    failed = collector.span(post(place, {"model": "up/status-401", "messages": ASK}, key))
    assert failed.status.code == Status.STATUS_CODE_ERROR and about(failed)["error.type"] == "auth"
    malformed = collector.span(post(place, {"model": "priced", "messages": 5}, key))
    assert about(malformed)["error.type"] == "usage_error"
    streamed = about(collector.span(post(place, {"model": "up/stream-20", "messages": ASK, "stream": True}, key)))
    assert streamed["gen_ai.request.stream"] is True and streamed["gen_ai.response.time_to_first_chunk"] > 0
    assert streamed["gen_ai.usage.output_tokens"] == 20
    vectors = place.client.embed(["red"], model="up/embedder")
    assert collector.span(vectors.call_id).name == "embeddings up/embedder"
    assert len({span.trace_id for span in collector.spans}) == len(collector.spans), "each has a trace of its own"


def test_content_stays_at_home_unless_it_is_asked_for(place: Served, collector: Collector, tmp_path: Path):
    post(place, {"model": "priced", "messages": ASK}, place.key(team="risk"))
    assert "private question" not in str(collector.spans)
    with served(tmp_path / "home", tables=_tables(collector, tmp_path, "content = true\n")) as open_place:
        call_id = post(open_place, {"model": "priced", "messages": [{"role": "system", "content": "Be brief."}, *ASK]}, open_place.key())
        told = about(collector.span(call_id))
    assert json.loads(told["gen_ai.input.messages"]) == [{"role": "user", "parts": [{"type": "text", "content": ASK[0]["content"]}]}]
    assert json.loads(told["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be brief."}]
    assert json.loads(told["gen_ai.output.messages"])[0]["finish_reason"] == "stop"


def test_a_trace_that_its_owner_does_not_keep_gets_no_span(place: Served, collector: Collector):
    key = place.key(team="risk")
    other = "5bf92f3577b34da6a3ce929d0e0e4736"
    post(place, {"model": "priced", "messages": ASK}, key, traceparent=f"00-{other}-{SPAN}-00")
    last = post(place, {"model": "priced", "messages": ASK}, key, traceparent="nonsense")
    assert not collector.span(last).parent_span_id
    assert other not in {span.trace_id.hex() for span in collector.spans}


@pytest.mark.parametrize("text", ["", "00", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{SPAN}-01", "x" * 9000])
def test_a_header_that_is_no_trace(text: str):
    assert parent_of(text) is None


def test_metrics_are_the_conventions_histograms(collector: Collector, tmp_path: Path):
    collector.metrics.clear()
    with served(tmp_path / "home", tables=_tables(collector, tmp_path)) as place:
        for _ in range(3):
            place.client.chat("hello", model="priced", cache="off")
    assert wait_for(lambda: {one.name for one in collector.metrics} >= {telemetry.otel.TOKEN_USAGE, telemetry.otel.DURATION}, 10)
    by_name = {one.name: one for one in collector.metrics}
    tokens = {about(point)["gen_ai.token.type"]: point for point in by_name[telemetry.otel.TOKEN_USAGE].histogram.data_points}
    assert {kind: (point.count, point.sum) for kind, point in tokens.items()} == {"input": (3, 75), "output": (3, 60)}
    assert list(tokens["input"].explicit_bounds) == list(telemetry.otel.TOKEN_BUCKETS)
    (seconds,) = by_name[telemetry.otel.DURATION].histogram.data_points
    assert seconds.count == 3 and by_name[telemetry.otel.DURATION].unit == "s"
    assert about(seconds)["gen_ai.request.model"] == "priced"


def test_a_collector_that_fails_touches_no_call_and_is_told(collector: Collector, tmp_path: Path):
    collector.status = 400
    try:
        with served(tmp_path / "home", tables=_tables(collector, tmp_path)) as place:
            for _ in range(5):
                assert place.client.chat("hello", model="priced", cache="off").text
            assert wait_for(lambda: "spans cannot be sent" in json.dumps(place.client.status()["incidents"]), 10)
            assert SECRET not in json.dumps(place.client.status()) and SECRET not in place.home.log_file.read_text()
            collector.status = 200
            back = place.client.chat("hello", model="priced", cache="off")
            collector.span(back.call_id)
            assert wait_for(lambda: "spans cannot" not in json.dumps(place.client.status()["incidents"]), 10)
    finally:
        collector.status = 200


def test_nobody_listening_keeps_no_call_and_no_end_waiting(tmp_path: Path):
    with served(tmp_path / "home", tables='[telemetry]\notlp_endpoint = "http://127.0.0.1:9"\n') as place:
        assert place.client.chat("hello", model="priced", cache="off").text
        began = time.monotonic()
    assert time.monotonic() - began < 15


# --- alone ------------------------------------------------------------------------------------------------------------


def _settings(endpoint: str, headers: str = "{}") -> Any:
    return parse(f'[telemetry]\notlp_endpoint = "{endpoint}"\nheaders = {headers}\n')


def test_a_queue_that_is_full_drops_and_counts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(telemetry.Telemetry, "_run", lambda self: None)
    one = Telemetry(_settings("http://127.0.0.1:9"))
    for _ in range(MOST_WAITING + 7):
        one.refused({})
    assert one.dropped == 7 and len(one._waiting) == MOST_WAITING
    one._sender.close()


def test_off_costs_nothing_and_loads_nothing():
    assert telemetry.start(parse("")) is None
    ended: Any = None
    assert min(timeit.repeat(lambda: ended is not None and ended(), number=10_000, repeat=5)) / 10_000 < 1e-6


@pytest.mark.parametrize(
    ("endpoint", "headers", "why"),
    [
        ("collector:4318", "{}", "must begin with http"),
        ("http://127.0.0.1:9", '{ a = "env:NOT_THERE_AT_ALL" }', "telemetry.headers.a"),
        ("http://127.0.0.1:9", '{ a = "file:/not/there" }', "telemetry.headers.a"),
    ],
)
def test_settings_that_lead_nowhere_are_told_at_the_start(endpoint: str, headers: str, why: str):
    with pytest.raises(ConfigError, match=why):
        telemetry.start(_settings(endpoint, headers))


def test_a_missing_package_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(AiplatError, match=r"pip install aiplat-lab\[otel\]"):
        telemetry.start(_settings("http://127.0.0.1:9"))
