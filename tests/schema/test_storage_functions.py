"""Helper functions of schema storage, the guard against direct deletes, and the listings against a model in Python."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any
from zlib import crc32

import asyncpg
import pytest

from tests.schema.conftest import ALICE, Connection, Sessions


@pytest.mark.parametrize(
    ("name", "folders", "file", "extension"),
    [
        ("me.png", [], "me.png", "png"),
        ("a/b/me.tar.gz", ["a", "b"], "me.tar.gz", "gz"),
        ("a/README", ["a"], "README", "README"),
        ("a/", ["a"], "", ""),
        ("/a", [""], "a", "a"),
        ("a/.hidden", ["a"], ".hidden", "hidden"),
    ],
)
async def test_parts_of_a_name(shared: Sessions, name: str, folders: list[str], file: str, extension: str) -> None:
    async with shared.caller("anon") as anon:
        row = await anon.fetchrow("select storage.foldername($1), storage.filename($1), storage.extension($1)", name)
    assert tuple(row or ()) == (folders, file, extension)


OPERATIONS: list[tuple[str | None, str, list[str | None], bool]] = [
    ("storage.object.list", "same name", ["storage.object.list"], True),
    ("storage.object.list", "prefix left out", ["object.list"], True),
    ("object.list", "prefix given", ["storage.object.list"], True),
    ("storage.object.list", "one of several", ["object.upload", "object.list"], True),
    ("storage.object.list", "another", ["object.upload"], False),
    ("storage.object.list", "nothing", [], False),
    ("storage.object.list", "blank and null", ["", None], False),
    (None, "no operation", ["object.list"], False),
    ("", "blank operation", [""], False),
]


@pytest.mark.parametrize(
    ("operation", "expected", "allowed"),
    [(case[0], case[2], case[3]) for case in OPERATIONS],
    ids=[case[1] for case in OPERATIONS],
)
async def test_operations_are_told_apart(
    shared: Sessions, operation: str | None, expected: list[str | None], allowed: bool
) -> None:
    async with shared.caller("anon") as anon:
        if operation is not None:
            await anon.execute("select set_config('storage.operation', $1, true)", operation)
        assert await anon.fetchval("select storage.allow_any_operation($1)", expected) is allowed
        if len(expected) == 1:
            assert await anon.fetchval("select storage.allow_only_operation($1)", expected[0]) is allowed


@pytest.mark.parametrize("table", ["storage.objects", "storage.buckets"])
async def test_rows_are_deleted_through_the_service_only(sessions: Sessions, table: str) -> None:
    async with sessions.login("postgres") as postgres:
        await postgres.execute("insert into storage.buckets (id, name) values ('b', 'b')")
        with pytest.raises(asyncpg.InsufficientPrivilegeError) as refusal:
            await postgres.execute(f"delete from {table}")
        message = refusal.value.as_dict()["message"]
        assert message == "Direct deletion from storage tables is not allowed. Use the Storage API instead."
        async with postgres.transaction():
            await postgres.execute("set local storage.allow_delete_query to 'true'")
            await postgres.execute(f"delete from {table}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await postgres.execute(f"delete from {table}")


async def test_a_bucket_needs_a_name_of_at_most_a_hundred_characters(sessions: Sessions) -> None:
    async with sessions.login("postgres") as postgres:
        await postgres.execute("insert into storage.buckets (id, name) values ('b', $1)", "x" * 100)
        with pytest.raises(asyncpg.RaiseError, match="too long"):
            await postgres.execute("insert into storage.buckets (id, name) values ('c', $1)", "x" * 101)


async def test_a_bucket_made_by_sql_gets_its_defaults(shared: Sessions) -> None:
    async with shared.rolled_back("postgres") as postgres:
        row = await postgres.fetchrow(
            "insert into storage.buckets (id, name) values ('b', 'b')"
            " returning public, file_size_limit, allowed_mime_types, type::text,"
            " created_at is not null, updated_at is not null"
        )
    assert tuple(row or ()) == (False, None, None, "STANDARD", True, True)


async def test_a_changed_object_gets_a_new_time(shared: Sessions) -> None:
    async with shared.rolled_back("postgres") as postgres:
        await postgres.execute("insert into storage.buckets (id, name) values ('b', 'b')")
        await postgres.execute(
            "insert into storage.objects (bucket_id, name, updated_at) values ('b', 'x/y', '2020-01-01')"
        )
        await postgres.execute("update storage.objects set metadata = '{\"size\": 3}'")
        row = await postgres.fetchrow("select updated_at > '2021-01-01', path_tokens from storage.objects")
        assert tuple(row or ()) == (True, ["x", "y"])
        assert [tuple(r) for r in await postgres.fetch("select * from storage.get_size_by_bucket()")] == [(3, "b")]


async def test_can_insert_object_leaves_nothing_and_says_what_the_policies_say(sessions: Sessions) -> None:
    async with sessions.login("postgres") as postgres:
        await postgres.execute("insert into storage.buckets (id, name) values ('b', 'b')")
        await postgres.execute(
            "create policy p on storage.objects for insert to authenticated with check (name = 'mine')"
        )
    call = "select storage.can_insert_object('b', $1, $2, '{}')"
    async with sessions.caller("authenticated", ALICE) as alice:
        with pytest.raises(asyncpg.PostgresError) as allowed:
            await alice.execute(call, "mine", ALICE)
        assert allowed.value.sqlstate == "PT200"
    async with sessions.caller("authenticated", ALICE) as alice:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await alice.execute(call, "other", ALICE)
    async with sessions.login("postgres") as postgres:
        assert await postgres.fetchval("select count(*) from storage.objects") == 0


async def test_a_tried_write_leaves_nothing_and_says_what_it_met(sessions: Sessions) -> None:
    async with sessions.login("postgres") as postgres:
        await postgres.execute("insert into storage.buckets (id, name) values ('b', 'b')")
        await postgres.execute(
            "insert into storage.objects (bucket_id, name, version, metadata) values ('b', 'mine', 'v1', '{\"eTag\": \"e\"}')"
        )
        await postgres.execute(
            "create policy p on storage.objects to authenticated using (name <> 'other') with check (name <> 'other')"
        )
        before = await postgres.fetch("select * from storage.objects")
    call = "select * from storage.try_object_write(gen_random_uuid(), 'b', $1, null, $2, '{}', null, $3)"
    async with sessions.caller("authenticated", ALICE) as alice:
        assert tuple(await alice.fetchrow(call, "mine", ALICE, True) or ()) == (True, "v1", "e")
        assert tuple(await alice.fetchrow(call, "new", ALICE, True) or ()) == (False, None, None)
        assert tuple(await alice.fetchrow(call, "new", ALICE, False) or ()) == (False, None, None)
    for key, error in (("mine", asyncpg.UniqueViolationError), ("other", asyncpg.InsufficientPrivilegeError)):
        async with sessions.caller("authenticated", ALICE) as alice:
            with pytest.raises(error):
                await alice.execute(call, key, ALICE, False)
    async with sessions.login("postgres") as postgres:
        assert await postgres.fetch("select * from storage.objects") == before


# -- listings ----------------------------------------------------------------------------------------------------------

SEGMENTS = ("a", "b", "a.txt", "a-1", "zz", ".x", "a b", "100%", "under_score", "é")


def _names(seed: int) -> list[str]:
    """Names of three levels at most; the few characters make folders, files and prefixes that clash."""
    source = random.Random(seed)
    names = {
        "/".join(source.choice(SEGMENTS) + source.choice(("", "1", ".png")) for _ in range(source.randint(1, 3)))
        for _ in range(250)
    }
    return sorted(names)


def _level(names: Iterable[str], prefix: str, *, descending: bool) -> list[tuple[str, bool]]:
    """Entries below ``prefix`` as (name, is a folder), in bytewise order of the names with a folder's slash counted in."""
    entries = set()
    for name in names:
        if name.startswith(prefix):
            head, slash, _ = name[len(prefix) :].partition("/")
            entries.add((prefix + head, bool(slash)))
    return sorted(entries, key=lambda e: (e[0] + "/" * e[1]).encode(), reverse=descending)


