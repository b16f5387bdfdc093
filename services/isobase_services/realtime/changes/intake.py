"""Where the row changes of one process come from: its own stream when it leads, else the process that does.

Asked for while somebody listens, and for ``retention_s`` after that, so that an idle Isobase holds no slot for long. A stream
that fails is opened again with growing delays. When delivery is slower than the log, reading pauses.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import psycopg2

from isobase_platform.errors import IsobaseError
from isobase_services.realtime.changes.assembly import Assembler
from isobase_services.realtime.changes.catalog import Catalog
from isobase_services.realtime.changes.figures import ChangeFigures
from isobase_services.realtime.changes.history import History
from isobase_services.realtime.changes.position import START, Point, Position
from isobase_services.realtime.changes.relay import Relay
from isobase_services.realtime.changes.relay_format import Standing
from isobase_services.realtime.changes.slot_keeper import SlotKeeper, WatchEnd
from isobase_services.realtime.changes.slots import NotLeader
from isobase_services.realtime.changes.stream import LogStream, StreamRefused, StreamSink

__all__ = ["Intake"]

RECONNECT_DELAYS_S = (0.2, 0.5, 1.0, 2.0)
LEAD_ATTEMPT_INTERVAL_S = 1.0
VACANT_ATTEMPTS = 20
VACANT_ATTEMPT_INTERVAL_S = 0.1
"""When a leader has gone its session may take a moment to end."""
LASTING_REFUSAL_DELAY_S = 30.0
WANTED_ELSEWHERE_CHECK_S = 5.0
FRUITLESS_READINGS = 5
"""How often a permanent slot is read again that ends in front of what was there before, at the same place every time; then it
is given up. A message that the server cannot decode, or that this process cannot read, would else stand there for ever, and
hold the log back up to ``max_lag_bytes``."""

_log = logging.getLogger("isobase.realtime")

OPERATOR_INTERVENTION = "57P"
"""What SQLSTATEs begin with when a session was ended by an administrator, or by the server's stop or crash."""


@dataclass(slots=True)
class _Fruitless:
    """Streams that ended before they were up to date: so many in a row that read no further than ``furthest``."""

    epoch: str | None = None
    furthest: Point = START
    ends: int = 0


