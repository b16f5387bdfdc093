"""Rows come over by a subscription of the target's server, and nothing of it is left."""

from __future__ import annotations

import pytest

from isobase_adapter.bulk.connections import connected
from isobase_adapter.bulk.definitions import Phase
from isobase_adapter.bulk.errors import Refused
from isobase_adapter.bulk.replicating import replicate_tables
from isobase_adapter.bulk.schema import make_definitions
from isobase_adapter.sides import Side
from tests.adapter.bulk.conftest import Two
from tests.plugins.stack import DatabaseServer

FILL = """
insert into public.authors (name) select 'author ' || n from generate_series(1, 50) as n;
insert into public.notes (author_id, body) select n % 50 + 1, 'note ' || n from generate_series(1, 2000) as n;
insert into public.loose values ('x', 1);
insert into public.events select n, '2025-12-01'::date + n, 'k' from generate_series(1, 60) as n;
"""


async def test_empty_tables_are_copied_by_a_subscription_that_is_taken_away(two: Two, postgres: DatabaseServer) -> None:
    await make_definitions(two.source, two.target, Phase.BEFORE)
    await two.source.execute(FILL)
    await two.target.execute("insert into shop.pairs (a, b) values (gen_random_uuid(), 'there')")
    database = two.dsns[Side.ISOBASE].rpartition("/")[2]
    admin = two.dsns | {Side.ISOBASE: postgres.dsn(database)}
    report = await replicate_tables(admin)
    errors = {one.name for one in report.tables if one.error is not None}
    assert errors == {"public.loose", "shop.pairs"}
    for table in ("public.authors", "public.notes", "public.events"):
        question = f"select t::text as t from {table} as t order by 1"
        assert await two.target.fetch(question) == await two.source.fetch(question)
    # The trigger of the target did not run again.
    async with connected(admin[Side.ISOBASE], "look") as target:
        assert await target.fetchval("select count(*) from pg_subscription where subname = 'isobase_copy'") == 0
    assert await two.source.fetchval("select count(*) from pg_replication_slots where slot_name ~ 'isobase_copy'") == 0
    assert await two.source.fetchval("select count(*) from pg_publication where pubname = 'isobase_copy'") == 0


async def test_a_role_that_may_make_no_subscription_is_told_so_and_nothing_is_left(two: Two) -> None:
    await make_definitions(two.source, two.target, Phase.BEFORE)
    with pytest.raises(Refused, match="not allowed"):
        await replicate_tables(two.dsns, only=["public.authors"])
    assert await two.source.fetchval("select count(*) from pg_replication_slots where slot_name ~ 'isobase_copy'") == 0
    assert await two.source.fetchval("select count(*) from pg_publication where pubname = 'isobase_copy'") == 0
