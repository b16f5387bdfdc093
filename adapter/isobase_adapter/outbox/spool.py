"""Where a client keeps its writes while the outbox cannot be reached: one SQLite file for each process, in the spool
folder.

The file is locked for as long as its process lives (the lock goes with the process, however it ends) and written with
``synchronous = full``. What a process left behind is adopted by the next one that uses the folder.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

from isobase_adapter.contracts import CallRecord
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing

__all__ = ["Spool", "SpoolFull", "Spooled"]

logger = logging.getLogger("isobase.migration.spool")

SUFFIX = ".spool"
MAX_ENTRIES = 1_000_000
"""So many writes may wait in one file; then they are refused."""

MAKE_ATTEMPTS = 20

MAKE = """
create table if not exists client (id text not null);
create table if not exists entries (
  id integer primary key autoincrement,
  is_open integer not null,
  capability text not null,
  target text not null,
  epoch integer not null,
  things text not null,
  call text not null,
  lease_until real not null,
  error text
);
"""

R = TypeVar("R")


class SpoolFull(Exception):
    """The spool holds as many writes as it may."""


@dataclass(slots=True, frozen=True)
class Spooled:
    """A write that waits in a spool to be moved into the outbox."""

    id: int
    capability: str
    target: Side
    epoch: int
    things: tuple[Thing, ...]
    call: CallRecord
    error: str


class Spool:
    """One process's file. All methods but the properties run on a thread of their own and return when it is on
    the disk.

    folder: the spool folder; made where it is missing, readable by its owner alone. client: this client's number.
    Raises ``OSError`` or ``sqlite3.Error`` where nothing can be written there.
    """

    def __init__(self, folder: Path, client: UUID, *, path: Path | None = None) -> None:
        """Make the file and lock it; path: adopt this one instead."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._lock = threading.Lock()
        self._coming = 0
        self._kept = 0
        self.path, self._database, self.client = _adopted(path, client) if path is not None else _made(folder, client)
        self._kept = self._database.execute("select count(*) from entries").fetchone()[0]

    @property
    def count(self) -> int:
        """How many writes are in it, or on their way into it; known without waiting."""
        return self._kept + self._coming

    async def begin(
        self,
        capability: str,
        *,
        target: Side,
        epoch: int,
        call: CallRecord,
        things: Sequence[Thing],
        lease_s: float,
    ) -> int:
        """Keep an intent; returns its number. It counts from the moment of the call on. Raises ``SpoolFull``."""
        if self.count >= MAX_ENTRIES:
            raise SpoolFull(f"{self.path}: {MAX_ENTRIES} writes wait")
        self._coming += 1
        values = (
            capability,
            str(target),
            epoch,
            _written(things),
            json.dumps({"method": call.method, "path": call.path, "detail": dict(call.detail)}, default=str),
            time.time() + lease_s,
        )

        def insert(database: sqlite3.Connection) -> int:
            done = database.execute(
                "insert into entries (is_open, capability, target, epoch, things, call, lease_until)"
                " values (1, ?, ?, ?, ?, ?, ?)",
                values,
            )
            assert done.lastrowid is not None
            return done.lastrowid

        try:
            number = await self._do(insert)
            self._kept += 1
        finally:
            self._coming -= 1
        return number

    async def keep(self, numbers: Sequence[int], lease_s: float) -> None:
        """Let leases of open intents begin anew."""
        until = time.time() + lease_s

        def update(database: sqlite3.Connection) -> None:
            database.executemany(
                "update entries set lease_until = max(lease_until, ?) where id = ? and is_open",
                [(until, number) for number in numbers],
            )

        await self._do(update)

    async def end(self, number: int, things: Sequence[Thing] | None, error: str) -> bool:
        """End an intent: ``things`` wait to be moved; None: what was named before. Returns whether it was there."""

        def update(database: sqlite3.Connection) -> bool:
            if things is None:
                done = database.execute(
                    "update entries set is_open = 0, error = ? where id = ? and is_open", (error, number)
                )
            else:
                done = database.execute(
                    "update entries set is_open = 0, error = ?, things = ? where id = ? and is_open",
                    (error, _written(things), number),
                )
            return done.rowcount == 1

        return await self._do(update)

    async def forget(self, numbers: Sequence[int]) -> int:
        """Delete entries; returns how many were there."""

        def delete(database: sqlite3.Connection) -> int:
            done = database.executemany("delete from entries where id = ?", [(number,) for number in numbers])
            return done.rowcount

        deleted = await self._do(delete)
        self._kept -= deleted
        return deleted

    async def ended(self, limit: int = 500) -> list[Spooled]:
        """Give writes that have ended, or whose lease is over, in their order."""

        def select(database: sqlite3.Connection) -> list[Any]:
            return database.execute(
                "select id, capability, target, epoch, things, call, error from entries"
                " where not is_open or lease_until < ? order by id limit ?",
                (time.time(), limit),
            ).fetchall()

        return [
            Spooled(
                row[0],
                row[1],
                Side(row[2]),
                row[3],
                tuple(Thing.from_json(value) for value in json.loads(row[4])),
                CallRecord(**json.loads(row[5])),
                row[6] or "its end was never heard",
            )
            for row in await self._do(select)
        ]

    def adoptable(self) -> list[Spool]:
        """Open the files that processes left behind; those of living ones are locked."""
        adopted = []
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            if path == self.path or path.is_symlink():
                continue
            try:
                adopted.append(Spool(self._folder, self.client, path=path))
            except (sqlite3.OperationalError, FileNotFoundError):
                continue  # its process lives, or has ended it meanwhile
            except (sqlite3.DatabaseError, OSError) as error:
                logger.error("%s cannot be read and is left as it is: %s", path, type(error).__name__)
        return adopted

    def close(self, *, keeps_file: bool = False) -> None:
        """Close the file; an empty one is deleted, unless it is to be adopted all the same."""
        with self._lock:
            is_empty = self._kept == 0 and self._coming == 0 and not keeps_file
            self._database.close()
        if is_empty:
            for path in (self.path, Path(f"{self.path}-wal"), Path(f"{self.path}-shm")):
                path.unlink(missing_ok=True)

    async def _do(self, work: Callable[[sqlite3.Connection], R]) -> R:
        def locked() -> R:
            with self._lock:
                self._database.execute("begin immediate")
                try:
                    result = work(self._database)
                except BaseException:
                    self._database.execute("rollback")
                    raise
                self._database.execute("commit")
                return result

        # Shielded: a cancelled caller must not leave the count and the file apart.
        return await asyncio.shield(asyncio.to_thread(locked))


