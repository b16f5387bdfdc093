"""The sample project's migrations and seed, run as role postgres, and its policies in pairs: who may, and who may not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import asyncpg
import psycopg2
import pytest
from pydantic import SecretStr

from isobase_platform.config import DatabaseSettings, Settings
from tests.plugins.stack import TEMPLATE, DatabaseServer
from tests.schema.conftest import ALICE, BOB, Sessions

PROJECT = Path(__file__).parents[2] / "examples" / "field-notes" / "supabase"
POND = "c0ffee00-0000-4000-8000-000000000001"
FROGSPAWN = "d00d0000-0000-4000-8000-000000000001"
NAME = "sample_project"


@pytest.fixture(scope="module")
def project(postgres: DatabaseServer) -> Iterator[Sessions]:
    """A database with the sample project in it, for tests that roll back."""
    postgres.execute(f"create database {NAME} template {TEMPLATE} owner postgres")
    try:
        with closing(psycopg2.connect(postgres.dsn(NAME, "postgres"))) as connection, connection.cursor() as cursor:
            for path in [*sorted((PROJECT / "migrations").glob("*.sql")), PROJECT / "seed.sql"]:
                cursor.execute(path.read_text())
                connection.commit()
        database = DatabaseSettings(url=SecretStr(postgres.dsn(NAME)), role_password=SecretStr("postgres"))
        yield Sessions(Settings.model_validate({"data_dir": postgres.settings.data_dir, "database": database}))
    finally:
        postgres.execute(f"drop database {NAME} with (force)")


async def test_the_trigger_on_auth_users_filled_the_profiles(project: Sessions) -> None:
    async with project.caller("authenticated", ALICE) as alice:
        rows = await alice.fetch("select username, full_name from public.profiles order by username")
    assert [tuple(row) for row in rows] == [("alice", "Alice"), ("bob", "Bob")]


async def test_a_user_without_metadata_gets_a_name(project: Sessions) -> None:
    async with project.rolled_back("postgres") as postgres:
        await postgres.execute("insert into auth.users (id) values ('dddddddd-0000-4000-8000-00000000000d')")
        name = await postgres.fetchval("select username from public.profiles where id::text like 'dddd%'")
    assert name == "user_dddddddd0000"


async def test_the_auth_services_role_sets_the_trigger_off_without_rights_of_its_own_in_public(
    project: Sessions,
) -> None:
    async with project.rolled_back("supabase_auth_admin") as auth:
        await auth.execute("insert into auth.users (id) values ('dddddddd-0000-4000-8000-00000000000d')")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await auth.execute("select from public.profiles")


@pytest.mark.parametrize(
    ("table", "alice_sees", "bob_sees", "anon_sees"),
    [
        ("profiles", 2, 2, 0),
        ("projects", 1, 1, 0),
        ("project_members", 1, 1, 0),
        ("notes", 2, 1, 0),
        ("comments", 1, 0, 0),
        ("tags", 3, 3, 3),
        ("note_tags", 3, 1, 0),
    ],
)
async def test_each_sees_the_rows_of_the_own_projects(
    project: Sessions, table: str, alice_sees: int, bob_sees: int, anon_sees: int
) -> None:
    for role, user, expected in (
        ("authenticated", ALICE, alice_sees),
        ("authenticated", BOB, bob_sees),
        ("anon", None, anon_sees),
    ):
        async with project.caller(role, user) as caller:
            assert await caller.fetchval(f"select count(*) from public.{table}") == expected, (role, user)


async def test_members_see_a_project_and_only_editors_write(project: Sessions) -> None:
    note = "insert into public.notes (project_id, title) values ($1, 'x') returning author_id::text"
    async with project.caller("authenticated", BOB) as bob:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await bob.fetchval(note, POND)
    for role, may_write in (("viewer", False), ("editor", True)):
        async with project.caller("authenticated", ALICE) as caller:
            await caller.execute(
                "insert into public.project_members (project_id, user_id, role) values ($1, $2, $3)", POND, BOB, role
            )
            await caller.execute("select set_config('request.jwt.claims', $1, true)", json.dumps({"sub": BOB}))
            assert await caller.fetchval("select count(*) from public.notes") == 3
            assert await caller.execute("update public.notes set title = 'mine' where id = $1", FROGSPAWN) == "UPDATE 0"
            if may_write:
                assert await caller.fetchval(note, POND) == BOB
            else:
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                    await caller.fetchval(note, POND)


async def test_a_stranger_adds_himself_to_no_project(project: Sessions) -> None:
    async with project.caller("authenticated", BOB) as bob:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await bob.execute(
                "insert into public.project_members (project_id, user_id, role) values ($1, $2, 'owner')", POND, BOB
            )


async def test_who_makes_a_project_owns_it_and_reads_it_back(project: Sessions) -> None:
    async with project.caller("authenticated", BOB) as bob:
        made = await bob.fetchval("insert into public.projects (name) values ('Moths') returning id")
        assert (
            await bob.fetchval("select role::text from public.project_members where project_id = $1", made) == "owner"
        )
        assert await bob.execute("delete from public.projects where id = $1", made) == "DELETE 1"


async def test_functions_and_the_view_keep_the_callers_policies(project: Sessions) -> None:
    async with project.caller("authenticated", ALICE) as alice:
        titles = await alice.fetch("select title from public.search_notes('of FROGSPAWN')")
        assert [title for (title,) in titles] == ["First frogspawn"]
        assert await alice.fetch("select title from public.search_notes('100%')") == []
        stats = json.loads(await alice.fetchval("select public.project_stats($1)", POND))
        assert (stats["notes"], stats["words"], stats["comments"], stats["members"]) == (2, 14, 1, 1)
        overview = await alice.fetch(
            "select title, author, comment_count from public.note_overview order by observed_at"
        )
        assert [tuple(row) for row in overview] == [("First frogspawn", "alice", 1), ("Newts are back", "alice", 0)]
    async with project.caller("authenticated", BOB) as bob:
        assert await bob.fetch("select title from public.search_notes('frogspawn')") == []
        assert await bob.fetchval("select public.project_stats($1)", POND) is None
        assert await bob.fetchval("select count(*) from public.note_overview") == 1
    async with project.caller("anon") as anon:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await anon.fetch("select * from public.search_notes('frogspawn')")


async def test_photos_are_kept_in_the_owners_folder(project: Sessions) -> None:
    insert = "insert into storage.objects (bucket_id, name, owner_id) values ('photos', $1, $2)"
    async with project.caller("authenticated", ALICE) as alice:
        await alice.execute(insert, f"{ALICE}/fox.jpg", ALICE)
        assert await alice.fetchval("select count(*) from storage.objects") == 1
        await alice.execute("select set_config('request.jwt.claims', $1, true)", json.dumps({"sub": BOB}))
        assert await alice.fetchval("select count(*) from storage.objects") == 0
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await alice.execute(insert, f"{ALICE}/hare.jpg", BOB)


@pytest.mark.parametrize(
    ("user", "topic", "may"),
    [
        (ALICE, f"project:{POND}", True),
        (BOB, f"project:{POND}", False),
        (ALICE, "project:x", False),
        (ALICE, "room", False),
    ],
)
async def test_the_private_channel_of_a_project_is_for_its_members(
    project: Sessions, user: str, topic: str, may: bool
) -> None:
    probe = "insert into realtime.messages (topic, extension, private) values ($1, 'broadcast', true)"
    async with project.caller("authenticated", user) as caller:
        await caller.execute("select set_config('realtime.topic', $1, true)", topic)
        if may:
            await caller.execute(probe, topic)
            assert await caller.fetchval("select count(*) from realtime.messages") == 1
        else:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await caller.execute(probe, topic)


async def test_row_changes_are_published(project: Sessions) -> None:
    async with project.login("postgres") as postgres:
        tables = await postgres.fetch(
            "select tablename from pg_publication_tables where pubname = 'supabase_realtime' order by 1"
        )
    assert [name for (name,) in tables] == ["comments", "notes"]


async def test_seeded_users_have_a_password_and_an_identity(project: Sessions) -> None:
    async with project.login("postgres") as postgres:
        rows = await postgres.fetch(
            "select u.email, u.encrypted_password = extensions.crypt('password123', u.encrypted_password),"
            " i.provider, i.email, u.confirmed_at is not null"
            " from auth.users u join auth.identities i on i.user_id = u.id order by u.email"
        )
    assert [tuple(row) for row in rows] == [
        ("alice@example.com", True, "email", "alice@example.com", True),
        ("bob@example.com", True, "email", "bob@example.com", True),
    ]
