"""Where a request goes: straight to one side, or through a protocol that asks both.

``Router.way`` is asked for every request; in the stages ``off`` and ``complete`` it gives a ``Straight`` after two
look-ups, else a generator that the transport drives.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx

from isobase_adapter.answers import Answer
from isobase_adapter.contracts import Event
from isobase_adapter.http.addresses import Addresses
from isobase_adapter.http.classify import Call, FamilyName, classify
from isobase_adapter.http.deciding import Decider
from isobase_adapter.http.families import Family
from isobase_adapter.http.reads import Reads
from isobase_adapter.http.refusals import refusal
from isobase_adapter.http.rpcs import Rpcs
from isobase_adapter.http.writes import RowWrites
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage, clamped
from isobase_adapter.steps import Flow
from isobase_adapter.storage.calls import gives_urls, named_call, needs_body

__all__ = ["Router", "Straight"]


@dataclass(slots=True, frozen=True)
class Straight:
    """The request goes to ``side`` as it is. ``answer`` is said with the response; None for foreign URLs."""

    side: Side
    answer: Answer | None = None
    done: Callable[[], None] | None = None
    """Called when the side has answered."""


FOREIGN = Straight(Side.SUPABASE)
REDIRECTED = Straight(Side.ISOBASE)
MOST_KEPT = 10_000
STRAIGHT_STAGES = {Stage.OFF: Side.SUPABASE, Stage.COMPLETE: Side.ISOBASE}


class InFlight:
    """Counts the writes on their way by the number of the flags' change that they were sent under, so that a client can
    say which change all of its writes act upon. Any thread may count.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[int, int] = {}

    def begin(self, version: int) -> Callable[[], None]:
        """One more; gives what ends it."""
        counts = self._counts
        with self._lock:
            counts[version] = counts.get(version, 0) + 1

        def done() -> None:
            with self._lock:
                counts[version] -= 1
                if not counts[version]:
                    counts.pop(version, None)

        return done

    def oldest(self, now: int) -> int:
        """The number that the oldest write on its way was sent under; ``now`` where there is none."""
        with self._lock:
            return min((*self._counts, now))


class Router:
    """Decides for one client."""

    def __init__(
        self,
        addresses: Addresses,
        decider: Decider,
        reads: Reads,
        writes: RowWrites,
        rpcs: Rpcs,
        families: Mapping[FamilyName, Family],
        tell: Callable[[Event], None],
        version: Callable[[], int],
        is_heard: Callable[[], bool] = lambda: True,
    ) -> None:
        """Take the parts.

        version: gives the number of the flags' change that is acted upon. is_heard: whether the flags were heard of the
        control store itself; writes that no outbox fences wait for that.
        """
        self._is_heard = is_heard
        self._addresses = addresses
        self._decider = decider
        self._reads = reads
        self._writes = writes
        self._rpcs = rpcs
        self._version = version
        self._families = families
        self._tell = tell
        self._straights: dict[tuple[Side, str, Stage], Straight] = {}
        self.in_flight = InFlight()

    def way(self, request: httpx.Request) -> Straight | Flow[httpx.Response]:
        """Say where a request goes. Raises nothing: what must be refused becomes an answer."""
        place = self._addresses.place(request.url)
        if place is None:
            return FOREIGN
        if place[0] is Side.ISOBASE:
            return REDIRECTED
        call = classify(request.method, place[1], request.headers)
        if call.family is FamilyName.STORAGE and needs_body(call) and isinstance(request.stream, httpx.ByteStream):
            call = named_call(call, request.content)
        if call.is_read:
            return self._decided(request, call)[0]
        # Counted before it is decided: what this client says that it acts upon is then never newer than this write.
        done = self.in_flight.begin(self._version())
        try:
            way, stage = self._decided(request, call)
        except BaseException:
            done()
            raise
        if stage in STRAIGHT_STAGES and not self._is_heard():
            done()
            return refused(
                refusal(
                    "MIGRATION_FLAGS_UNSURE",
                    "This client knows its flags from a file alone, and a write to one side might be lost",
                    details=f"{call.capability} was in stage {stage} when the control store was last heard",
                    hint="It goes on as soon as the control store answers; other stages go on meanwhile.",
                )
            )
        if isinstance(way, Straight):
            return Straight(way.side, way.answer, done)
        if stage in STRAIGHT_STAGES:
            return counted(way, done)
        done()  # the outbox fences it from here on
        return way

    def _decided(self, request: httpx.Request, call: Call) -> tuple[Straight | Flow[httpx.Response], Stage]:
        def user_of() -> str | None:
            return self._addresses.user_of(request)

        governing, rule = self._rpcs.governing(call) if call.operation == "rpc" else (call.capability, None)
        acted = self._decider.acted(governing, user_of)
        stage = clamped(acted.stage, acted.writer.side)
        if call.family is FamilyName.REST:
            embeds = self._reads.relations(request, call)
            is_sure = call.operation != "rpc" or not self._rpcs.may_write_elsewhere(call, rule, stage)
            if not embeds and stage in STRAIGHT_STAGES and is_sure:
                return self._straight(STRAIGHT_STAGES[stage], call, stage), stage
            if call.operation == "rpc":
                return self._rpcs.flow(request, call, governing, rule, acted, embeds, user_of), stage
            if call.is_read:
                return self._reads.flow(request, call, acted, embeds, user_of), stage
            return self._writes.flow(request, call, acted, embeds, user_of), stage
        if stage in STRAIGHT_STAGES and not (stage is Stage.COMPLETE and gives_urls(call)):
            return self._straight(STRAIGHT_STAGES[stage], call, stage), stage
        family = self._families.get(call.family)
        if family is not None:
            return family.flow(request, call, acted), stage
        if call.is_read or call.family in (FamilyName.FUNCTIONS, FamilyName.REALTIME):
            # Functions run in one place, and broadcasts leave from one side.
            return self._straight(acted.read_route.answers, call, stage), stage
        self._tell(Event("refused", str(call.capability), {"path": call.path, "stage": stage}))
        refusing = refused(
            refusal(
                "MIGRATION_UNSUPPORTED",
                f"{call.method} /{call.path} cannot be done while {call.capability} is in stage {stage}",
                hint="Take the capability to off or complete, or leave this call out until then.",
            )
        )
        return refusing, stage

    def _straight(self, side: Side, call: Call, stage: Stage) -> Straight:
        key = (side, str(call.capability), stage)
        kept = self._straights.get(key)
        if kept is None:
            if len(self._straights) > MOST_KEPT:
                self._straights.clear()
            kept = self._straights[key] = Straight(side, Answer(side, key[1], stage))
        return kept


def counted(flow: Flow[httpx.Response], done: Callable[[], None]) -> Flow[httpx.Response]:
    """Do what ``flow`` does, and then call ``done``, however it ends."""
    try:
        return (yield from flow)
    finally:
        done()


def refused(response: httpx.Response) -> Flow[httpx.Response]:
    """Answer without asking anybody."""
    yield from ()
    return response
