"""A transaction at the door that goes on as another caller."""

from __future__ import annotations

import pytest

from isobase_platform.caller import Caller, Claims, RequestFacts
from isobase_platform.config import Settings
from isobase_platform.errors import DatabaseError
from isobase_platform.rls import DoorConnection
from isobase_platform.runtime import Platform

ALICE = Caller("authenticated", Claims.from_payload({"role": "authenticated", "sub": "alice"}), RequestFacts(path="/a"))
ANON = Caller("anon", Claims.from_payload({"role": "anon"}))
WHO = (
    "select current_user || ' ' || coalesce(current_setting('request.jwt.claims', true)::json->>'sub', '') || ' ' ||"
    " coalesce(current_setting('app.x', true), '')"
)


async def timeout(connection: DoorConnection) -> str:
    return str(await connection.fetchval("select current_setting('statement_timeout')"))


async def test_a_switch_changes_role_claims_facts_and_role_settings(database: Settings) -> None:
    async with Platform.open(database) as platform:
        async with platform.door.transaction(ANON) as connection:
            anon_timeout = await timeout(connection)
        async with platform.door.transaction(Caller.service()) as connection:
            service_timeout = await timeout(connection)
        assert anon_timeout != service_timeout
        async with platform.door.transaction(Caller.service(), settings={"app.x": "1"}) as connection:
            await connection.switch(ALICE, settings={"app.x": "2"})
            assert await connection.fetchval(WHO) == "authenticated alice 2"
            assert await connection.fetchval("select current_setting('request.path')") == "/a"
            await connection.switch(ANON)
            assert (await connection.fetchval(WHO), await timeout(connection)) == ("anon  2", anon_timeout)
            await connection.switch(Caller.service())
            assert (await connection.fetchval(WHO), await timeout(connection)) == ("service_role  2", service_timeout)
        async with platform.door.transaction(ANON) as connection:
            assert await connection.fetchval(WHO) == "anon  "


async def test_a_switch_works_after_a_part_that_was_rolled_back(database: Settings) -> None:
    async with Platform.open(database) as platform, platform.door.transaction(ALICE) as connection:
        async with connection.rolled_back():
            await connection.fetchval("select 1")
        await connection.switch(Caller.service())
        assert await connection.fetchval("select current_user") == "service_role"


@pytest.mark.parametrize("role", ["postgres", "supabase_admin", "no_such_role"])
async def test_a_switch_to_a_role_that_the_door_may_not_take_is_refused(database: Settings, role: str) -> None:
    async with Platform.open(database) as platform:
        with pytest.raises(DatabaseError):
            async with platform.door.transaction(ALICE) as connection:
                await connection.switch(Caller(role))
        async with platform.door.transaction(ALICE) as connection:
            assert await connection.fetchval("select current_user") == "authenticated"
