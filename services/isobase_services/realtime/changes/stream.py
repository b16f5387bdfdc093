"""The write-ahead log as decoded messages: one temporary logical replication slot, streamed, acknowledged.

Connecting blocks in libpq and so runs in a thread; afterwards the event loop waits for the socket. The slot is temporary: it
goes with the connection, so that a process that dies holds no log back. Each process reads a slot of its own, which needs no
election and no hand-over. Source: PostgreSQL documentation, "Streaming Replication Protocol".
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Sequence

import psycopg2
import psycopg2.extras
import psycopg2.sql

from isobase_platform.errors import IsobaseError

__all__ = ["LogStream", "StreamRefused", "open_stream"]

CONNECT_TIMEOUT_S = 10
FEEDBACK_INTERVAL_S = 10.0
MESSAGES_PER_TURN = 1_000
"""Messages read before the event loop gets a turn."""

# Forms of values that changes.values relies on; sent with the connection because a replication session takes no SET.
_SESSION_OPTIONS = (
    "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c extra_float_digits=1 -c bytea_output=hex"
    " -c statement_timeout=0 -c lock_timeout=0 -c search_path="
)


class StreamRefused(IsobaseError):
    """The log cannot be streamed. ``is_lasting`` when trying again is of no use until somebody changes the server."""

    default_code = "replication_refused"
    default_status = 503

    def __init__(self, message: str, *, is_lasting: bool) -> None:
        super().__init__(message)
        self.is_lasting = is_lasting


class LogStream:
    """A running stream. ``on_message`` gets each message's bytes; ``on_end`` is called once when the stream has failed."""

    def __init__(
        self,
        connection: psycopg2.extras.LogicalReplicationConnection,
        cursor: psycopg2.extras.ReplicationCursor,
        on_message: Callable[[bytes], None],
        on_end: Callable[[Exception], None],
    ) -> None:
        self._connection = connection
        self._cursor = cursor
        self._on_message = on_message
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._fd = connection.fileno()
        self._feedback: asyncio.TimerHandle | None = None
        self._is_reading = False
        self._is_closed = False
        self.pid = connection.info.backend_pid

    def start(self) -> None:
        """Begin to read."""
        self.resume()
        self._feedback = self._loop.call_later(FEEDBACK_INTERVAL_S, self._send_feedback)

    def pause(self) -> None:
        """Stop reading until ``resume``: TCP then holds the server back."""
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        """Read on."""
        if not self._is_reading and not self._is_closed:
            self._is_reading = True
            self._loop.add_reader(self._fd, self._read)
            # libpq may hold messages that the socket will not announce again.
            self._loop.call_soon(self._read)

    def _read(self) -> None:
        try:
            for _ in range(MESSAGES_PER_TURN):
                if not self._is_reading or self._is_closed:
                    return
                message = self._cursor.read_message()
                if message is None:
                    return
                self._on_message(message.payload)
            self._loop.call_soon(self._read)
        except Exception as error:  # noqa: BLE001  whatever it is: a stream that stands still looks like one without news
            self._fail(error)

    def _send_feedback(self) -> None:
        """Tell the server how far we are. The slot is temporary, so received means done: nothing is read twice."""
        try:
            self._cursor.send_feedback(flush_lsn=self._cursor.wal_end, reply=False, force=True)  # type: ignore[no-untyped-call]
        except (psycopg2.Error, OSError) as error:
            self._fail(error)
            return
        self._feedback = self._loop.call_later(FEEDBACK_INTERVAL_S, self._send_feedback)

    def _fail(self, error: Exception) -> None:
        if not self._is_closed:
            self.close()
            self._on_end(error)

    def close(self) -> None:
        """Stop reading and give the connection up; its slot goes with it. Calling it again does nothing."""
        if self._is_closed:
            return
        self.pause()
        self._is_closed = True
        if self._feedback is not None:
            self._feedback.cancel()
        with contextlib.suppress(psycopg2.Error):
            self._connection.close()


async def open_stream(
    dsn: str,
    publications: Sequence[str],
    *,
    on_message: Callable[[bytes], None],
    on_end: Callable[[Exception], None],
) -> LogStream:
    """Make a slot and stream from it. Every transaction that commits after this returned reaches ``on_message``.

    Creating the slot waits for transactions that are running. Raises ``StreamRefused``.
    """
    attempt = _Attempt()
    loop = asyncio.get_running_loop()
    connecting = loop.run_in_executor(None, _connect, dsn, list(publications), attempt)
    try:
        connection, cursor = await asyncio.shield(connecting)
    except asyncio.CancelledError:
        # The thread may wait for other people's transactions: it is told to give up, and what it opens does not stay behind.
        connecting.add_done_callback(_close_late)
        loop.run_in_executor(None, attempt.give_up)
        raise
    return LogStream(connection, cursor, on_message, on_end)


_Opened = tuple[psycopg2.extras.LogicalReplicationConnection, psycopg2.extras.ReplicationCursor]


def _close_late(opened: asyncio.Future[_Opened]) -> None:
    if not opened.cancelled() and opened.exception() is None:
        opened.result()[0].close()


class _Attempt:
    """An attempt to connect in a thread, which another thread may end."""

    def __init__(self) -> None:
        self.connection: psycopg2.extras.LogicalReplicationConnection | None = None
        self.is_given_up = False

    def give_up(self) -> None:
        """End the statement that runs, if one does."""
        self.is_given_up = True
        if self.connection is not None:
            with contextlib.suppress(psycopg2.Error):
                self.connection.cancel()


def _connect(dsn: str, publications: list[str], attempt: _Attempt) -> _Opened:
    connection: psycopg2.extras.LogicalReplicationConnection | None = None
    try:
        connection = psycopg2.connect(
            dsn,
            connection_factory=psycopg2.extras.LogicalReplicationConnection,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="isobase row changes",
            client_encoding="UTF8",
            options=_SESSION_OPTIONS,
        )
        attempt.connection = connection
        if attempt.is_given_up:
            raise psycopg2.OperationalError("nobody waits for the stream any more")
        cursor = connection.cursor()
        slot = f"isobase_realtime_{secrets.token_hex(6)}"
        cursor.execute(f'CREATE_REPLICATION_SLOT "{slot}" TEMPORARY LOGICAL "pgoutput" NOEXPORT_SNAPSHOT')
        names = ",".join('"' + name.replace('"', '""') + '"' for name in publications)
        cursor.start_replication(
            slot_name=slot, decode=False, options={"proto_version": "1", "publication_names": names}
        )
    except psycopg2.Error as error:
        if connection is not None:
            connection.close()
        raise _refused(error) from error
    return connection, cursor


def _refused(error: psycopg2.Error) -> StreamRefused:
    text = " ".join(str(error).split())
    # 55000: wal_level is not logical. 42501 and its wording on a refused login: the role may not replicate.
    is_lasting = error.pgcode in ("55000", "42501") or "permission denied" in text or "wal_level" in text
    return StreamRefused(text or "the replication connection was refused", is_lasting=is_lasting)