async def _fill(connection: Connection, names: list[str]) -> None:
    await connection.execute("insert into storage.buckets (id, name) values ('b', 'b'), ('other', 'other')")
    await connection.executemany(
        "insert into storage.objects (bucket_id, name, created_at, updated_at)"
        " values ($1, $2, timestamptz '2026-01-01' + $3 * interval '1 s',"
        " timestamptz '2026-01-01' - $3 * interval '1 s')",
        [("b", name, crc32(name.encode()) % 977) for name in names] + [("other", "a/hidden", 0)],
    )


PREFIXES = ("", "a/", "a", "a1/", "b/a/", "100%", "under_", "nothing/")


async def test_search_lists_one_level_as_the_model_does(shared: Sessions) -> None:
    names = _names(1)
    sql = "select name, id is null from storage.search($1, 'b', $2, 1, $3, $4, 'name', $5)"
    async with shared.caller("service_role") as service:
        await _fill(service, names)
        for prefix in ("", "a/", "a1/", "b/a/", "nothing/"):
            for search in ("", "a", "100%", "under_"):
                for order in ("asc", "desc"):
                    model = [
                        (n[len(prefix) :], f) for n, f in _level(names, prefix + search, descending=order == "desc")
                    ]
                    got = [tuple(row) for row in await service.fetch(sql, prefix, 1000, 0, search, order)]
                    assert got == model, (prefix, search, order)
                    got = [tuple(row) for row in await service.fetch(sql, prefix, 3, 2, search, order)]
                    assert got == model[2:5], (prefix, search, order)


