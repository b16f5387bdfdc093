"""Values of every kind arrive as they were: the same bytes in both tables."""

from __future__ import annotations

import asyncpg
import pytest

from isobase_adapter.rows.checksums import row_hash
from isobase_adapter.rows.differences import compare
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind
from tests.adapter.rows.conftest import Sides

TYPES = """
create type mood as enum ('sad', 'it''s "ok"', 'glad');
create type pair as (a int, b text);
create type nested as (p pair, ps pair[], at timestamptz);
create domain short as text check (length(value) < 20);
create domain shorter as short not null;
create type span as range (subtype = float8);
"""

LINES = "line\nTab\t\\ \"q\" 'x' é 🙂"

VALUES: dict[str, list[str | None]] = {
    "real": ["NaN", "-0", "3.4028235e38", "1e-45", "0.1"],
    "double precision": ["Infinity", "-0", "5e-324", "1.7976931348623157e308", "0.30000000000000004"],
    "numeric": ["NaN", "1e300", "0.1", "1.00", "-Infinity"],
    "numeric(10, 3)": ["1.5", "0", "-0.001", "1234567.891", None],
    "smallint": ["-32768", "0", None],
    "bigint": ["9223372036854775807", "-9223372036854775808", "0"],
    "money": ["-12.34", "92233720368547758.07", "0.01"],
    "boolean": ["true", "false", None],
    "char(5)": ["a", "", "é", "     ", "abcde"],
    "bpchar": ["a  ", "", "  "],
    "varchar(10)": ["v ", "ééééééééé", "null"],
    "text": [LINES, "", None, "NULL", "long" * 5000, "(,)", '"', "\\"],
    "name": ["n", "ü", ""],
    '"char"': ["c", "", "z"],
    "extensions.citext": ["MiXed", "É", "mixed"],
    "bytea": ["\\x00ff27", "\\x", "\\x" + "00ff" * 3000],
    "bit(5)": ["10101", "00000", None],
    "varbit": ["1", "", "0101010101"],
    "date": ["infinity", "0044-03-15 BC", "5874897-12-31", "2024-02-29"],
    "timestamp": ["-infinity", "0001-01-01 BC", "2024-01-01 00:00:00.000001"],
    "timestamptz": ["294276-12-31 23:59:59.999+00", "1900-01-01 00:00:00+00", "2024-03-31 02:30:00+01"],
    "timestamptz(3)": ["2024-02-29 23:59:59.9996+05:30", "infinity", None],
    "time": ["24:00:00", "00:00", "12:34:56.789012"],
    "timetz": ["01:02:03.000004-07:30", "00:00+15:59", None],
    "interval": ["-1 year 2 days -03:04:05.000006", "0", "178000000 years", "-00:00:00.000001"],
    "uuid": ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", None],
    "json": ['{"b" :1,  "a": [1.0, 1e2 ]}', "null", '"\\u00e9"', None],
    "jsonb": ['{"b": 1, "a": 1.00}', "null", '"é"'],
    "jsonpath": ["$.a[*] ? (@ > 1)", None],
    "inet": ["10.0.0.1/24", "::1", None],
    "cidr": ["10.0.0.0/8", "::/0"],
    "macaddr": ["08:00:2b:01:02:03"],
    "point": ["(0.1,-0)", None],
    "polygon": ["((0,0),(1,1),(2,0))"],
    "circle": ["<(0,0),5>"],
    "int4range": ["[1,5)", "empty", "(,)"],
    "nummultirange": ["{[1.10,2.0),[5,)}", "{}"],
    "span": ["[0.1,0.3]", "(,)"],
    "tsvector": ["fat:2A cat:3", ""],
    "tsquery": ["fat & !rat", None],
    "int[]": ["[2:4]={1,NULL,3}", "{}", None, "{{1},{2}}"],
    "text[]": ['{{"a,b","NULL"},{NULL,"\\"}"}}', "{}", '{""}'],
    "mood[]": ['{sad,"it\'s \\"ok\\""}', "{}"],
    "bytea[]": ['{"\\\\x00",NULL}'],
    "mood": ['it\'s "ok"', "glad", None],
    "pair": ['(1,"x,""y)")', "(,)", '(2,"")'],
    "nested": ['("(,a)","{""(2,)""}","2024-01-01 00:00:00.123456+00")', None],
    "short": ["short", None],
    "regclass": ["pg_class", "pair"],
    "pg_lsn": ["16/B374D848"],
    "extensions.hstore": ['"a b"=>"c\\"d", e=>NULL', ""],
    "extensions.vector(3)": ["[0.1,2e-30,-0]", None],
}
COLUMNS = ", ".join(f"c{i} {name}" for i, name in enumerate(VALUES))
ROW_COUNT = max(map(len, VALUES.values()))


