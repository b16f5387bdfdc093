"""Migrations and seed files on a real database: applied once, wholly or not at all, with errors that say where."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from isobase_deploy.migrations import Outcome, ScriptError, migrate, set_up
from isobase_deploy.project import Project
from isobase_platform.config import Settings
from isobase_platform.errors import ConfigurationError


class Notes:
    """A report that remembers."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.warnings: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture
def project(database: Settings, tmp_path: Path) -> Project:
    (tmp_path / "supabase" / "migrations").mkdir(parents=True)
    return Project(tmp_path, database, ())


@pytest.fixture
def notes() -> Notes:
    return Notes()


def write(project: Project, name: str, sql: str) -> None:
    (project.supabase_dir / name).write_text(sql)


async def fetch(project: Project, sql: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(project.settings.dsn())
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def run(project: Project, notes: Notes) -> Outcome:
    return await set_up(project, project.settings, notes, with_seed=True)


async def test_migrations_run_once_in_order_and_are_recorded_as_upstream_records_them(
    project: Project, notes: Notes
) -> None:
    write(
        project,
        "migrations/20260102000000_second.sql",
        "insert into notes values (1); -- the first needs to be there\n",
    )
    write(project, "migrations/20260101000000_first.sql", "create table notes (id int);\nselect 1;")
    assert (await run(project, notes)).migrations == ("20260101000000", "20260102000000")
    assert (await run(project, notes)).migrations == ()
    assert await fetch(
        project, "select version, name, statements from supabase_migrations.schema_migrations order by 1"
    ) == [
        ("20260101000000", "first", ["create table notes (id int)", "select 1"]),
        ("20260102000000", "second", ["insert into notes values (1)"]),
    ]
    assert await fetch(project, "select id from notes") == [(1,)]


async def test_a_broken_migration_leaves_nothing_of_itself_and_says_where_it_broke(
    project: Project, notes: Notes
) -> None:
    write(project, "migrations/1_fine.sql", "create table kept (id int);")
    write(project, "migrations/2_broken.sql", "create table gone (id int);\n\ninsert into gone\n  select nothing;\n")
    write(project, "migrations/3_later.sql", "create table later (id int);")
    with pytest.raises(ScriptError) as caught:
        await run(project, notes)
    error = caught.value
    assert (error.path.name, error.line, error.sqlstate, error.is_partial) == ("2_broken.sql", 4, "42703", False)
    assert error.excerpt == "insert into gone\n  select nothing\n         ^"
    assert await fetch(
        project, "select to_regclass('kept') is null, to_regclass('gone') is null, to_regclass('later') is null"
    ) == [(False, True, True)]
    write(project, "migrations/2_broken.sql", "create table gone (id int);")
    assert (await run(project, notes)).migrations == ("2", "3")


async def test_a_deferred_constraint_that_fails_at_the_end_undoes_the_file(project: Project, notes: Notes) -> None:
    write(
        project,
        "migrations/1_deferred.sql",
        "create table a (id int primary key);\n"
        "create table b (a int references a deferrable initially deferred);\ninsert into b values (1);",
    )
    with pytest.raises(ScriptError) as caught:
        await run(project, notes)
    assert caught.value.sqlstate == "23503"
    assert await fetch(project, "select to_regclass('a') is null") == [(True,)]


async def test_a_file_that_needs_no_transaction_runs_statement_by_statement_and_says_so(
    project: Project, notes: Notes
) -> None:
    write(project, "migrations/1_table.sql", "create table t (a int);")
    write(project, "migrations/2_index.sql", "create index concurrently i on t (a);\nselect missing;")
    with pytest.raises(ScriptError) as caught:
        await run(project, notes)
    assert caught.value.is_partial
    assert any("2_index.sql" in warning and "statement by statement" in warning for warning in notes.warnings)
    assert await fetch(project, "select to_regclass('i') is not null") == [(True,)]
    assert await fetch(project, "select version from supabase_migrations.schema_migrations") == [("1",)]


async def test_a_frame_of_begin_and_commit_is_the_transaction_that_runs_anyway(project: Project, notes: Notes) -> None:
    write(project, "migrations/1_framed.sql", "begin;\ncreate table t (a int);\nselect missing;\ncommit;")
    with pytest.raises(ScriptError) as caught:
        await run(project, notes)
    assert caught.value.line == 3
    assert await fetch(project, "select to_regclass('t') is null") == [(True,)]


async def test_settings_of_one_file_do_not_reach_the_next(project: Project, notes: Notes) -> None:
    write(project, "migrations/1_dump.sql", "select pg_catalog.set_config('search_path', '', false);\nset role anon;")
    write(project, "migrations/2_plain.sql", "create table plain (id int);")
    await run(project, notes)
    assert await fetch(project, "select to_regclass('public.plain') is not null") == [(True,)]


async def test_seed_files_run_once_in_the_order_of_their_patterns(project: Project, notes: Notes) -> None:
    write(project, "migrations/1_t.sql", "create table t (a text);")
    (project.supabase_dir / "seeds").mkdir()
    write(project, "seeds/2.sql", "insert into t values ('two');")
    write(project, "seeds/1.sql", "insert into t values ('one');")
    write(project, "seed.sql", "insert into t values ('last');")
    paths = project.settings.database.model_copy(update={"seed_paths": ("./seeds/*.sql", "seed.sql", "none.sql")})
    settings = project.settings.model_copy(update={"database": paths})
    outcome = await set_up(project, settings, notes, with_seed=True)
    assert outcome.seeds == ("supabase/seeds/1.sql", "supabase/seeds/2.sql", "supabase/seed.sql")
    assert notes.warnings == ["no file matches 'none.sql' in db.seed.sql_paths"]
    assert (await set_up(project, settings, notes, with_seed=True)).seeds == ()
    assert await fetch(project, "select a from t") == [("one",), ("two",), ("last",)]


async def test_a_broken_seed_leaves_nothing_of_itself_and_is_tried_again(project: Project, notes: Notes) -> None:
    write(project, "migrations/1_t.sql", "create table t (a int);")
    write(project, "seed.sql", "insert into t values (1);\ninsert into t values ('x');")
    with pytest.raises(ScriptError) as caught:
        await run(project, notes)
    assert (caught.value.path.name, caught.value.line) == ("seed.sql", 2)
    assert await fetch(project, "select * from t") == []
    write(project, "seed.sql", "insert into t values (2);")
    assert (await run(project, notes)).seeds == ("supabase/seed.sql",)
    assert await fetch(project, "select a from t") == [(2,)]


async def test_roles_sql_comes_before_the_migrations_of_a_fresh_database_only(project: Project, notes: Notes) -> None:
    write(project, "roles.sql", "create schema made_by_roles;")
    write(project, "migrations/1_use.sql", "create table made_by_roles.t (a int);")
    await run(project, notes)
    await run(project, notes)
    assert notes.steps.count("Applying roles.sql") == 1


async def test_without_a_seed_nothing_but_migrations_run(project: Project, notes: Notes) -> None:
    write(project, "migrations/1_t.sql", "create table t (a int);")
    write(project, "seed.sql", "insert into t values (1);")
    await migrate(project, project.settings, notes)
    assert await fetch(project, "select * from t") == []
    assert (await run(project, notes)).seeds == ("supabase/seed.sql",)


async def test_names_that_are_no_migrations_are_passed_over_with_a_word(project: Project, notes: Notes) -> None:
    write(project, "migrations/20200101000000_init.sql", "select nothing;")
    write(project, "migrations/notes.sql", "select nothing;")
    write(project, "migrations/README.md", "about")
    assert (await run(project, notes)).migrations == ()
    assert [warning.split(" is skipped")[0] for warning in notes.warnings] == [
        "migration 20200101000000_init.sql",
        "migration notes.sql",
    ]


async def test_two_files_of_one_version_are_refused_before_anything_runs(project: Project, notes: Notes) -> None:
    write(project, "migrations/1_a.sql", "create table a (id int);")
    write(project, "migrations/1_b.sql", "create table b (id int);")
    with pytest.raises(ConfigurationError, match="two migrations have the version 1"):
        await run(project, notes)
    assert await fetch(project, "select to_regclass('a') is null") == [(True,)]


async def test_versions_without_a_file_and_late_files_are_told(project: Project, notes: Notes) -> None:
    write(project, "migrations/2_b.sql", "select 2;")
    write(project, "migrations/3_c.sql", "select 3;")
    await run(project, notes)
    (project.migrations_dir / "3_c.sql").unlink()
    write(project, "migrations/1_a.sql", "select 1;")
    assert (await run(project, notes)).migrations == ("1",)
    assert any("3" in warning and "not in" in warning for warning in notes.warnings)
    assert any("1_a.sql" in warning and "older" in warning for warning in notes.warnings)


async def test_psql_commands_are_refused_with_a_hint(project: Project, notes: Notes) -> None:
    write(project, "migrations/1_psql.sql", "\\connect other\nselect 1;")
    with pytest.raises(ScriptError) as caught:
        await run(project, notes)
    assert "psql" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "copy", ["copy t from stdin", 'COPY public.t ("stdin") /* x */ FROM stdin WITH (format csv)', "copy t to stdout"]
)
async def test_a_copy_that_would_wait_for_data_is_refused(copy: str, project: Project, notes: Notes) -> None:
    write(project, "migrations/20260101000000_data.sql", f"create table t (stdin text);\n{copy};\n1\n\\.\n")
    with pytest.raises(ScriptError, match="cannot run from a file") as caught:
        await run(project, notes)
    assert (caught.value.line, caught.value.sqlstate) == (2, "0A000")
    assert "--inserts" in str(caught.value.hint)
    assert await fetch(project, "select to_regclass('t')") == [(None,)]


