"""How a write of rows goes while both sides are written: plan, let in, send first, tell what changed, carry, render."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from isobase_adapter.answers import Answer, mark
from isobase_adapter.capabilities import Capability
from isobase_adapter.contracts import CallRecord, Event, Snapshot, Writer
from isobase_adapter.http.classify import Call
from isobase_adapter.http.deciding import Decider, UserOf
from isobase_adapter.http.families import Acted
from isobase_adapter.http.keyed_writes import KeyedWrites, outcome_of_answer
from isobase_adapter.http.limits import lease_of
from isobase_adapter.http.queries import parts_of
from isobase_adapter.http.reads import SplitCall, side_of_written
from isobase_adapter.http.relations import Relation, Relations
from isobase_adapter.http.rest_writes import WritePlan, is_denied, plan_write
from isobase_adapter.http.write_fallback import WriteFallback
from isobase_adapter.metrics import Metrics
from isobase_adapter.performing import Writing, write_twice
from isobase_adapter.sides import Side
from isobase_adapter.stages import WriteRoute
from isobase_adapter.steps import Flow, OnRuntime, Send
from isobase_adapter.writing import DualWrite, Judgement, Outcome

__all__ = ["RowWrites", "record_of"]


def record_of(request: httpx.Request, call: Call) -> CallRecord:
    """Say what a call was, for operators: names of its parameters, no values."""
    names = sorted({name for name, _ in parts_of(request.url)})
    return CallRecord(call.method, call.path, {"parameters": names})


@dataclass(slots=True, frozen=True)
class RowWrites:
    """Writes rows for one client.

    writing: what performs the protocol. load: reads a relation from the catalog, on the runtime.
    """

    decider: Decider
    relations: Relations
    writing: Callable[[], Writing]
    load: Callable[[str], Coroutine[Any, Any, None]]
    metrics: Metrics
    tell: Callable[[Event], None]
    fallback: WriteFallback
    keyed: KeyedWrites

    def flow(
        self, request: httpx.Request, call: Call, acted: Acted, embeds: Sequence[Capability], user_of: UserOf
    ) -> Flow[httpx.Response]:
        """Write, and return the answer that the app asked for."""
        resource, name = call.capability.name, str(call.capability)
        first = acted.write_route.first
        try:
            side_of_written((call.capability, acted), [(each, self.decider.acted(each, user_of)) for each in embeds])
        except SplitCall as split:
            self.tell(Event("split_call", name, {"path": call.path}))
            return split.answer()
        if not acted.write_route.carries:
            response = yield Send(first, request, is_streamed=True)
            return mark(response, Answer(first, name, acted.stage))
        relation = self.relations.known(resource)
        if relation is None:
            yield OnRuntime(lambda: self.load(resource))
            relation = self.relations.known(resource) or Relation(resource)
        plan = plan_write(request, relation)
        self.metrics.add("writes", name)
        write = DualWrite(
            call.capability,
            record_of(request, call),
            plan.things,
            lambda snapshot: self.route(snapshot, call.capability, user_of),
            lease_of(request),
        )

        def now() -> tuple[WriteRoute, Writer]:
            decided = self.decider.acted(call.capability, user_of)
            return decided.write_route, decided.writer

        sender = _Sender(
            plan, self.keyed, lambda: now()[1].epoch, lambda: self.fallback.lost(call.capability, now()[0])
        )

        def attempt() -> Flow[httpx.Response]:
            sender.is_original, sender.unread = False, None
            return (yield from write_twice(write, self.writing(), send_first=sender.send, judge=sender.judge))

        response = yield from self.fallback.guarded(call.capability, now, attempt)
        side = sender.side or first
        rendered = plan.render(response) if not sender.is_original else response
        return mark(rendered, Answer(side, name, acted.stage, is_fallback=side is not first))

    def route(self, snapshot: Snapshot, capability: Capability, user_of: UserOf) -> WriteRoute:
        """Give the route of a write under these flags."""
        return self.decider.decided(snapshot, capability, user_of).write_route


@dataclass(slots=True)
class _Sender:
    """Sends one write, and reads its answer."""

    plan: WritePlan
    keyed: KeyedWrites
    epoch: Callable[[], int]
    on_lost: Callable[[], None]
    is_original: bool = False
    side: Side | None = None
    unread: WritePlan | None = None
    """The insert that was sent, of rows that the caller may not read; their keys were made for it."""

    def send(self, side: Side) -> Flow[httpx.Response]:
        self.side = side
        epoch = self.epoch()

        def is_current() -> bool:
            return self.epoch() == epoch

        response = yield from self.keyed.sent(side, self.plan.request, is_current, self.on_lost)
        if self.plan.is_augmented and is_denied(response) and outcome_of_answer(response) is Outcome.REFUSED:
            # Nothing happened. Whoever may write but not read what he wrote is asked for no keys: they are made before.
            self.is_original = True
            self.unread = self.plan.with_made_keys()
            if self.unread is not None:
                response = yield from self.keyed.sent(side, self.unread.request, is_current, self.on_lost)
                if not is_denied(response) or outcome_of_answer(response) is not Outcome.REFUSED:
                    return response
                self.unread = None  # He may not write the key either.
            response = yield from self.keyed.sent(side, self.plan.original, is_current, self.on_lost)
        return response

    def judge(self, response: httpx.Response) -> Flow[Judgement]:
        yield from ()  # a flow that asks for nothing
        outcome = outcome_of_answer(response)
        if outcome is not Outcome.TAKEN:
            return Judgement(outcome)
        return Judgement(outcome, (self.unread or self.plan).changed(response, is_original=self.is_original))
