"""How a read of the data API goes: which side may answer all of its relations, and who answers when that side is down."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from isobase_adapter.answers import Answer, mark
from isobase_adapter.breakers import Breakers, CallKind, is_unavailable
from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.contracts import Event
from isobase_adapter.http.classify import Call
from isobase_adapter.http.deciding import Decider, UserOf
from isobase_adapter.http.families import Acted
from isobase_adapter.http.queries import parameter
from isobase_adapter.http.refusals import refusal
from isobase_adapter.http.relations import Relations
from isobase_adapter.metrics import Metrics
from isobase_adapter.shadow.asking import ShadowReads
from isobase_adapter.sides import Side
from isobase_adapter.stages import ReadRoute, Stage, clamped
from isobase_adapter.steps import ELAPSED_EXTENSION, Flow, OnRuntime, Send

__all__ = ["Reads", "SplitCall", "common_route", "side_of_written"]

ORDER = list(Stage)


class SplitCall(Exception):
    """A call's relations are answered by different sides. ``capabilities``: which must move together."""

    def __init__(self, at_isobase: Sequence[str], at_supabase: Sequence[str]) -> None:
        super().__init__("the call's relations are answered by different sides")
        self.at_isobase = tuple(at_isobase)
        self.at_supabase = tuple(at_supabase)

    def answer(self) -> httpx.Response:
        """Say so to the app."""
        return refusal(
            "MIGRATION_SPLIT",
            "The call reads relations that are answered by different sides while they move",
            details=f"only at Isobase: {', '.join(self.at_isobase)}; not yet at Isobase: {', '.join(self.at_supabase)}",
            hint="Move these together: give them one flag (a pattern), or the same stage.",
        )


def common_route(first: tuple[Capability, Acted], others: Sequence[tuple[Capability, Acted]]) -> ReadRoute:
    """Say which side answers a call over several relations: one that has all of them.

    Isobase may answer only where every relation is at or past ``live``, Supabase only where none is ``complete``. Raises
    ``SplitCall``.
    """
    stages = [(capability, clamped(acted.stage, acted.writer.side)) for capability, acted in [first, *others]]
    behind = [str(capability) for capability, stage in stages if ORDER.index(stage) < ORDER.index(Stage.LIVE)]
    gone = [str(capability) for capability, stage in stages if stage is Stage.COMPLETE]
    if behind and gone:
        raise SplitCall(gone, behind)
    route = first[1].read_route
    side = Side.SUPABASE if behind else Side.ISOBASE if gone else route.answers
    may_fall_back = all(stage is Stage.LIVE for _, stage in stages)
    # Both have all of it only where both are written.
    compares = any(stage is Stage.SHADOW_READ for _, stage in stages) and all(
        stage not in (Stage.OFF, Stage.COMPLETE) for _, stage in stages
    )
    return ReadRoute(side, compares=compares and side is Side.SUPABASE, falls_back=may_fall_back)


def side_of_written(first: tuple[Capability, Acted], others: Sequence[tuple[Capability, Acted]]) -> Side:
    """Say which side a write goes to whose answer embeds other relations: they have to be there as well.

    Raises ``SplitCall``.
    """
    side = first[1].write_route.first
    stages = [(str(each), clamped(acted.stage, acted.writer.side)) for each, acted in others]
    behind = [name for name, stage in stages if ORDER.index(stage) < ORDER.index(Stage.LIVE)]
    gone = [name for name, stage in stages if stage is Stage.COMPLETE]
    if side is Side.ISOBASE and behind:
        raise SplitCall([str(first[0])], behind)
    if side is Side.SUPABASE and gone:
        raise SplitCall(gone, [str(first[0])])
    return side