async def test_warnings_that_sql_raises_are_told_and_notices_are_not(project: Project, notes: Notes) -> None:
    write(project, "migrations/1_talk.sql", "do $$ begin raise warning 'mind % this', 1; raise notice 'chat'; end $$;")
    await run(project, notes)
    assert notes.warnings == ["mind 1 this"]


async def test_triggers_on_auth_users_are_dropped_and_made_again_as_on_supabase(project: Project, notes: Notes) -> None:
    trigger = """
        drop trigger if exists on_auth_user_created on auth.users;
        create or replace function public.handle_new_user() returns trigger language plpgsql security definer
          set search_path = '' as $$ begin return new; end $$;
        create trigger on_auth_user_created after insert on auth.users
          for each row execute procedure public.handle_new_user();
    """
    write(project, "migrations/20260101000000_first.sql", trigger)
    write(project, "migrations/20260102000000_again.sql", trigger)
    write(
        project,
        "migrations/20260103000000_gone.sql",
        'DROP TRIGGER "on_auth_user_created" -- no longer needed\n ON "auth"."users" CASCADE;',
    )
    await run(project, notes)
    assert (
        await fetch(
            project,
            "select tgname from pg_trigger where tgrelid = 'auth.users'::regclass and not tgisinternal"
            " and not starts_with(tgname, 'isobase_')",
        )
        == []
    )


async def test_a_missing_trigger_on_auth_users_is_an_error_with_its_line(project: Project, notes: Notes) -> None:
    write(project, "migrations/20260101000000_first.sql", "select 1;\ndrop trigger nothing on auth.users;")
    with pytest.raises(ScriptError) as caught:
        await run(project, notes)
    assert (caught.value.sqlstate, caught.value.line) == ("42704", 2)
    assert "drop trigger nothing on auth.users" in caught.value.excerpt
