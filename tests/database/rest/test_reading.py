"""Reads: select, filters, order, ranges, counts and representations."""

from __future__ import annotations

import pytest

from tests.database.rest.conftest import Api, refusal


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("id=eq.1", [1]),
        ("id=neq.1", [2, 3]),
        ("id=gt.1&id=lte.2", [2]),
        ("id=in.(1,3)", [1, 3]),
        ("id=in.()", []),
        ("id=not.in.()", [1, 2, 3]),
        ("title=like.*ir*", [1, 3]),
        ("title=ilike.F%25", [1]),
        ("title=like(any).{f*,t*}", [1, 3]),
        ("title=eq(any).{first,third}", [1, 3]),
        ("title=match.^s", [2]),
        ("title=imatch.^S", [2]),
        ("title=fts.first", [1]),
        ("title=plfts(english).second", [2]),
        ("meta=is.null", [3]),
        ("meta=not.is.null", [1, 2]),
        ("meta=is.not_null", [1, 2]),
        ("is_public=is.true", [2]),
        ("tags=cs.{y}", [1, 2]),
        ("tags=cd.{y,z}", [2, 3]),
        ("tags=ov.{x,q}", [1]),
        ("span=adj.[5,7)", [1, 3]),
        ("span=sl.[6,8)", [1]),
        ("meta->a->b=eq.1", [1]),
        ("meta->a->>b=eq.2", [2]),
        ("meta->list->1=eq.2", [1]),
        ("raw->>k=eq.v", [1]),
        ('meta=cs.{"a":{"b":2}}', [2]),
        ("code=eq.abc", [1]),
        ("code=in.(abc,xyz)", [1, 3]),
        ("mood=eq.wild", [1]),
        ("mood=isdistinct.calm", [1, 3]),
        ("size=gte.5", [1, 3]),
        ("spot->x=eq.1", [1]),
        ("title_length=eq.6", [2]),
        ("or=(id.eq.1,title.eq.third)", [1, 3]),
        ("and=(id.gt.1,or(title.eq.second,title.eq.third),not.and(id.eq.3))", [2]),
        ("not.or=(id.eq.1,id.eq.2)", [3]),
        ('or=(title.in.(first,"a,b"),tags.eq.{y})', [1, 2]),
    ],
)
def test_a_filter_lets_through_what_it_says(api: Api, query: str, ids: list[int]) -> None:
    answer = api.get(f"/notes?select=id&order=id&{query}")
    assert answer.status_code == 200, answer.text
    assert [row["id"] for row in answer.json()] == ids


@pytest.mark.parametrize(
    ("select", "row"),
    [
        ("id,title", {"id": 1, "title": "first"}),
        ("label:title", {"label": "first"}),
        ("id::text", {"id": "1"}),
        ("id::double precision", {"id": 1.0}),
        ("meta->a->b", {"b": 1}),
        ("deep:meta->a->>b", {"deep": "1"}),
        ("meta->list->0", {"list": 1}),
        ("spot->>y", {"y": "2"}),
        ("tags", {"tags": ["x", "y"]}),
    ],
)
def test_select_shapes_the_row(api: Api, select: str, row: dict[str, object]) -> None:
    answer = api.get("/notes", params={"select": select, "id": "eq.1"})
    assert answer.json() == [row]


def test_columns_with_odd_names_are_read_and_filtered(api: Api) -> None:
    answer = api.get("/odd%20table", params={"select": '"a b","q\\"uote","dot.ted",ünï,s,r', '"dot.ted"': "eq.dotted"})
    assert answer.status_code == 200, answer.text
    assert answer.json() == [
        {"a b": 1, 'q"uote': "quoted", "dot.ted": "dotted", "ünï": "ümlaut", "s": "ess", "r": "arr"}
    ]
    assert answer.headers["content-location"].startswith("/odd%20table?")


