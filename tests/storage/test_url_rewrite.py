"""Beginnings of URLs in users' tables: what is changed, what is left, and that a second run finds nothing to do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from isobase_deploy.url_rewrite import ColumnName, Prefix, UrlRewriter, parse_column_name, prefixes_of
from isobase_deploy.url_rewrite.json_text import rewrite_json
from isobase_deploy.url_rewrite.rewrite import BATCH_ROWS, JSON_BATCH_ROWS, MAX_VALUE_BYTES
from isobase_platform.errors import ConfigurationError, DatabaseError

OLD = "https://old.example/storage/v1/object/public/"
NEW = "https://cdn.example/files/"
PREFIXES = (Prefix(OLD, NEW),)


@pytest.fixture
async def tables(storage_dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection to a database with an empty schema ``O"dd one``, as the role of a project's migrations."""
    connection = await asyncpg.connect(storage_dsn, statement_cache_size=0)
    await connection.execute('create schema "O""dd one"')
    try:
        yield connection
    finally:
        await connection.execute('drop schema "O""dd one" cascade')
        await connection.close()


async def rewrite(connection: asyncpg.Connection[asyncpg.Record], *names: str) -> list[tuple[int, int, int]]:
    """Matching, changed and left rows of each column."""
    rewriter = UrlRewriter(connection, PREFIXES)
    columns = await rewriter.find([parse_column_name(name) for name in names])
    results = [await rewriter.rewrite(column) for column in columns]
    return [(one.matching, one.changed, one.left) for one in results]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("public.profiles.avatar_url", ("public", "profiles", "avatar_url")),
        ("public.Profiles.avatarUrl", ("public", "Profiles", "avatarUrl")),
        ('"a.b"."c ""d""".é', ("a.b", 'c "d"', "é")),
    ],
)
def test_a_column_is_named_as_in_sql(text: str, expected: tuple[str, str, str]) -> None:
    name = parse_column_name(text)
    assert name == ColumnName(*expected)
    assert parse_column_name(str(name)) == name


@pytest.mark.parametrize(
    "text",
    ["", "a", "a.b", "a.b.", ".a.b", "a.b.c.d", 'a."b.c', 'a."b"x.c', "a b.c.d", f"a.b.{'x' * 64}"],
)
def test_what_is_no_name_of_a_column_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_column_name(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([], []),
        (["a"], []),
        ([""], ["b"]),
        (["a"], [""]),
        (["a"], ["a"]),
        (["https://a/b/"], ["https://a/"]),
        (["a", "a"], ["b", "c"]),
        (["a", "b"], ["b/x", "c"]),
    ],
)
def test_prefixes_that_a_second_run_would_change_again_are_refused(old: list[str], new: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        prefixes_of(old, new)


def test_a_longer_new_prefix_is_written_once() -> None:
    (prefix,) = prefixes_of(["https://a/"], ["https://a/b/"])
    assert prefix.applies_to("https://a/c")
    assert not prefix.applies_to("https://a/b/c")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f'"{OLD}a"', f'"{NEW}a"'),
        (f'{{"u" :  "{OLD}a", "n": 1.10, "n": 1e400}}', f'{{"u" :  "{NEW}a", "n": 1.10, "n": 1e400}}'),
        (f'{{"{OLD}k": ["x", ["{OLD}"], null]}}', f'{{"{OLD}k": ["x", ["{NEW}"], null]}}'),
        (f'["see {OLD}a", "\\"{OLD}a", "\\\\"]', f'["see {OLD}a", "\\"{OLD}a", "\\\\"]'),
        (f'["{OLD.replace("/", chr(92) + "/")}\\u00e9\\n"]', f'["{NEW}é\\n"]'),
        (f'["{OLD}\\ud83d"]', f'["{NEW}\\ud83d"]'),
    ],
)
def test_only_string_values_of_json_change(before: str, after: str) -> None:
    assert rewrite_json(before, PREFIXES) == after
    assert rewrite_json(after, PREFIXES) == after


