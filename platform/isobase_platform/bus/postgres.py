"""``Bus`` on LISTEN / NOTIFY, for projects without Redis: one listening connection for all subscriptions.

NOTIFY carries less than 8,000 bytes, so a larger payload travels in a row of ``isobase.bus_payloads`` by its id and is
deleted after ``PAYLOAD_LIFE_S``. All channels share one PostgreSQL channel; the name travels in the message, because
channel names have 63 bytes only. Behind a transaction pooler LISTEN does not work: use Redis there.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta

import asyncpg

from isobase_platform.bus import Handler, Subscription
from isobase_platform.bus._dispatch import Dispatcher, LiveSubscription
from isobase_platform.config import Settings
from isobase_platform.errors import ConfigurationError, DatabaseError, Unavailable, database_error
from isobase_platform.pool import CONNECT_TIMEOUT_S, DATABASE_FAILURES, LOST_CONNECTION_FAILURES, Connection, Pools

__all__ = ["PostgresBus"]

NOTIFY_CHANNEL = "isobase_bus"
MAX_INLINE_BYTES = 5_000
"""Base64 makes four bytes of three; with the channel's name this stays under NOTIFY's 8,000."""
PAYLOAD_LIFE_S = 60
PUBLISH_TIMEOUT_S = 5.0
MAX_RECONNECT_DELAY_S = 5.0
MAX_INCOMING_MESSAGES = 10_000
"""Notifications (of at most 8,000 bytes) that wait while a large payload is read; beyond it new ones are dropped."""
KEEPALIVE_INTERVAL_S = 20.0
KEEPALIVE_TIMEOUT_S = 5.0
"""How long the listening connection may take to answer before it is taken as lost: a dead network says nothing by itself."""

# Each large payload becomes a row, whose id completes the message that stands for it; both are in the order of the arrays.
_PUBLISH = """
with stored as (
  insert into isobase.bus_payloads (payload)
  select payload from unnest($3::bytea[]) with ordinality as large (payload, place) order by place
  returning id
), numbered as (
  select id, row_number() over (order by id) as place from stored
), sent as (
  select message, place, right(message, 2) = E'\\n#' as is_large from unnest($2::text[]) with ordinality as m (message, place)
), placed as (
  select message, place, is_large, sum(is_large::int) over (order by place) as large_place from sent
)
select pg_catalog.pg_notify($1, p.message || coalesce(n.id::text, ''))
from placed as p left join numbered as n on p.is_large and n.place = p.large_place
order by p.place
"""

# SQLSTATE classes 08 and 57: the connection broke, or the server ends it.
_LOST = (*LOST_CONNECTION_FAILURES, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError)

_log = logging.getLogger("isobase.bus")


class PostgresBus:
    """Listens and publishes on a connection of its own; who only publishes takes one of the owner's pool."""

    kind = "postgresql"
    batch_bytes = MAX_INLINE_BYTES

    def __init__(self, settings: Settings, pools: Pools) -> None:
        self._settings = settings
        self._pools = pools
        self._dispatcher = Dispatcher()
        self._listener: asyncpg.Connection[asyncpg.Record] | None = None
        self._changing = asyncio.Lock()
        self._using = asyncio.Lock()
        self._reconnecting: asyncio.Task[None] | None = None
        self._large: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._incoming: asyncio.Queue[tuple[str, bytes | int]] = asyncio.Queue(MAX_INCOMING_MESSAGES)
        self._swept_at_s = float("-inf")
        self._is_closed = False

    async def publish(self, channel: str, payload: bytes) -> None:
        """See ``Bus.publish``."""
        await self.publish_many(channel, [payload])

    async def publish_many(self, channel: str, payloads: Sequence[bytes]) -> None:
        """See ``Bus.publish_many``: one NOTIFY for each payload, all in one transaction or none."""
        messages: list[str] = []
        large: list[bytes] = []
        for number, payload in enumerate(payloads):
            if len(payload) <= MAX_INLINE_BYTES:
                # PostgreSQL sends equal messages of one transaction once, so each has its number.
                messages.append(f"{channel}\n={number}\n{base64.b64encode(payload).decode()}")
            else:
                messages.append(f"{channel}\n#")
                large.append(payload)
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_S), self._connection() as connection:
                await connection.execute(_PUBLISH, NOTIFY_CHANNEL, messages, large)
                if large:
                    await self._sweep(connection)
        except TimeoutError as error:
            raise Unavailable("The bus is not available") from error

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """The listening connection, which waits for nobody else's statements; the pool's where nothing is listened to."""
        listener = self._listener
        if listener is not None and listener.is_closed():
            self._lost(listener)
            listener = None
        if listener is None:
            async with self._pools.acquire(None) as connection:
                yield connection
            return
        async with self._using:
            try:
                yield listener
            except asyncio.CancelledError:
                # Whoever waited gave up: an answer that comes so late is as bad as none.
                self._give_up(listener)
                raise
            except DATABASE_FAILURES as error:
                if isinstance(error, _LOST):
                    self._give_up(listener)
                raise database_error(error) from error

    def _give_up(self, listener: Connection) -> None:
        """End a connection that does not do its work; one that ended under a statement need not say so by itself."""
        listener.terminate()
        self._lost(listener)

    async def _sweep(self, connection: Connection) -> None:
        """Delete the payloads that every listener has read by now; not more often than they can be over their time."""
        now_s = time.monotonic()
        if now_s - self._swept_at_s < PAYLOAD_LIFE_S / 4:
            return
        self._swept_at_s = now_s
        await connection.execute(
            "delete from isobase.bus_payloads where created_at < clock_timestamp() - $1::interval",
            timedelta(seconds=PAYLOAD_LIFE_S),
        )

    async def subscribe(
        self, channel: str, handler: Handler, *, on_reconnect: Callable[[], Awaitable[None]] | None = None
    ) -> Subscription:
        """See ``Bus.subscribe``. Raises ``ConfigurationError`` behind a transaction pooler."""
        if self._settings.database.mode == "transaction_pooler":
            raise ConfigurationError("database.mode transaction_pooler needs redis_url: LISTEN does not pass a pooler")
        async with self._changing:
            if self._listener is None:
                await self._listen()
            subscription = LiveSubscription(channel, handler, on_reconnect, self._forget)
            self._dispatcher.add(subscription)
        return subscription

    async def _forget(self, subscription: LiveSubscription) -> None:
        self._dispatcher.remove(subscription)

    async def _listen(self) -> None:
        try:
            listener = await asyncpg.connect(
                self._settings.dsn(None),
                timeout=CONNECT_TIMEOUT_S,
                server_settings={"application_name": "isobase bus"},
            )
            listener.add_termination_listener(self._lost)
            try:
                await listener.add_listener(NOTIFY_CHANNEL, self._received)
            except BaseException:
                listener.terminate()
                raise
        except DATABASE_FAILURES as error:
            raise database_error(error) from error
        if listener.is_closed():  # between its last answer and now: its end was told while it was nobody's
            raise Unavailable("The bus is not available")
        self._listener = listener
        if self._large is None:
            self._large = asyncio.create_task(self._deliver(), name="bus delivery")
            self._keeping = asyncio.create_task(self._keep_alive(), name="bus keepalive")

    def _received(self, _connection: object, _pid: int, _channel: str, message: object) -> None:
        """Whoever may connect to the database may notify: what no bus has sent is put aside."""
        name, _, body = str(message).partition("\n")
        try:
            if body.startswith("="):
                self._enqueue(name, base64.b64decode(body.partition("\n")[2], validate=True))
            elif body.startswith("#"):
                self._enqueue(name, int(body[1:]))
        except ValueError:
            _log.debug("a notification that is no message of a bus was put aside")

    def _enqueue(self, channel: str, content: bytes | int) -> None:
        try:
            self._incoming.put_nowait((channel, content))
        except asyncio.QueueFull:
            _log.warning("the bus is too slow to read, a message was dropped", extra={"channel": channel})

    async def _keep_alive(self) -> None:
        """Ask the listening connection for an answer now and then."""
        while True:
            await asyncio.sleep(KEEPALIVE_INTERVAL_S)
            listener = self._listener
            if listener is None:
                continue
            try:
                async with self._using:
                    await listener.execute("select 1", timeout=KEEPALIVE_TIMEOUT_S)
            except DATABASE_FAILURES:
                self._give_up(listener)

    async def _deliver(self) -> None:
        """Hand messages on in their order, fetching the large ones."""
        while True:
            channel, content = await self._incoming.get()
            if isinstance(content, bytes):
                self._dispatcher.deliver(channel, content)
                continue
            try:
                async with self._pools.acquire(None) as connection:
                    payload = await connection.fetchval(
                        "select payload from isobase.bus_payloads where id = $1", content
                    )
            except (Unavailable, DatabaseError):
                _log.warning("a large bus message could not be read", extra={"channel": channel})
                continue
            if payload is not None:
                self._dispatcher.deliver(channel, payload)

    def _lost(self, connection: object) -> None:
        if connection is not self._listener:
            return  # an earlier one, whose place is taken
        self._listener = None
        if not self._is_closed and self._reconnecting is None:
            self._reconnecting = asyncio.create_task(self._reconnect(), name="bus reconnect")

    async def _reconnect(self) -> None:
        delay_s = 0.1
        _log.warning("bus connection lost, connecting again")
        while self._listener is None and not self._is_closed:
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, MAX_RECONNECT_DELAY_S)
            async with self._changing:
                with contextlib.suppress(Unavailable, DatabaseError):
                    await self._listen()
        self._reconnecting = None
        self._dispatcher.tell_reconnected()

    async def ping(self) -> bool:
        """See ``Bus.ping``: publishing needs the database, and a listener that was there must be there."""
        if self._dispatcher.channels and self._listener is None:
            return False
        try:
            async with self._pools.acquire(None) as connection:
                await _select_one(connection)
        except (Unavailable, DatabaseError):
            return False
        return True

    async def close(self) -> None:
        """See ``Bus.close``."""
        self._is_closed = True
        tasks = [task for task in (self._reconnecting, self._large, self._keeping) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for subscription in self._dispatcher.subscriptions:
            await subscription.cancel()
        if self._listener is not None:
            self._listener.terminate()


async def _select_one(connection: Connection) -> None:
    await connection.fetchval("select 1")
