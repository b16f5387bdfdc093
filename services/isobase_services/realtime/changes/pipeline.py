"""From slices to delivered rows, in order: one worker takes what waits, decodes what somebody wants, and hands it on.

What waits is bounded by whoever offers it: ``is_full`` says when to stop, ``on_room`` is called when there is room again.
``on_drop`` is called when changes could not be handed on, whatever was tried.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from isobase_platform.errors import DatabaseError, IsobaseError, Unavailable
from isobase_services.realtime.changes.catalog import Catalog
from isobase_services.realtime.changes.changelog import Entry, Slice
from isobase_services.realtime.changes.pgoutput import Delete, Insert, Update, decode
from isobase_services.realtime.changes.position import Point, Position
from isobase_services.realtime.changes.rows import Row, build_row

__all__ = ["Pipeline", "WantedChange", "rows_of", "wanted_changes"]

BATCH_ROWS = 500
MAX_WAITING_BYTES = 32 * 1024 * 1024
REFUSED_ATTEMPTS = 5
"""How often a batch is tried that the database refuses; one that finds no database is tried until it is back."""
DELIVERY_RETRY_DELAYS_S = (0.1, 0.5, 1.0, 2.0)

_log = logging.getLogger("isobase.realtime")

Wants: TypeAlias = Callable[[str, str], bool]
"""Whether anybody listens to a table, by schema and name."""


@dataclass(slots=True, frozen=True)
class WantedChange:
    """A change that somebody listens for, still undecoded."""

    entry: Entry
    commit_time_us: int
    xid: int
    position: Position


def wanted_changes(item: Slice, epoch: str, wants: Wants) -> list[WantedChange]:
    """The changes of a slice whose tables are wanted, in order."""
    answers: dict[int, bool] = {}
    wanted: list[WantedChange] = []
    for index, entry in enumerate(item.entries, item.first_index):
        oid = id(entry.table)
        is_wanted = answers.get(oid)
        if is_wanted is None:
            relation = entry.table.relation
            is_wanted = answers[oid] = wants(relation.schema, relation.table)
        if is_wanted:
            position = Position(epoch, Point(item.commit_lsn, index))
            wanted.append(WantedChange(entry, item.commit_time_us, item.xid, position))
    return wanted


async def rows_of(changes: Sequence[WantedChange], catalog: Catalog) -> list[Row]:
    """Decode changes. Raises ``Unavailable`` and ``DatabaseError`` when a table's facts cannot be read."""
    rows: list[Row] = []
    for item in changes:
        relation = item.entry.table.relation
        table = await catalog.table(relation.oid)
        change = decode(item.entry.data)
        # A table that is gone has no policies to ask.
        if table is not None and isinstance(change, Insert | Update | Delete):
            rows.append(build_row(change, relation, table, item.commit_time_us, item.xid, item.position))
    return rows


@dataclass(slots=True, frozen=True)
class _Waiting:
    item: Slice
    epoch: str


class Pipeline:
    """The worker of one process."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        wants: Wants,
        deliver: Callable[[Sequence[Row]], Awaitable[None]],
    ) -> None:
        self.on_room: Callable[[], None] = lambda: None
        self.on_drop: Callable[[], None] = lambda: None
        self._catalog = catalog
        self._wants = wants
        self._deliver = deliver
        self._waiting: deque[_Waiting | Callable[[], None]] = deque()
        self._waiting_bytes = 0
        self._has_work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work."""
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="row change delivery")

    async def stop(self) -> None:
        """Stop, and drop what waits."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._waiting.clear()
        self._waiting_bytes = 0

    def offer(self, item: Slice, epoch: str) -> None:
        """Let a slice wait for its turn."""
        self._waiting.append(_Waiting(item, epoch))
        self._waiting_bytes += item.size_bytes
        self._has_work.set()

    def between(self, action: Callable[[], None]) -> None:
        """Call ``action`` once everything that waits now was handed on, and before anything later is looked at."""
        self._waiting.append(action)
        self._has_work.set()

    @property
    def is_full(self) -> bool:
        """True while no more should be offered."""
        return self._waiting_bytes >= MAX_WAITING_BYTES

    async def _work(self) -> None:
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            while self._waiting:
                was_full = self.is_full
                first = self._waiting[0]
                if isinstance(first, _Waiting):
                    await self._next_batch()
                else:
                    self._waiting.popleft()
                    self._run(first)
                if was_full and not self.is_full:
                    self.on_room()

    def _run(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:  # noqa: BLE001  an action that fails must not end the worker
            _log.exception("an action between row changes failed")

    async def _next_batch(self) -> None:
        """Hand on the slices up to the next action, about ``BATCH_ROWS`` changes of them."""
        batch: list[WantedChange] = []
        while self._waiting and len(batch) < BATCH_ROWS:
            waiting = self._waiting[0]
            if not isinstance(waiting, _Waiting):
                break
            if waiting.item.announced and batch:
                break  # what came before is judged by what was known before
            self._waiting.popleft()
            self._waiting_bytes -= waiting.item.size_bytes
            for oid in waiting.item.announced:
                self._catalog.forget(oid)
            batch.extend(wanted_changes(waiting.item, waiting.epoch, self._wants))
        if batch:
            await self._deliver_batch(batch)

    async def _deliver_batch(self, batch: Sequence[WantedChange], refusals_allowed: int = REFUSED_ATTEMPTS) -> None:
        attempt = refusals = 0
        while True:
            try:
                await self._deliver(await rows_of(batch, self._catalog))
            except (Unavailable, DatabaseError) as error:
                refusals += isinstance(error, DatabaseError)
                if refusals == refusals_allowed:
                    await self._give_up(batch, error)
                    return
                if attempt == 0:
                    _log.warning("row changes have to wait", extra={"rows": len(batch), "reason": error.message})
                await asyncio.sleep(DELIVERY_RETRY_DELAYS_S[min(attempt, len(DELIVERY_RETRY_DELAYS_S) - 1)])
                attempt += 1
            except Exception:  # noqa: BLE001  one batch that cannot be handled must not end the others
                _log.exception("row changes could not be delivered", extra={"rows": len(batch)})
                self.on_drop()
                return
            else:
                return

    async def _give_up(self, batch: Sequence[WantedChange], error: IsobaseError) -> None:
        """Find the change that is refused among the others, in their order; it alone is dropped."""
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._deliver_batch(batch[:middle], refusals_allowed=1)
            await self._deliver_batch(batch[middle:], refusals_allowed=1)
            return
        table = batch[0].entry.table.relation
        _log.error(
            "a row change was not delivered",
            extra={
                "table": f"{table.schema}.{table.table}",
                "position": str(batch[0].position),
                "reason": error.message,
            },
        )
        self.on_drop()
