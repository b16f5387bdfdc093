"""Keeps the stream alive while somebody listens, and feeds its changes to the pipeline in order.

The stream starts with the first joined channel and stops ``LINGER_S`` after the last one, so that an idle Isobase holds no
slot. A stream that fails is opened again with growing delays. When delivery is slower than the log, reading pauses.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from isobase_platform.errors import DatabaseError, IsobaseError, Unavailable
from isobase_services.realtime.changes.catalog import Catalog
from isobase_services.realtime.changes.pgoutput import (
    Begin,
    Change,
    Delete,
    Insert,
    MessageCorrupt,
    Relation,
    Update,
    decode,
    relation_oid_of_change,
)
from isobase_services.realtime.changes.rows import Row, build_row
from isobase_services.realtime.changes.stream import LogStream, StreamRefused

__all__ = ["Intake", "StreamOpener"]

LINGER_S = 30.0
BATCH_ROWS = 500
MAX_QUEUED_ROWS = 5_000
MAX_QUEUED_BYTES = 32 * 1024 * 1024
RECONNECT_DELAYS_S = (0.2, 1.0, 2.0, 5.0)
LASTING_REFUSAL_DELAY_S = 30.0
REFUSED_ATTEMPTS = 5
"""How often a batch is tried that the database refuses; one that finds no database is tried until it is back."""
DELIVERY_RETRY_DELAYS_S = (0.1, 0.5, 1.0, 2.0)

StreamOpener = Callable[[Callable[[bytes], None], Callable[[Exception], None]], Awaitable[LogStream]]
"""Opens a stream for the two callbacks (message, end). Raises ``StreamRefused`` or ``Unavailable``."""

_log = logging.getLogger("isobase.realtime")


@dataclass(slots=True, frozen=True)
class _Queued:
    change: Change
    relation: Relation
    commit_time_us: int
    xid: int
    size_bytes: int


class Intake:
    """One per process. ``on_recovered`` is called when a stream that was lost runs again.

    Parameters: ``wants`` tells by schema and table whether anybody listens; ``deliver`` takes a batch of rows;
    ``on_message_row`` gets each new row of ``realtime.messages`` by column name.
    """

    def __init__(
        self,
        open_stream: StreamOpener,
        catalog: Catalog,
        *,
        wants: Callable[[str, str], bool],
        deliver: Callable[[Sequence[Row]], Awaitable[None]],
        on_message_row: Callable[[dict[str, str | None]], None],
    ) -> None:
        self.on_recovered: Callable[[], None] = lambda: None
        self._open_stream = open_stream
        self._catalog = catalog
        self._wants = wants
        self._deliver = deliver
        self._on_message_row = on_message_row
        self._relations: dict[int, Relation] = {}
        self._commit_time_us = 0
        self._xid = 0
        self._queue: deque[_Queued] = deque()
        self._queued_bytes = 0
        self._has_work = asyncio.Event()
        self._stream: LogStream | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._worker: asyncio.Task[None] | None = None
        self._is_wanted = False
        self._is_closed = False
        self._linger: asyncio.TimerHandle | None = None
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
            self._keeper = asyncio.create_task(self._keep(), name="row change stream")
            self._worker = asyncio.create_task(self._work(), name="row change delivery")

    def release(self) -> None:
        """Nobody listens any more: stop after a while."""
        self._is_wanted = False
        if self._linger is None and self._keeper is not None:
            self._linger = asyncio.get_running_loop().call_later(LINGER_S, self._stop)

    async def live(self) -> None:
        """Wait until the stream runs. Raises ``StreamRefused`` as long as the server refuses it for a lasting reason."""
        if self._stream is not None:
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
        """The process id of the server's sender, or None while no stream runs."""
        return self._stream.pid if self._stream is not None else None

    def _stop(self) -> None:
        self._linger = None
        if self._is_wanted:
            return
        for task in (self._keeper, self._worker):
            if task is not None:
                task.cancel()
        self._keeper = self._worker = None
        self._lose_stream()
        self._refusal = None
        self._queue.clear()
        self._queued_bytes = 0

    async def close(self) -> None:
        """Stop for good."""
        self._is_closed = True
        self._is_wanted = False
        tasks = [task for task in (self._keeper, self._worker) if task is not None]
        if self._linger is not None:
            self._linger.cancel()
        self._stop()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- the stream's life --------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        attempt = 0
        was_lost = False
        while True:
            self._ended.clear()
            try:
                stream = await self._open_stream(self._take, self._end)
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
            self._stream = stream
            self._reported = None
            attempt = 0
            stream.start()
            self._wake(None)
            if was_lost:
                _log.info("the stream of row changes runs again")
                self.on_recovered()
            await self._ended.wait()
            was_lost = True
            self._lose_stream()
            await asyncio.sleep(RECONNECT_DELAYS_S[0])

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
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._relations.clear()
        self._catalog.forget_all()

    # -- from bytes to the queue --------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        """One message of the stream: skip what nobody wants before it is decoded. ``MessageCorrupt`` ends the stream."""
        oid = relation_oid_of_change(data)
        if oid is not None:
            self._take_change(oid, data)
            return
        message = decode(data)
        if isinstance(message, Begin):
            self._commit_time_us = message.commit_time_us
            self._xid = message.xid
        elif isinstance(message, Relation):
            self._relations[message.oid] = message
            self._catalog.forget(message.oid)

    def _take_change(self, oid: int, data: bytes) -> None:
        relation = self._relations.get(oid)
        if relation is None:
            raise MessageCorrupt("a change of a relation that was not announced")
        is_message = relation.schema == "realtime" and relation.table == "messages"
        if not is_message and not self._wants(relation.schema, relation.table):
            return
        change = decode(data)
        if is_message and isinstance(change, Insert):
            cells = zip(relation.columns, change.new, strict=True)
            self._on_message_row({column.name: cell for column, cell in cells if cell is None or isinstance(cell, str)})
        if isinstance(change, Insert | Update | Delete) and self._wants(relation.schema, relation.table):
            self._queue.append(_Queued(change, relation, self._commit_time_us, self._xid, len(data)))
            self._queued_bytes += len(data)
            self._has_work.set()
            if len(self._queue) >= MAX_QUEUED_ROWS or self._queued_bytes >= MAX_QUEUED_BYTES:
                assert self._stream is not None
                self._stream.pause()

    # -- from the queue to the pipeline -------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(BATCH_ROWS, len(self._queue)))]
                self._queued_bytes -= sum(item.size_bytes for item in batch)
                await self._deliver_batch(batch)
                if self._stream is not None and len(self._queue) <= MAX_QUEUED_ROWS // 2:
                    self._stream.resume()

    async def _deliver_batch(self, batch: Sequence[_Queued]) -> None:
        attempt = refusals = 0
        while True:
            try:
                await self._deliver(await self._rows(batch))
            except (Unavailable, DatabaseError) as error:
                refusals += isinstance(error, DatabaseError)
                if refusals == REFUSED_ATTEMPTS:
                    _log.error("row changes were not delivered", extra={"rows": len(batch), "reason": error.message})
                    return
                if attempt == 0:
                    _log.warning("row changes have to wait", extra={"rows": len(batch), "reason": error.message})
                await asyncio.sleep(DELIVERY_RETRY_DELAYS_S[min(attempt, len(DELIVERY_RETRY_DELAYS_S) - 1)])
                attempt += 1
            except Exception:  # noqa: BLE001  one batch that cannot be handled must not end the others
                _log.exception("row changes could not be delivered", extra={"rows": len(batch)})
                return
            else:
                return

    async def _rows(self, batch: Sequence[_Queued]) -> list[Row]:
        rows: list[Row] = []
        for item in batch:
            table = await self._catalog.table(item.relation.oid)
            if table is not None:  # a table that is gone has no policies to ask
                rows.append(build_row(item.change, item.relation, table, item.commit_time_us, item.xid))
        return rows
