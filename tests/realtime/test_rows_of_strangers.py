"""Ways to learn of rows by row changes that the policies and grants of their table do not show."""

from __future__ import annotations

import pytest

from tests.realtime.conftest import ALICE, BOB, Stack
from tests.realtime.test_change_policies import BOARD, NOTES, bodies, use_policy

# "C" and pg_c_utf8 disagree on whether é has an upper case; the database's own collation agrees with one of them only.
WORDS = """
create domain public.label as text;
alter table notes add c text collate "C", add u text collate pg_c_utf8,
  add cs text[] collate "C", add us text[] collate pg_c_utf8,
  add lc public.label collate "C", add lu public.label collate pg_c_utf8;
create function public.is_open(public.notes) returns boolean language sql as $$ select ($1).c = 'open' $$;
"""


@pytest.mark.parametrize(
    "condition",
    [
        "upper(c) = 'É' or upper(u) = 'é' or c = 'open'",
        "upper(cs[1]) = 'É' or upper(us[1]) = 'é' or c = 'open'",
        "upper(lc) = 'É' or upper(lu) = 'é' or c = 'open'",
        "upper((notes).c) = 'É' or upper((notes).u) = 'é' or public.is_open(notes)",
    ],
)
async def test_policies_compare_texts_by_the_collation_of_their_column(stack: Stack, condition: str) -> None:
    if await stack.owner.fetchval("select to_regcollation('pg_c_utf8')") is None:
        pytest.skip("before PostgreSQL 17 no two collations that differ are on every server")
    await stack.owner.execute(WORDS)
    await use_policy(stack, condition)
    alice = await stack.connect()
    await alice.subscribe("a", NOTES, token=stack.token(ALICE))
    insert = (
        "insert into notes (owner, c, u, cs, us, lc, lu, body) values ($1, $2, $2, array[$2], array[$2], $2, $2, $3)"
    )
    await stack.sql(insert, BOB, "é", "hidden")
    await stack.sql(insert, BOB, "open", "last")
    assert await bodies(alice, "last") == [("INSERT", "last")]


@pytest.mark.parametrize("operator", ["eq.7", "gt.6", "like.7%"])
async def test_filters_tell_nothing_of_columns_that_were_revoked(stack: Stack, operator: str) -> None:
    await stack.owner.execute("alter table board add secret text")
    column = "rank" if operator != "like.7%" else "secret"
    watcher, spy = await stack.connect(), await stack.connect()
    await watcher.subscribe("w", BOARD, token=stack.token(ALICE))
    await spy.subscribe("s", {**BOARD, "filter": f"{column}={operator}"}, token=stack.token(BOB))
    await stack.owner.execute(
        "revoke select on board from anon, authenticated; grant select (id, body) on board to anon, authenticated"
    )
    await stack.sql("insert into board (body, rank, secret) values ('told', 7, '7')")
    await stack.sql("update board set rank = 7, secret = '7'")
    await stack.sql("delete from board")
    await stack.sql("insert into board (body) values ('last')")
    assert ("INSERT", "last") in await bodies(watcher, "last")
    assert spy.events("postgres_changes") == []


async def test_filters_on_every_table_tell_nothing_of_tables_that_hide_the_column(stack: Stack) -> None:
    spy = await stack.connect()
    await spy.subscribe(
        "s", {"event": "*", "schema": "public", "table": "*", "filter": "rank=eq.7"}, token=stack.token(BOB)
    )
    await stack.owner.execute(
        "create table hidden (id int primary key, rank int);"
        "revoke select on hidden from authenticated; grant select (id) on hidden to authenticated;"
        "alter publication supabase_realtime add table hidden;"
    )
    await stack.sql("insert into hidden values (1, 7)")
    await stack.sql("insert into board (body, rank) values ('last', 7)")
    await spy.wait_for(lambda item: item.payload.get("data", {}).get("table") == "board")
    assert [item.payload["data"]["table"] for item in spy.events("postgres_changes")] == ["board"]
