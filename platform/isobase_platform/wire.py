"""Several statements in one round trip: a pipeline on a connection that asyncpg made.

asyncpg opens the connection (TLS, authentication, failover) and speaks on it whenever a method of its own is called. A
``WireConnection`` adds ``pipeline``: all messages of an exchange leave in one write and end with one ``Sync``, so that
PostgreSQL runs them as one implicit transaction: settings that the first statement makes local hold for the others, and an
error anywhere leaves nothing. Parameters travel as text whose type PostgreSQL infers, as for a quoted literal; columns come
back as bytes.

Source: PostgreSQL's documentation, "Frontend/Backend Protocol", sections message flow (extended query, pipelining) and
message formats.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
from asyncpg.connection import Connection as _AsyncpgConnection

from isobase_platform.wire_messages import READY, SYNC, Row, Silent, Step, bind, close, parse, read_error, read_row

if TYPE_CHECKING:
    _Base: TypeAlias = _AsyncpgConnection[asyncpg.Record]
else:
    _Base = _AsyncpgConnection

__all__ = ["MAX_STATEMENTS", "After", "WireConnection"]

MAX_STATEMENTS = 256
"""Prepared statements that one connection keeps; the least recently used goes first."""
MAX_STATEMENT_CHARS = 32 * 1024
"""SQL beyond this is parsed each time and not kept, so that long and rare statements fill neither process."""
LARGE_PART_BYTES = 64 * 1024
"""A part beyond this is handed to the socket as it is, and not joined with the others."""


class _Exchange:
    """What is awaited: one ``ReadyForQuery``, after which ``done`` holds the rows of each step, or an error."""

    __slots__ = ("done", "end", "error", "made_silent", "on_end", "prepared", "rows", "steps")

    def __init__(
        self,
        done: asyncio.Future[list[list[Row]]] | None,
        prepared: list[tuple[str, str]],
        steps: int,
        end: bytes,
        *,
        made_silent: bool = False,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        self.done = done
        self.on_end = on_end
        self.prepared = prepared
        self.made_silent = made_silent
        """Whether the silent statements are prepared in this very exchange."""
        self.steps = steps
        """Statements whose rows are wanted; what more there is in the exchange is silent."""
        self.end = end
        """What the server sends behind the last wanted row, if nothing unusual happens."""
        self.rows: list[list[Row]] = [[]]
        self.error: asyncpg.PostgresError | None = None


@dataclass(slots=True, frozen=True)
class After:
    """Statements in an exchange of their own whose end nobody awaits; ``on_end`` is called when it is over."""

    silent: Silent
    on_end: Callable[[], None]


class _Demultiplexer(asyncio.Protocol):
    """The transport's protocol: hands what arrives to the exchange in progress, or else to asyncpg's own protocol."""

    def __init__(self, inner: Any, wire: WireConnection) -> None:
        self._inner = inner
        self._wire = wire
        self._pending = bytearray()
        self._needed = 5
        self.exchanges: deque[_Exchange] = deque()

    def data_received(self, data: bytes) -> None:
        """Read whole messages; what is left waits for more."""
        if not self.exchanges:
            self._hand_on(data)
            return
        pending = self._pending
        if pending:
            pending += data
            if len(pending) < self._needed:
                return
            data = bytes(pending)
            pending.clear()
        at, end = 0, len(data)
        exchange = self.exchanges[0]
        while end - at >= 5:
            if exchange.steps == 0 and data.startswith(exchange.end, at):
                # Nobody wants a row of it, and byte for byte it is what is answered when all goes well.
                at += len(exchange.end)
                self.exchanges.popleft()
                self._wire.finish(exchange)
                if not self.exchanges:
                    if at < end:
                        self._hand_on(data[at:])
                    return
                exchange = self.exchanges[0]
                continue
            kind = data[at]
            length = int.from_bytes(data[at + 1 : at + 5], "big")
            after = at + 1 + length
            if after > end:
                self._needed = 1 + length
                break
            if kind == 68:  # D: a row
                exchange.rows[-1].append(read_row(data, at + 5))
            elif kind == 67:  # C: a statement is complete
                rows = exchange.rows
                rows.append([])
                if len(rows) > exchange.steps and data.startswith(exchange.end, after):
                    # What follows is, byte for byte, what the rest answers when all goes well.
                    self.exchanges.popleft()
                    self._wire.finish(exchange)
                    at = after + len(exchange.end)
                    if self.exchanges:
                        exchange = self.exchanges[0]
                        continue
                    if at < end:
                        self._hand_on(data[at:])
                    return
            elif kind == 90:  # Z: ready for the next exchange
                self.exchanges.popleft()
                self._wire.finish(exchange)
                if not self.exchanges:
                    at = after
                    if at < end:
                        self._hand_on(data[at:])
                    return
                exchange = self.exchanges[0]
            elif kind == 69:  # E: an error; what follows up to the Sync is skipped by the server
                exchange.error = exchange.error or read_error(data[at + 5 : after])
            # ParseComplete, BindComplete, CloseComplete, NoData, notices, parameter status: nothing to do
            at = after
        else:
            self._needed = 5
        if at < end:
            pending += data[at:]

    def _hand_on(self, data: bytes) -> None:
        """Hand whole messages to asyncpg. A half one waits: an exchange that begins meanwhile reads the rest of it."""
        if self._pending:
            data = bytes(self._pending) + data
            self._pending.clear()
        at, end = 0, len(data)
        while end - at >= 5:
            length = 1 + int.from_bytes(data[at + 1 : at + 5], "big")
            if at + length > end:
                self._needed = length
                break
            at += length
        else:
            self._needed = 5
        if at < end:
            self._pending += data[at:]
        if at:
            self._inner.data_received(data[:at])

    def eof_received(self) -> bool | None:
        """As asyncpg."""
        return bool(self._inner.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is awaited, and tell asyncpg."""
        self._inner.connection_lost(exc)
        while self.exchanges:
            exchange = self.exchanges.popleft()
            if exchange.done is not None and not exchange.done.done():
                reason = exchange.error or asyncpg.ConnectionDoesNotExistError("connection was closed in an exchange")
                exchange.done.set_exception(reason)
            if exchange.on_end is not None:
                exchange.on_end()
        self._wire.lost()

    def pause_writing(self) -> None:
        """As asyncpg."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """As asyncpg."""
        self._inner.resume_writing()


class WireConnection(_Base):
    """A connection of asyncpg that can also ``pipeline``. The two ways must not be used at the same time."""

    __slots__ = (
        "_demultiplexer",
        "_events",
        "_prefix",
        "_serial",
        "_silent",
        "_statements",
        "_writer",
        "uses_statements",
    )

    def __init__(
        self,
        protocol: Any,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(protocol, transport, loop, *args, **kwargs)
        self._writer = transport
        self._events = loop
        # (SQL, group) -> its name on the server, the least recently used first.
        self._statements: dict[tuple[str, str], bytes] = {}
        self._silent: dict[Silent, bytes] = {}
        self._serial = 0
        # Names that a user's PREPARE will not have taken by chance.
        self._prefix = f"isobase_{secrets.token_hex(4)}_".encode()
        self.uses_statements = True
        """False behind a transaction pooler: statements are then parsed in every exchange, without a name."""
        self._demultiplexer = _Demultiplexer(protocol, self)
        transport.set_protocol(self._demultiplexer)

    @property
    def is_busy(self) -> bool:
        """Whether an exchange has not ended yet."""
        return bool(self._demultiplexer.exchanges)

    @property
    def statement_count(self) -> int:
        """Prepared statements kept on this connection."""
        return len(self._statements)

    async def settle(self) -> None:
        """Wait until every exchange has ended, so that asyncpg's own methods may be used. Errors as ``pipeline``."""
        if self.is_busy:
            await self.pipeline(())

    def forget_statements(self) -> None:
        """Prepare everything anew, after the server said that a prepared statement is of no use any more."""
        self._statements.clear()
        self._silent.clear()

    def pipeline(
        self, steps: Sequence[Step], *, group: str = "", silent: Silent | None = None, after: After | None = None
    ) -> asyncio.Future[list[list[Row]]]:
        """Send ``steps`` in one write; the result has the rows of each step, when all are done and committed.

        Parameters: ``group`` keeps the prepared statements of one role apart from another's, for which PostgreSQL would plan
        anew each time; ``silent`` statements that run last in the same transaction, whose rows nobody wants; ``after`` a
        message that is sent behind it. The future's errors are asyncpg's:
        ``PostgresError`` (nothing is kept), ``ConnectionDoesNotExistError``.
        """
        out: list[bytes] = []
        prepared: list[tuple[str, str]] = []
        made_silent = False
        for sql, values in steps:
            bind(out, self._name(sql, group, out, prepared), values)
        end = READY
        if silent is not None:
            known = self._silent.get(silent)
            if known is None:
                known = self._prepared_silent(silent, out)
                made_silent = True
            out.append(known)
            end = silent.reply
        out.append(SYNC)
        done: asyncio.Future[list[list[Row]]] = self._events.create_future()
        queue = self._demultiplexer.exchanges
        queue.append(_Exchange(done, prepared, len(steps), end, made_silent=made_silent))
        if after is not None:
            self._add_after(after, out)
        self._write(out)
        return done

    def _write(self, parts: list[bytes]) -> None:
        """In one write; what is large is not copied for that."""
        if max(map(len, parts)) > LARGE_PART_BYTES:
            self._writer.writelines(parts)
        else:
            self._writer.write(b"".join(parts))

    def send_after(self, after: After) -> None:
        """Send statements whose end nobody awaits."""
        out: list[bytes] = []
        self._add_after(after, out)
        self._write(out)

    def _add_after(self, after: After, out: list[bytes]) -> None:
        known = self._silent.get(after.silent)
        is_made = known is None
        out.append(self._prepared_silent(after.silent, out) if known is None else known)
        out.append(SYNC)
        end = after.silent.reply
        self._demultiplexer.exchanges.append(_Exchange(None, [], 0, end, made_silent=is_made, on_end=after.on_end))

    def _prepared_silent(self, silent: Silent, out: list[bytes]) -> bytes:
        """What runs the silent statements; what prepares them goes to ``out``. The messages are the same every time."""
        running: list[bytes] = []
        for sql in silent.statements:
            name = self._new_name()
            parse(out, name, sql)
            bind(running, name, ())
        made = b"".join(running)
        if self.uses_statements:
            self._silent[silent] = made
        return made

    def _new_name(self) -> bytes:
        self._serial += 1
        return b"%s%d" % (self._prefix, self._serial)

    def _name(self, sql: str, group: str, out: list[bytes], prepared: list[tuple[str, str]]) -> bytes:
        """The name of the statement on the server; where it has none yet, the message that makes it goes to ``out``."""
        if not self.uses_statements or len(sql) > MAX_STATEMENT_CHARS:
            parse(out, b"", sql)
            return b""
        key = (sql, group)
        statements = self._statements
        name = statements.pop(key, None)
        if name is None:
            if len(statements) >= MAX_STATEMENTS:
                oldest = next(iter(statements))
                close(out, statements.pop(oldest))
            name = self._new_name()
            parse(out, name, sql)
            prepared.append(key)
        statements[key] = name
        return name

    def finish(self, exchange: _Exchange) -> None:
        """Called by the protocol at the end of an exchange."""
        if exchange.error is not None:
            for key in exchange.prepared:
                # Whether these were made before the error is not known; their names are not used again.
                self._statements.pop(key, None)
            if exchange.made_silent:
                self._silent.clear()
        done = exchange.done
        if done is None:
            if exchange.error is not None:
                self.terminate()  # what nobody awaits must work; now the session's state is not known
            if exchange.on_end is not None:
                exchange.on_end()
            return
        if done.done():
            return
        if exchange.error is not None:
            done.set_exception(exchange.error)
        else:
            # Behind the wanted ones stand those of silent statements, and one opened for a statement that did not come.
            done.set_result(exchange.rows[: exchange.steps])

    def lost(self) -> None:
        """Called by the protocol when the connection is gone."""
        self._statements.clear()