def _written(things: Sequence[Thing]) -> str:
    return json.dumps([thing.as_json() for thing in things], default=str)


def _made(folder: Path, client: UUID) -> tuple[Path, sqlite3.Connection, UUID]:
    """Give a file of this process's own, locked.

    Until the lock is there, another process may take the file for one that was left behind, and delete it as it is empty:
    what is written into a deleted file is lost. Then another one is made.
    """
    for attempt in range(MAKE_ATTEMPTS):
        path = folder / f"{uuid4().hex}{SUFFIX}"
        # Before SQLite makes it: its journals take the file's rights, and nobody else may open it in between.
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        made = os.fstat(descriptor)
        os.close(descriptor)
        try:
            database, found = _locked(path, client)
        except sqlite3.OperationalError:
            if attempt == MAKE_ATTEMPTS - 1:
                raise
            continue
        try:
            if found == client and os.path.samestat(made, path.stat()):
                return path, database, client
        except FileNotFoundError:
            pass
        database.close()
    raise sqlite3.OperationalError(f"{folder}: every file made was taken away by another process")


def _adopted(path: Path, client: UUID) -> tuple[Path, sqlite3.Connection, UUID]:
    """Give a file that is there, locked, and whose it is. Raises ``FileNotFoundError`` where it is not there any more."""
    path.chmod(0o600)
    return path, *_locked(path, client)


def _locked(path: Path, client: UUID) -> tuple[sqlite3.Connection, UUID]:
    """Open a file for as long as the connection lives; gives whose it is, too: ``client``'s where it is new."""
    database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        # The lock of a file in this mode is held until the connection ends.
        database.execute("pragma locking_mode = exclusive")
        database.execute("pragma journal_mode = wal")
        database.execute("pragma synchronous = full")
        database.execute("begin exclusive")
        for statement in MAKE.split(";"):
            database.execute(statement)
        found = database.execute("select id from client").fetchone()
        if found is None:
            database.execute("insert into client values (?)", (str(client),))
        database.execute("commit")
    except BaseException:
        database.close()
        raise
    return database, client if found is None else UUID(found[0])
