"""Roles as Supabase has them, and what each of them may and may not do."""

from __future__ import annotations

import asyncpg
import pytest

from tests.schema.conftest import ALICE, BOB, Sessions

REFUSED = asyncpg.InsufficientPrivilegeError

# name, login, inherit, superuser, createrole, createdb, replication, bypassrls
ROLES = [
    ("anon", False, True, False, False, False, False, False),
    ("authenticated", False, True, False, False, False, False, False),
    ("service_role", False, True, False, False, False, False, True),
    ("authenticator", True, False, False, False, False, False, False),
    ("supabase_auth_admin", True, False, False, False, False, False, False),
    ("supabase_storage_admin", True, False, False, False, False, False, False),
    ("supabase_realtime_admin", False, False, False, False, False, False, False),
    ("postgres", True, True, False, True, True, True, True),
    ("supabase_admin", True, True, True, True, True, True, True),
]


async def test_roles_have_supabases_attributes(shared: Sessions) -> None:
    async with shared.login() as owner:
        rows = await owner.fetch(
            "select rolname::text, rolcanlogin, rolinherit, rolsuper, rolcreaterole, rolcreatedb,"
            " rolreplication, rolbypassrls from pg_roles where rolname = any($1)",
            [role[0] for role in ROLES],
        )
    assert sorted(tuple(row) for row in rows) == sorted(ROLES)


@pytest.mark.parametrize(
    ("role", "setting", "value"),
    [
        ("anon", "statement_timeout", "3s"),
        ("authenticated", "statement_timeout", "8s"),
        ("authenticator", "statement_timeout", "8s"),
        ("authenticator", "lock_timeout", "8s"),
        # The statements that it runs carry callers' tokens, which must not reach the server's log.
        ("authenticator", "log_min_error_statement", "panic"),
        ("postgres", "search_path", '"$user", public, extensions'),
        ("supabase_admin", "search_path", '"$user", public, auth, extensions'),
        ("supabase_auth_admin", "search_path", "auth"),
        ("supabase_storage_admin", "search_path", "storage"),
    ],
)
async def test_roles_carry_their_settings(shared: Sessions, role: str, setting: str, value: str) -> None:
    async with shared.login() as owner:
        options = await owner.fetchval("select rolconfig from pg_roles where rolname = $1", role)
    assert f"{setting}={value}" in options


async def test_authenticator_may_become_the_api_roles_and_no_other(shared: Sessions) -> None:
    async with shared.login("authenticator") as connection:
        for role in ("anon", "authenticated", "service_role"):
            await connection.execute(f"set role {role}")
        await connection.execute("reset role")
        for role in ("postgres", "supabase_admin", "supabase_auth_admin", "supabase_storage_admin"):
            with pytest.raises(REFUSED):
                await connection.execute(f"set role {role}")


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
async def test_api_roles_have_no_right_on_any_table_of_auth(shared: Sessions, role: str) -> None:
    async with shared.login() as owner:
        tables = await owner.fetch(
            "select c.relname,"
            " has_table_privilege($1::name, c.oid, 'select, insert, update, delete, truncate, references, trigger')"
            " from pg_class c where c.relnamespace = 'auth'::regnamespace and c.relkind = 'r'",
            role,
        )
    assert len(tables) == 23
    assert [name for name, may in tables if may] == []


STORE = "select from isobase.key_values"


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        (role, statement)
        for role in (
            "anon",
            "authenticated",
            "service_role",
            "postgres",
            "supabase_auth_admin",
            "supabase_storage_admin",
        )
        for statement in (STORE, "select isobase.extension_gaps()")
        # Auth in GoTrue's place has no other login than this, and counts in the store.
        if (role, statement) != ("supabase_auth_admin", STORE)
    ],
)
async def test_nobody_but_the_owner_reaches_the_platforms_own_tables(
    shared: Sessions, role: str, statement: str
) -> None:
    async with shared.login() as owner:
        await owner.execute(f"set role {role}")
        with pytest.raises(REFUSED):
            await owner.execute(statement)


async def test_row_security_is_on_for_the_tables_that_have_it_upstream(shared: Sessions) -> None:
    async with shared.login() as owner:
        without = await owner.fetch(
            "select c.relnamespace::regnamespace || '.' || c.relname from pg_class c"
            " where c.relkind in ('r', 'p') and not c.relrowsecurity"
            " and c.relnamespace::regnamespace::text in ('auth', 'storage', 'realtime')"
        )
    assert {name for (name,) in without} == {
        "auth.custom_oauth_providers",
        "auth.oauth_authorizations",
        "auth.oauth_client_states",
        "auth.oauth_clients",
        "auth.oauth_consents",
        "auth.webauthn_challenges",
        "auth.webauthn_credentials",
    }


async def test_api_roles_get_rights_on_what_postgres_makes_in_public(sessions: Sessions) -> None:
    async with sessions.login("postgres") as postgres:
        await postgres.execute(
            "create table public.things (id bigserial primary key); alter table public.things enable row level security"
        )
        await postgres.execute("create function public.one() returns int language sql return 1")
    async with sessions.caller("anon") as anon:
        assert await anon.fetchval("select count(*) from public.things") == 0
        assert await anon.fetchval("select public.one()") == 1
    async with sessions.caller("service_role") as service:
        assert await service.fetchval("insert into public.things default values returning id") == 1