async def test_text_arrays_and_json_are_rewritten_once_whatever_they_are_called(
    tables: asyncpg.Connection[asyncpg.Record],
) -> None:
    await tables.execute(f"""
create domain "O""dd one".url as text;
create table "O""dd one"."the.table" (
    "key ""1"" x" uuid default gen_random_uuid(), at timestamptz default now(),
    "URL" "O""dd one".url, "all" text[], data jsonb, raw json, short varchar(100), primary key (at, "key ""1"" x")
);
insert into "O""dd one"."the.table" ("URL", "all", data, raw, short) values
    ('{OLD}a%20b', array['{OLD}x', null, 'y {OLD}'], '{{"a": [{{"b": "{OLD}c"}}], "n": 1.50}}', '["{OLD}",  1]', '{OLD}'),
    ('see {OLD}a', array[['{OLD}1'], ['2']], '{{"{OLD}": 1}}', '{{"{OLD}" : 2}}', 'no'),
    (null, '[0:1]={{"{OLD}",b}}', null, null, null),
    ('{NEW}done', array['{NEW}done'], to_jsonb('{OLD}' || repeat('x', {MAX_VALUE_BYTES})), '"x"', '');
""")
    names = [f'"O""dd one"."the.table".{name}' for name in ("URL", '"all"', "data", "raw", "short")]
    assert await rewrite(tables, *names) == [(1, 1, 0), (1, 1, 2), (1, 1, 1), (1, 1, 0), (1, 1, 0)]
    row = await tables.fetchrow("""select * from "O""dd one"."the.table" where "URL" like '%%20%'""")
    assert row is not None
    assert (row["URL"], row["all"], row["short"]) == (f"{NEW}a%20b", [f"{NEW}x", None, f"y {OLD}"], NEW)
    assert (row["data"], row["raw"]) == (f'{{"a": [{{"b": "{NEW}c"}}], "n": 1.50}}', f'["{NEW}",  1]')
    assert await rewrite(tables, *names) == [(0, 0, 0), (0, 0, 2), (0, 0, 1), (0, 0, 0), (0, 0, 0)]


async def test_a_table_larger_than_a_batch_is_rewritten_whole(tables: asyncpg.Connection[asyncpg.Record]) -> None:
    rows = 2 * BATCH_ROWS + 1
    await tables.execute(f"""
create table "O""dd one".t (a int, b text, url text, doc jsonb, primary key (a, b));
insert into "O""dd one".t
    select n % 7, n::text, '{OLD}' || n, case when n <= {2 * JSON_BATCH_ROWS} then jsonb_build_array('{OLD}' || n) end
      from generate_series(1, {rows}) n;
""")
    told: list[int] = []
    rewriter = UrlRewriter(tables, PREFIXES)
    (url,) = await rewriter.find([parse_column_name('"O""dd one".t.url')])
    assert (await rewriter.count(url)).matching == rows
    assert (await rewriter.rewrite(url, told.append)).changed == rows
    assert told == [BATCH_ROWS, BATCH_ROWS, 1]
    assert await rewrite(tables, '"O""dd one".t.doc') == [(2 * JSON_BATCH_ROWS, 2 * JSON_BATCH_ROWS, 0)]
    wrong = "url <> $1 || b or doc ->> 0 <> $1 || b"
    assert await tables.fetchval(f'select count(*) from "O""dd one".t where {wrong}', NEW) == 0


async def test_a_row_that_refuses_stops_the_run_and_a_later_one_goes_on(
    tables: asyncpg.Connection[asyncpg.Record],
) -> None:
    await tables.execute(f"""
create table "O""dd one".t (id int primary key, url text);
insert into "O""dd one".t select n, '{OLD}' || n from generate_series(1, {BATCH_ROWS + 10}) n;
alter table "O""dd one".t add constraint "not yet" check (url <> '{NEW}{BATCH_ROWS + 5}');
""")
    with pytest.raises(DatabaseError) as caught:
        await rewrite(tables, '"O""dd one".t.url')
    assert caught.value.sqlstate == "23514"
    await tables.execute('alter table "O""dd one".t drop constraint "not yet"')
    assert await rewrite(tables, '"O""dd one".t.url') == [(10, 10, 0)]


@pytest.mark.parametrize(
    ("definition", "column", "reason"),
    [
        ("table o.t (id int primary key)", "o.t.url", "no column"),
        ("table o.t (id int primary key, url int)", "o.t.url", "type integer"),
        ("table o.t (url text)", "o.t.url", "no primary key"),
        ("table o.t (id text primary key, url text generated always as (id || 'x') stored)", "o.t.url", "generated"),
        ("view o.t as select 1 as id, 'x'::text as url", "o.t.url", "not a column of a table"),
    ],
)
async def test_what_cannot_be_rewritten_is_refused_before_anything_changes(
    tables: asyncpg.Connection[asyncpg.Record], definition: str, column: str, reason: str
) -> None:
    schema = '"O""dd one"'
    await tables.execute("create " + definition.replace("o.t", f"{schema}.t"))
    with pytest.raises(ConfigurationError) as caught:
        await UrlRewriter(tables, PREFIXES).find([parse_column_name(column.replace("o.t", f"{schema}.t"))])
    assert reason in caught.value.message


async def test_rows_that_policies_hide_are_an_error_and_not_left_out(
    tables: asyncpg.Connection[asyncpg.Record], storage_dsn: str
) -> None:
    schema = '"O""dd one"'
    await tables.execute(f"""
create table {schema}.t (id int primary key, url text);
insert into {schema}.t values (1, '{OLD}1');
alter table {schema}.t enable row level security;
grant usage on schema {schema} to authenticated;
grant all on {schema}.t to authenticated;
set role authenticated;
""")
    try:
        with pytest.raises(DatabaseError) as caught:
            await rewrite(tables, f"{schema}.t.url")
        assert caught.value.sqlstate == "42501"
    finally:
        await tables.execute("reset role")