@dataclass(slots=True, frozen=True)
class Reads:
    """Reads rows for one client.

    fallback_timeout_s: the most seconds that each step of a read at Isobase may take before Supabase is asked.
    """

    decider: Decider
    relations_by_name: Relations
    breakers: Breakers
    metrics: Metrics
    tell: Callable[[Event], None]
    fallback_timeout_s: float
    backlog: Callable[[frozenset[Capability], Side], Coroutine[Any, Any, bool | None]]
    """Says whether a side lacks writes of these; None where nobody can tell."""
    shadow: ShadowReads | None = None
    """Compares answers in stage ``shadow_read``."""

    def relations(self, request: httpx.Request, call: Call) -> tuple[Capability, ...]:
        """Give the capabilities of what a call embeds."""
        query = request.url.query
        if b"(" not in query and b"%28" not in query:
            return ()
        select = parameter(request.url, "select")
        if select is None or "(" not in select:
            return ()
        return self.relations_by_name.embedded(call.schema, call.capability.name.partition(".")[2], select)

    def flow(
        self,
        request: httpx.Request,
        call: Call,
        acted: Acted,
        embeds: Sequence[Capability],
        user_of: UserOf,
    ) -> Flow[httpx.Response]:
        """Read, and return the answer with the word on who gave it."""
        others = [(each, self.decider.acted(each, user_of)) for each in embeds]
        try:
            route = common_route((call.capability, acted), others)
        except SplitCall as split:
            self.tell(Event("split_call", str(call.capability), {"path": call.path}))
            return split.answer()
        name, stage = str(call.capability), acted.stage
        self.metrics.add("reads", name)
        compares = route.compares and call.operation != "root"
        if compares and self.shadow is not None and self.shadow.wants(request, call.capability):
            response = yield Send(route.answers, request)
            touched = [*embeds, *self._under(call, embeds)]
            content = request.content if request.method == "POST" else None
            self.shadow.answered(request, response, call.capability, route.answers, touched, content=content)
            return mark(response, Answer(route.answers, name, stage))
        if not route.falls_back or route.answers is Side.SUPABASE:
            response = yield Send(route.answers, request, is_streamed=True)
            return mark(response, Answer(route.answers, name, stage))
        read_from = frozenset([call.capability, *embeds, *self._under(call, embeds)])
        if acted.writer.side is Side.SUPABASE:
            # What was written at Supabase is carried before its caller hears of it, unless Isobase did not answer then.
            is_behind = yield OnRuntime(lambda: self.backlog(read_from, Side.ISOBASE))
            if is_behind is not False:
                response = yield Send(Side.SUPABASE, request, is_streamed=True)
                self.metrics.add("reads_at_writer", name)
                return mark(response, Answer(Side.SUPABASE, name, stage, is_fallback=True))
        return (yield from self._with_fallback(request, name, stage, read_from))

    def _under(self, call: Call, embeds: Sequence[Capability]) -> list[Capability]:
        """Give the tables under the views that a call reads."""
        found = [self.relations_by_name.known(each.name) for each in (call.capability, *embeds)]
        return [
            Capability(Kind.TABLE, resource)
            for relation in found
            if relation is not None and relation.is_view
            for resource in relation.resources
        ]

    def _with_fallback(
        self, request: httpx.Request, name: str, stage: Stage, touched: frozenset[Capability]
    ) -> Flow[httpx.Response]:
        gate = self.breakers.gate(name, Side.ISOBASE, CallKind.READS)
        failure: httpx.Response | httpx.TransportError | None = None
        why = "open breaker"
        if gate.allows():
            try:
                response = yield Send(Side.ISOBASE, request, most_step_s=self.fallback_timeout_s)
            except httpx.TransportError as error:
                gate.failed(error, self.fallback_timeout_s)
                failure, why = error, type(error).__name__
            except BaseException:
                gate.forget()
                raise
            else:
                if not gate.answered(response, response.extensions[ELAPSED_EXTENSION]):
                    return mark(response, Answer(Side.ISOBASE, name, stage))
                failure, why = response, f"status {response.status_code}"
        # Isobase may be written all the while. What somebody was told of before this read is there, or waits now; asked
        # after it, what came meanwhile would be taken for seen.
        is_behind = yield OnRuntime(lambda: self.backlog(touched, Side.SUPABASE))
        try:
            instead: httpx.Response = yield Send(Side.SUPABASE, request, is_streamed=failure is None)
        except httpx.TransportError:
            if failure is None:
                raise
            instead = httpx.Response(503)
        if failure is not None and is_unavailable(instead):
            if isinstance(failure, httpx.Response):
                return mark(failure, Answer(Side.ISOBASE, name, stage))
            raise failure
        return self._instead(instead, name, stage, why, is_behind=is_behind is not False)

    def _instead(
        self, response: httpx.Response, name: str, stage: Stage, why: str, *, is_behind: bool
    ) -> httpx.Response:
        self.metrics.add("fallback_reads", name)
        self.tell(Event("fallback_read", name, {"why": why, "is_behind": is_behind}))
        return mark(response, Answer(Side.SUPABASE, name, stage, is_fallback=True, is_behind=is_behind))
