"""Commands that write look first where the two databases are."""

from __future__ import annotations

from pathlib import Path

import pytest

from isobase_adapter.bulk.connections import connected
from isobase_adapter.bulk.errors import Refused, SideAway
from isobase_adapter.bulk.parts import opened_parts
from isobase_adapter.bulk.plan import make_plan
from isobase_adapter.sides import Side


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


def timers() -> dict[int, str]:
    """Which timer each connection of this machine waits for, by its port."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(line[1].rpartition(":")[2], 16): line[5] for line in lines}


@pytest.mark.skipif(not Path("/proc/net/tcp").is_file(), reason="the system does not say which timers a connection has")
async def test_a_server_that_goes_without_a_word_is_looked_for(two_dsns: dict[Side, str]) -> None:
    async with connected(two_dsns[Side.SUPABASE], "test") as connection:
        port = await connection.fetchval("select inet_client_port()")
        # 02 is the timer that asks a silent peer whether it is there.
        assert timers()[port].startswith("02:")
