"""Row changes: kinds, values, identities, filters, columns, refusals."""

from __future__ import annotations

from collections.abc import Sequence

from tests.realtime.differential.playing import Stage
from tests.realtime.differential.scenarios.registry import scenario
from tests.realtime.differential.sides import ALICE, BOB
from tests.realtime.differential.values import JsonValue


async def _subscribe(
    stage: Stage, name: str, *entries: JsonValue, token: str | None = None, vsn: str = "2.0.0", expect: int = 2
) -> None:
    """Join with bindings; the reply and the system message."""
    await stage.connect(name, vsn=vsn)
    payload: JsonValue = {"config": {"postgres_changes": list(entries)}, "access_token": token or stage.alice}
    if vsn == "2.0.0":
        await stage.say(name, ["1", "1", stage.channel, "phx_join", payload], expect=expect)
    else:
        join: JsonValue = {"topic": stage.channel, "event": "phx_join", "payload": payload, "ref": "1", "join_ref": "1"}
        await stage.say(name, join, expect=expect)


def _table(name: str, event: str = "*", **more: JsonValue) -> JsonValue:
    return {"event": event, "schema": "public", "table": name, **more}


@scenario
async def kinds_of_changes(stage: Stage) -> None:
    await stage.sql("truncate public.diff_board")
    await _subscribe(stage, "all", _table("diff_board"))
    await _subscribe(stage, "old", _table("diff_board"), vsn="1.0.0")
    await _subscribe(
        stage, "three", _table("diff_board", "INSERT"), _table("diff_board", "UPDATE"), _table("diff_board", "DELETE")
    )
    await _subscribe(stage, "small", _table("diff_board", "insert"), _table("diff_board", "nonsense"))
    await _subscribe(
        stage,
        "schema",
        {"event": "*", "schema": "public"},
        {"event": "*", "schema": "*"},
        {"event": "*", "table": "diff_board"},
    )
    one = {"all": 1, "old": 1, "three": 1, "small": 1, "schema": 1}
    await stage.sql("insert into public.diff_board (id, body, rank, price) values (1, 'one', 5, 1.50)", expect=one)
    await stage.sql("update public.diff_board set body = 'two', flag = true where id = 1", expect=one)
    await stage.sql("update public.diff_board set id = 2 where id = 1", expect=one)
    await stage.sql("delete from public.diff_board where id = 2", expect=one)
    three = dict.fromkeys(one, 3)
    await stage.sql(
        "insert into public.diff_board (id, body) select n, 'n' || n from generate_series(10, 12) n", expect=three
    )
    await stage.sql("truncate public.diff_board")


@scenario
async def changes_under_policies(stage: Stage) -> None:
    await stage.sql("truncate public.diff_notes restart identity")
    for name, token in (("alice", stage.alice), ("bob", stage.bob), ("anon", stage.anon), ("service", stage.service)):
        await _subscribe(stage, name, _table("diff_notes"), token=token)
    await stage.sql(
        f"insert into public.diff_notes (owner, body) values ('{ALICE}', 'hers')", expect={"alice": 1, "service": 1}
    )
    await stage.sql(
        f"insert into public.diff_notes (owner, body) values ('{BOB}', 'his')", expect={"bob": 1, "service": 1}
    )
    await stage.sql("update public.diff_notes set rank = 1", expect={"alice": 1, "bob": 1, "service": 2})
    everybody = {"alice": 2, "bob": 2, "service": 2, "anon": 2}
    await stage.sql("delete from public.diff_notes", expect=everybody)


@scenario
async def full_identity(stage: Stage) -> None:
    await stage.sql("truncate public.diff_full")
    await _subscribe(stage, "a", _table("diff_full"))
    await _subscribe(stage, "filtered", _table("diff_full", filter="body=eq.x"))
    await stage.sql(
        "insert into public.diff_full (id, body, big) values (1, 'x', repeat('long ', 3000))",
        expect={"a": 1, "filtered": 1},
    )
    await stage.sql("update public.diff_full set body = 'y'", expect={"a": 1})
    await stage.sql("update public.diff_full set body = 'x'", expect={"a": 1, "filtered": 1})
    await stage.sql("delete from public.diff_full", expect={"a": 1, "filtered": 1})


@scenario
async def no_primary_key(stage: Stage) -> None:
    await _subscribe(stage, "a", _table("diff_keyless"))
    await _subscribe(stage, "service", _table("diff_keyless"), token=stage.service)
    await stage.sql("insert into public.diff_keyless values ('x')", expect={"a": 1, "service": 1})


