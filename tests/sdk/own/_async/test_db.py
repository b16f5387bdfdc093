"""``client.db`` against a running Isobase: databases, members, tables, and rows under their rules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from pydantic import BaseModel

from isobase._async.client import AsyncClient
from isobase.db import (
    AsyncDatabases,
    Column,
    Database,
    Index,
    IsobaseAPIError,
    Policy,
    Reference,
    Table,
    contains,
    gt,
    gte,
    ilike,
    in_,
    is_null,
    lt,
    neq,
    not_,
)
from tests.plugins.stack import Stack
from tests.sdk.own.conftest import Person

ITEMS = [
    Column("title", "text", nullable=False),
    Column("quantity", "integer", default=1, check="quantity >= 0"),
    Column("order", "text"),
    Column("tags", "text[]"),
    Column("price", "numeric(10,2)"),
]


class Item(BaseModel):
    id: UUID | None = None
    title: str
    quantity: int | None = None
    price: Decimal | None = None


@dataclass
class PlainItem:
    title: str
    quantity: int | None = None
    created_at: datetime | None = None


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(stack.url, stack.anon_key) as client:
        yield client


@pytest.fixture
def alice(person: Callable[[], Person]) -> Person:
    return person()


@pytest.fixture
def db(client: AsyncClient, alice: Person) -> AsyncDatabases:
    return client.as_user(alice.token).db


@pytest.fixture
async def database(db: AsyncDatabases) -> Database:
    return await db.create("inventory")


@pytest.fixture
async def items(db: AsyncDatabases, database: Database) -> Table:
    return await db.create_table(database, "items", ITEMS)


async def test_a_database_is_made_listed_found_and_dropped(db: AsyncDatabases) -> None:
    made = await db.create("plants")
    assert (made.name, made.role) == ("plants", "owner")
    assert made.created_at.tzinfo is not None
    assert await db.list() == [made]
    assert await db.get(made.database_id) == made
    await db.delete(made)
    with pytest.raises(IsobaseAPIError) as caught:
        await db.get(made)
    error = caught.value
    assert (error.code, error.status) == ("database_not_found", 404)
    assert error.request_id
    assert error.message in str(error)


async def test_members_see_what_a_stranger_does_not(
    client: AsyncClient, db: AsyncDatabases, database: Database, alice: Person, person: Callable[[], Person]
) -> None:
    bob = person()
    db_of_bob = client.as_user(bob.token).db
    with pytest.raises(IsobaseAPIError) as caught:
        await db_of_bob.tables(database)
    assert caught.value.status == 404
    added = await db.add_member(database, bob.user_id, "reader")
    assert (added.user_id, added.role) == (bob.user_id, "reader")
    assert await db_of_bob.tables(database) == []
    assert [member.role for member in await db.members(database)] == ["owner", "reader"]
    assert (await db.set_member_role(database, bob.user_id, "editor")).role == "editor"
    await db_of_bob.remove_member(database, bob.user_id)
    with pytest.raises(IsobaseAPIError) as caught:
        await db.remove_member(database, alice.user_id)
    assert caught.value.code == "last_owner"


async def test_a_table_is_made_with_everything_that_was_said(db: AsyncDatabases, database: Database) -> None:
    shelves = await db.create_table(database, "shelves", [Column("code", "varchar(8)", primary_key=True)])
    made = await db.create_table(
        database,
        "items",
        [*ITEMS, Column("shelf", "varchar(8)", references=Reference("shelves", on_delete="set null"))],
        access="custom",
        policies=[Policy("select", using="quantity > 0", to=["anon", "authenticated"]), Policy("insert", check="true")],
        indexes=[Index(["title", "price"], unique=True)],
        comment="What is in stock",
        realtime=True,
    )
    columns = {column.name: column for column in made.columns}
    assert {"id", "created_at", "owner", "title", "shelf"} <= columns.keys()
    assert columns["shelf"].references == Reference("shelves", None, "set null")
    assert (columns["title"].nullable, columns["quantity"].default) == (False, "1")
    assert made.comment == "What is in stock"
    assert made.realtime
    assert made.access == "custom"
    assert {policy.command for policy in made.policies} == {"insert", "select"}
    assert any(index.unique and list(index.columns) == ["title", "price"] for index in made.indexes)
    assert await db.tables(database) == [shelves, made]
    assert await db.get_table(database, made.table_id) == made
    with pytest.raises(IsobaseAPIError) as caught:
        await db.delete_table(shelves)
    assert caught.value.code == "table_in_use"
    await db.delete_table((database, made.table_id))
    assert await db.tables(database) == [shelves]


async def test_a_table_is_changed_in_one_go(db: AsyncDatabases, items: Table) -> None:
    changed = await db.change_table(
        items,
        name="stock",
        comment="All of it",
        rename_columns={"title": "label"},
        drop_columns=["order"],
        change_columns=[{"name": "quantity", "type": "bigint", "default": None, "check": None}],
        add_columns=[Column("colour", "text", default="red")],
        add_indexes=[Index(["label"], name="stock_label")],
        access="members",
        realtime=True,
    )
    columns = {column.name: column for column in changed.columns}
    assert (changed.name, changed.comment, changed.access, changed.realtime) == ("stock", "All of it", "members", True)
    assert "order" not in columns
    assert (columns["quantity"].type, columns["quantity"].default, columns["quantity"].check) == ("bigint", None, None)
    assert columns["colour"].default == "'red'::text"
    assert "stock_label" in [index.name for index in changed.indexes]
    again = await db.change_table(changed, comment="", drop_indexes=["stock_label"])
    assert again.comment is None
    assert "stock_label" not in [index.name for index in again.indexes]


async def test_a_row_is_added_read_changed_and_deleted(db: AsyncDatabases, items: Table, alice: Person) -> None:
    rows = db.rows(items)
    row = await rows.insert({"title": "Lamp", "price": Decimal("9.90"), "tags": ["a,b", 'c"']})
    assert (row["title"], row["quantity"], row["owner"]) == ("Lamp", 1, alice.user_id)
    assert await rows.get(row["id"]) == row
    assert (await rows.update(row["id"], {"quantity": 3}))["quantity"] == 3
    await rows.delete(row["id"])
    with pytest.raises(IsobaseAPIError) as caught:
        await rows.get(row["id"])
    assert (caught.value.code, caught.value.status) == ("row_not_found", 404)


async def test_rows_are_given_as_pydantic_models(db: AsyncDatabases, items: Table) -> None:
    rows = db.rows(items, Item)
    lamp = await rows.insert(Item(title="Lamp", price=Decimal("1.50")))
    assert isinstance(lamp.id, UUID)
    assert (lamp.title, lamp.quantity, lamp.price) == ("Lamp", 1, Decimal("1.50"))
    (found,) = (await rows.select({"id": lamp.id})).rows
    assert found == lamp


async def test_rows_are_given_as_dataclasses(db: AsyncDatabases, items: Table) -> None:
    rows = db.rows((items.database_id, items.table_id), PlainItem)
    first, second = await rows.insert_many([PlainItem("Desk", 2), PlainItem("Lamp")])
    assert (first.quantity, second.quantity) == (2, 1)
    assert isinstance(first.created_at, datetime)
    assert first.created_at.astimezone(UTC) <= datetime.now(UTC)


async def test_rows_are_found_by_conditions(db: AsyncDatabases, items: Table) -> None:
    rows = db.rows(items)
    await rows.insert_many(
        [
            {"title": "Lamp", "quantity": 1, "order": "a,b", "tags": ["x,y"]},
            {"title": "Desk", "quantity": 2, "order": None, "tags": ["z"]},
            {"title": 'Q"x', "quantity": 3, "order": "c", "tags": None},
        ]
    )

    async def titles(**where: object) -> list[str]:
        return [row["title"] for row in (await rows.select(where, order="quantity")).rows]

    assert await titles(quantity=gte(2)) == ["Desk", 'Q"x']
    assert await titles(quantity=[gt(1), lt(3)]) == ["Desk"]
    assert await titles(title="Lamp") == ["Lamp"]
    assert await titles(title=in_(["Desk", 'Q"x'])) == ["Desk", 'Q"x']
    assert await titles(title=ilike("la%")) == ["Lamp"]
    assert await titles(order="a,b") == ["Lamp"]
    assert await titles(order=None) == ["Desk"]
    assert await titles(order=not_(is_null())) == ["Lamp", 'Q"x']
    assert await titles(tags=contains(["x,y"])) == ["Lamp"]
    assert await titles(quantity=neq(2), title=neq("Lamp")) == ['Q"x']


async def test_pages_hold_every_row_once(db: AsyncDatabases, items: Table) -> None:
    rows = db.rows(items, PlainItem)
    await rows.insert_many([PlainItem(f"item {number:02}") for number in range(25)])
    page = await rows.select(order="title", limit=10, count=True)
    assert (len(page.rows), page.count) == (10, 25)
    assert page.next_cursor is not None
    following = await rows.select(order="title", limit=10, cursor=page.next_cursor)
    assert following.rows[0].title == "item 10"
    assert [row.title async for row in rows.all(order="title", page_size=7)] == [f"item {n:02}" for n in range(25)]


async def test_an_upsert_changes_what_is_there(db: AsyncDatabases, database: Database) -> None:
    codes = await db.create_table(
        database,
        "codes",
        [Column("code", "text", primary_key=True), Column("day", "date", primary_key=True), Column("n", "int")],
    )
    rows = db.rows(codes)
    await rows.insert({"code": 'a,"b', "day": "2026-01-01", "n": 1})
    merged = await rows.upsert([{"code": 'a,"b', "day": "2026-01-01", "n": 2}, {"code": "c", "day": "2026-01-01"}])
    assert sorted((row["code"], row["n"]) for row in merged) == [('a,"b', 2), ("c", None)]
    left = await rows.upsert(
        [{"code": "c", "day": "2026-01-01", "n": 9}], on_conflict=["code", "day"], ignore_existing=True
    )
    assert left == []
    assert (await rows.get(('a,"b', "2026-01-01")))["n"] == 2


async def test_who_may_add_and_not_read_is_told_how_many(db: AsyncDatabases, database: Database) -> None:
    letters = await db.create_table(
        database, "letters", [Column("text", "text")], access="custom", policies=[Policy("insert", check="true")]
    )
    rows = db.rows(letters)
    assert await rows.insert_many([{"text": "a"}, {"text": "b"}], returning=False) == 2
    with pytest.raises(IsobaseAPIError) as caught:
        await rows.select()
    assert (caught.value.code, caught.value.status) == ("forbidden", 403)


async def test_a_refused_row_says_what_was_wrong(db: AsyncDatabases, items: Table) -> None:
    rows = db.rows(items)
    with pytest.raises(IsobaseAPIError) as caught:
        await rows.insert({"title": "Lamp", "quantity": "many"})
    assert (caught.value.code, caught.value.status) == ("invalid_value", 400)
    assert "quantity" in caught.value.message
    with pytest.raises(IsobaseAPIError) as caught:
        await rows.insert({"title": "Lamp", "quantity": -1})
    assert caught.value.code == "23514"


async def test_without_a_user_there_is_nothing(client: AsyncClient) -> None:
    with pytest.raises(IsobaseAPIError) as caught:
        await client.db.list()
    assert caught.value.status == 401


async def test_a_client_of_its_own_closes_its_connections(stack: Stack, alice: Person) -> None:
    own = AsyncDatabases(stack.url, {"Authorization": f"Bearer {alice.token}", "apikey": stack.anon_key})
    assert await own.list() == []
    await own.aclose()
    with pytest.raises(RuntimeError):
        await own.list()
