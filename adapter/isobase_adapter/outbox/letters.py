"""What operators do with the outbox: look at what waits, and decide about dead letters.

``Letters`` is what ``isobase migrate outbox`` calls. What it shows holds no secret: calls are kept without values, and values
in a letter's versions are left out where their column is named like a secret, and all of them for users.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import asyncpg

from isobase_adapter.contracts import CallRecord
from isobase_adapter.outbox.entries import Entry, RowEdit, State
from isobase_adapter.outbox.postgres import asking
from isobase_adapter.outbox.statements import DROP, EDIT, ENTRIES, RETRY
from isobase_adapter.shadow.censoring import censored
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind

__all__ = ["LetterRefused", "Letters", "entry_of"]

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

MAX_LISTED = 1_000


class LetterRefused(Exception):
    """It cannot be done with this entry; the text says why."""


class Letters:
    """An operator at the outbox. pool: connections to its database."""

    def __init__(self, pool: Pool) -> None:
        """Take the connections."""
        self._pool = pool

    async def list(
        self, *, state: State | None = None, capability: str | None = None, limit: int = 100
    ) -> tuple[Entry, ...]:
        """Give entries, the oldest first. state, capability: only such; limit: at most so many, up to 1000."""
        return await self._read(state, capability, None, min(limit, MAX_LISTED))

    async def dead(self, capability: str | None = None) -> builtins.list[int]:
        """Give the numbers of all dead letters, or of a capability's, the oldest first."""
        async with asking(self._pool) as connection:
            rows = await connection.fetch(
                "select id from isobase.outbox where state = 'dead' and ($1::text is null or capability = $1) order by id",
                capability,
            )
        return [row["id"] for row in rows]

    async def show(self, number: int) -> Entry:
        """Give one entry, with what each side held when it died. Raises ``LetterRefused`` where there is none."""
        entries = await self._read(None, None, number, 1)
        if not entries:
            raise LetterRefused(f"there is no entry {number}")
        return entries[0]

    async def edit(
        self,
        number: int,
        *,
        key: tuple[Any, ...] | None = None,
        leave_out: Sequence[str] = (),
        image: Mapping[str, Any] | None = None,
    ) -> Entry:
        """Have a dead letter carried otherwise; it stays dead until ``retry``. What was edited before is forgotten.

        key: of another thing, in the key's order. leave_out: columns of its row that keep the target's value. image:
        values (plain JSON) to lay over the source's row. The target then differs from the source until the row is written
        again. Raises ``LetterRefused``.
        """
        letter = await self._dead(number)
        (thing,) = letter.things
        if key is not None:
            if thing.is_whole or thing.kind is ThingKind.BUCKET:
                raise LetterRefused(f"entry {number} names no key, but a whole {thing.kind}")
            if len(key) != len(thing.key):
                raise LetterRefused(f"the key of {thing.resource} has {len(thing.key)} values, not {len(key)}")
            if not all(isinstance(value, str | int | float) for value in key):
                raise LetterRefused(f"the key of {thing.resource} has texts and numbers, no lists, objects or nulls")
            thing = replace(thing, key=key)
        edit = RowEdit(tuple(leave_out), image) if leave_out or image is not None else None
        if edit is not None and thing.kind is not ThingKind.ROW:
            raise LetterRefused(
                f"entry {number} is a {thing.kind}: columns are left out of a row, and values laid over one"
            )
        await self._edit(number, thing, edit)
        return await self.show(number)

    async def retry(self, number: int, *, keep: Side | None = None, by: str = "") -> Entry:
        """Carry a dead letter once more, with all its attempts.

        keep: the side whose version counts; the other one is overwritten. Has to be said for a conflict; for any other
        letter it is the side that was written. Raises ``LetterRefused``.
        """
        letter = await self._dead(number)
        if keep is None and letter.is_conflict:
            raise LetterRefused(
                f"entry {number} changed on both sides; look at it (show) and say which side's version counts (--keep)"
            )
        target = letter.target if keep is None else keep.other
        if not await self._retry(number, target, by):
            raise LetterRefused(f"entry {number} is not dead any more")
        return await self.show(number)

    async def drop(self, number: int, *, reason: str, by: str = "") -> None:
        """Forget a dead letter; the reason is kept as an event. Raises ``LetterRefused``."""
        if not reason.strip():
            raise LetterRefused("a letter is dropped with a reason")
        await self._dead(number)
        if not await self._drop(number, reason, by):
            raise LetterRefused(f"entry {number} is not dead any more")

    async def _dead(self, number: int) -> Entry:
        entry = await self.show(number)
        if entry.state is not State.DEAD:
            raise LetterRefused(f"entry {number} is {entry.state}, no dead letter: it is carried by itself")
        return entry

    async def _read(
        self, state: State | None, capability: str | None, number: int | None, limit: int
    ) -> tuple[Entry, ...]:
        async with asking(self._pool) as connection:
            rows = await connection.fetch(ENTRIES, None if state is None else str(state), capability, number, limit)
        return tuple(entry_of(dict(row)) for row in rows)

    async def _edit(self, number: int, thing: Thing, edit: RowEdit | None) -> None:
        named = json.dumps(thing.as_json(), default=str)
        written = None if edit is None else json.dumps(edit.as_json())
        async with asking(self._pool) as connection:
            await connection.execute(EDIT, number, named, thing.lock_number, written)

    async def _retry(self, number: int, target: Side, by: str) -> bool:
        async with asking(self._pool) as connection:
            return await connection.fetchval(RETRY, number, str(target), by) is not None

    async def _drop(self, number: int, reason: str, by: str) -> bool:
        async with asking(self._pool) as connection:
            return await connection.fetchval(DROP, number, reason, by) is not None


def entry_of(row: Mapping[str, Any]) -> Entry:
    """Give a row of the outbox as operators may see it."""
    things = tuple(Thing.from_json(value) for value in json.loads(row["things"]))
    call: Mapping[str, Any] = json.loads(row["call"])
    is_auth = any(thing.kind in (ThingKind.USER, ThingKind.USERS) for thing in things)
    versions = {} if row["versions"] is None else json.loads(row["versions"])
    return Entry(
        row["id"],
        State(row["state"]),
        row["capability"],
        Side(row["target"]),
        row["epoch"],
        things,
        CallRecord(call.get("method", ""), call.get("path", ""), call.get("detail", {})),
        row["attempts"],
        row["created_at"],
        row["next_at"],
        row["error"],
        row["is_conflict"],
        {side: censored(_parsed(version), hides_all=is_auth) for side, version in versions.items()},
        _shown(RowEdit.from_text(row["edit"])),
    )


def _shown(edit: RowEdit | None) -> RowEdit | None:
    return edit if edit is None or edit.image is None else RowEdit(edit.leave_out, censored(dict(edit.image)))


def _parsed(version: Any) -> Any:
    """A carrier may give a row as text: its columns are looked at one by one all the same."""
    if isinstance(version, str) and version.startswith(("{", "[")):
        try:
            return json.loads(version)
        except ValueError:
            return "[hidden]"
    return version
