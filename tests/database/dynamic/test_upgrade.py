"""A database of the first release: its roles and presets become those of today, and nobody gains or loses a row."""

from __future__ import annotations

from isobase_platform.config import Settings
from isobase_platform.schema import apply_schema
from tests.database.dynamic.conftest import ALICE, BOB, refusal, running

# What 0.1.0 had where it differs.
_BEFORE = """
alter table isobase.members drop constraint members_role_check;
alter table isobase.tables drop constraint tables_access_check;
alter table isobase.members add constraint members_role_check check (role in ('reader', 'writer', 'admin')) not valid;
alter table isobase.tables add constraint tables_access_check check (access in ('owner', 'members', 'public_read')) not valid;
alter table isobase.members disable trigger keep_an_owner;
delete from isobase.members where user_id = '{alice}';
alter table isobase.members enable trigger keep_an_owner;
update isobase.members set role = 'writer';
alter policy "writers insert" on {schema}.shared to authenticated with check (
  (select isobase.database_role('{database}'::uuid)) in ('owner', 'admin', 'writer') and owner = (select auth.uid()));
update isobase.tables set access = 'owner' where name = 'items';
delete from isobase.migrations where version = '0001_database_roles';
"""


async def test_roles_and_presets_of_the_first_release_are_taken_over(database: Settings) -> None:
    async with running(database) as server:
        made = await server.make_database()
        base = f"/db/{made['database_id']}"
        items = await server.make_table(made["database_id"])
        shared = await server.make_table(made["database_id"], "members", name="shared")
        await server.http.put(f"{base}/members/{BOB}", json={"role": "editor"}, headers=server.alice)
        await server.owner.execute(_BEFORE.format(schema=made["schema"], database=made["database_id"], alice=ALICE))
        assert await apply_schema(database) == ["0001_database_roles"]
        assert await apply_schema(database) == []

        members = (await server.http.get(f"{base}/members", headers=server.alice)).json()["members"]
        assert {member["user_id"]: member["role"] for member in members} == {ALICE: "owner", BOB: "editor"}
        rows = f"{base}/tables/{shared['table_id']}/rows"
        assert (await server.insert(rows, server.bob, title="his"))["owner"] == BOB
        tables = (await server.http.get(f"{base}/tables", headers=server.alice)).json()["tables"]
        assert {table["table_id"]: table["access"] for table in tables} == {
            items["table_id"]: "custom",
            shared["table_id"]: "members",
        }
        await server.http.put(f"{base}/members/{BOB}", json={"role": "reader"}, headers=server.alice)
        assert refusal(await server.http.post(rows, json={"title": "x"}, headers=server.bob)) == (403, "forbidden")
