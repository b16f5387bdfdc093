"""A project's schema is made at the target as it is at the source, closed before data comes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from isobase_adapter.bulk.definitions import Phase, read_definitions
from isobase_adapter.bulk.moving import MoveReport
from isobase_adapter.bulk.schema import compare_definitions, make_definitions
from isobase_adapter.sides import Side
from tests.adapter.bulk.conftest import Two
from tests.plugins.stack import DatabaseServer


async def test_everything_of_a_project_is_made_and_then_nothing_is_left(two: Two) -> None:
    first = await make_definitions(two.source, two.target, Phase.BEFORE)
    assert first.failed == []
    then = await make_definitions(two.source, two.target, Phase.AFTER)
    assert then.failed == []
    assert {"table shop.pairs", 'policy storage.objects "owners upload"', "row security public.notes"} <= set(
        first.made
    )
    assert {"trigger auth.users on_auth_user_created", "index public.notes_author_idx"} <= set(then.made)
    missing, differing, equal = compare_definitions(
        await read_definitions(two.source), await read_definitions(two.target)
    )
    assert missing == []
    assert differing == []
    assert equal > 40
    again = await make_definitions(two.source, two.target, Phase.BEFORE)
    assert (again.made, again.failed) == ([], [])


async def test_rights_that_were_taken_away_are_away_at_the_target_too(two: Two) -> None:
    await make_definitions(two.source, two.target, Phase.BEFORE)
    rights = await two.target.fetchrow(
        "select has_table_privilege('anon', 'public.loose', 'select') as loose,"
        " has_table_privilege('authenticated', 'public.loose', 'select') as others,"
        " has_function_privilege('anon', 'public.note_count(bigint)', 'execute') as called,"
        " has_column_privilege('anon', 'public.authors', 'name', 'select') as named,"
        " (select relrowsecurity from pg_class where oid = 'public.notes'::regclass) as closed"
    )
    assert rights is not None
    assert dict(rights) == {"loose": False, "others": True, "called": False, "named": True, "closed": True}


async def test_what_differs_is_named_and_left_alone(two: Two) -> None:
    await make_definitions(two.source, two.target, Phase.BEFORE)
    await two.target.execute(
        "alter table public.notes alter column body set default 'x'; drop policy \"owners see\" on public.notes"
    )
    report = await make_definitions(two.source, two.target, Phase.BEFORE)
    assert [one.name for one in report.differing] == ["table public.notes"]
    assert report.made == ['policy public.notes "owners see"']
    page = MoveReport(schema=report).page()
    assert (page.verdict, page.tone) == ("Complete, but 1 definition(s) are others at the target.", "warn")


async def test_what_the_target_refuses_is_named_with_the_reason_and_keeps_data_out(two: Two) -> None:
    await two.target.execute("create type public.mood as enum ('other')")
    await two.target.execute("create function public.note_count(bigint) returns text language sql as $$ select 'x' $$")
    report = await make_definitions(two.source, two.target, Phase.BEFORE)
    assert "type public.mood" in {one.name for one in report.differing}
    assert "table public.authors" in {one.name for one in report.failed}
    assert all("SQLSTATE" in one.reason for one in report.failed)
    assert "public.authors.name" in report.unguarded()
    assert "public.authors" in report.unguarded()


@pytest.fixture
def extensions(two_dsns: dict[Side, str], postgres: DatabaseServer) -> Iterator[None]:
    """The source has two extensions that no other session finds: one that Supabase brings, and one of the project."""
    database = two_dsns[Side.SUPABASE].rpartition("/")[2]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "extension").mkdir()
        for extension in ("pgjwt", "of_the_project"):
            (folder / "extension" / f"{extension}.control").write_text("default_version = '1'\nrelocatable = true\n")
            (folder / "extension" / f"{extension}--1.sql").write_text("select 1;")
            postgres.execute(
                f"set extension_control_path = '{folder}:$system'; create extension {extension}", database=database
            )
        yield


@pytest.mark.usefixtures("extensions")
async def test_extensions_that_supabase_brings_are_not_missed_where_the_target_has_them_not(two: Two) -> None:
    report = await make_definitions(two.source, two.target, Phase.BEFORE)
    assert [one.name for one in report.failed] == ["extension of_the_project"]
