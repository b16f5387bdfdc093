"""Databases made at run time where the owner of the schema is no superuser, as on managed PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from isobase_deploy.embedded import EmbeddedPostgres
from isobase_platform.config import Settings
from isobase_platform.schema import apply_schema
from tests.database.dynamic.conftest import ALICE, BOB, refusal, running
from tests.plugins.ports import free_ports
from tests.plugins.stack import PASSWORD, settings_for


@pytest.fixture
def managed(project_dir: Path) -> Iterator[Settings]:
    """Settings whose owner may create roles and databases, and nothing else."""
    (port,) = free_ports(1)
    server = EmbeddedPostgres(project_dir, port=port, password=PASSWORD, is_durable=False)
    server.start()
    try:
        root = f"postgresql://supabase_admin:{PASSWORD}@127.0.0.1:{port}/postgres"
        with closing(psycopg2.connect(root)) as connection:
            connection.autocommit = True
            connection.cursor().execute(f"create role renter login createrole createdb password '{PASSWORD}'")
            connection.cursor().execute("create database app owner renter")
        yield settings_for(f"postgresql://renter:{PASSWORD}@127.0.0.1:{port}/app", project_dir)
    finally:
        server.stop()


async def test_tables_have_their_policies_and_the_service_its_way_in(managed: Settings) -> None:
    await apply_schema(managed)
    async with running(managed) as server:
        await server.owner.execute(
            "insert into auth.users (id, email) values ($1, 'alice@example.com'), ($2, 'bob@example.com')", ALICE, BOB
        )
        url = await server.make_rows_url("members")
        row = await server.insert(url, server.alice, title="hers")
        assert refusal(await server.http.get(url, headers=server.bob)) == (404, "table_not_found")
        for headers in (server.alice, server.service):
            assert (await server.http.get(url, headers=headers)).json() == {"rows": [row]}
        database_url = f"/db/{url.split('/')[2]}"
        for headers in (server.alice, server.service):
            members = (await server.http.get(f"{database_url}/members", headers=headers)).json()["members"]
            assert [member["user_id"] for member in members] == [ALICE]
        change = {
            "columns": {"change": [{"name": "quantity", "type": "bigint", "check": "quantity > 0"}]},
            "policies": [{"command": "select", "using": "owner = (select auth.uid()) and quantity > 0"}],
            "realtime": True,
        }
        answer = await server.http.patch(url.removesuffix("/rows"), json=change, headers=server.alice)
        assert answer.status_code == 200, answer.text
        for headers in (server.alice, server.service):
            assert (await server.http.get(url, headers=headers)).json() == {"rows": [row]}
        assert (await server.http.get(url, headers=server.bob)).json() == {"rows": []}
        assert (await server.http.delete(database_url, headers=server.alice)).status_code == 200
