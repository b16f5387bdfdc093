"""Traces: the current span's context goes along with a call to the client's own host, and a call may be a span of its
own.

OpenTelemetry is used where it is installed (``isobase[otel]``), and loaded only by clients whose options ask for it.
Neither URLs' queries nor headers nor bodies are told: they can hold what is nobody else's business.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from isobase._http.prepare import place_of

if TYPE_CHECKING:
    from isobase.types import TracePropagationOptions

__all__ = ["TRACE_HEADERS", "Tracing", "tracing_of"]

logger = logging.getLogger("isobase.http")

TRACE_HEADERS = ("traceparent", "tracestate", "baggage")
SAMPLED = 1
_warned: set[str] = set()


@dataclass(slots=True, frozen=True)
class Tracing:
    """How a client takes part in traces. ``host``: the only one that is told of them."""

    host: str
    propagates: bool
    respects_sampling: bool
    makes_spans: bool

    @contextlib.contextmanager
    def call(self, request: httpx.Request) -> Iterator[Any]:
        """Surround a call: give its span (None without) and put the context into its headers."""
        origin, target = place_of(request)
        if not self.makes_spans:
            self._propagate(request, origin.host)
            yield None
            return
        from opentelemetry import trace

        path = target.decode("ascii").partition("?")[0]
        attributes: dict[str, str | int] = {
            "http.request.method": request.method,
            "server.address": origin.host,
            "server.port": origin.port,
            "url.path": path,
        }
        tracer = trace.get_tracer("isobase")
        with tracer.start_as_current_span(
            f"{request.method} {path.strip('/').partition('/')[0]}".strip(),
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
        ) as span:
            self._propagate(request, origin.host)
            yield span

    def _propagate(self, request: httpx.Request, host: str) -> None:
        if not self.propagates or host != self.host:
            return
        from opentelemetry import propagate

        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        parent = carrier.get("traceparent")
        if parent is None or (self.respects_sampling and not is_sampled(parent)):
            return
        for name in TRACE_HEADERS:
            if name in carrier and name not in request.headers:
                request.headers[name] = carrier[name]


def is_sampled(traceparent: str) -> bool:
    """Whether a W3C ``traceparent`` says that its trace is kept; one that cannot be read counts as kept."""
    try:
        return bool(int(traceparent.split("-")[3], 16) & SAMPLED)
    except (IndexError, ValueError):
        return True


def finish(span: Any, status: int, attempts: int) -> None:
    """Write what came of a call on its span."""
    if span is None:
        return
    from opentelemetry.trace import StatusCode

    span.set_attribute("http.response.status_code", status)
    if attempts:
        span.set_attribute("http.request.resend_count", attempts)
    if status >= 400:
        span.set_attribute("error.type", str(status))
        span.set_status(StatusCode.ERROR)


def tracing_of(host: str, propagation: bool | TracePropagationOptions, spans: bool) -> Tracing | None:
    """Read a client's options; None when they ask for nothing, or OpenTelemetry is not there (told once in the log)."""
    if isinstance(propagation, bool):
        propagates, respects = propagation, True
    else:
        propagates = propagation.get("enabled", False)
        respects = propagation.get("respect_sampling_decision", True)
    if not (propagates or spans):
        return None
    try:
        import opentelemetry.trace  # noqa: F401
    except ImportError:
        if "missing" not in _warned:
            _warned.add("missing")
            logger.warning("traces are asked for, but opentelemetry-api is not installed; install isobase[otel]")
        return None
    return Tracing(host, propagates, respects, spans)
