"""Reads of storage: by the side that answers, by the other where that one is down, bodies handed on while they arrive."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from isobase_adapter.answers import Answer, mark
from isobase_adapter.breakers import Breakers, CallKind
from isobase_adapter.capabilities import Capability
from isobase_adapter.contracts import Event
from isobase_adapter.http.classify import Call
from isobase_adapter.http.families import Acted
from isobase_adapter.metrics import Metrics
from isobase_adapter.shadow.asking import ShadowReads
from isobase_adapter.sides import Side
from isobase_adapter.steps import ELAPSED_EXTENSION, Flow, OnRuntime, Send

__all__ = ["ObjectReads"]

_TOLD_AS_JSON = frozenset({"info", "list", "bucket"})


@dataclass(slots=True, frozen=True)
class ObjectReads:
    """Reads objects, lists and signed URLs for one client.

    fallback_timeout_s: the most seconds that each step of a read at Isobase may take before Supabase is asked.
    """

    breakers: Breakers
    metrics: Metrics
    tell: Callable[[Event], None]
    fallback_timeout_s: float
    backlog: Callable[[frozenset[Capability], Side], Coroutine[Any, Any, bool | None]]
    """Says whether a side lacks writes of these; None where nobody can tell."""
    shadow: ShadowReads | None = None
    """Compares what both sides tell in stage ``shadow_read``."""

    def flow(
        self, request: httpx.Request, call: Call, acted: Acted, *, is_streamed: bool
    ) -> Flow[tuple[httpx.Response, Side]]:
        """Read; gives the answer and the side that gave it. is_streamed: whether the body may still be arriving.

        A download that breaks after its first bytes ends with httpx's error: what came cannot be taken back.
        """
        route, name, stage = acted.read_route, str(call.capability), acted.stage
        self.metrics.add("reads", name)
        if not route.falls_back or route.answers is Side.SUPABASE:
            shadow = self.shadow if route.compares and self.shadow and self.shadow.samples(call.capability) else None
            is_streamed = is_streamed and (shadow is None or call.operation not in _TOLD_AS_JSON)
            answer: httpx.Response = yield Send(route.answers, request, is_streamed=is_streamed)
            if shadow is not None:
                _compare(shadow, request, call, answer, route.answers)
            return mark(answer, Answer(route.answers, name, stage)), route.answers
        read_from = frozenset([call.capability])
        if acted.writer.side is Side.SUPABASE:
            # What was written at Supabase is carried before its caller hears of it, unless it is large, or Isobase did not
            # answer then.
            is_behind = yield OnRuntime(lambda: self.backlog(read_from, Side.ISOBASE))
            if is_behind is not False:
                answer = yield Send(Side.SUPABASE, request, is_streamed=is_streamed)
                self.metrics.add("reads_at_writer", name)
                return mark(answer, Answer(Side.SUPABASE, name, stage, is_fallback=True)), Side.SUPABASE
        gate = self.breakers.gate(name, Side.ISOBASE, CallKind.READS)
        failure: httpx.Response | httpx.TransportError | None = None
        why = "open breaker"
        if gate.allows():
            try:
                answer = yield Send(Side.ISOBASE, request, is_streamed=is_streamed, most_step_s=self.fallback_timeout_s)
            except httpx.TransportError as error:
                gate.failed(error, self.fallback_timeout_s)
                failure, why = error, type(error).__name__
            except BaseException:
                gate.forget()
                raise
            else:
                if not gate.answered(answer, answer.extensions[ELAPSED_EXTENSION]):
                    return mark(answer, Answer(Side.ISOBASE, name, stage)), Side.ISOBASE
                failure, why = answer, f"status {answer.status_code}"
        # Before the read, as Isobase may be written all the while.
        is_behind = (yield OnRuntime(lambda: self.backlog(read_from, Side.SUPABASE))) is not False
        try:
            instead: httpx.Response = yield Send(Side.SUPABASE, request, is_streamed=is_streamed)
        except httpx.TransportError:
            if isinstance(failure, httpx.Response):
                return mark(failure, Answer(Side.ISOBASE, name, stage)), Side.ISOBASE
            if failure is not None:
                raise failure from None
            raise
        self.metrics.add("fallback_reads", name)
        self.tell(Event("fallback_read", name, {"why": why, "is_behind": is_behind}))
        told = Answer(Side.SUPABASE, name, stage, is_fallback=True, is_behind=is_behind)
        return mark(instead, told), Side.SUPABASE


def _compare(shadow: ShadowReads, request: httpx.Request, call: Call, answer: httpx.Response, answering: Side) -> None:
    """Have lists and facts compared as they were answered; of a download, what both sides tell of the object."""
    if call.operation in _TOLD_AS_JSON:
        content = request.content if call.method == "POST" else None
        shadow.answered(request, answer, call.capability, answering, content=content)
        return
    if call.operation not in ("object", "render") or answer.status_code >= 400:
        return
    base, _, path = str(request.url.copy_with(query=None)).partition("/storage/v1/")
    access = "public/" if "/public/" in f"/{path}" else ""
    name = quote(call.object_name, safe="/")
    bucket = quote(call.capability.name, safe="")
    headers = {name: request.headers[name] for name in ("apikey", "authorization") if name in request.headers}
    facts = httpx.Request("GET", f"{base}/storage/v1/object/info/{access}{bucket}/{name}", headers=headers)
    shadow.answered(facts, None, call.capability, answering)
