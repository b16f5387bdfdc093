"""Rows that go along with others: children of foreign keys, and those that hold a unique value in the way."""

from __future__ import annotations

import asyncio

import pytest

from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind
from tests.adapter.rows.conftest import Sides

FAMILY = """
create table parents (id int primary key, code text unique);
create table children (id int primary key, parent int references parents on delete cascade);
create table grandchildren (id int primary key, child int references children on delete cascade);
create table friends (id int primary key, parent int references parents on delete set null);
create table fans (id int primary key,
  code text default 'none' references parents (code) on update cascade on delete set default);
create table notes (text text, parent int references parents on delete cascade);
create table tree (id int primary key, up int references tree on delete cascade);
insert into parents select n, 'c' || n from generate_series(1, 4) n; insert into parents values (0, 'none');
insert into children select n, n % 4 + 1 from generate_series(1, 20) n;
insert into grandchildren select n, n % 20 + 1 from generate_series(1, 100) n;
insert into friends select n, n from generate_series(1, 4) n;
insert into fans select n, 'c' || n from generate_series(1, 4) n;
insert into notes select 'n', n % 4 + 1 from generate_series(1, 8) n;
insert into tree select n, nullif(n - 1, 0) from generate_series(1, 10) n;
"""
TABLES = ("parents", "children", "grandchildren", "friends", "fans", "notes", "tree")


def row(table: str, *key: object, is_anew: bool = False) -> Thing:
    return Thing(ThingKind.ROW, f"public.{table}", key, is_anew)


def set_up(sides: Sides) -> None:
    sides.both(FAMILY + "".join(f"alter table {table} owner to postgres;" for table in TABLES))


def assert_equal(sides: Sides, *tables: str) -> None:
    for table in tables or TABLES:
        query = f"select t::text from {table} t order by 1"
        assert sides.sql(Side.ISOBASE, query) == sides.sql(Side.SUPABASE, query), table


async def test_what_a_deletion_cascaded_to_is_carried_with_it_however_deep(sides: Sides) -> None:
    set_up(sides)
    sides.sql(Side.SUPABASE, "delete from parents where id = 2; delete from tree where id = 3")
    await sides.carrier.carry([row("parents", 2), row("tree", 3)], Side.ISOBASE)
    assert_equal(sides)
    assert sides.sql(Side.ISOBASE, "select count(*) from grandchildren") == [(75,)]
    assert sides.sql(Side.ISOBASE, "select count(*) from notes") == [(6,)]
    assert sides.sql(Side.ISOBASE, "select code from fans where id = 2") == [("none",)]


async def test_what_a_deletion_cascaded_to_is_carried_though_the_row_was_inserted_again_before(sides: Sides) -> None:
    set_up(sides)
    # A child that was moved to the row before it went, and one that is there again as well.
    sides.sql(
        Side.SUPABASE,
        "update children set parent = 2 where id = 3; delete from parents where id = 2;"
        "insert into parents values (2, 'c2'); insert into children values (3, 2), (5, 2)",
    )
    children = [row("children", n, is_anew=True) for n in (3, 5)]
    await sides.carrier.carry([row("parents", 2), row("parents", 2, is_anew=True), *children], Side.ISOBASE)
    assert_equal(sides)
    assert sides.sql(Side.ISOBASE, "select parent from friends where id = 2") == [(None,)]
    assert sides.sql(Side.ISOBASE, "select code from fans where id = 2") == [("none",)]
    assert sides.sql(Side.ISOBASE, "select count(*) from grandchildren where child in (3, 5)") == [(0,)]