async def test_search_ignores_case_and_other_columns_put_folders_first(shared: Sessions) -> None:
    async with shared.caller("service_role") as service:
        await _fill(service, ["Docs/One.txt", "docs/two.txt", "docs/Sub/x", "zoo.txt", "Apple.txt"])
        sql = "select name, id is null from storage.search($1, 'b', 100, 1, 0, $2, $3, $4)"
        cases: list[tuple[tuple[str, str, str, str], list[tuple[str, bool]]]] = [
            (("DOCS/", "", "name", "asc"), [("One.txt", False), ("Sub", True), ("two.txt", False)]),
            (("docs/", "T", "name", "asc"), [("two.txt", False)]),
            (("", "", "name", "asc"), [("Apple.txt", False), ("Docs", True), ("zoo.txt", False)]),
            (("", "DO", "name", "asc"), [("Docs", True)]),
        ]
        for arguments, expected in cases:
            assert [tuple(row) for row in await service.fetch(sql, *arguments)] == expected, arguments
        for column in ("created_at", "updated_at", "last_accessed_at"):
            rows = [tuple(row) for row in await service.fetch(sql, "", "", column, "asc")]
            assert rows[:2] == [("Docs", True), ("docs", True)]
            assert {name for name, _ in rows[2:]} == {"Apple.txt", "zoo.txt"}


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("page_size", [1, 3, 100])
async def test_pages_of_search_v2_join_without_gap_or_repetition(shared: Sessions, order: str, page_size: int) -> None:
    # Names that are both a file and a folder cannot be told apart in a cursor without its slash.
    names = _names(2)
    names = [name for name in names if not any(other.startswith(name + "/") for other in names)]
    async with shared.caller("service_role") as service:
        await _fill(service, names)
        for prefix in PREFIXES:
            for column in ("name", "created_at", "updated_at"):
                got: list[tuple[Any, ...]] = []
                after = moment = ""
                while True:
                    page = await service.fetch(
                        "select * from storage.search_v2($1, 'b', $2, $3, $4, $5, $6, $7)",
                        *(prefix, page_size, prefix.count("/") + 1, after, order, column, moment),
                    )
                    got += [(row["name"], row["id"] is None) for row in page]
                    assert all(row["key"] == row["name"].split("/")[prefix.count("/")] for row in page)
                    if len(page) < page_size:
                        break
                    after = page[-1]["name"]
                    moment = page[-1][column].isoformat(timespec="milliseconds") if column != "name" else ""
                model = _level(names, prefix, descending=order == "desc")
                assert (got if column == "name" else sorted(got)) == (model if column == "name" else sorted(model)), (
                    prefix
                )


async def test_a_cursor_with_a_slash_names_the_folder_even_beside_a_file_of_that_name(shared: Sessions) -> None:
    async with shared.caller("service_role") as service:
        await _fill(service, ["a", "a.txt", "a/x", "b"])
        sql = "select name from storage.list_objects_with_delimiter('b', '', '/', 10, $1, '', $2)"
        assert [n for (n,) in await service.fetch(sql, "a/", "asc")] == ["b"]
        assert [n for (n,) in await service.fetch(sql, "a/", "desc")] == ["a.txt", "a"]
        assert [n for (n,) in await service.fetch(sql, "", "asc")] == ["a", "a.txt", "a", "b"]


async def test_without_a_delimiter_every_object_is_listed(shared: Sessions) -> None:
    async with shared.caller("service_role") as service:
        await _fill(service, ["a/b/c", "a/b/d", "x"])
        rows = await service.fetch("select name, id is null from storage.list_objects_with_delimiter('b', 'a', '')")
        assert [tuple(row) for row in rows] == [("a/b/c", False), ("a/b/d", False)]


async def test_listings_go_past_a_folder_of_many_objects(shared: Sessions) -> None:
    async with shared.caller("service_role") as service:
        await _fill(service, ["zz"])
        await service.execute(
            "insert into storage.objects (bucket_id, name) select 'b', 'm/' || i from generate_series(1, 3000) as i"
            " union all select 'b', 'f' || i from generate_series(1, 1200) as i"
        )
        flat = sorted((f"f{i}" for i in range(1, 1201)), key=str.encode)
        rows = await service.fetch("select name from storage.search_v2('', 'b', 1500)")
        assert [name for (name,) in rows] == [*flat, "m", "zz"]
        rows = await service.fetch("select name from storage.search('', 'b', 1500, 1, 0, '', 'name', 'desc')")
        assert [name for (name,) in rows] == ["zz", "m", *reversed(flat)]


async def test_listings_show_what_the_callers_policies_show(sessions: Sessions) -> None:
    async with sessions.login("postgres") as postgres:
        await _fill(postgres, ["mine/x", "theirs/y"])
        await postgres.execute(
            "create policy p on storage.objects for select to authenticated using (name like 'mine/%')"
        )
    for sql in (
        "select name from storage.search('', 'b')",
        "select name from storage.search('', 'b', 100, 1, 0, '', 'created_at')",
        "select name from storage.search_v2('', 'b')",
        "select name from storage.search_v2('', 'b', sort_column => 'created_at')",
        "select name from storage.list_objects_with_delimiter('b', '', '/')",
    ):
        async with sessions.caller("authenticated", ALICE) as alice:
            assert [name for (name,) in await alice.fetch(sql)] == ["mine"], sql
        async with sessions.caller("anon") as anon:
            assert await anon.fetch(sql) == [], sql
