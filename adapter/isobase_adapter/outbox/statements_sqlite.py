"""What the outbox in a SQLite file asks and changes, each inside a transaction of its caller.

``sqlite`` is the outbox; ``statements`` says the same for PostgreSQL.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from uuid import UUID

from isobase_adapter.capabilities import Capability, Kind, most_specific
from isobase_adapter.contracts import CallRecord, Intent, Writer
from isobase_adapter.outbox.entries import Item, RowEdit
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind, distinct

__all__ = [
    "DUE",
    "IN_THE_WAY",
    "MAX_ERROR_LENGTH_CHARS",
    "call_json",
    "capability_of",
    "clash",
    "forget",
    "insert",
    "item_of",
    "postpone",
    "things_of",
    "writer_in",
]

MAX_ERROR_LENGTH_CHARS = 500
IN_THE_WAY = """
select o.id, o.state, o.next_at, o.lock_number in (select value from json_each(:numbers)) as is_same
  from outbox as o
 where o.target <> :target
   and (o.lock_number in (select value from json_each(:numbers))
        or (o.capability = :capability or o.resource in (select value from json_each(:resources)))
           and (:has_whole or o.is_whole))
"""
# An item waits while something of the other direction that must not be overwritten stands in its way (``statements``).
DUE = """
select o.* from outbox as o
 where o.state = 'pending' and o.next_at <= now_s() and (:target is null or o.target = :target)
   and not exists (select 1 from outbox as b where b.lock_number = o.lock_number and b.target <> o.target
                      and (b.state = 'pending' and b.id < o.id or b.is_conflict and b.versions is null))
   and not (o.is_whole and exists (
     select 1 from outbox as b where (b.capability = o.capability or b.resource = o.resource) and b.target <> o.target
        and (b.state = 'dead' or b.state = 'pending' and b.id < o.id)))
   and not exists (
     select 1 from outbox as b where b.resource = o.resource and b.target <> o.target and b.state = 'dead'
        and b.is_conflict and b.is_whole and json_extract(b.things, '$[0].kind') in ('table', 'objects'))
 order by o.id limit :limit
"""
MAY_MEET = frozenset({ThingKind.ROW, ThingKind.TABLE, ThingKind.OBJECT, ThingKind.OBJECTS})
"""Users are merged, whatever comes from where."""
WHOLES_MEET = """
select id, things from outbox
 where resource = ? and target <> ? and state <> 'intent' and not is_conflict and (is_whole or ?)
"""
OLD = """
  from outbox where lock_number = ? and target = ? and id <> ? and not is_conflict
   and (state = 'dead' or state = 'pending' and not ?)
"""


def capability_of(written: str) -> Capability:
    """Read a capability as ``str`` writes it."""
    kind, _, name = written.partition(":")
    return Capability(Kind(kind), name)


def writer_in(connection: sqlite3.Connection, capability: Capability) -> Writer:
    """Give the writer of a capability: that of the most specific pattern, else Supabase in epoch 0."""
    rows = {row["pattern"]: row for row in connection.execute("select * from writers")}
    pattern = most_specific(rows, capability)
    if pattern is None:
        return Writer(str(capability))
    row = rows[pattern]
    return Writer(pattern, Side(row["side"]), row["epoch"], row["handing_over_to"] is not None)


def insert(
    connection: sqlite3.Connection,
    state: str,
    capability: Capability,
    target: Side,
    epoch: int,
    things: Sequence[Thing],
    call: str,
    client: UUID | str | None,
    error: str | None,
    lease_s: float | None = None,
) -> int:
    """Put an entry in; returns its number."""
    only = things[0] if len(things) == 1 else None
    done = connection.execute(
        "insert into outbox (state, capability, target, epoch, things, resource, lock_number, is_whole, call, client,"
        " error, next_at, lease_until, created_at, updated_at)"
        " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, now_s(), now_s() + ?, now_s(), now_s())",
        (
            state,
            str(capability),
            str(target),
            epoch,
            json.dumps([thing.as_json() for thing in things], default=str),
            None if only is None else only.resource,
            None if only is None else only.lock_number,
            only is None or only.is_whole,
            call,
            None if client is None else str(client),
            error,
            lease_s,
        ),
    )
    assert done.lastrowid is not None
    return done.lastrowid


def postpone(
    connection: sqlite3.Connection,
    intent: Intent,
    things: Sequence[Thing],
    error: str,
    *,
    keeps_intent: bool = False,
) -> bool:
    """Make items in the intent's place; returns whether it was there.

    An item gets a new number each time: whoever carries an older one of the same thing has read an older state, and may
    delete that one only. Of wholes one that nobody has begun is enough. That a row may be there anew stays said until it
    was carried.
    """
    row = connection.execute(
        "select * from outbox where id = ? and state = 'intent' and target = ?", (intent.id, str(intent.target))
    ).fetchone()
    if row is None:
        return False
    if not keeps_intent:
        connection.execute("delete from outbox where id = ?", (intent.id,))
    for thing in distinct(things):
        place = (thing.lock_number, row["target"])
        for old in connection.execute(f"select things {OLD}", (*place, intent.id, thing.is_whole)).fetchall():
            thing = distinct([thing, *(one for one in things_of(old) if one.is_anew)])[0]
        connection.execute(f"delete {OLD}", (*place, intent.id, thing.is_whole))
        for other in connection.execute(
            "select id from outbox where lock_number = ? and target <> ? and state = 'pending'", place
        ).fetchall():
            clash(connection, other["id"])
        if thing.kind in MAY_MEET:
            for other in connection.execute(WHOLES_MEET, (thing.resource, row["target"], thing.is_whole)).fetchall():
                if things_of(other)[0].kind in MAY_MEET:
                    clash(connection, other["id"])
        is_known = (
            thing.is_whole
            and connection.execute(
                "select 1 from outbox where lock_number = ? and target = ? and state = 'pending' and attempts = 0"
                " and lease_until is null",
                place,
            ).fetchone()
        )
        if not is_known:
            insert(
                connection,
                "pending",
                capability_of(row["capability"]),
                Side(row["target"]),
                row["epoch"],
                [thing],
                row["call"],
                row["client"],
                error[:MAX_ERROR_LENGTH_CHARS] or None,
            )
    return True


def clash(connection: sqlite3.Connection, number: int) -> None:
    """Make a dead letter of an item whose thing was written at both sides."""
    connection.execute(
        "update outbox set state = 'dead', is_conflict = 1, error = 'written at both sides', next_at = null,"
        " updated_at = now_s() where id = ?",
        (number,),
    )


def forget(connection: sqlite3.Connection, numbers: Sequence[int], target: Side) -> int:
    """Take entries away that are not dead; returns how many were there."""
    return connection.execute(
        "delete from outbox where id in (select value from json_each(?)) and target = ? and state <> 'dead'",
        (json.dumps(list(numbers)), str(target)),
    ).rowcount


def things_of(row: sqlite3.Row) -> tuple[Thing, ...]:
    """Give what an entry names."""
    return tuple(Thing.from_json(value) for value in json.loads(row["things"]))


def item_of(row: sqlite3.Row, attempts: int) -> Item:
    """Read an item."""
    (thing,) = things_of(row)
    return Item(
        row["id"],
        row["capability"],
        Side(row["target"]),
        row["epoch"],
        thing,
        attempts,
        edit=RowEdit.from_text(row["edit"]),
    )


def call_json(call: CallRecord) -> str:
    """Give a call as it is kept."""
    return json.dumps({"method": call.method, "path": call.path, "detail": dict(call.detail)}, default=str)