async def test_rows_whose_own_keys_change_with_what_they_refer_to_are_carried_under_their_new_keys(
    sides: Sides,
) -> None:
    sides.both(
        "create table orders (id int primary key, code text unique);"
        "create table lines (orders int references orders on update cascade on delete cascade, no int,"
        "  primary key (orders, no));"
        "create table marks (orders int, no int, mark int, primary key (orders, no, mark),"
        "  foreign key (orders, no) references lines on update cascade on delete cascade);"
        "create table labels (code text references orders (code) on update cascade, no int, primary key (code, no));"
        "insert into orders values (1, 'a'), (2, 'b'); insert into lines values (1, 1), (1, 2), (2, 1);"
        "insert into marks values (1, 1, 1), (2, 1, 7); insert into labels values ('a', 1), ('b', 1);"
    )
    tables = ("orders", "lines", "marks", "labels")
    sides.both("".join(f"alter table {table} owner to postgres;" for table in tables))
    sides.sql(
        Side.SUPABASE,
        "delete from labels where code = 'b'; delete from orders where id = 2; update orders set id = 2 where id = 1;"
        "update orders set code = 'c' where id = 2",
    )
    await sides.carrier.carry([row("labels", "b", 1), row("orders", 2)], Side.ISOBASE)
    named = [row("orders", n, is_anew=True) for n in (1, 2)]
    await sides.carrier.carry(named, Side.ISOBASE)
    assert_equal(sides, *tables)
    assert sides.sql(Side.ISOBASE, "select * from marks") == [(2, 1, 1)]


async def test_a_row_that_is_there_anew_with_more_than_can_be_carried_one_by_one_has_the_table_swept(
    sides: Sides,
) -> None:
    set_up(sides)
    sides.both("insert into children select n, 1 from generate_series(1001, 6500) n")
    sides.sql(Side.SUPABASE, "delete from parents where id = 1; insert into parents values (1, 'c1')")
    await sides.carrier.carry([row("parents", 1, is_anew=True)], Side.ISOBASE)
    assert_equal(sides)


async def test_what_a_change_cascaded_to_is_carried_with_it(sides: Sides) -> None:
    set_up(sides)
    sides.sql(Side.SUPABASE, "update parents set code = 'new' where id = 1")
    await sides.carrier.carry([row("parents", 1)], Side.ISOBASE)
    assert_equal(sides)
    assert sides.sql(Side.ISOBASE, "select code from fans where id = 1") == [("new",)]


async def test_what_a_changed_key_cascaded_to_is_carried_with_the_key_that_is_gone(sides: Sides) -> None:
    sides.both(
        "create table codes (code text primary key); alter table codes owner to postgres;"
        "create table uses (id int primary key, code text references codes on update cascade);"
        "alter table uses owner to postgres; insert into codes values ('a'); insert into uses values (1, 'a'), (2, null)"
    )
    sides.sql(Side.SUPABASE, "update codes set code = 'b'")
    await sides.carrier.carry([row("codes", "a"), row("codes", "b")], Side.ISOBASE)
    assert_equal(sides, "codes", "uses")


async def test_rows_that_refer_in_a_ring_are_carried_once(sides: Sides) -> None:
    sides.both(
        "create table ring (id int primary key, next int references ring on delete cascade deferrable initially deferred);"
        "alter table ring owner to postgres"
    )
    sides.both("insert into ring values (1, 2), (2, 3), (3, 1)")
    sides.sql(Side.SUPABASE, "delete from ring where id = 2")
    assert (await sides.carrier.carry([row("ring", 2)], Side.ISOBASE)).changed == 3
    assert_equal(sides, "ring")


@pytest.mark.parametrize(
    "unique",
    ["unique (v)", "unique (v) deferrable initially deferred", "exclude using btree (v with =)"],
    ids=["unique", "deferrable", "exclusion"],
)
async def test_rows_that_swapped_their_unique_values_are_carried_together(sides: Sides, unique: str) -> None:
    sides.both(f"create table swaps (id int primary key, v text, {unique}); alter table swaps owner to postgres")
    sides.both("insert into swaps select n, 'v' || n from generate_series(1, 5) n")
    sides.sql(
        Side.SUPABASE,
        "update swaps set v = 'tmp' where id = 1; update swaps set v = 'v1' where id = 2;"
        "update swaps set v = 'v2' where id = 1;"
        "update swaps set v = 'x' where id = 3; update swaps set v = 'v3' where id = 4",
    )
    named = [row("swaps", n) for n in ((1, 2, 3, 4) if unique != "unique (v)" else (1, 4))]
    await sides.carrier.carry(named, Side.ISOBASE)
    assert_equal(sides, "swaps")