# What migrations of Supabase projects do as role postgres.
MIGRATIONS = {
    "a trigger on auth.users": """
        create table public.profiles (id uuid primary key references auth.users (id) on delete cascade);
        create function public.on_user() returns trigger language plpgsql security definer set search_path = ''
          as $$ begin insert into public.profiles values (new.id); return new; end $$;
        create trigger on_user after insert on auth.users for each row execute function public.on_user();
        insert into auth.users (id, instance_id, email)
          values (gen_random_uuid(), '00000000-0000-0000-0000-000000000000', 'alice@example.com');
    """,
    "policies on storage.objects and storage.buckets": """
        create policy a on storage.objects for select to authenticated using (owner_id = auth.uid()::text);
        create policy b on storage.buckets for select using (true);
        drop policy a on storage.objects;
        create trigger t after insert on storage.objects for each row execute function suppress_redundant_updates_trigger();
        drop trigger t on storage.objects;
        create table public.files (object_id uuid references storage.objects (id));
    """,
    "a policy on realtime.messages": """
        create policy a on realtime.messages for select to authenticated using (realtime.topic() = 'x')
    """,
    "a table added to the publication": """
        create table public.chat (id int primary key);
        alter publication supabase_realtime add table public.chat;
        alter publication supabase_realtime drop table public.chat;
        alter publication supabase_realtime set table public.chat;
    """,
    "a publication of its own": "create publication mine",
    "schemas of its own": """
        create schema app; grant usage on schema app to anon; create table app.t (id int); drop schema app cascade
    """,
    "roles of its own": """
        create role isobase_test_custom nologin;
        grant isobase_test_custom to authenticator;
        grant anon to isobase_test_custom;
        drop role isobase_test_custom;
    """,
    "time limits of the API roles": """
        alter role anon set statement_timeout = '5s'; alter role anon set statement_timeout = '3s'
    """,
    "settings of the data API": """
        alter role authenticator set pgrst.db_max_rows = '500';
        alter role authenticator set pgrst.db_plan_enabled to 'true';
        alter role authenticator reset pgrst.db_max_rows;
        alter role authenticator reset pgrst.db_plan_enabled;
    """,
    "a dump of data": """
        set session_replication_role = replica;
        insert into auth.identities (provider_id, user_id, identity_data, provider)
          values ('1', gen_random_uuid(), '{}', 'email');
        select pg_catalog.setval('"auth"."refresh_tokens_id_seq"', 7, true);
        insert into storage.s3_multipart_uploads (id, upload_signature, bucket_id, key, version)
          values ('1', '', 'b', 'k', '1');
        reset all;
    """,
    "extensions": """
        create extension if not exists "uuid-ossp" with schema extensions;
        create extension if not exists pgcrypto;
        create extension if not exists pg_trgm with schema extensions;
        create extension if not exists citext with schema public;
        create extension if not exists moddatetime schema extensions;
        drop extension if exists pg_net;
        drop extension citext;
    """,
    "default privileges": "alter default privileges in schema public revoke execute on functions from anon",
    "privileges in public": "revoke all on schema public from public; comment on schema public is 'standard public schema'",
    "row security of auth.users as a view": "create view public.users as select id, email from auth.users",
}


@pytest.mark.parametrize("migration", MIGRATIONS.values(), ids=MIGRATIONS.keys())
async def test_postgres_may_do_what_migrations_of_supabase_projects_do(shared: Sessions, migration: str) -> None:
    async with shared.rolled_back("postgres") as postgres:
        await postgres.execute(migration)


@pytest.mark.parametrize(
    "statement",
    [
        "drop table auth.users cascade",
        "alter table auth.users disable row level security",
        "alter table auth.users add column x int",
        "create or replace function auth.uid() returns uuid language sql as 'select null::uuid'",
        "drop function auth.uid()",
        "set role supabase_auth_admin",
        "set role supabase_admin",
        "alter role supabase_admin password 'x'",
        "alter role supabase_auth_admin password 'x'",
        "create role isobase_test_root superuser",
        "copy (select 1) to program 'true'",
        "create extension file_fdw",
        "update isobase.migrations set checksum = ''",
    ],
)
async def test_postgres_may_not_reach_what_sign_in_and_the_platform_stand_on(shared: Sessions, statement: str) -> None:
    async with shared.login("postgres") as postgres, postgres.transaction():
        with pytest.raises(REFUSED):
            await postgres.execute(statement)


async def test_owner_reads_own_storage_rows_and_a_stranger_does_not(sessions: Sessions) -> None:
    async with sessions.login("postgres") as postgres:
        await postgres.execute("insert into storage.buckets (id, name) values ('photos', 'photos')")
        await postgres.execute(
            "create policy own on storage.objects to authenticated using ((storage.foldername(name))[1] = auth.uid()::text)"
        )
        await postgres.execute("insert into storage.objects (bucket_id, name) values ('photos', $1)", f"{ALICE}/a.png")
    async with sessions.caller("authenticated", ALICE) as alice:
        assert await alice.fetchval("select count(*) from storage.objects") == 1
    for role, user in (("authenticated", BOB), ("anon", None)):
        async with sessions.caller(role, user) as stranger:
            assert await stranger.fetchval("select count(*) from storage.objects") == 0
            with pytest.raises(REFUSED, match="row-level security"):
                await stranger.execute(
                    "insert into storage.objects (bucket_id, name) values ('photos', $1)", f"{ALICE}/b.png"
                )


async def test_a_change_of_tables_is_announced_to_the_schema_cache(sessions: Sessions) -> None:
    heard: list[object] = []
    async with sessions.login() as listener, sessions.login("postgres") as postgres:

        def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            heard.append(payload)

        await listener.add_listener("pgrst", hear)
        await postgres.execute("create temporary table scratch (id int)")
        await listener.fetchval("select 1")
        assert heard == []
        for statement in (
            "create table public.t (id int)",
            "alter table public.t add column x int",
            "drop table public.t",
        ):
            heard.clear()
            await postgres.execute(statement)
            await listener.fetchval("select 1")
            assert heard == ["reload schema"], statement
        await listener.remove_listener("pgrst", hear)
