"""Filters and subscriptions that cannot be served: parsing as a table, meaning against PostgreSQL, refusals on the wire."""

from __future__ import annotations

from typing import Any

import pytest

from isobase_platform.errors import DatabaseError
from isobase_services.realtime.changes import questions
from isobase_services.realtime.changes.request import (
    ChangeRequest,
    Filter,
    Operator,
    RequestRefused,
    change_id,
    parse_change_request,
)
from isobase_services.realtime.changes.tables import Column
from tests.realtime.conftest import ALICE, BOB, Stack

ENTRY = {"event": "*", "schema": "public", "table": "t"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("   ", []),
        ("a=eq.1", [("a", "eq", "1", False)]),
        ("a=not.eq.1", [("a", "eq", "1", True)]),
        ("a=eq.x=y.z", [("a", "eq", "x=y.z", False)]),
        ("a=in.(1,2, 3)", [("a", "in", "{1,2, 3}", False)]),
        ("a=gt.0,b=lt.100", [("a", "gt", "0", False), ("b", "lt", "100", False)]),
        ('a=eq."x,y",b=is.null', [("a", "eq", "x,y", False), ("b", "is", "null", False)]),
        (r'a=eq."x\"y\\z"', [("a", "eq", 'x"y\\z', False)]),
        ('a=in.("x,y",z),b=eq.1', [("a", "in", '{"x,y",z}', False), ("b", "eq", "1", False)]),
        ('a=eq.say "hi", b=eq.2', [("a", "eq", 'say "hi"', False), ("b", "eq", "2", False)]),
        ('a=eq."open', [("a", "eq", '"open', False)]),
        ("a=not.in.(1)", [("a", "in", "{1}", True)]),
    ],
)
def test_filter_is_read(text: str, expected: list[tuple[str, str, str, bool]]) -> None:
    filters = parse_change_request({**ENTRY, "filter": text}).filters
    assert filters == tuple(Filter(column, Operator(name), value, negated) for column, name, value, negated in expected)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({**ENTRY, "filter": "subject=foo.hey"}, 'Error parsing `filter` params: ["foo", "hey"]'),
        ({**ENTRY, "filter": "undefined"}, 'Error parsing `filter` params: ["undefined"]'),
        (
            {**ENTRY, "filter": ",".join(["a=eq.1"] * 51)},
            "Error parsing `filter` params: filter must have at most 50 conditions",
        ),
        ({**ENTRY, "filter": "a=eq"}, 'Error parsing `filter` params: ["eq"]'),
        (
            {**ENTRY, "filter": "a=in.1,2"},
            "Error parsing `filter` params: `in` filter value must be wrapped by parentheses",
        ),
        (
            {**ENTRY, "filter": "a=eq.1,,b=eq.2"},
            "Error parsing `filter` params: filter must not contain empty segments (check for extra commas)",
        ),
        *(
            (
                {**ENTRY, **odd},
                "Unable to subscribe to changes with given parameters. Names and values must be Unicode text without NUL.",
            )
            for odd in ({"schema": "a\0"}, {"table": "\ud800"}, {"filter": "a=eq.\0"}, {"select": ["\ud800"]})
        ),
        (
            {},
            "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: %{}",
        ),
        (
            {"extra": {"a": [1, None]}, "filter": None, "schema": "public", "table": "notes"},
            "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: "
            '%{"extra" => %{"a" => [1, nil]}, "filter" => nil, "schema" => "public", "table" => "notes"}',
        ),
        (
            {"schema": "public", "table": None},
            "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: "
            '%{"schema" => "public", "table" => nil}',
        ),
        (
            {"schema": "public", "table": "*", "select": ["a"]},
            "Column selection is not supported for wildcard subscriptions. Provide an explicit schema and table name.",
        ),
        (
            {**ENTRY, "select": "a"},
            'Error parsing `select` params: expected a list of column name strings, e.g. select: ["col1", "col2"]',
        ),
    ],
)
def test_entry_that_cannot_be_read_is_refused_in_upstreams_words(entry: dict[str, object], message: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse_change_request(entry)
    assert str(refused.value) == message


def test_schema_and_table_have_upstreams_defaults() -> None:
    assert parse_change_request({"schema": "s"}) == ChangeRequest("*", "s", "*")
    assert parse_change_request({"table": "t"}) == ChangeRequest("*", "public", "t")
    assert parse_change_request({**ENTRY, "event": "insert"}).event == "INSERT"


def test_ids_depend_on_the_entry_alone_and_are_never_zero() -> None:
    assert change_id({"a": 1, "b": [2]}) == change_id({"b": [2], "a": 1}) != change_id({"a": 1})
    assert all(0 < change_id({"n": n}) < 2**27 for n in range(1000))


VALUES = [
    # (column, filter without the column, ids of the rows that pass)
    ("n", "eq.2", [2]),
    ("n", "eq. 2", [2]),
    ("n", "neq.2", [1, 3]),
    ("n", "gt.1", [2, 3]),
    ("n", "not.gte.2", [1]),
    ("n", "in.(1,3)", [1, 3]),
    ("n", "not.in.(1,3)", [2]),
    ("n", "is.null", [4]),
    ("n", "not.is.null", [1, 2, 3]),
    ("n", "isdistinct.2", [1, 3, 4]),
    ("n", "not.isdistinct.2", [2]),
    ("t", "eq.b", [2]),
    ("t", "neq.b", [1, 3]),
    ("t", "gt.a", [2, 3]),
    ("t", "like.%c%", [3]),
    ("t", "ilike.C%", [3]),
    ("t", "match.^[ab]$", [1, 2]),
    ("t", "not.imatch.^[AB]$", [3]),
    ("t", 'in.("a","c, d")', [1, 3]),
    ("d", "eq.1.50", [1]),
    ("d", "lt.10", [1, 2]),
    ("d", "in.(1.5,20)", [1, 3]),
    ("b", "eq.true", [1]),
    ("b", "is.true", [1]),
    ("b", "is.unknown", [4]),
    ("b", "not.is.true", [2, 3, 4]),
    ("u", f"eq.{ALICE.upper()}", [1]),
    ("u", f"neq.{ALICE}", [2, 3]),
    ("w", "gte.2026-01-02T00:00:00Z", [2, 3]),
    ("w", "eq.2026-01-01T01:00:00+01:00", [1]),
    ("e", "gt.low", [2, 3]),
    ("a", 'eq."{1,2}"', [1]),
]

TABLE = """
create type public.level as enum ('low', 'middle', 'high');
create table public.v (
  id int primary key, n bigint, t text, d numeric, b boolean, u uuid, w timestamptz, e public.level, a int[]
);
grant select on public.v to anon;
alter publication supabase_realtime add table public.v;
"""
ROWS = f"""
insert into public.v values
  (1, 1, 'a', 1.5, true, '{ALICE}', '2026-01-01 00:00+00', 'low', '{{1,2}}'),
  (2, 2, 'b', 2, false, gen_random_uuid(), '2026-01-02 00:00+00', 'middle', '{{}}'),
  (3, 3, 'c, d', 20, false, gen_random_uuid(), '2026-01-03 00:00+00', 'high', '{{3}}'),
  (4, null, null, null, null, null, null, null, null)
"""


async def test_filters_mean_what_postgresql_means(stack: Stack) -> None:
    await stack.owner.execute(TABLE)
    socket = await stack.connect()
    entries = [
        {"event": "INSERT", "schema": "public", "table": "v", "filter": f"{column}={text}"}
        for column, text, _ids in VALUES
    ]
    reply = await socket.subscribe("a", *entries)
    ids = [entry["id"] for entry in reply.payload["response"]["postgres_changes"]]
    await socket.subscribe("end", {"event": "INSERT", "schema": "public", "table": "v"})
    await stack.sql(ROWS)
    await socket.wait_for(lambda i: i.topic == "realtime:end" and i.payload.get("data", {}).get("record") is not None)
    await socket.wait_for(lambda i: i.topic == "realtime:end" and i.payload["data"]["record"]["id"] == 4)
    passed: dict[int, list[int]] = {identifier: [] for identifier in ids}
    for item in socket.events("postgres_changes"):
        if item.topic == "realtime:a":
            for identifier in item.payload["ids"]:
                passed[identifier].append(item.payload["data"]["record"]["id"])
    got = {f"{column}={text}": passed[identifier] for (column, text, _), identifier in zip(VALUES, ids, strict=True)}
    assert got == {f"{column}={text}": expected for column, text, expected in VALUES}


async def test_filters_of_a_delete_look_at_the_identity(stack: Stack) -> None:
    socket = await stack.connect()
    entry = {"event": "DELETE", "schema": "public", "table": "board"}
    await socket.subscribe("key", {**entry, "filter": "id=eq.1"})
    await socket.subscribe("other", {**entry, "filter": "rank=eq.1"})
    await stack.sql("insert into board (rank) values (1), (1)")
    await stack.sql("delete from board where id = 1")
    await stack.sql("alter table board replica identity full")
    await stack.sql("delete from board where id = 2")
    got = [((await socket.event("postgres_changes")).topic) for _ in range(2)]
    assert got == ["realtime:key", "realtime:other"]


async def test_a_stranger_cannot_ask_by_filters_what_a_deleted_row_held(stack: Stack) -> None:
    await stack.sql("alter table notes replica identity full")
    socket = await stack.connect()
    entry = {"event": "DELETE", "schema": "public", "table": "notes"}
    await socket.subscribe("body", {**entry, "filter": "body=match.^s"}, token=stack.token(BOB))
    await socket.subscribe("rank", {**entry, "filter": "rank=eq.7"}, token=stack.token(BOB))
    await socket.subscribe("key", {**entry, "filter": "id=gt.0"}, token=stack.token(BOB))
    await socket.subscribe("service", {**entry, "filter": "rank=eq.7"}, token=stack.token(role="service_role"))
    await stack.sql("insert into notes (owner, body, rank) values ($1, 'secret', 7)", ALICE)
    await stack.sql("delete from notes")
    got = {(await socket.event("postgres_changes")).topic for _ in range(2)}
    assert got == {"realtime:key", "realtime:service"}
    await stack.sql("insert into notes (owner, body, rank) values ($1, 'end', 0)", ALICE)
    await stack.sql("delete from notes")
    got = {item.topic for item in [await socket.event("postgres_changes")]}
    assert got == {"realtime:key"}, "nothing came in between"


async def test_subscription_that_cannot_be_served_is_told_by_system_and_the_channel_lives(stack: Stack) -> None:
    await stack.sql("revoke select on board from anon")
    await stack.sql("grant select (id, rank) on board to anon")
    await stack.sql("create table hidden (id int primary key)")
    board = {"event": "*", "schema": "public", "table": "board"}
    refused = "Unable to subscribe to changes with given parameters. "
    exception = "An exception happened so please check your connect parameters: "
    cases = [
        (
            {"event": "*", "schema": "public", "table": "hidden"},
            refused + "Please check Realtime is enabled for the given connect parameters: "
            "[event: *, schema: public, table: hidden, filters: [], select: nil]",
        ),
        (
            {**board, "filter": "body=eq.x"},
            refused + exception + '[event: *, schema: public, table: board, filters: [{"body", "eq", "x", false}], '
            "select: nil]. Exception: ERROR P0001 (raise_exception) invalid column for filter body",
        ),
        (
            {**board, "filter": "rank=eq.x"},
            refused + exception + '[event: *, schema: public, table: board, filters: [{"rank", "eq", "x", false}], '
            "select: nil]. Exception: ERROR 22P02 (invalid_text_representation) "
            'invalid input syntax for type integer: "x"',
        ),
        ({**board, "filter": "rank=like.x"}, "operator like requires a text-compatible column type"),
        ({**board, "filter": "rank=is.true"}, "is true filter requires a boolean column"),
        ({**board, "filter": "rank=is.maybe"}, "invalid value for is filter: must be null, true, false, or unknown"),
        (
            {**board, "filter": f"rank=in.({','.join(map(str, range(101)))})"},
            "too many values for `in` filter. Maximum 100",
        ),
        ({**board, "filter": "nothing=foo.1"}, 'Error parsing `filter` params: ["foo", "1"]'),
        ({**board, "select": ["body"]}, "invalid column for select body"),
    ]
    socket = await stack.connect()
    for number, (entry, expected) in enumerate(cases):
        name = f"t{number}"
        reply = await socket.join(name, postgres_changes=[entry], broadcast={"self": True})
        assert reply.payload["status"] == "ok"
        system = await socket.event("system", f"realtime:{name}")
        assert system.payload["status"] == "error"
        assert system.payload["extension"] == "postgres_changes"
        assert expected in system.payload["message"]
        await socket.send(f"realtime:{name}", "broadcast", {"type": "broadcast", "event": "e", "payload": {}})
        await socket.event("broadcast", f"realtime:{name}")


async def test_a_filter_is_asked_again_when_the_database_stood_still_for_a_moment(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, calls = stack.platform.door.once, 0

    async def stands_still(*args: Any, **named: Any) -> Any:
        nonlocal calls
        if (named.get("settings") or {}).get("statement_timeout") == questions.FILTER_TIMEOUT:
            calls += 1
            if calls == 1:
                raise DatabaseError("canceling statement due to statement timeout", questions.QUERY_CANCELED)
        return await once(*args, **named)

    monkeypatch.setattr(stack.platform.door, "once", stands_still)
    socket = await stack.connect()
    await socket.subscribe("a", {**ENTRY, "table": "board", "filter": "body=like.y%"})
    await stack.sql("insert into board (body) values ('no'), ('yes')")
    assert (await socket.event("postgres_changes")).payload["data"]["record"]["body"] == "yes"
    assert calls == 2


class Door:
    """Fails with these SQLSTATEs, one question or several after the other; then every value passes every filter."""

    def __init__(self, *failures: str | None) -> None:
        self._failures = list(failures)

    async def once(self, _caller: object, steps: list[object], **_: object) -> list[list[list[bytes]]]:
        if self._failures and (sqlstate := self._failures.pop(0)) is not None:
            raise DatabaseError("it failed", sqlstate)
        return [[[b"1"]] for _ in steps]


BROKEN = "22P02"
LATE = questions.QUERY_CANCELED


@pytest.mark.parametrize(
    ("failures", "passed"),
    [
        ([BROKEN, LATE, None, LATE, None], [True, True]),
        ([BROKEN, LATE, LATE], [False, True]),
        ([BROKEN, BROKEN], [False, True]),
        ([LATE, LATE], [False, True]),
        ([LATE, None, LATE], [True, False]),
    ],
)
async def test_a_filter_is_given_up_when_it_fails_or_is_late_twice(
    failures: list[str | None], passed: list[bool]
) -> None:
    column = Column("body", 25, "text", "text", "text[]", None, None, False, None, "", "")
    asked = [(Filter("body", Operator.LIKE, f"{number}%", False), column, ["x"]) for number in range(2)]
    door: Any = Door(*failures)
    given = questions.Questions(door, ())
    assert [bool(values) for values in await given.passing(asked)] == passed
    assert [bool(values) for values in await given.passing(asked)] == passed  # what was given up is not asked again


async def test_many_slow_filters_of_one_client_hold_up_nobody_for_long(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    # What stands behind \1 is tried for every way to divide the text, and fits none.
    entries = [
        {
            "event": "*",
            "schema": "public",
            "table": "board",
            "filter": rf"body=match.^(.+)(.+)(.+)\1\2\3{'.?' * number}$",
        }
        for number in range(60)
    ]
    many = [
        {"event": "*", "schema": "public", "table": "board", "filter": f"body=gt.x{number}"} for number in range(100)
    ]
    spy, watcher = await stack.connect(), await stack.connect()
    await watcher.subscribe("w", {**ENTRY, "table": "board", "filter": "body=match.^last$"}, token=stack.token(ALICE))
    await stack.sql("insert into board (body) values ('last')")
    await watcher.event("postgres_changes")
    await spy.subscribe("s", *entries, token=stack.token(BOB))
    for number in range(3):
        await spy.subscribe(f"m{number}", *many, token=stack.token(BOB))
    await stack.sql("insert into board (body) values ($1)", " ".join(map(str, range(1_000))))
    await stack.sql("insert into board (body) values ('last')")
    await watcher.event("postgres_changes")
    (told,) = {record.message for record in caplog.records if hasattr(record, "given_up")}
    assert told == "regular expressions in filters take too long"  # not each for its own time