async def test_a_partial_or_computed_unique_index_is_looked_through_for_who_stands_in_the_way(sides: Sides) -> None:
    sides.both(
        "create table names (id int primary key, name text, is_gone boolean default false, mail extensions.citext unique);"
        "create unique index on names (lower(name)) where not is_gone; alter table names owner to postgres;"
        "insert into names values (1, 'Ann', false, 'A@x'), (2, 'Bob', false, 'b@x')"
    )
    sides.sql(
        Side.SUPABASE,
        "update names set name = 'was', mail = null where id = 1; insert into names values (3, 'ANN', false, 'a@X')",
    )
    await sides.carrier.carry([row("names", 3)], Side.ISOBASE)
    assert_equal(sides, "names")


async def test_a_value_that_the_target_alone_holds_unique_is_an_error_and_changes_nothing(sides: Sides) -> None:
    sides.both("create table alone (id int primary key, v text); alter table alone owner to postgres")
    sides.sql(Side.ISOBASE, "alter table alone add unique (v)")
    sides.sql(Side.SUPABASE, "insert into alone values (1, 'same'), (2, 'same')")
    with pytest.raises(Exception, match="duplicate key value violates unique constraint"):
        await sides.carrier.carry([row("alone", 1), row("alone", 2)], Side.ISOBASE)
    assert sides.sql(Side.ISOBASE, "select count(*) from alone") == [(0,)]


async def test_identity_columns_and_keys_that_take_no_update_are_carried_all_the_same(sides: Sides) -> None:
    sides.both(
        "create table numbered (id text primary key, n int generated always as identity, v text);"
        "create table later (id int primary key deferrable initially deferred, v text);"
        "alter table numbered owner to postgres; alter table later owner to postgres"
    )
    sides.both("insert into numbered (id, v) values ('a', 'x'); insert into later values (1, 'x')")
    sides.sql(
        Side.SUPABASE, "delete from numbered; insert into numbered (id, v) values ('a', 'y'); update later set v = 'z'"
    )
    assert (
        await sides.carrier.carry([row("numbered", "a"), row("later", 1), row("later", 2)], Side.ISOBASE)
    ).changed == 2
    assert_equal(sides, "numbered", "later")
    assert sides.sql(Side.ISOBASE, "select n from numbered") == [(2,)]
    assert (await sides.carrier.carry([row("numbered", "a"), row("later", 1)], Side.ISOBASE)).changed == 0


async def test_rows_that_refer_to_a_user_are_named_and_their_carrier_waits_for_the_users(sides: Sides) -> None:
    user = "00000000-0000-0000-0000-00000000000b"
    sides.both(
        "create table profiles (id uuid primary key references auth.users on delete cascade, name text);"
        f"alter table profiles owner to postgres; delete from auth.users where id = '{user}';"
        f"insert into auth.users (id) values ('{user}'); insert into profiles values ('{user}', 'n')"
    )
    profile = row("profiles", user)
    assert await sides.carrier.referring("auth.users", [(user.upper(),)], Side.ISOBASE) == [profile]
    assert await sides.carrier.referring("auth.users", [], Side.ISOBASE) == []
    async with sides.isobase.transaction(is_writer=True) as connection:
        await connection.execute("delete from auth.users where id = $1", user)
    assert await sides.carrier.referring("auth.users", [(user,)], Side.ISOBASE) == [profile]
    sides.sql(Side.SUPABASE, "update profiles set name = 'new'")
    lock = Thing(ThingKind.USER, "auth", (user,)).lock_number
    async with sides.isobase.transaction(is_writer=True, locks=[lock]):
        carrying = asyncio.create_task(sides.carrier.carry([profile], Side.ISOBASE))
        done, _ = await asyncio.wait([carrying], timeout=0.5)
        assert not done
        sides.sql(Side.SUPABASE, f"delete from auth.users where id = '{user}'")
    assert (await carrying).changed == 1
    assert sides.sql(Side.ISOBASE, "select count(*) from profiles") == [(0,)]
    sides.sql(Side.ISOBASE, f"delete from auth.users where id = '{user}'")
