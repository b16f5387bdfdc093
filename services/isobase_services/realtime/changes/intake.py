"""The row changes of one process: asks for the log while somebody listens, keeps the ring, feeds the pipeline in order.

The stream starts with the first joined channel and stops ``retention_s`` after the last one, so that an idle Isobase holds no
slot for long. A stream that fails is opened again with growing delays. When delivery is slower than the log, reading pauses.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from isobase_platform.errors import IsobaseError
from isobase_services.realtime.changes.assembly import Assembler
from isobase_services.realtime.changes.catalog import Catalog
from isobase_services.realtime.changes.changelog import ChangeLog, Slice
from isobase_services.realtime.changes.pgoutput import Insert, decode
from isobase_services.realtime.changes.pipeline import Pipeline
from isobase_services.realtime.changes.position import START, Point, Position
from isobase_services.realtime.changes.rows import Row
from isobase_services.realtime.changes.slots import NotLeader
from isobase_services.realtime.changes.stream import LogStream, StreamRefused, StreamSink

__all__ = ["Intake", "StreamOpener"]

RECONNECT_DELAYS_S = (0.2, 0.5, 1.0, 2.0)
LEAD_ATTEMPT_DELAY_S = 1.0
LASTING_REFUSAL_DELAY_S = 30.0

StreamOpener: TypeAlias = Callable[[StreamSink], Awaitable[LogStream]]
"""Opens a stream. Raises ``NotLeader``, ``StreamRefused`` or ``Unavailable``."""
StreamEnder: TypeAlias = Callable[[], Awaitable[None]]
"""Drops the slot once nobody wants changes any more."""

_log = logging.getLogger("isobase.realtime")


class Intake:
    """One per process. ``on_lost`` is called when changes may have been missed and the stream is live again.

    Parameters: ``wants`` tells by schema and table whether anybody listens; ``deliver`` takes a batch of rows;
    ``on_message_row`` gets each new row of ``realtime.messages`` by column name; ``drop_slots`` removes slots that nobody
    reads.
    """

    def __init__(
        self,
        open_stream: StreamOpener,
        catalog: Catalog,
        log: ChangeLog,
        *,
        wants: Callable[[str, str], bool],
        deliver: Callable[[Sequence[Row]], Awaitable[None]],
        on_message_row: Callable[[dict[str, str | None]], None],
        drop_slots: StreamEnder,
    ) -> None:
        self.on_lost: Callable[[], None] = lambda: None
        self.log = log
        self._open_stream = open_stream
        self._catalog = catalog
        self._on_message_row = on_message_row
        self._drop_slots = drop_slots
        self._pipeline = Pipeline(catalog, wants=wants, deliver=deliver, on_room=self._resume)
        self._assembler = Assembler(START)
        self._deliver_after = START
        self._live_at: Point | None = None
        self._is_live = False
        self._has_lost = False
        self._stream: LogStream | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._is_wanted = False
        self._is_closed = False
        self._linger: asyncio.TimerHandle | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._waiters: set[asyncio.Future[None]] = set()
        self._refusal: StreamRefused | None = None
        self._reported: str | None = None

    # -- demand -------------------------------------------------------------------------------------------------------

    def demand(self) -> None:
        """Somebody listens: start the stream if it does not run."""
        self._is_wanted = True
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._keeper is None and not self._is_closed:
            self._pipeline.start()
            self._keeper = asyncio.create_task(self._keep(), name="row change stream")

    def release(self) -> None:
        """Nobody listens any more: stop after a while."""
        self._is_wanted = False
        if self._linger is None and self._keeper is not None:
            self._linger = asyncio.get_running_loop().call_later(self.log.max_age_s, self._give_up)

    async def live(self) -> None:
        """Wait until the stream runs. Raises ``StreamRefused`` as long as the server refuses it for a lasting reason."""
        if self._is_live:
            return
        if self._refusal is not None:
            raise self._refusal
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    @property
    def backend_pid(self) -> int | None:
        """The process id of the server's sender, or None while this process reads no stream."""
        return self._stream.pid if self._stream is not None else None

    @property
    def position(self) -> Position:
        """Where this process is: everything up to it was handed on."""
        return Position(self.log.epoch or "none", max(self._pipeline.point, self._deliver_after))

    def _give_up(self) -> None:
        self._linger = None
        if not self._is_wanted and self._stopping is None:
            self._stopping = asyncio.create_task(self._stop_and_drop(), name="row change end")

    async def _stop_and_drop(self) -> None:
        await self._stop()
        await self._drop_slots()
        self._stopping = None
        if self._is_wanted:
            self.demand()

    async def _stop(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        self._lose_stream()
        await self._pipeline.stop()
        self._refusal = None
        self.log.reset("none", START)

    async def close(self) -> None:
        """Stop for good. A permanent slot stays, for whoever comes next."""
        self._is_closed = True
        self._is_wanted = False
        if self._linger is not None:
            self._linger.cancel()
        if self._stopping is not None:
            await asyncio.gather(self._stopping, return_exceptions=True)
        await self._stop()

    # -- the stream's life --------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        attempt = 0
        sink = StreamSink(self._take, self._progress, self._released_lsn, self._end)
        while True:
            self._ended.clear()
            try:
                stream = await self._open_stream(sink)
            except NotLeader:
                await asyncio.sleep(LEAD_ATTEMPT_DELAY_S)
                continue
            except StreamRefused as error:
                self._report(error)
                if error.is_lasting:
                    self._refusal = error
                    self._wake(error)
                    await asyncio.sleep(LASTING_REFUSAL_DELAY_S)
                    self._refusal = None
                else:
                    await asyncio.sleep(RECONNECT_DELAYS_S[min(attempt, len(RECONNECT_DELAYS_S) - 1)])
                    attempt += 1
                continue
            except IsobaseError as error:
                self._report(error)
                await asyncio.sleep(RECONNECT_DELAYS_S[min(attempt, len(RECONNECT_DELAYS_S) - 1)])
                attempt += 1
                continue
            self._reported = None
            attempt = 0
            self._begin(stream)
            await self._ended.wait()
            self._lose_stream()
            await asyncio.sleep(RECONNECT_DELAYS_S[0])

    def _begin(self, stream: LogStream) -> None:
        """A stream was opened: go on where this process was, or begin anew."""
        facts = stream.facts
        start = Point(facts.start_lsn, 0)
        if self.log.epoch == facts.epoch and start <= self.log.head:
            _log.info("the stream of row changes goes on")
        else:
            self._has_lost = self.log.epoch not in (None, "none")
            self.log.reset(facts.epoch, start)
            # What was committed before this process read the log concerns nobody here.
            self._deliver_after = Point(facts.live_lsn, 0)
        self._assembler = Assembler(start)
        self._live_at = Point(facts.live_lsn, 0)
        self._catalog.forget_all()
        self._stream = stream
        stream.start()
        self._progress(facts.start_lsn)

    def _wake(self, error: StreamRefused | None) -> None:
        for waiter in self._waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

    def _report(self, error: IsobaseError) -> None:
        """Log a reason once, not at every attempt."""
        if self._reported != error.message:
            self._reported = error.message
            _log.error("row changes cannot be streamed", extra={"reason": error.message, "code": error.code})

    def _end(self, error: Exception) -> None:
        _log.warning("the stream of row changes was lost", extra={"reason": " ".join(str(error).split())})
        self._ended.set()

    def _lose_stream(self) -> None:
        self._is_live = False
        self._live_at = None
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    # -- from the stream to ring and pipeline -------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        """One message of the stream. ``MessageCorrupt`` and ``GapFound`` end it."""
        item = self._assembler.take(data)
        if item is not None:
            self._accept(item)

    def _progress(self, lsn: int) -> None:
        """The server has nothing before ``lsn`` that did not come."""
        point = self._assembler.advance(lsn)
        if point is not None:
            self.log.advance(point)
        self.log.evict(time.monotonic())
        if self._live_at is not None and self._assembler.head >= self._live_at:
            self._live_at = None
            # What came before is handed on first: nobody who subscribes now is told of what was before.
            self._pipeline.between(self._go_live)

    def _released_lsn(self) -> int:
        return self.log.released_lsn

    def _accept(self, item: Slice) -> None:
        fresh = self.log.append(item, time.monotonic())
        if fresh is None or fresh.last <= self._deliver_after:
            return
        fresh = fresh.beyond(self._deliver_after)
        for entry in fresh.entries:
            relation = entry.table.relation
            if relation.table == "messages" and relation.schema == "realtime" and entry.data[:1] == b"I":
                change = decode(entry.data)
                assert isinstance(change, Insert)
                cells = zip(relation.columns, change.new, strict=True)
                self._on_message_row(
                    {column.name: cell for column, cell in cells if cell is None or isinstance(cell, str)}
                )
        assert self.log.epoch is not None
        self._pipeline.offer(fresh, self.log.epoch)
        if self._pipeline.is_full and self._stream is not None:
            self._stream.pause()

    def _resume(self) -> None:
        if self._stream is not None:
            self._stream.resume()

    def _go_live(self) -> None:
        if self._stream is None:
            return
        self._is_live = True
        self._wake(None)
        if self._has_lost:
            self._has_lost = False
            self.on_lost()
