"""The file of a host's control store: its tables, and one transaction at a time of all processes that share it.

The tables are those of schema.sql, with times as seconds since 1970 and values as JSON text. Every call is short and
runs on a thread; several processes share the file (WAL).
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from isobase_adapter.control.errors import ControlAway

__all__ = ["SqliteFile", "moment_of"]

BUSY_TIMEOUT_S = 5.0
Result = TypeVar("Result")

# now_s() is a function of ours: seconds since 1970.
TABLES = """
create table if not exists migration_state (is_only integer primary key check (is_only = 1), version integer not null);
insert or ignore into migration_state values (1, 0);
create table if not exists flags (
  pattern text primary key, stage text not null, before text not null, share_percent real not null,
  users text not null, version integer not null, changed_by text not null, reason text not null, changed_at real not
  null
);
create table if not exists flag_history (
  id integer primary key autoincrement, pattern text not null, version integer not null, stage text not null,
  before text not null, share_percent real not null, users text not null, was_stage text, was_share_percent real,
  changed_by text not null, reason text not null, changed_at real not null
);
create table if not exists writers (
  pattern text primary key, side text not null default 'supabase' check (side in ('supabase', 'isobase')),
  epoch integer not null default 0, handing_over_to text, handing_over_since real, handing_over_by text,
  handover text not null default '{}'
);
create table if not exists migration_rules (
  pattern text not null, name text not null, value text not null, changed_by text not null, primary key (pattern, name)
);
create table if not exists mismatches (
  id integer primary key autoincrement, capability text not null, is_noise integer not null, fingerprint text not null,
  cause text not null, occurrences integer not null, samples text not null, first_at real not null, last_at real not
  null, explained text, explained_by text, explained_at real, unique (capability, is_noise, fingerprint)
);
create table if not exists migration_counters (
  capability text not null, minute real not null, name text not null, value integer not null,
  primary key (capability, minute, name)
);
create table if not exists migration_clients (
  id text primary key, name text not null, host text not null, pid integer not null, started_at real not null,
  seen_at real not null, version integer not null, spooled integer not null, state text not null
);
create table if not exists migration_events (
  id integer primary key autoincrement, at real not null, name text not null, capability text not null, client text,
  detail text not null
);
create table if not exists outbox (
  id integer primary key autoincrement, state text not null check (state in ('intent', 'pending', 'dead')),
  capability text not null, target text not null check (target in ('supabase', 'isobase')), epoch integer not null,
  things text not null, resource text, lock_number integer, is_whole integer not null, call text not null default '{}',
  attempts integer not null default 0, next_at real, lease_until real, client text, error text,
  is_conflict integer not null default 0, versions text, edit text, created_at real not null, updated_at real not null
);
create index if not exists outbox_lock_number_idx on outbox (lock_number, target);
create index if not exists outbox_state_idx on outbox (state, next_at);
create trigger if not exists number_writer_made after insert on writers begin
  update migration_state set version = version + 1;
end;
create trigger if not exists number_writer_changed after update on writers begin
  update migration_state set version = version + 1;
end;
"""


class SqliteFile:
    """The file.

    path: of the file; made, with its folder, when it is missing, readable by this account alone.
    """

    @property
    def path(self) -> Path:
        """Where the file is; locks are beside it."""
        return self._path

    def __init__(self, path: Path) -> None:
        """Open nothing yet."""
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._is_closed = False

    async def open(self, on_change: Callable[[], None] | None = None) -> None:
        """Open the file and make its tables. Raises ``ControlAway``."""
        self._is_closed = False
        await self.transact(lambda _: None)

    async def close(self) -> None:
        """Close the file."""

        def work() -> None:
            with self._lock:
                self._is_closed = True
                connection, self._connection = self._connection, None
                if connection is not None:
                    connection.close()

        await asyncio.to_thread(work)

    async def transact(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run ``work`` in one transaction on a thread; of all processes one is in such a transaction at a time.

        Raises ``ControlAway``. A caller that is cancelled does not end the transaction.
        """

        def locked() -> Result:
            with self._lock, _transaction(self._opened()) as connection:
                return work(connection)

        try:
            return await asyncio.shield(asyncio.to_thread(locked))
        except (sqlite3.OperationalError, OSError) as error:
            raise ControlAway(f"the control file {self._path} cannot be used: {error}") from error

    def _opened(self) -> sqlite3.Connection:
        if self._is_closed:
            raise OSError("it is closed")
        if self._connection is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.touch(mode=0o600)
            connection = sqlite3.connect(
                self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            try:
                connection.row_factory = sqlite3.Row
                connection.create_function("now_s", 0, time.time)
                connection.execute("pragma journal_mode = wal")
                connection.execute("pragma synchronous = full")
                connection.executescript("begin immediate;" + TABLES + "commit;")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    connection.execute("begin immediate")
    try:
        yield connection
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def moment_of(seconds: float) -> datetime:
    """Give a time of the file."""
    return datetime.fromtimestamp(seconds, UTC)