def test_columns_called_like_our_own_aliases_do_not_hide_the_row(api: Api) -> None:
    (row,) = api.get("/odd%20table").json()
    assert set(row) == {"a b", 'q"uote', "dot.ted", "ünï", "s", "r"}


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("order=name.desc", ["Cid", "Ben", "Ann"]),
        ("order=name&limit=1", ["Ann"]),
        ("order=name&limit=1&offset=1", ["Ben"]),
        ("order=name&offset=2", ["Cid"]),
        ("order=name&limit=0", []),
        ("order=id&limit=abc", ["Ann", "Ben", "Cid"]),
        ("order=id&offset=-4", ["Ann", "Ben", "Cid"]),
        ("order=passports(number).desc.nullslast&select=name,passports(number)", ["Ann"]),
    ],
)
def test_order_and_range_cut_the_rows(api: Api, query: str, names: list[str]) -> None:
    answer = api.get(f"/people?{query}")
    assert answer.status_code == 200, answer.text
    assert [row["name"] for row in answer.json()][: len(names) or None] == names


@pytest.mark.parametrize(
    ("query", "prefer", "headers", "status", "content_range"),
    [
        ("", None, {}, 200, "0-2/*"),
        ("", "count=exact", {}, 200, "0-2/3"),
        ("?limit=1", "count=exact", {}, 206, "0-0/3"),
        ("?limit=1&offset=1", "count=exact", {}, 206, "1-1/3"),
        ("?offset=3", "count=exact", {}, 206, "*/3"),
        ("?id=eq.9", "count=exact", {}, 200, "*/0"),
        ("?limit=0", "count=exact", {}, 206, "*/3"),
        ("", None, {"range": "0-1"}, 200, "0-1/*"),
        ("", "count=exact", {"range": "1-"}, 206, "1-2/3"),
        ("", "count=exact", {"range": "nonsense"}, 200, "0-2/3"),
        ("", "count=estimated", {}, 200, "0-2/3"),
    ],
)
def test_content_range_says_which_rows_of_how_many(
    api: Api, query: str, prefer: str | None, headers: dict[str, str], status: int, content_range: str
) -> None:
    answer = api.get(f"/people{query}", prefer=prefer, headers=headers)
    assert (answer.status_code, answer.headers["content-range"]) == (status, content_range)
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers.get("preference-applied") == prefer


@pytest.mark.parametrize(
    ("query", "headers", "details"),
    [
        ("?offset=9", {}, "An offset of 9 was requested, but there are only 3 rows."),
        ("?limit=-1", {}, "Limit should be greater than or equal to zero."),
        ("?limit=0&offset=5", {}, "Limit should be greater than or equal to zero."),
        (
            "",
            {"range": "5-1"},
            "The lower boundary must be lower than or equal to the upper boundary in the Range header.",
        ),
    ],
)
def test_a_range_that_holds_nothing_is_416(api: Api, query: str, headers: dict[str, str], details: str) -> None:
    answer = api.get(f"/people{query}", prefer="count=exact", headers=headers)
    assert refusal(answer) == (416, "PGRST103")
    assert answer.json()["details"] == details


def test_planned_counts_come_from_the_planner(api: Api) -> None:
    answer = api.get("/people?id=eq.1", prefer="count=planned")
    assert answer.headers["content-range"] == "0-0/1"
    assert answer.headers["preference-applied"] == "count=planned"


def test_no_more_rows_than_the_limit_of_the_server_are_given(api: Api) -> None:
    api.rows("insert into public.people select n, 'p' || n from generate_series(100, 199) n")
    answer = api.get("/people?limit=90", prefer="count=exact")
    assert answer.headers["content-range"] == "0-49/103"
    assert answer.status_code == 206


def test_head_has_the_headers_of_get_and_no_body(api: Api) -> None:
    get, head = (
        api.get("/people?select=id", prefer="count=exact"),
        api.call("HEAD", "/people?select=id", prefer="count=exact"),
    )
    assert head.content == b""
    assert head.status_code == get.status_code
    for name in ("content-range", "content-type", "content-location", "content-profile", "preference-applied"):
        assert head.headers[name] == get.headers[name]


@pytest.mark.parametrize(
    ("accept", "content_type", "body"),
    [
        (
            "application/vnd.pgrst.object+json",
            "application/vnd.pgrst.object+json; charset=utf-8",
            '{"id":1,"parent_id":null}',
        ),
        (
            "application/vnd.pgrst.object+json;nulls=stripped",
            "application/vnd.pgrst.object+json;nulls=stripped; charset=utf-8",
            '{"id":1}',
        ),
        (
            "application/vnd.pgrst.array+json;nulls=stripped",
            "application/vnd.pgrst.array+json;nulls=stripped; charset=utf-8",
            '[{"id":1}]',
        ),
        ("text/csv", "text/csv; charset=utf-8", "id,parent_id\n1,"),
        ("text/csv;q=0.1,application/json", "application/json; charset=utf-8", '[{"id":1,"parent_id":null}]'),
    ],
)
def test_accept_chooses_the_representation(api: Api, accept: str, content_type: str, body: str) -> None:
    answer = api.get("/tree?select=id,parent_id&id=eq.1", headers={"accept": accept})
    assert answer.headers["content-type"] == content_type
    assert answer.text == body


