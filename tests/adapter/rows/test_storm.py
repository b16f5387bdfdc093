"""Many writers and many carriers at once: when all is carried, both sides are equal, whatever came in between."""

from __future__ import annotations

import asyncio
import random

import asyncpg
import pytest

from isobase_adapter.rows.sql_carrier import CannotRemake
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind
from isobase_adapter.verify.tables import TableVerifier
from tests.adapter.rows.conftest import Sides

TABLES = """
create table people (id int primary key, mail text unique, boss int references people on delete set null);
create table pets (id int primary key, owner int references people on delete cascade, name text);
create table toys (pet int references pets on delete cascade, no int, primary key (pet, no));
alter table people owner to postgres; alter table pets owner to postgres; alter table toys owner to postgres;
"""
WORKERS = 6
WRITES = 40
PEOPLE = 5
SHARE_POSTPONED = 0.3
"""Of the writes: the other side is away, and they are carried at the end."""


def row(table: str, *key: object, is_anew: bool = False) -> Thing:
    return Thing(ThingKind.ROW, f"public.{table}", key, is_anew)


async def write(connection: asyncpg.Connection, dice: random.Random) -> list[Thing]:
    """Do something at the source; names what the statement and its answer say, as a call would."""
    person, other, pet = dice.randint(1, PEOPLE), dice.randint(1, PEOPLE), dice.randint(1, 3 * PEOPLE)
    match dice.randint(0, 5):
        case 0 | 1:
            is_new = await connection.fetchval(
                "insert into public.people values ($1, $2, null) on conflict (id) do update set mail = excluded.mail"
                " returning xmax = 0",
                person,
                f"{dice.randint(1, 2 * PEOPLE)}@x",
            )
            return [row("people", person, is_anew=is_new)]
        case 2:
            await connection.execute("delete from public.people where id = $1", person)
            return [row("people", person)]
        case 3:
            is_new = await connection.fetchval(
                "insert into public.pets select $1, $2, $3 where exists (select from public.people where id = $2)"
                " on conflict (id) do update set owner = excluded.owner, name = excluded.name returning xmax = 0",
                pet,
                person,
                f"n{dice.random()}",
            )
            return [row("pets", pet, is_anew=bool(is_new))]
        case 4:
            await connection.execute(
                "insert into public.toys select $1, $2 where exists (select from public.pets where id = $1)"
                " on conflict do nothing",
                pet,
                other,
            )
            return [row("toys", pet, other)]
        case _:
            await connection.execute("update public.people set boss = $2 where id = $1", person, other)
            return [row("people", person)]


@pytest.mark.parametrize("seed", [7, 42])
async def test_whatever_is_written_and_carried_at_once_both_sides_end_equal(sides: Sides, seed: int) -> None:
    sides.both(TABLES)
    waiting: asyncio.Queue[Thing] = asyncio.Queue()

    async def work(number: int) -> None:
        dice = random.Random(f"{seed}/{number}")
        connection = await asyncpg.connect(sides.server.dsn(sides.names[Side.SUPABASE], role="postgres"))
        try:
            for _ in range(WRITES):
                try:
                    things = await write(connection, dice)
                except (asyncpg.IntegrityConstraintViolationError, asyncpg.DeadlockDetectedError):
                    continue  # The first side refused it: nothing changed.
                if dice.random() < SHARE_POSTPONED:
                    for thing in things:
                        waiting.put_nowait(thing)
                else:
                    await carry(things)
        finally:
            await connection.close()

    async def carry(things: list[Thing]) -> None:
        try:
            await sides.carrier.carry(things, Side.ISOBASE)
        except (asyncpg.PostgresError, CannotRemake):
            for thing in things:
                waiting.put_nowait(thing)

    async with asyncio.TaskGroup() as group:
        for number in range(WORKERS):
            group.create_task(work(number))
        group.create_task(carry([Thing(ThingKind.TABLE, "public.pets")]))
    # What the drainer does: again and again, until everything is there.
    for _ in range(20):
        things = [waiting.get_nowait() for _ in range(waiting.qsize())]
        if not things:
            break
        random.Random(seed).shuffle(things)
        for thing in things:
            await carry([thing])
    assert waiting.empty()
    verifier = TableVerifier(sides.carrier)
    for table in ("people", "pets", "toys"):
        result = await verifier.verify(f"public.{table}", Side.SUPABASE)
        assert result.is_equal, (table, result.named)