@scenario
async def columns_that_one_may_read(stage: Stage) -> None:
    await stage.sql("truncate public.diff_columns")
    await _subscribe(stage, "a", _table("diff_columns"))
    await _subscribe(stage, "service", _table("diff_columns"), token=stage.service)
    await _subscribe(stage, "secret", _table("diff_columns", filter="secret=eq.x"))
    await _subscribe(stage, "selected", _table("diff_columns", select=["open"]))
    await _subscribe(stage, "selected secret", _table("diff_columns", select=["secret"]))
    got = {"a": 1, "service": 1, "selected": 1}
    await stage.sql("insert into public.diff_columns values (1, 'open', 'secret')", expect=got)
    await stage.sql("update public.diff_columns set open = 'more'", expect=got)
    await stage.sql("delete from public.diff_columns", expect=got)


@scenario
async def selected_columns(stage: Stage) -> None:
    await stage.sql("truncate public.diff_board")
    await _subscribe(stage, "a", _table("diff_board", select=["body", "rank"]))
    await _subscribe(stage, "b", _table("diff_board", select=["body"], filter="rank=gt.3"))
    await _subscribe(stage, "none", _table("diff_board", select=[]))
    await _subscribe(stage, "unknown", _table("diff_board", select=["nothing"]))
    await _subscribe(stage, "text", _table("diff_board", select="body"))
    await _subscribe(stage, "star", {"event": "*", "schema": "*", "select": ["body"]})
    await stage.sql("insert into public.diff_board (id, body, rank) values (1, 'one', 5)", expect={"a": 1, "b": 1})
    await stage.sql("update public.diff_board set rank = 1", expect={"a": 1})
    await stage.sql("delete from public.diff_board", expect={"a": 1})


VALUES = """
insert into public.diff_types values (1, -5, 7, 9007199254740993, 1.5, 0.1, 12.3400, 5.25, 'v', 'c', '\\x00ff', '2020-02-29',
  '01:02:03.5', '01:02:03+02', '2020-01-01 00:00:00.123456', '2020-01-01 00:00:00+02', '1 day 02:03:04',
  'c3333333-3333-4333-8333-333333333333', '{"b": 1,  "a": [1.0]}', '{"b": 1, "a": [1.0]}', '10.0.0.1', '10.0.0.0/8',
  '08:00:2b:01:02:03', '1010', '101', '[1,5)', '(1,2)', '{1,null,3}',
  '{{"a","b,c"},{"d\\"e","f"}}', true, to_tsvector('simple', 'a b'), '((0,0),(1,1))', 'name', 17)
"""


@scenario
async def values_of_types(stage: Stage) -> None:
    await stage.sql("truncate public.diff_types")
    await _subscribe(stage, "a", _table("diff_types"))
    await stage.sql(VALUES, expect={"a": 1})
    await stage.sql("insert into public.diff_types (id) values (2)", expect={"a": 1})
    await stage.sql(
        "insert into public.diff_types (id, d, e, f, k, o, p, aa, ab, s)"
        " values (3, 'NaN', 'Infinity', 'NaN', 'infinity', '-infinity', '-1 year 2 days', '{}', '{}', 'null')",
        expect={"a": 1},
    )
    await stage.sql("update public.diff_types set b = 8 where id = 1", expect={"a": 1})


FILTERS = """
rank=eq.5|rank=neq.5|rank=lt.5|rank=lte.5|rank=gt.5|rank=gte.5|rank=in.(4,5)|body=like.a%|body=ilike.A%|rank=is.null|flag=is.true
flag=is.false|flag=is.unknown|body=match.^a|body=imatch.^A|rank=isdistinct.5|rank=not.eq.5|body=not.like.a%|rank=not.is.null
rank=not.in.(4,5)|rank=gt.3,rank=lt.6|body=eq."a,b"|body=in.("a,b",abc)|price=eq.1.5|price=eq.1.50|at=gt.2020-01-01|body=eq.
body=lt.b|id=gt.0|body=eq.Abc|rank=not.isdistinct.5|id=not.in.(1,2)|body=like.A*|body=in.(,abc)|body=not.match.b$
""".replace("|", "\n").split("\n")[1:-1]


