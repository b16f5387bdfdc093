"""Trace context goes to the client's own host alone, and spans tell what came of calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from isobase import Client, ClientOptions
from isobase._http import SyncSession
from isobase._http.options import CallPolicy
from isobase._http.tracing import is_sampled, tracing_of
from isobase.types import TracePropagationOptions
from tests.sdk.core.conftest import Heard, WireServer, answer

_exporter = InMemorySpanExporter()


@pytest.fixture(scope="module")
def provider() -> TracerProvider:
    """The process's tracer provider: OpenTelemetry lets it be set once."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(_exporter))
    trace.set_tracer_provider(provider)
    return provider


@pytest.fixture
def spans(provider: TracerProvider) -> Iterator[InMemorySpanExporter]:
    """Where finished spans go."""
    _exporter.clear()
    yield _exporter
    provider.force_flush()


@pytest.mark.capability("client.observability.trace_propagation")
@pytest.mark.parametrize("option", [True, {"enabled": True}])
def test_the_current_span_goes_with_every_call(
    wire: WireServer, spans: InMemorySpanExporter, option: bool | TracePropagationOptions
) -> None:
    with (
        Client(wire.url, "key", ClientOptions(trace_propagation=option)) as client,
        trace.get_tracer("app").start_as_current_span("app") as span,
    ):
        client.table("t").select("*").execute()
        client.storage.list_buckets()
    expected = f"00-{span.get_span_context().trace_id:032x}-{span.get_span_context().span_id:016x}"
    assert [heard.headers["traceparent"].rpartition("-")[0] for heard in wire.heard] == [expected, expected]


def test_nothing_goes_along_unless_it_is_asked_for(wire: WireServer, spans: InMemorySpanExporter) -> None:
    with Client(wire.url, "key") as client, trace.get_tracer("app").start_as_current_span("app"):
        client.table("t").select("*").execute()
    assert "traceparent" not in wire.heard[0].headers


@pytest.mark.parametrize(("respects", "is_told"), [(True, False), (False, True)])
def test_a_trace_that_nobody_keeps_stays_out_unless_it_is_wanted(
    wire: WireServer, provider: TracerProvider, respects: bool, is_told: bool
) -> None:
    options = ClientOptions(trace_propagation={"enabled": True, "respect_sampling_decision": respects})
    tracer = TracerProvider(sampler=ALWAYS_OFF).get_tracer("app")
    with Client(wire.url, "key", options) as client, tracer.start_as_current_span("app"):
        client.table("t").select("*").execute()
    assert ("traceparent" in wire.heard[0].headers) is is_told


def test_another_host_is_told_of_no_trace(wire: WireServer, spans: InMemorySpanExporter) -> None:
    elsewhere = wire.url.replace("127.0.0.1", "localhost")

    def redirect(heard: Heard, _number: int) -> bytes:
        return answer() if heard.target == "/there" else answer(b"", "302 Found", f"Location: {elsewhere}/there")

    wire.answer = redirect
    with SyncSession() as shared, trace.get_tracer("app").start_as_current_span("app"):
        session = SyncSession.sharing(
            shared, headers={}, timeout=30.0, policy=CallPolicy(), tracing=tracing_of("127.0.0.1", True, False)
        )
        session.request("GET", wire.url + "/here")
        session.request("GET", elsewhere + "/there")
    assert ["traceparent" in heard.headers for heard in wire.heard] == [True, False, False]


def test_every_call_is_a_span_where_that_is_wanted(wire: WireServer, spans: InMemorySpanExporter) -> None:
    wire.answer = lambda _heard, number: answer(b"[]", "503 Service Unavailable" if number == 1 else "200 OK")
    options = ClientOptions(trace_spans=True, trace_propagation=True)
    with Client(wire.url, "key", options) as client:
        client.table("t").select("*").eq("name", "private").execute()
    finished: tuple[ReadableSpan, ...] = spans.get_finished_spans()
    assert len(finished) == 1
    span = finished[0]
    attributes = dict(span.attributes or {})
    assert span.kind is trace.SpanKind.CLIENT
    assert attributes["http.request.method"] == "GET"
    assert attributes["url.path"] == "/rest/v1/t"
    assert attributes["http.response.status_code"] == 200
    assert attributes["http.request.resend_count"] == 1
    assert "private" not in str(attributes)
    assert span.context is not None
    assert f"{span.context.span_id:016x}" in wire.heard[0].headers["traceparent"]


@pytest.mark.parametrize(
    ("parent", "kept"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", False),
        ("nonsense", True),
    ],
)
def test_the_sampling_flag_is_read(parent: str, kept: bool) -> None:
    assert is_sampled(parent) is kept
