"""One side of a channel: a channel of that side's own client, joined again for ever, whose messages go to one owner."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from isobase_adapter.sides import Side

__all__ = ["Leg", "LegOwner"]

logger = logging.getLogger("isobase.migration.realtime")

FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 15.0


class LegOwner(Protocol):
    """The channel of both sides."""

    params: Any

    def leg_changed(self, leg: Leg, error: Exception | None) -> None:
        """Its leg was joined, or lost (with why)."""
        ...

    def row_arrived(self, side: Side, listener: int, payload: Any) -> None:
        """A row changed."""
        ...

    def broadcast_arrived(self, side: Side, listener: int, payload: Any) -> None:
        """A broadcast came."""
        ...

    def system_arrived(self, side: Side, payload: Any) -> None:
        """The server said something."""
        ...

    def presence_arrived(self) -> None:
        """Who is present changed at a side."""
        ...


class Leg:
    """One side of a channel. make: gives a new channel of the side's client, which is either package's."""

    def __init__(self, side: Side, owner: LegOwner, make: Callable[[Any], Any]) -> None:
        self.side = side
        self.is_joined = False
        self.joined_at_s = 0.0
        self.hears_rows = False
        """Whether the server has said since the join that it follows the tables, which it does some time after it."""
        self.hears_rows_from_s = 0.0
        self.has_failed = False
        """Whether its first join has failed at least once."""
        self.is_wanted = True
        self.tracked: dict[str, Any] | None = None
        """What was tracked on this side."""
        self._owner = owner
        self._make = make
        self._has_presence = False
        self._listeners: list[tuple[str, tuple[Any, ...]]] = []
        self._task: asyncio.Task[None] | None = None
        self.inner = self._new()

    def _new(self) -> Any:
        inner = self._make(copy.deepcopy(self._owner.params))
        inner.on_system(partial(self._system, inner))
        for kind, arguments in self._listeners:
            self._listen(inner, kind, arguments)
        if self._has_presence:
            self._attach_presence(inner)
        return inner

    def listen_rows(self, listener: int, event: Any, table: Any, schema: Any, filter: Any, select: Any) -> None:
        """Hear of row changes as ``listener``."""
        self._add("rows", (listener, event, table, schema, filter, select))

    def listen_broadcasts(self, listener: int, event: str) -> None:
        """Hear of broadcasts as ``listener``."""
        self._add("broadcasts", (listener, event))

    def _add(self, kind: str, arguments: tuple[Any, ...]) -> None:
        self._listeners.append((kind, arguments))
        self._listen(self.inner, kind, arguments)

    def _listen(self, inner: Any, kind: str, arguments: tuple[Any, ...]) -> None:
        if kind == "broadcasts":
            listener, event = arguments
            inner.on_broadcast(event, partial(self._owner.broadcast_arrived, self.side, listener))
            return
        listener, event, table, schema, filter, select = arguments
        heard = partial(self._owner.row_arrived, self.side, listener)
        inner.on_postgres_changes(event, heard, table=table, schema=schema, filter=filter, select=select)

    def attach_presence(self) -> None:
        """Hear of presences; a joined channel joins again for it."""
        if not self._has_presence:
            self._has_presence = True
            self._attach_presence(self.inner)

    def _attach_presence(self, inner: Any) -> None:
        inner.on_presence_sync(self._owner.presence_arrived)

    def start(self) -> None:
        """Join, and go on trying."""
        self._task = asyncio.create_task(self._join(self.inner))

    async def _join(self, inner: Any) -> None:
        wait_s = FIRST_RETRY_S
        while self.is_wanted:
            try:
                await inner.subscribe(partial(self._status, inner))
            except Exception as error:  # noqa: BLE001 - each package raises its own; another attempt follows
                self._failed(error)
            else:
                return  # from here on the side's own client joins again
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, LONGEST_RETRY_S)

    def _status(self, inner: Any, status: Any, error: Exception | None) -> None:
        if inner is not self.inner:
            return
        told = str(getattr(status, "value", status))
        if told == "SUBSCRIBED":
            self._joined()
            return
        if told == "CLOSED" and self.is_wanted:
            # The server closed the channel, as official channels do not come back from.
            self._failed(error or Exception("the channel was closed"))
            self.inner = self._new()
            self._task = asyncio.create_task(self._again())
            return
        self._failed(error or Exception(told))

    def _joined(self) -> None:
        self.is_joined, self.has_failed, self.hears_rows = True, False, False
        self.joined_at_s = asyncio.get_running_loop().time()
        self._owner.leg_changed(self, None)

    def _system(self, inner: Any, payload: Any) -> None:
        follows_tables = (payload.extension, payload.status) == ("postgres_changes", "ok")
        if inner is self.inner and follows_tables and self.is_wanted:
            if not self.is_joined:
                self._joined()  # Isobase's channel stays joined while its rows are in trouble, and says just this afterwards
            self.hears_rows, self.hears_rows_from_s = True, asyncio.get_running_loop().time()
        self._owner.system_arrived(self.side, payload)

    async def _again(self) -> None:
        await asyncio.sleep(FIRST_RETRY_S)
        await self._join(self.inner)

    def _failed(self, error: Exception) -> None:
        self.is_joined, self.has_failed, self.hears_rows, self.tracked = False, True, False, None
        self._owner.leg_changed(self, error)

    async def leave(self) -> None:
        """Leave for good."""
        self.is_wanted = self.is_joined = self.hears_rows = False
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        try:
            await self.inner.socket.remove_channel(self.inner)
        except Exception as error:  # noqa: BLE001 - the connection is gone, and with it the channel
            logger.debug("a channel could not be left: %s", type(error).__name__)
