"""The write-ahead log as messages: the leader's session, its slot streamed and acknowledged.

Connecting blocks in libpq and so runs in a thread; afterwards the event loop waits for the socket. The session holds the
leader's lock (``slots``), so that lock and stream live and die together.
Source: PostgreSQL documentation, "Streaming Replication Protocol".
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg2
import psycopg2.extras
import psycopg2.sql

from isobase_platform.errors import IsobaseError
from isobase_services.realtime.changes.slots import NotLeader, SlotFacts, SlotPolicy, drop_slot, take_lead

__all__ = ["LogStream", "Opened", "StreamRefused", "StreamSink", "open_stream", "refused"]

CONNECT_TIMEOUT_S = 10
FEEDBACK_INTERVAL_S = 2.0
MESSAGES_OPTION_VERSION = 140000
"""From PostgreSQL 14 on the plugin tells what transactions say of themselves."""
MESSAGES_PER_TURN = 1_000
"""Messages read before the event loop gets a turn."""

# Forms of values that changes.values relies on; sent with the connection because a replication session takes no SET. The
# server gives up a leader that has not been heard of for 15 s, and a vanished machine as soon: its lock is then free.
_SESSION_OPTIONS = (
    "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c extra_float_digits=1 -c bytea_output=hex"
    " -c statement_timeout=0 -c lock_timeout=0 -c search_path= -c wal_sender_timeout=15s"
    " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=3 -c tcp_keepalives_count=3"
)


class StreamRefused(IsobaseError):
    """The log cannot be streamed. ``is_lasting`` when trying again is of no use until somebody changes the server."""

    default_code = "replication_refused"
    default_status = 503

    def __init__(self, message: str, *, is_lasting: bool) -> None:
        super().__init__(message)
        self.is_lasting = is_lasting


@dataclass(slots=True, frozen=True)
class StreamSink:
    """Where a stream's news goes. ``on_message``: each message's bytes. ``on_progress``: the server has read its log up to
    this LSN. ``released_lsn``: up to where nothing is needed again. ``on_end``: called once when the stream has failed.
    """

    on_message: Callable[[bytes], None]
    on_progress: Callable[[int], None]
    released_lsn: Callable[[], int]
    on_end: Callable[[Exception], None]


class LogStream:
    """A running stream. ``facts``: its slot."""

    def __init__(self, opened: Opened, sink: StreamSink) -> None:
        connection = opened.connection
        self.facts = opened.facts
        self._connection = connection
        self._cursor = opened.cursor
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._fd = connection.fileno()
        self._feedback: asyncio.TimerHandle | None = None
        self._is_reading = False
        self._is_closed = False
        self.pid = connection.info.backend_pid

    def start(self) -> None:
        """Begin to read."""
        self.resume()
        # Asked for an answer, the server says how far it has read even where there is nothing to send.
        self._send_feedback()

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
                    self._sink.on_progress(self._cursor.wal_end)
                    return
                self._sink.on_message(message.payload)
            self._loop.call_soon(self._read)
        except Exception as error:  # noqa: BLE001  whatever it is: a stream that stands still looks like one without news
            self._fail(error)

    def _send_feedback(self) -> None:
        """Tell the server that we live, and what it need not keep for us any more."""
        try:
            self._cursor.send_feedback(  # type: ignore[no-untyped-call]
                write_lsn=self._cursor.wal_end, flush_lsn=self._sink.released_lsn(), reply=True, force=True
            )
        except (psycopg2.Error, OSError) as error:
            self._fail(error)
            return
        self._feedback = self._loop.call_later(FEEDBACK_INTERVAL_S, self._send_feedback)

    def _fail(self, error: Exception) -> None:
        if not self._is_closed:
            self.close()
            self._sink.on_end(error)

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


@dataclass(slots=True, frozen=True)
class Opened:
    """A session that leads and streams, before anything was read from it."""

    connection: psycopg2.extras.LogicalReplicationConnection
    cursor: psycopg2.extras.ReplicationCursor
    facts: SlotFacts


async def open_stream(dsn: str, publications: Sequence[str], policy: SlotPolicy, sink: StreamSink) -> LogStream:
    """Become the leader and stream. Every transaction that commits after this returned reaches ``sink``.

    Creating a slot waits for transactions that are running. Raises ``NotLeader`` and ``StreamRefused``.
    """
    attempt = _Attempt()
    loop = asyncio.get_running_loop()
    connecting = loop.run_in_executor(None, _connect, dsn, list(publications), policy, attempt)
    try:
        opened = await asyncio.shield(connecting)
    except asyncio.CancelledError:
        # The thread may wait for other people's transactions: it is told to give up, and what it opens does not stay behind.
        connecting.add_done_callback(_close_late)
        loop.run_in_executor(None, attempt.give_up)
        raise
    return LogStream(opened, sink)


def _close_late(connecting: asyncio.Future[Opened]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().connection.close()


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


def _connect(dsn: str, publications: list[str], policy: SlotPolicy, attempt: _Attempt) -> Opened:
    connection: psycopg2.extras.LogicalReplicationConnection | None = None
    try:
        connection = psycopg2.connect(
            dsn,
            connection_factory=psycopg2.extras.LogicalReplicationConnection,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="isobase row changes",
            client_encoding="UTF8",
            options=_SESSION_OPTIONS,
            keepalives_idle=5,
            keepalives_interval=3,
            keepalives_count=3,
        )
        attempt.connection = connection
        if attempt.is_given_up:
            raise psycopg2.OperationalError("nobody waits for the stream any more")
        cursor = connection.cursor()
        facts = take_lead(cursor, policy)
        names = ",".join('"' + name.replace('"', '""') + '"' for name in publications)
        try:
            options = {"proto_version": "1", "publication_names": names}
            if connection.info.server_version >= MESSAGES_OPTION_VERSION:
                options["messages"] = "true"
            cursor.start_replication(slot_name=facts.name, decode=False, options=options)
        except psycopg2.Error as error:
            if facts.is_permanent and error.pgcode == "55000":
                # The server has thrown away what the slot needs (its wal_status did not say so yet): never again this slot.
                drop_slot(cursor, facts.name)
            raise
    except NotLeader:
        if connection is not None:
            connection.close()
        raise
    except psycopg2.Error as error:
        if connection is not None:
            connection.close()
        raise refused(error) from error
    return Opened(connection, cursor, facts)


def refused(error: psycopg2.Error) -> StreamRefused:
    """What the server said to the replication session, and whether it lasts until somebody changes the server."""
    text = " ".join(str(error).split())
    # 55000: wal_level is not logical. 42501 and what a refused login says (15; 16 and later): the role may not replicate.
    is_lasting = (
        (error.pgcode == "55000" and "wal_level" in text)
        or error.pgcode == "42501"
        or "permission denied" in text
        or "replication role to start" in text
        or "wal_level" in text
    )
    return StreamRefused(text or "the replication connection was refused", is_lasting=is_lasting)
