"""An SQL file is cut where PostgreSQL would end a statement, and nowhere else."""

from __future__ import annotations

import pytest

from isobase_deploy.migrations.apply import runs_outside_transaction
from isobase_deploy.migrations.split import copies_from_client, split_statements

CUTS: dict[str, tuple[str, list[str]]] = {
    "two statements": ("select 1; select 2;", ["select 1", "select 2"]),
    "no semicolon at the end": ("select 1;\nselect 2", ["select 1", "select 2"]),
    "nothing but space and comments": (" -- a;\n /* b; */ ;; \n", []),
    "a semicolon in a string": ("select 'a;b'; select 2", ["select 'a;b'", "select 2"]),
    "a doubled quote": ("select 'it''s;'; select 2", ["select 'it''s;'", "select 2"]),
    "a backslash in a plain string": (r"select 'a\'; select 2", [r"select 'a\'", "select 2"]),
    "an escape string": (r"select E'a\';b'; select 2", [r"select E'a\';b'", "select 2"]),
    "an escape string with a doubled quote": (r"select e'''\\'; select 2", [r"select e'''\\'", "select 2"]),
    "a quoted identifier": ('select "a;""b"; select 2', ['select "a;""b"', "select 2"]),
    "unicode forms": ("select U&'a;\\0041', U&\"b;\"; select 2", ["select U&'a;\\0041', U&\"b;\"", "select 2"]),
    "a line comment with a quote": ("select 1 -- it's; here\n; select 2", ["select 1 -- it's; here", "select 2"]),
    "nested block comments": (
        "select 1 /* a /* b; */ ' c; */; select 2",
        ["select 1 /* a /* b; */ ' c; */", "select 2"],
    ),
    "a dollar-quoted body": ("do $$ begin; end $$; select 2", ["do $$ begin; end $$", "select 2"]),
    "a tagged body with another inside": (
        "do $a$ x; $b$ ; $b$ $$;$$ $a$; select 2",
        ["do $a$ x; $b$ ; $b$ $$;$$ $a$", "select 2"],
    ),
    "a dollar inside a name": ("select a$b$c; select 2", ["select a$b$c", "select 2"]),
    "a parameter is no dollar quote": ("prepare p as select $1; select $2", ["prepare p as select $1", "select $2"]),
    "a rule in parentheses": (
        "create rule r as on insert to t do (delete from a; delete from b); select 2",
        ["create rule r as on insert to t do (delete from a; delete from b)", "select 2"],
    ),
    "a standard body": (
        "create function f() returns int begin atomic select 1; select case when true then 2 end; end; select 2",
        ["create function f() returns int begin atomic select 1; select case when true then 2 end; end", "select 2"],
    ),
    "begin alone is a statement": ("begin; select 1; end;", ["begin", "select 1", "end"]),
    "a byte order mark": ("\ufeffselect 1;", ["select 1"]),
    "an open string takes the rest": ("select 1; select 'a; b", ["select 1", "select 'a; b"]),
    "an open body takes the rest": ("select 1; do $$ a; b", ["select 1", "do $$ a; b"]),
    "names outside ASCII": ("select größe from naïve; select '☃;'", ["select größe from naïve", "select '☃;'"]),
    "windows line ends": ("select 1;\r\nselect 2;\r\n", ["select 1", "select 2"]),
}


@pytest.mark.parametrize("sql, expected", CUTS.values(), ids=CUTS)
def test_statements_end_where_postgresql_ends_them(sql: str, expected: list[str]) -> None:
    assert [statement.text for statement in split_statements(sql)] == expected


def test_a_statement_knows_the_line_where_it_begins_and_that_of_a_position() -> None:
    first, second = split_statements("\n-- about\nselect 1;\n\n/* two\nlines */ select\n  wrong\n;")
    assert (first.line, second.line) == (3, 6)
    assert second.line_of(second.text.index("wrong") + 1) == 7
    assert second.line_of(1) == 6


def test_comments_do_not_hide_what_a_statement_is() -> None:
    (statement,) = split_statements("create /* unique */ index -- now\n concurrently i on t (a);")
    assert statement.words[:3] == ("create", "index", "concurrently")


@pytest.mark.parametrize(
    "sql, expected",
    [
        ("vacuum analyze t", True),
        ("create index concurrently i on t (a)", True),
        ("create unique index concurrently if not exists i on t (a)", True),
        ("drop index concurrently i", True),
        ("reindex table concurrently t", True),
        ("refresh materialized view concurrently m", False),
        ("alter system set work_mem = '8MB'", True),
        ("create database d", True),
        ("create index i on t (a)", False),
        ("alter type mood add value 'fine'", False),
        ("create table vacuum (a int)", False),
    ],
)
def test_statements_that_refuse_a_transaction_are_known(sql: str, expected: bool) -> None:
    assert runs_outside_transaction(split_statements(sql)[0]) is expected


@pytest.mark.parametrize(
    "sql, expected",
    [
        ("copy t from stdin", True),
        ("COPY public.t (a, b, c, d, e) FROM /* the client */ STDIN with (format csv)", True),
        ("copy (select stdin from t) to stdout", True),
        ("copy t (stdin) from '/srv/rows.csv'", False),
        ("copy (select a from stdin) to program 'cat'", False),
        ("select 1 as copy from stdin", False),
    ],
)
def test_copies_that_speak_with_the_client_are_known(sql: str, expected: bool) -> None:
    assert copies_from_client(split_statements(sql)[0]) is expected
