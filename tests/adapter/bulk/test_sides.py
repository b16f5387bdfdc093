"""Commands that write look first where the two databases are."""

from __future__ import annotations

from pathlib import Path

import pytest

from isobase_adapter.bulk.connections import connected
from isobase_adapter.bulk.copy import copy_tables
from isobase_adapter.bulk.definitions import Phase
from isobase_adapter.bulk.errors import Refused, SideAway
from isobase_adapter.bulk.parts import opened_parts
from isobase_adapter.bulk.plan import make_plan
from isobase_adapter.bulk.schema import make_definitions
from isobase_adapter.sides import Side
from tests.adapter.bulk.conftest import Two
from tests.plugins.pgbouncer import pgbouncer
from tests.plugins.stack import DatabaseServer


async def test_two_urls_of_one_database_are_refused_whatever_they_are_called(two_dsns: dict[Side, str]) -> None:
    dsn = two_dsns[Side.SUPABASE]
    same = {Side.SUPABASE: dsn, Side.ISOBASE: f"{dsn}{'&' if '?' in dsn else '?'}application_name=other"}
    with pytest.raises(Refused, match="the same database"):
        async with opened_parts(same, {}):
            pass
    with pytest.raises(Refused, match="the same database"):
        await make_plan(same)


@pytest.mark.parametrize("side", Side)
async def test_the_side_that_does_not_answer_or_lets_nobody_in_is_named(two_dsns: dict[Side, str], side: Side) -> None:
    for dsn, is_login in (
        ("postgresql://postgres@127.0.0.1:1/postgres", False),
        (two_dsns[side].rpartition("/")[0] + "/no_such_database", True),
    ):
        with pytest.raises(SideAway) as caught:
            async with opened_parts({**two_dsns, side: dsn}, {}):
                pass
        assert (caught.value.side, caught.value.is_login) == (side, is_login)


ESTABLISHED = "01"


def timers() -> dict[tuple[int, int], str]:
    """Which timer each connection of this machine that is established waits for, by its ports here and there."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {(_port(line[1]), _port(line[2])): line[5] for line in lines if line[3] == ESTABLISHED}


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


@pytest.mark.skipif(not Path("/proc/net/tcp").is_file(), reason="the system does not say which timers a connection has")
async def test_a_server_that_goes_without_a_word_is_looked_for(two_dsns: dict[Side, str]) -> None:
    async with connected(two_dsns[Side.SUPABASE], "test") as connection:
        (ports,) = await connection.fetch("select inet_client_port(), inet_server_port()")
        # 02 is the timer that asks a silent peer whether it is there.
        assert timers()[tuple(ports)].startswith("02:")


async def test_a_pooler_that_shares_sessions_is_refused(
    two_dsns: dict[Side, str], postgres: DatabaseServer, tmp_path: Path
) -> None:
    with pgbouncer(tmp_path, postgres.host, postgres.port) as port:
        pooled = {**two_dsns, Side.SUPABASE: two_dsns[Side.SUPABASE].replace(f":{postgres.port}/", f":{port}/")}
        with pytest.raises(Refused, match="SUPABASE_DB_URL leads to a pooler in transaction mode"):
            await make_plan(pooled)


async def test_a_project_is_planned_and_copied_through_a_pooler_of_whole_sessions(
    two: Two, postgres: DatabaseServer, tmp_path: Path
) -> None:
    await make_definitions(two.source, two.target, Phase.BEFORE)
    await two.source.execute("insert into public.notes (body, rank) select 'n', n from generate_series(1, 500) as n")
    with pgbouncer(tmp_path, postgres.host, postgres.port, mode="session", sessions=20) as port:
        pooled = {**two.dsns, Side.SUPABASE: two.dsns[Side.SUPABASE].replace(f":{postgres.port}/", f":{port}/")}
        assert (await make_plan(pooled)).items
        report = await copy_tables(pooled, range_bytes=16 * 1024)
    assert report.is_complete
    assert await two.target.fetchval("select count(*) from public.notes") == 500
