"""What operators do with the outbox in a control file; ``letters`` says what each is."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from typing import Any

from isobase_adapter.control.sqlite import SqliteStore
from isobase_adapter.outbox.entries import Entry, RowEdit, State
from isobase_adapter.outbox.letters import Letters, entry_of
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing

__all__ = ["FileLetters"]


class FileLetters(Letters):
    """An operator at the outbox of a control file. store: an open one."""

    def __init__(self, store: SqliteStore) -> None:
        """Take the store."""
        self._store = store

    async def _read(
        self, state: State | None, capability: str | None, number: int | None, limit: int
    ) -> tuple[Entry, ...]:
        rows = await self._store.transact(
            lambda connection: connection.execute(
                "select * from outbox where (?1 is null or state = ?1) and (?2 is null or capability = ?2)"
                " and (?3 is null or id = ?3) order by id limit ?4",
                (None if state is None else str(state), capability, number, limit),
            ).fetchall()
        )
        return tuple(entry_of(_values(row)) for row in rows)

    async def _edit(self, number: int, thing: Thing, edit: RowEdit | None) -> None:
        written = None if edit is None else json.dumps(edit.as_json())
        values = (json.dumps([thing.as_json()], default=str), thing.resource, thing.lock_number, written, number)
        await self._store.transact(
            lambda connection: connection.execute(
                "update outbox set things = ?, resource = ?, lock_number = ?, edit = ?, updated_at = now_s()"
                " where id = ? and state = 'dead'",
                values,
            )
        )

    async def _retry(self, number: int, target: Side, by: str) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            row = _dead(connection, number)
            if row is None:
                return False
            connection.execute(
                "update outbox set state = 'pending', target = ?, attempts = 0, next_at = now_s(), lease_until = null,"
                " is_conflict = 0, versions = null, updated_at = now_s() where id = ?",
                (str(target), number),
            )
            _tell(connection, "letter_retried", row, {"id": number, "target": str(target), "by": by})
            return True

        return await self._store.transact(work)

    async def _drop(self, number: int, reason: str, by: str) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            row = _dead(connection, number)
            if row is None:
                return False
            connection.execute("delete from outbox where id = ?", (number,))
            _tell(connection, "letter_dropped", row, {"id": number, "reason": reason, "by": by})
            return True

        return await self._store.transact(work)


def _dead(connection: sqlite3.Connection, number: int) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        "select capability from outbox where id = ? and state = 'dead'", (number,)
    ).fetchone()
    return row


def _tell(connection: sqlite3.Connection, name: str, row: sqlite3.Row, detail: dict[str, Any]) -> None:
    connection.execute(
        "insert into migration_events (at, name, capability, detail) values (now_s(), ?, ?, ?)",
        (name, row["capability"], json.dumps(detail)),
    )


def _values(row: sqlite3.Row) -> dict[str, Any]:
    values = dict(row)
    values["created_at"] = datetime.fromtimestamp(row["created_at"], UTC)
    values["next_at"] = None if row["next_at"] is None else datetime.fromtimestamp(row["next_at"], UTC)
    values["is_conflict"] = bool(row["is_conflict"])
    return values