async def _many(stage: Stage, entries: Sequence[JsonValue]) -> None:
    """One socket with a channel per entry."""
    await stage.connect("a")
    for number, entry in enumerate(entries):
        payload: JsonValue = {"config": {"postgres_changes": [entry]}, "access_token": stage.alice}
        ref = str(number)
        await stage.say("a", [ref, ref, f"{stage.channel} {number}", "phx_join", payload], expect=0, settles=False)
    await stage.wait("all are answered", {"a": 2 * len(entries)})


@scenario
async def filters(stage: Stage) -> None:
    await stage.sql("truncate public.diff_board")
    await _many(stage, [_table("diff_board", filter=text) for text in FILTERS])
    await stage.sql(
        "insert into public.diff_board (id, body, rank, price, flag, at, tags) values"
        " (1, 'abc', 5, 1.5, true, now(), '{x}'), (2, 'Abc', 4, 1.50, false, '2019-01-01', '{}'),"
        " (3, 'a,b', 6, 2, null, null, null),"
        " (4, null, null, null, null, null, null), (5, '', 3, 0, true, null, '{x,y}')",
        expect={"a": 60},
    )
    await stage.sql("update public.diff_board set rank = rank + 1, body = body || 'x'", expect={"a": 60})
    await stage.sql("delete from public.diff_board", expect={"a": 5})


BAD_FILTERS: tuple[JsonValue, ...] = (
    *"""
rank|rank=|rank=eq|rank=xx.5|=eq.5|nothing=eq.5|rank=eq.x|rank=like.5|body=match.(|rank=in.4|rank=in.()|rank=is.5|rank=not.xx.5
rank=gt.3,|,| ||rank=eq.5,body|flag=eq.maybe|rank=in.(1,x)|not.rank=eq.5|body=is.true|rank=not.not.eq.5|RANK=eq.5|rank=EQ.5
rank = eq.5|public.rank=eq.5|body=eq."open|body=in.(a|body=in.("a"b)|rank=eq.99999999999999999999|at=gt.yesterday|doc=eq.{}
tags=like.x|body=imatch.[|flag=is.TRUE|rank=is.NULL|flag=gt.false
""".replace("|", "\n").split("\n")[1:-1],
    5,
    None,
    f"rank=in.({','.join(map(str, range(101)))})",
    f"rank=in.({','.join(map(str, range(100)))})",
)


@scenario
async def filters_that_are_none(stage: Stage) -> None:
    await _many(stage, [_table("diff_board", filter=text) for text in BAD_FILTERS])


@scenario
async def bindings_that_are_none(stage: Stage) -> None:
    entries: tuple[JsonValue, ...] = (
        _table("no_such_table"),
        {"event": "*", "schema": "no_such_schema"},
        {"event": "*", "schema": "auth", "table": "users"},
        {"event": "*"},
        {"schema": "public", "table": "diff_board"},
        {},
        {"event": "*", "schema": "public", "table": "*"},
        {"event": "*", "schema": "public", "table": ""},
        {"event": "*", "schema": "", "table": "diff_board"},
        {"event": None, "schema": None, "table": None},
        {"event": 5, "schema": 6, "table": 7},
        {"event": "*", "schema": "public", "table": "diff_board", "filter": None, "extra": {"a": 1}},
        "text",
        5,
    )
    await _many(stage, entries)


@scenario
async def good_and_bad_bindings_together(stage: Stage) -> None:
    await stage.sql("truncate public.diff_board")
    await _subscribe(stage, "a", _table("diff_board"), _table("no_such_table"))
    await _subscribe(stage, "b", _table("diff_board"), _table("diff_board", filter="nothing=eq.5"))
    await _subscribe(stage, "c", _table("diff_board"), _table("diff_board"))
    await stage.sql("insert into public.diff_board (id) values (1)", expect={"c": 1})
    await stage.say("c", ["1", "8", stage.channel, "access_token", {"access_token": stage.bob}], expect=1)
    await stage.sql("insert into public.diff_board (id) values (2)", expect={"c": 1})
    await stage.say("c", ["1", "9", stage.channel, "phx_leave", {}], expect=2)
    await stage.sql("insert into public.diff_board (id) values (3)")


@scenario
async def large_rows(stage: Stage) -> None:
    await stage.sql("truncate public.diff_full")
    await _subscribe(stage, "a", _table("diff_full"))
    await stage.sql(
        "insert into public.diff_full (id, body, big) values (1, 'small', repeat('x', 1200000))", expect={"a": 1}
    )
    await stage.sql("update public.diff_full set body = 'other'", expect={"a": 1})
    await stage.sql("delete from public.diff_full", expect={"a": 1})