class Intake:
    """One per process."""

    def __init__(
        self,
        slots: SlotKeeper,
        catalog: Catalog,
        history: History,
        relay: Relay,
        figures: ChangeFigures,
    ) -> None:
        self.history = history
        history.pipeline.on_room = self._has_room
        self._slots = slots
        self._catalog = catalog
        self._relay = relay
        self._figures = figures
        self._assembler = Assembler(START)
        self._live_at: Point | None = None
        self._fruitless = _Fruitless()
        self._was_ended_from_outside = False
        self._stream: LogStream | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._is_wanted = False
        self._is_closed = False
        self._linger: asyncio.TimerHandle | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._vacant_attempts = 0
        self._refusal: StreamRefused | None = None
        self._reported: str | None = None

    # -- demand -------------------------------------------------------------------------------------------------------

    def demand(self) -> None:
        """Somebody listens: get the log if it does not come yet."""
        self._is_wanted = True
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._keeper is None and not self._is_closed and self._stopping is None:
            self.history.pipeline.start()
            self._relay.follow()
            self._keeper = asyncio.create_task(self._keep(), name="row change stream")

    def release(self) -> None:
        """Nobody listens any more: stop after a while."""
        self._is_wanted = False
        if self._linger is None and self._keeper is not None:
            self._linger = asyncio.get_running_loop().call_later(self.history.log.max_age_s, self._give_up)

    async def live(self) -> None:
        """Wait until this process is up to date with the log.

        Raises ``StreamRefused`` as long as the server refuses it for a lasting reason.
        """
        if self._refusal is not None:
            raise self._refusal
        await self.history.live()

    @property
    def is_idle(self) -> bool:
        """True while this process neither reads the log nor wants to."""
        return self._keeper is None

    @property
    def backend_pid(self) -> int | None:
        """The process id of the server's sender, or None while this process does not lead."""
        return self._stream.pid if self._stream is not None else None

    def _give_up(self) -> None:
        self._linger = None
        if self._is_wanted or self._stopping is not None:
            return
        if self._stream is not None and self._relay.is_wanted_elsewhere:
            self._linger = asyncio.get_running_loop().call_later(WANTED_ELSEWHERE_CHECK_S, self._give_up)
            return
        self._stopping = asyncio.create_task(self._stop_and_drop(), name="row change end")

    async def _stop_and_drop(self) -> None:
        # While the bus is away another process may want the slot: it takes over, or the slot is swept later.
        drops = self._stream is not None and self._relay.hears_others
        await self._stop()
        if drops:
            await self._slots.drop()
        self._stopping = None
        if self._is_wanted:
            self.demand()

    async def _stop(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        self._lose_stream()
        self._relay.stop()
        await self.history.pipeline.stop()
        self.history.forget()
        self._refusal = None

    async def close(self) -> None:
        """Stop for good. A permanent slot stays, for whoever comes next."""
        self._is_closed = True
        self._is_wanted = False
        if self._linger is not None:
            self._linger.cancel()
        if self._stopping is not None:
            await asyncio.gather(self._stopping, return_exceptions=True)
        await self._stop()

    # -- leading ------------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        failures = 0
        sink = StreamSink(self._take, self._progress, self._released_lsn, self._end)
        while True:
            self._ended.clear()
            try:
                stream = await self._slots.open(sink)
            except NotLeader:
                failures = 0
                await self._stand_by()
                continue
            except IsobaseError as error:
                self._report(error)
                if isinstance(error, StreamRefused) and error.is_lasting:
                    self._refusal = error
                    self.history.refuse(error)
                    await asyncio.sleep(LASTING_REFUSAL_DELAY_S)
                    self._refusal = None
                else:
                    await asyncio.sleep(RECONNECT_DELAYS_S[min(failures, len(RECONNECT_DELAYS_S) - 1)])
                    failures += 1
                continue
            self._reported = None
            failures = 0
            self._begin(stream)
            loss: str | None = None
            match await self._watched(stream):
                case WatchEnd.OUTGROWN:
                    loss = "outgrown"
                case None if self._is_stuck(stream):
                    loss = "unreadable"
            self._lose_stream()
            if loss is not None:
                self._figures.slot_dropped(loss)
                await self._slots.drop()
            self._relay.follow()
            await asyncio.sleep(RECONNECT_DELAYS_S[min(self._fruitless.ends, len(RECONNECT_DELAYS_S) - 1)])

    def _is_stuck(self, stream: LogStream) -> bool:
        """A stream ended: True when its slot ended ``FRUITLESS_READINGS`` times in a row at the same place."""
        facts, fruitless, head = stream.facts, self._fruitless, self._assembler.head
        if self._live_at is None or not facts.is_permanent:
            self._fruitless = _Fruitless()
            return False
        if self._was_ended_from_outside:
            return False  # says nothing about the log: the place may well be readable
        if facts.epoch != fruitless.epoch or head > fruitless.furthest:
            self._fruitless = _Fruitless(facts.epoch, head, 1)
            return False
        fruitless.ends += 1
        if fruitless.ends < FRUITLESS_READINGS:
            return False
        _log.error(
            "the replication slot cannot be read beyond a place in the log and is made anew",
            extra={"slot": facts.name, "position": str(Position(facts.epoch, fruitless.furthest))},
        )
        return True

    async def _watched(self, stream: LogStream) -> WatchEnd | None:
        """Wait until the stream ended (None), or until it must be ended."""
        watching = asyncio.create_task(self._slots.watch(stream.facts.name), name="row change slot")
        ending = asyncio.create_task(self._ended.wait(), name="row change stream end")
        try:
            await asyncio.wait({watching, ending}, return_when=asyncio.FIRST_COMPLETED)
            return None if self._ended.is_set() else watching.result()
        finally:
            watching.cancel()
            ending.cancel()
            await asyncio.gather(watching, ending, return_exceptions=True)

    async def _stand_by(self) -> None:
        """Another process leads: wait until it may not any more."""
        self._relay.follow()
        if self._vacant_attempts:
            self._vacant_attempts -= 1
            await asyncio.sleep(VACANT_ATTEMPT_INTERVAL_S)
            return
        try:
            async with asyncio.timeout(LEAD_ATTEMPT_INTERVAL_S):
                await self._relay.vacant.wait()
        except TimeoutError:
            return
        self._relay.vacant.clear()
        self._vacant_attempts = VACANT_ATTEMPTS

    def _begin(self, stream: LogStream) -> None:
        """A stream was opened: go on where this process was, or begin anew."""
        facts = stream.facts
        start = Point(facts.start_lsn, 0)
        history = self.history
        if history.log.epoch == facts.epoch and start <= history.log.head:
            _log.info("this process reads the log of row changes, going on where it was")
        else:
            _log.info("this process reads the log of row changes", extra={"slot": facts.name})
            # What was committed before this process listened concerns nobody here; after a loss, all that is there does.
            history.begin(facts.epoch, start, start if history.is_begun else Point(facts.begun_lsn, 0))
        self._assembler = Assembler(start)
        self._live_at = Point(facts.live_lsn, 0)
        self._catalog.forget_all()
        self._stream = stream
        self._figures.leads(is_leader=True)
        self._relay.lead(self._standing)
        stream.start()
        self._progress(facts.start_lsn)

    def _standing(self) -> Standing:
        assert self._stream is not None
        log, facts = self.history.log, self._stream.facts
        now = max(log.head, Point(facts.begun_lsn, 0))
        return Standing(facts.live_lsn, facts.epoch, log.floor, log.last_change, log.head, now, self._live_at is None)

    def _report(self, error: IsobaseError) -> None:
        """Log a reason once, not at every attempt."""
        if self._reported != error.message:
            self._reported = error.message
            _log.error("row changes cannot be streamed", extra={"reason": error.message, "code": error.code})

    def _end(self, error: Exception) -> None:
        code = error.pgcode if isinstance(error, psycopg2.Error) else None
        self._was_ended_from_outside = code is not None and code.startswith(OPERATOR_INTERVENTION)
        _log.warning("the stream of row changes was lost", extra={"reason": " ".join(str(error).split())})
        self._ended.set()

    def _lose_stream(self) -> None:
        if self._stream is None:
            return
        self._live_at = None
        self._stream.close()
        self._stream = None
        self._figures.leads(is_leader=False)
        self.history.stand_still()
        self._relay.resign()

    # -- from the stream ----------------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        """One message of the stream. ``MessageCorrupt`` and ``GapFound`` end it."""
        item = self._assembler.take(data)
        if item is None:
            return
        fresh = self.history.accept(item)
        if fresh is not None:
            self._relay.share(fresh)
            if self.history.pipeline.is_full and self._stream is not None:
                self._stream.pause()

    def _progress(self, lsn: int) -> None:
        """The server has nothing before ``lsn`` that did not come."""
        point = self._assembler.advance(lsn)
        if point is not None:
            self.history.advance(point)
        if self._live_at is not None and self._assembler.head >= self._live_at:
            self._live_at = None
            self.history.go_live()
            self._relay.beat()

    def _released_lsn(self) -> int:
        log, stream = self.history.log, self._stream
        return log.released_lsn if stream is None else log.released_lsn_within(stream.facts.max_held_bytes)

    def _has_room(self) -> None:
        """The pipeline takes slices again."""
        if self._stream is not None:
            self._stream.resume()
        else:
            self._relay.has_room()
