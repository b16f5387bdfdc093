"""What one process knows of the log: the ring, the pipeline behind it, and whether it is up to date.

Fed by the process's own stream when it leads (``intake``), else by what the leader sends (``relay``). Both hand over slices,
in any overlap; here each is taken once and in order.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from isobase_services.realtime.changes.changelog import ChangeLog, Slice
from isobase_services.realtime.changes.figures import ChangeFigures
from isobase_services.realtime.changes.pgoutput import Insert, Relation, decode
from isobase_services.realtime.changes.pipeline import Pipeline
from isobase_services.realtime.changes.position import START, Point, Position
from isobase_services.realtime.changes.stream import StreamRefused

__all__ = ["History", "MessageRowHandler"]

MessageRowHandler = Callable[[dict[str, str | None]], None]
"""Gets a new row of ``realtime.messages`` by column name."""

_log = logging.getLogger("isobase.realtime")


class History:
    """One per process. ``on_lost`` is called when changes may have been missed and the process is up to date again."""

    def __init__(
        self, log: ChangeLog, pipeline: Pipeline, on_message_row: MessageRowHandler, figures: ChangeFigures
    ) -> None:
        self.on_lost: Callable[[], None] = lambda: None
        self.log = log
        self.pipeline = pipeline
        self._on_message_row = on_message_row
        self._figures = figures
        self._deliver_after = START
        self._is_live = False
        self._going_live: object | None = None
        self._has_lost = False
        self._waiters: set[asyncio.Future[None]] = set()
        pipeline.on_drop = self._dropped

    # -- which history ------------------------------------------------------------------------------------------------

    @property
    def is_begun(self) -> bool:
        """True once a history is known."""
        return self.log.epoch is not None

    @property
    def is_complete(self) -> bool:
        """False while changes may still come that were committed before this process listened."""
        return self.log.head >= self._deliver_after

    def begin(self, epoch: str, floor: Point, deliver_after: Point) -> None:
        """Begin with the history ``epoch`` at ``floor``; what came up to ``deliver_after`` is kept and not handed on.

        Where another history, or more of this one, was here before, something may be missing between.
        """
        if self.is_begun:
            self._has_lost = True
            _log.warning("row changes may have been missed", extra={"epoch": epoch})
            self._figures.lost()
        self.log.reset(epoch, floor)
        self._deliver_after = max(deliver_after, floor)
        self.stand_still()

    def forget(self) -> None:
        """Nobody listens any more."""
        self.log.clear()
        self._deliver_after = START
        self._has_lost = False
        self.stand_still()

    # -- what comes ---------------------------------------------------------------------------------------------------

    def accept(self, item: Slice) -> Slice | None:
        """Take a slice; returns what of it is new, None when nothing is. Raises ``GapFound``."""
        fresh = self.log.append(item, time.monotonic())
        if fresh is None or self.log.epoch is None:
            return None
        if fresh.last > self._deliver_after:
            due = fresh.beyond(self._deliver_after)
            is_told = self._tell_messages(due)
            self.pipeline.offer(due, self.log.epoch)
            if not is_told:
                self._dropped()
        return fresh

    def advance(self, point: Point) -> None:
        """Nothing was committed up to ``point`` that is not here already."""
        self.log.advance(point)
        self.log.evict(time.monotonic())
        self._figures.ring(self.log.size_bytes, len(self.log))

    def _tell_messages(self, item: Slice) -> bool:
        """False when one could not be told."""
        # At once: they carry what they say with them and ask no policy of a table.
        is_told = True
        for entry in item.entries:
            relation = entry.table.relation
            if relation.table != "messages" or relation.schema != "realtime" or entry.data[:1] != b"I":
                continue
            try:
                self._tell_message(relation, entry.data)
            except Exception:  # noqa: BLE001  one message that cannot be told must not take its transaction's changes along
                _log.exception("a message of realtime.messages could not be told")
                is_told = False
        return is_told

    def _tell_message(self, relation: Relation, data: bytes) -> None:
        change = decode(data)
        if isinstance(change, Insert):
            cells = zip(relation.columns, change.new, strict=True)
            self._on_message_row({column.name: cell for column, cell in cells if cell is None or isinstance(cell, str)})

    # -- up to date ---------------------------------------------------------------------------------------------------

    def between(self, action: Callable[[Position], None]) -> None:
        """Call ``action`` with where this process is, once everything up to there was handed on and before anything later."""
        position = Position(self.log.epoch or "", max(self.log.head, self._deliver_after))
        self.pipeline.between(lambda: action(position))

    def go_live(self) -> None:
        """Everything that was committed before now is here; whoever waits is told once it was handed on."""
        if self._is_live or self._going_live is not None:
            return
        token = self._going_live = object()
        self.pipeline.between(lambda: self._live_now(token))

    def stand_still(self) -> None:
        """The source is gone: nothing is known of what is committed from now on."""
        self._is_live = False
        self._going_live = None

    def _live_now(self, token: object) -> None:
        if self._going_live is not token:
            return
        self._going_live = None
        self._is_live = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._has_lost:
            self._has_lost = False
            self.on_lost()

    def _dropped(self) -> None:
        """Changes could not be handed on: whoever listens is told that something may be missing."""
        self._figures.lost()
        if self._is_live:
            self.on_lost()
        else:
            self._has_lost = True

    @property
    def is_live(self) -> bool:
        """True while every change that is committed comes here."""
        return self._is_live

    async def live(self) -> None:
        """Wait until this process is up to date. Raises ``StreamRefused`` when the log is refused meanwhile."""
        if self._is_live:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def refuse(self, error: StreamRefused) -> None:
        """Tell whoever waits that the log is refused for a lasting reason."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(error)