def test_an_object_of_many_rows_or_none_is_406(api: Api) -> None:
    for query, rows in (("", 3), ("?id=eq.99", 0)):
        answer = api.get(f"/people{query}", headers={"accept": "application/vnd.pgrst.object+json"})
        assert refusal(answer) == (406, "PGRST116")
        assert answer.json()["details"] == f"The result contains {rows} rows"


def test_computed_columns_are_selected_filtered_and_sorted(api: Api) -> None:
    answer = api.get("/people?select=name,shout&shout=neq.BEN&order=shout.desc")
    assert answer.json() == [{"name": "Cid", "shout": "CID"}, {"name": "Ann", "shout": "ANN"}]


def test_a_time_zone_is_honoured_when_it_exists(api: Api) -> None:
    known = api.get("/notes?select=made&id=eq.1", prefer="timezone=America/Los_Angeles")
    assert known.json() == [{"made": "2026-01-01T19:04:05-08:00"}]
    assert known.headers["preference-applied"] == "timezone=America/Los_Angeles"
    unknown = api.get("/notes?select=made&id=eq.1", prefer="timezone=Mars/Base")
    assert unknown.json() == [{"made": "2026-01-02T03:04:05+00:00"}]
    assert "preference-applied" not in unknown.headers
    strict = api.get("/notes?select=made", prefer="handling=strict, timezone=Mars/Base")
    assert refusal(strict) == (400, "PGRST122")
    assert strict.json()["details"] == "Invalid preferences: timezone=Mars/Base"


def test_content_location_is_canonical(api: Api) -> None:
    answer = api.get("/people?order=id&id=in.(1,2)&select=id,name")
    assert answer.headers["content-location"] == "/people?id=in.%281%2C2%29&order=id&select=id%2Cname"


def test_a_table_whose_name_holds_slash_and_percent_is_found(api: Api) -> None:
    answer = api.get("/half%2F100%2525?select=id")
    assert (answer.status_code, answer.json()) == (200, [])
    assert answer.headers["content-location"] == "/half%2F100%2525?select=id"
    assert refusal(api.get("/half/100%2525")) == (404, "PGRST125")


@pytest.mark.parametrize(
    ("query", "status", "code", "message"),
    [
        ("spot=eq.(1,2)", 400, "0A000", "input of anonymous composite types is not implemented"),
        ("raw=eq.{}", 404, "42883", "operator does not exist: json = unknown"),
        ("mood=like.w*", 404, "42883", "operator does not exist: mood ~~ unknown"),
        ("meta->>a->b=eq.1", 404, "42883", "operator does not exist: text -> unknown"),
        ("mood=eq.angry", 400, "22P02", 'invalid input value for enum mood: "angry"'),
        ("id=eq.x", 400, "22P02", 'invalid input syntax for type integer: "x"'),
        ("id=in.(1,x)", 400, "22P02", 'invalid input syntax for type integer: "x"'),
        ("offset=99999999999999999999", 400, "22003", 'value "99999999999999999999" is out of range for type bigint'),
    ],
)
def test_the_type_of_a_value_is_found_by_its_operator(
    api: Api, query: str, status: int, code: str, message: str
) -> None:
    answer = api.get(f"/notes?select=id&{query}")
    assert refusal(answer) == (status, code)
    assert answer.json()["message"] == message


def test_a_semicolon_parts_parameters_and_an_escaped_one_does_not(api: Api) -> None:
    assert api.get("/people?select=name;id=eq.1").json() == [{"name": "Ann"}]
    assert api.get("/people?name=eq.Ann%3Bid&select=id").json() == []
    assert api.get("/rpc/motto?name=a;b", headers={"accept": "text/plain"}).text == "Hello a"
    assert len(api.get("/people?name&id").json()) == 3
