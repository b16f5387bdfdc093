"""The connections of the RLS door: few, taken and given back without a round trip, the warmest first.

asyncpg's own pool would do, but for two things: its hand-over costs as much as a whole exchange on the wire, and it hands
out the coldest connection as gladly as the one whose statements are prepared. Neighbours: ``wire`` for the connection,
``rls`` and ``owner_wire`` as its users.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from isobase_platform.errors import Unavailable, database_error
from isobase_platform.pool import DATABASE_FAILURES, discard
from isobase_platform.wire import WireConnection

__all__ = ["WirePool"]


class WirePool:
    """At most ``max_size`` connections, made by ``connect`` when they are first needed.

    A connection that nobody used for ``max_idle_s`` seconds is closed, and one that is older than ``max_life_s`` when it
    comes back. Callers that find none free wait in line for at most ``acquire_timeout_s`` seconds.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[WireConnection]],
        *,
        max_size: int,
        acquire_timeout_s: float,
        max_idle_s: float,
        max_life_s: float,
    ) -> None:
        self._connect = connect
        self._max_size = max_size
        self._acquire_timeout_s = acquire_timeout_s
        self._max_idle_s = max_idle_s
        self._max_life_s = max_life_s
        self._size = 0
        self._timeouts = 0
        # When each connection was made, by the loop's clock; none made before ``_renewed_s`` is used again.
        self._made_s: dict[WireConnection, float] = {}
        self._renewed_s = float("-inf")
        # (when it became free, connection); the one given back last is taken first, so that the others grow old.
        self._free: deque[tuple[float, WireConnection]] = deque()
        # (until when, what is awaited), who came first at the left.
        self._waiting: deque[tuple[float, asyncio.Future[WireConnection | None]]] = deque()
        self._expiry: asyncio.TimerHandle | None = None
        self._reaper: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def sizes(self) -> tuple[int, int]:
        """(connections open, of which free)."""
        return self._size, len(self._free)

    @property
    def waits(self) -> tuple[int, int]:
        """(callers that wait now, callers that waited in vain so far)."""
        return sum(not waiter.done() for _, waiter in self._waiting), self._timeouts

    def renew(self) -> None:
        """Close every free connection now and the others when they come back; new ones take their places."""
        self._renewed_s = asyncio.get_running_loop().time()
        while self._free:
            self._drop(self._free.popleft()[1])

    def take(self) -> WireConnection | None:
        """A free connection, or None where ``acquire`` must be awaited."""
        while self._free:
            connection = self._free.pop()[1]
            if not connection.is_closed():
                return connection
            self._drop(connection)
        return None

    async def acquire(self) -> WireConnection:
        """A connection. Raises ``Unavailable`` when none is free in time or none can be made."""
        while True:
            found = self.take()
            if found is not None:
                return found
            if self._is_closed:
                raise Unavailable("The server is ending")
            if self._size < self._max_size:
                return await self._open()
            found = await self._wait()
            if found is not None:
                return found

    async def _open(self) -> WireConnection:
        self._size += 1
        try:
            connection = await self._connect()
        except BaseException as error:
            self._size -= 1
            self._wake(None)  # the next in line may have more luck, and must not wait for what never comes
            if isinstance(error, DATABASE_FAILURES):
                raise database_error(error) from error
            raise
        self._made_s[connection] = asyncio.get_running_loop().time()
        return connection

    def _drop(self, connection: WireConnection) -> None:
        """Close a connection that is in nobody's hands."""
        discard(connection)
        del self._made_s[connection]
        self._size -= 1

    async def _wait(self) -> WireConnection | None:
        """The connection that somebody gives back; None where there is room for a new one."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[WireConnection | None] = loop.create_future()
        deadline_s = loop.time() + self._acquire_timeout_s
        self._waiting.append((deadline_s, waiter))
        if self._expiry is None:
            self._expiry = loop.call_at(deadline_s, self._expire)
        try:
            return await waiter
        except TimeoutError as error:
            self._timeouts += 1
            raise Unavailable("No database connection became free in time", code="pool_timeout") from error
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                given = waiter.result()  # handed over in the very moment that we gave up
                if given is not None:
                    self.release(given)
                else:
                    self._wake(None)
            raise

    def _expire(self) -> None:
        """Fail who has waited too long. All wait equally long: one timer, for who came first, is enough."""
        loop = asyncio.get_running_loop()
        self._expiry = None
        while self._waiting:
            deadline_s, waiter = self._waiting[0]
            if not waiter.done() and deadline_s > loop.time():
                self._expiry = loop.call_at(deadline_s, self._expire)
                return
            self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(TimeoutError())

    def release(self, connection: WireConnection) -> None:
        """Give a connection back; a closed one makes room for another."""
        loop = asyncio.get_running_loop()
        made_s = self._made_s[connection]
        is_old = made_s < self._renewed_s or loop.time() - made_s > self._max_life_s
        if self._is_closed or is_old or connection.is_closed():
            self._drop(connection)
            self._wake(None)
            return
        if self._wake(connection):
            return
        self._free.append((loop.time(), connection))
        if self._reaper is None:
            self._reaper = loop.call_later(self._max_idle_s, self._reap)

    def _wake(self, connection: WireConnection | None) -> bool:
        """Hand ``connection``, or the room for one, to who waits longest; False where nobody does."""
        while self._waiting:
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    def _reap(self) -> None:
        """Close what has been free for too long."""
        loop = asyncio.get_running_loop()
        self._reaper = None
        oldest_s = loop.time() - self._max_idle_s
        while self._free and self._free[0][0] <= oldest_s:
            self._drop(self._free.popleft()[1])
        if self._free:
            self._reaper = loop.call_later(self._free[0][0] - oldest_s + 0.1, self._reap)

    async def close(self) -> None:
        """Close every connection, also those that a request or its resets still use: the services are drained by now."""
        self._is_closed = True
        for timer in (self._reaper, self._expiry):
            if timer is not None:
                timer.cancel()
        while self._free:
            self._drop(self._free.popleft()[1])
        while self._wake(None):
            pass
        for connection in list(self._made_s):
            discard(connection)
        await asyncio.sleep(0)  # the event loop tells the connections' protocols in its next turn