async def test_every_type_arrives_exactly_in_both_directions(sides: Sides) -> None:
    sides.both(TYPES)
    sides.both(f"create table kinds (id int primary key, {COLUMNS}, s shorter); alter table kinds owner to postgres")
    for n in range(ROW_COUNT):
        row = [values[n % len(values)] for values in VALUES.values()]
        sides.sql(Side.SUPABASE, f"insert into kinds values (%s, {', '.join(['%s'] * len(row))}, 's')", n, *row)
    things = [Thing(ThingKind.ROW, "public.kinds", (n,)) for n in range(ROW_COUNT)]
    assert (await sides.carrier.carry(things, Side.ISOBASE)).changed == ROW_COUNT
    for i, name in enumerate(VALUES):
        # As text under other settings than the carrier's, and as they lie on disk.
        query = f"select id, pg_column_size(c{i}), c{i}::text from kinds order by id"
        assert sides.sql(Side.ISOBASE, query) == sides.sql(Side.SUPABASE, query), name
    assert (await sides.carrier.carry(things, Side.ISOBASE)).changed == 0
    assert (await sides.carrier.carry(things, Side.SUPABASE)).changed == 0
    pair = await sides.carrier.pair("public.kinds")
    assert (await compare(pair, sides.carrier.pairs)).differing == ()


async def test_one_value_that_differs_in_its_writing_alone_is_a_difference(sides: Sides) -> None:
    sides.both(
        "create table near (id int primary key, num numeric, j json, c extensions.citext, f float8, t text);"
        "alter table near owner to postgres"
    )
    sides.sql(Side.SUPABASE, """insert into near values (1, 1.0, '{"a":1}', 'A', '-0', null)""")
    near = {"num": "1.00", "j": '{"a": 1}', "c": "a", "f": "0.0", "t": ""}
    for column, value in near.items():
        thing = Thing(ThingKind.ROW, "public.near", (1,))
        await sides.carrier.carry([thing], Side.ISOBASE)
        sides.sql(Side.ISOBASE, f"update near set {column} = %s", value)
        assert (await sides.carrier.carry([thing], Side.ISOBASE)).changed == 1, column


async def test_a_value_that_does_not_fit_the_target_is_refused_and_not_cut(sides: Sides) -> None:
    for side, length in ((Side.SUPABASE, 20), (Side.ISOBASE, 5)):
        sides.sql(
            side, f"create table fits (id int primary key, v varchar({length})); alter table fits owner to postgres"
        )
    sides.sql(Side.SUPABASE, "insert into fits values (1, 'longer than five')")
    with pytest.raises(asyncpg.StringDataRightTruncationError, match="value too long"):
        await sides.carrier.carry([Thing(ThingKind.ROW, "public.fits", (1,))], Side.ISOBASE)
    assert sides.sql(Side.ISOBASE, "select count(*) from fits") == [(0,)]


async def test_columns_in_another_order_or_on_one_side_only_are_carried_where_both_have_them(sides: Sides) -> None:
    sides.sql(
        Side.SUPABASE,
        "create table mixed (id int primary key, a text, b int, old text); alter table mixed owner to postgres",
    )
    sides.sql(
        Side.ISOBASE,
        "create table mixed (b int, new text default 'mine', id int primary key, gone int, a text);"
        "alter table mixed drop column gone; alter table mixed owner to postgres",
    )
    sides.sql(Side.SUPABASE, "insert into mixed values (1, 'a', 2, 'old')")
    thing = Thing(ThingKind.ROW, "public.mixed", (1,))
    await sides.carrier.carry([thing], Side.ISOBASE)
    assert sides.sql(Side.ISOBASE, "select b, new, id, a from mixed") == [(2, "mine", 1, "a")]
    sides.sql(Side.ISOBASE, "update mixed set a = 'A', new = 'x'")
    await sides.carrier.carry([thing], Side.SUPABASE)
    assert sides.sql(Side.SUPABASE, "select * from mixed") == [(1, "A", 2, "old")]
    pair = await sides.carrier.pair("public.mixed")
    assert (pair.only_at(Side.SUPABASE), pair.only_at(Side.ISOBASE)) == (("old",), ("new",))
    assert "old" not in row_hash(pair, "t")


async def test_keys_of_types_with_operators_of_their_own_find_their_rows(sides: Sides) -> None:
    sides.both(
        "create type color as enum ('red', 'blue');"
        "create table odd (k extensions.citext, c color, b char(4), s bytea, n numeric(6, 2), a int[], at timestamptz, v int,"
        " primary key (k, c, b, s, n, a, at)); alter table odd owner to postgres"
    )
    sides.sql(
        Side.SUPABASE, "insert into odd values ('Key', 'red', 'x', '\\x00', 1.5, '{1}', '2024-01-01 12:00+02', 1)"
    )
    thing = Thing(ThingKind.ROW, "public.odd", ("key", "red", "x", "\\x00", 1.5, [1], "2024-01-01T10:00:00+00:00"))
    sides.sql(Side.SUPABASE, "update odd set a = '{}'")
    empty = Thing(ThingKind.ROW, "public.odd", (*thing.key[:5], "{}", thing.key[6]))
    assert (await sides.carrier.carry([empty], Side.ISOBASE)).changed == 1
    sides.sql(Side.SUPABASE, "delete from odd")
    assert (await sides.carrier.carry([empty], Side.ISOBASE)).changed == 1
    assert sides.sql(Side.ISOBASE, "select count(*) from odd") == [(0,)]
