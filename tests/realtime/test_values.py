"""Values in row changes are what to_jsonb says, for every kind of type."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from isobase_services.realtime.changes.values import array_items
from tests.realtime.conftest import Stack

# column type -> values as SQL; each is compared with to_jsonb of the stored value
VALUES = {
    "boolean": ["true", "false"],
    "smallint": ["-32768"],
    "integer": ["2147483647"],
    "bigint": ["9223372036854775807"],
    "numeric": ["1.50", "'NaN'", "'Infinity'", "12345678901234567890.123456789", "-0.0000001", "1e30"],
    "real": ["1.1", "'NaN'", "'-Infinity'", "1e-30", "1e30"],
    "double precision": ["0.1", "1e300", "1e-300", "'Infinity'", "-0.0"],
    "money": ["1234.5", "-0.01"],
    "numeric(8,3)": ["1.5", "-0"],
    "text": ["''", "'it''s \"quoted\" \\ / \u2028 é 😀'", "E'tab\\tnew\\nline\\x01\\x7f'"],
    "varchar(10)": ["'abc'"],
    "char(5)": ["'abc'"],
    "name": ["'abc'"],
    '"char"': ["'a'"],
    "bytea": ["'\\x00ff'", "''"],
    "uuid": ["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"],
    "date": ["'2026-02-28'", "'infinity'", "'0044-03-15 BC'"],
    "timestamp": ["'2026-02-28 12:34:56.789012'", "'2026-02-28'", "'infinity'", "'0044-03-15 01:02:03 BC'"],
    "timestamptz": [
        "'2026-02-28 12:34:56.789012+05:30'",
        "'2026-02-28 00:00+00'",
        "'-infinity'",
        "'0044-03-15 01:02:03+00 BC'",
        "'12026-02-28 00:00+00'",
    ],
    "time": ["'12:34:56.7'"],
    "timetz": ["'12:34:56+02'"],
    "interval": ["'1 year 2 months 3 days 04:05:06.7'", "'-1 day'", "'-1 year +2 days -00:00:00.5'", "'0'"],
    "jsonpath": ["'$.a[*] ? (@ > 1)'"],
    "json": ['\'{"b": [1, null, {"c": "d"}], "a": 1.0}\'', "'\"text\"'", "'null'"],
    "jsonb": ['\'{"b": [1, null, {"c": "d"}], "a": 1.0}\'', "'[]'", "'null'"],
    "inet": ["'10.0.0.1/8'"],
    "cidr": ["'10.0.0.0/8'"],
    "macaddr": ["'08:00:2b:01:02:03'"],
    "bit(4)": ["B'1010'"],
    "varbit": ["B'10'"],
    "point": ["'(1,2)'"],
    "line": ["'{1,2,3}'"],
    "lseg": ["'[(0,0),(1,1)]'"],
    "path": ["'[(0,0),(1,1)]'", "'((0,0),(1,1))'"],
    "polygon": ["'((0,0),(1,1),(2,0))'"],
    "circle": ["'<(1,2),3>'"],
    "macaddr8": ["'08:00:2b:01:02:03:04:05'"],
    "tsquery": ["'fat & (rat | cat)'"],
    "xid": ["'42'"],
    "tid": ["'(0,1)'"],
    "box": ["'((0,0),(1,1))'"],
    "tsvector": ["'a fat cat'"],
    "oid": ["42"],
    "regclass": ["'pg_catalog.pg_class'"],
    "int4range": ["'[1,5)'", "'empty'"],
    "int4multirange": ["'{[1,2),[4,5)}'"],
    "numrange": ["'[1.5,)'", "'(,2.50]'"],
    "tstzrange": ["'[2026-01-01 00:00+02,infinity)'", "'(,)'"],
    "daterange[]": ["array['[2026-01-01,2026-02-01)'::daterange, 'empty', null]"],
    "int4multirange[]": ["array['{[1,2)}'::int4multirange, '{}']"],
    "pg_lsn": ["'16/B374D848'"],
    "int2vector": ["'1 2 3'"],
    "integer[]": ["'{1,NULL,3}'", "'{}'", "'{{1,2},{3,4}}'", "'[0:1]={5,6}'"],
    "text[]": ["array['a,b', 'c\"d', 'e\\f', '', 'NULL', null, '{x}', ' sp ']", "array[['a'],['b']]"],
    "boolean[]": ["'{t,f}'"],
    "numeric[]": ["'{1.50,NaN}'"],
    "timestamptz[]": ["array['2026-02-28 12:00+00'::timestamptz]"],
    "jsonb[]": ["array['{\"a\": [1]}'::jsonb, null]"],
    "json[]": ['array[\'{"a":  "\\u00e9 \\" \\\\"}\'::json, \'null\']'],
    "bytea[]": ["array['\\x00ff'::bytea, '']"],
    "interval[]": ["array['1 day 02:03'::interval, null]"],
    "double precision[]": ["'{1.5,NaN,-Infinity,1e300}'"],
    "date[]": ["'{infinity,0044-03-15 BC,2026-01-01}'"],
    "bigint[]": ["'[-1:1]={9223372036854775807,NULL,-1}'"],
    "uuid[]": ["array['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid]"],
    "box[]": ["array['((0,0),(1,1))'::box, '((0,0),(2,2))'::box]"],
    "public.mood": ["'so so'"],
    "public.mood[]": ["array['so so', 'ok']::public.mood[]"],
    "public.positive": ["3"],
    "public.tags": ["'{a,b}'"],
    "public.positive[]": ["array[1, null, 3]::public.positive[]"],
    "public.clock": ["'12:00'"],
    "public.nested": [
        "row(row(1, null)::public.pair, array[row(2, '{')::public.pair], '{\"k\": [1.50]}', 'infinity')::public.nested"
    ],
    "public.pairing": ["row(3, 'domain over a composite')::public.pair::public.pairing"],
    "public.steps": ["'[1,5)'"],
    "public.pair": ["row(1, 'x \"y\"')::public.pair"],
    "public.pair[]": ["array[row(1, 'x')::public.pair, null]"],
}
TYPES = """
create type public.mood as enum ('so so', 'ok');
create domain public.positive as int check (value > 0);
create domain public.tags as text[];
create type public.pair as (a int, b text);
create domain public.clock as time;
create domain public.pairing as public.pair;
create type public.nested as (one public.pair, many public.pair[], more jsonb, "At Last" timestamptz);
create type public.steps as range (subtype = float8);
"""


async def test_each_value_is_what_to_jsonb_says(stack: Stack) -> None:
    await stack.owner.execute(TYPES)
    width = max(len(values) for values in VALUES.values())
    columns = {f"c{number}": kind for number, kind in enumerate(VALUES)}
    definition = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    await stack.sql(f"create table public.every (id int primary key, {definition})")
    await stack.sql("grant select on public.every to anon")
    await stack.sql("alter publication supabase_realtime add table public.every")
    socket = await stack.connect()
    await socket.subscribe("a", {"event": "*", "schema": "public", "table": "every"})
    for row in range(width):
        values = ", ".join(values[row] if row < len(values) else "null" for values in VALUES.values())
        await stack.sql(f"insert into public.every values ({row}, {values})")
    await stack.sql("set timezone = 'UTC'")
    for row in range(width):
        record = (await socket.event("postgres_changes")).payload["data"]["record"]
        (stored,) = await stack.sql("select to_jsonb(e)::text as json from public.every as e where id = $1", row)
        expected = json.loads(stored["json"], parse_float=Decimal)
        for name, kind in columns.items():
            wanted = expected[name]
            if kind == "bytea" and wanted is not None:
                wanted = wanted.removeprefix("\\x")  # upstream sends the hex digits alone
            assert comparable(record[name]) == comparable(wanted), (kind, row)


def comparable(value: Any) -> Any:
    """Numbers by value: the test client reads them as floats, the expectation as decimals."""
    if isinstance(value, Decimal):
        return float(value) if value != int(value) else int(value)
    if isinstance(value, float):
        return int(value) if value == int(value) else value
    if isinstance(value, list):
        return [comparable(item) for item in value]
    if isinstance(value, dict):
        return {name: comparable(item) for name, item in value.items()}
    return value


async def test_type_names_are_those_of_pg_type(stack: Stack) -> None:
    await stack.sql("create table public.named (id int primary key, a timestamptz, b text[], c varchar(3), d char(2))")
    await stack.sql("grant select on public.named to anon")
    await stack.sql("alter publication supabase_realtime add table public.named")
    socket = await stack.connect()
    await socket.subscribe("a", {"event": "*", "schema": "public", "table": "named"})
    await stack.sql("insert into public.named values (1)")
    columns = (await socket.event("postgres_changes")).payload["data"]["columns"]
    assert [column["type"] for column in columns] == ["int4", "timestamptz", "_text", "varchar", "bpchar"]


@pytest.mark.parametrize("text", ["", "x", "{", "{a", '{"a}', "{a}b", "}", "{a}{b}", '{"a"b}'])
def test_text_that_is_no_array_is_refused(text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        array_items(text)


async def test_values_of_extensions_types_are_what_to_jsonb_says(stack: Stack) -> None:
    for extension in ("citext", "hstore", "ltree"):
        await stack.sql(f"create extension if not exists {extension} with schema extensions")
    await stack.sql("set search_path = public, extensions")
    await stack.sql(
        "create table public.extended (id int primary key, a citext, b hstore, c ltree, d citext[], e hstore[])"
    )
    await stack.sql("grant select on public.extended to anon")
    await stack.sql("alter publication supabase_realtime add table public.extended")
    socket = await stack.connect()
    await socket.subscribe("a", {"event": "*", "schema": "public", "table": "extended", "filter": "a=eq.ABC"})
    await stack.sql(
        "insert into public.extended values"
        " (1, 'aBc', 'k=>\"v \\\" w\", n=>NULL', 'top.sub', '{A,NULL}', array['k=>1'::hstore, null])"
    )
    record = (await socket.event("postgres_changes")).payload["data"]["record"]
    (stored,) = await stack.sql("select to_jsonb(x)::text as json from public.extended as x")
    assert record == json.loads(stored["json"])
