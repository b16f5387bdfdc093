"""Writes: insert, upsert, update, put and delete; what they answer, and what they leave behind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.database.rest.conftest import Api, refusal

REPRESENTATION = "return=representation"


def people(api: Api) -> list[tuple[object, ...]]:
    return api.rows("select id, name from public.people order by id")


JSON_BODY = {"content-type": "application/json"}
ALL_PEOPLE = [(1, "Ann"), (2, "Ben"), (3, "Cid")]


def test_insert_answers_201_and_nothing_else_unless_asked(api: Api) -> None:
    answer = api.call("POST", "/people", json={"id": 4, "name": "Dee"})
    assert (answer.status_code, answer.content) == (201, b"")
    assert answer.headers["content-range"] == "*/*"
    assert "location" not in answer.headers
    assert "content-type" not in answer.headers
    assert people(api)[-1] == (4, "Dee")


def test_headers_only_names_the_place_of_the_new_row(api: Api) -> None:
    answer = api.call("POST", "/odd%20table", json={"a b": 7}, prefer="return=headers-only")
    assert answer.status_code == 201
    assert answer.headers["location"] == "/odd%20table?a%20b=eq.7"
    assert answer.headers["preference-applied"] == "return=headers-only"
    many = api.call("POST", "/odd%20table", json=[{"a b": 8}, {"a b": 9}], prefer="return=headers-only")
    assert "location" not in many.headers


def test_representation_returns_the_rows_with_select_order_and_embeds(api: Api) -> None:
    answer = api.call(
        "POST",
        "/tasks?select=name,people!tasks_lead(name)&order=name.desc",
        json=[{"name": "a", "lead_id": 1}, {"name": "b", "lead_id": 2}],
        prefer=f"{REPRESENTATION}, count=exact",
    )
    assert answer.status_code == 201
    assert answer.json() == [{"name": "b", "people": {"name": "Ben"}}, {"name": "a", "people": {"name": "Ann"}}]
    assert answer.headers["content-range"] == "*/2"
    assert answer.headers["preference-applied"] == "return=representation, count=exact"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", '{"id": 4, "name": "Dee"}'),
        ("application/json; charset=utf-8", '[{"id": 4, "name": "Dee"}]'),
        ("APPLICATION/Json", '{"id": 4, "name": "Dee"}'),
        ("application/vnd.pgrst.array+json", '[{"id": 4, "name": "Dee"}]'),
        ("text/csv", "id,name\n4,Dee\n"),
        ("text/csv", 'id,name\r\n4,"Dee"'),
        ("application/x-www-form-urlencoded", "id=4&name=Dee"),
        ("application/x-www-form-urlencoded; charset=utf-8", "name=D%65e;id=4"),
    ],
)
def test_a_row_may_come_as_json_csv_or_form(api: Api, content_type: str, body: str) -> None:
    answer = api.call("POST", "/people", content=body, headers={"content-type": content_type}, prefer=REPRESENTATION)
    assert (answer.status_code, answer.json()) == (201, [{"id": 4, "name": "Dee"}])


def test_csv_null_is_null(api: Api) -> None:
    answer = api.call(
        "POST",
        "/tree",
        content="id,parent_id,name\n9,NULL,x",
        headers={"content-type": "text/csv"},
        prefer=REPRESENTATION,
    )
    assert answer.json() == [{"id": 9, "parent_id": None, "name": "x"}]


def test_an_empty_list_inserts_nothing_and_is_201(api: Api) -> None:
    answer = api.call("POST", "/people", json=[], prefer=REPRESENTATION)
    assert (answer.status_code, answer.json()) == (201, [])
    assert people(api) == ALL_PEOPLE


def test_an_empty_object_inserts_a_row_of_defaults(api: Api) -> None:
    answer = api.call("POST", "/keyless", json={}, prefer=REPRESENTATION)
    assert (answer.status_code, answer.json()) == (201, [{"word": None, "weight": 7}])
    two = api.call("POST", "/keyless", json=[{}, {}], prefer=REPRESENTATION)
    assert len(two.json()) == 2


def test_missing_keys_are_null_or_the_default_as_asked(api: Api) -> None:
    rows = [{"word": "b", "weight": 3}, {"word": "c"}]
    null = api.call("POST", "/keyless?columns=word,weight", json=rows, prefer=REPRESENTATION)
    assert [row["weight"] for row in null.json()] == [3, None]
    rows = [{"word": "d", "weight": 3}, {"word": "e"}]
    filled = api.call("POST", "/keyless?columns=word,weight", json=rows, prefer=f"{REPRESENTATION},missing=default")
    assert [row["weight"] for row in filled.json()] == [3, 7]
    assert filled.headers["preference-applied"] == "missing=default, return=representation"


def test_missing_default_gives_identity_columns_their_next_value(api: Api) -> None:
    answer = api.call(
        "POST", "/notes?columns=id,title&select=id", json=[{"title": "n"}], prefer=f"{REPRESENTATION},missing=default"
    )
    assert (answer.status_code, answer.json()) == (201, [{"id": 4}])


def test_columns_leaves_out_what_it_does_not_name(api: Api) -> None:
    answer = api.call(
        "POST", "/people?columns=id,name", json={"id": 4, "name": "Dee", "evil": True}, prefer=REPRESENTATION
    )
    assert answer.json() == [{"id": 4, "name": "Dee"}]


@pytest.mark.parametrize(
    ("prefer", "rows", "status", "left"),
    [
        ("resolution=merge-duplicates", [{"id": 1, "name": "Amy"}], 200, [(1, "Amy"), (2, "Ben"), (3, "Cid")]),
        (
            "resolution=merge-duplicates",
            [{"id": 1, "name": "Amy"}, {"id": 4, "name": "Dee"}],
            201,
            [(1, "Amy"), (2, "Ben"), (3, "Cid"), (4, "Dee")],
        ),
        ("resolution=ignore-duplicates", [{"id": 1, "name": "Amy"}], 201, ALL_PEOPLE),
    ],
)
def test_upsert_merges_or_ignores_what_is_there(
    api: Api, prefer: str, rows: list[dict[str, Any]], status: int, left: list[tuple[int, str]]
) -> None:
    answer = api.call("POST", "/people", json=rows, prefer=prefer)
    assert answer.status_code == status
    assert answer.headers["preference-applied"] == prefer
    assert people(api) == left


def test_on_conflict_chooses_another_unique_key(api: Api) -> None:
    answer = api.call(
        "POST", "/keyless?on_conflict=word", json={"word": "a", "weight": 5}, prefer="resolution=merge-duplicates"
    )
    assert answer.status_code == 200
    assert api.rows("select word, weight from public.keyless") == [("a", 5)]


def test_an_upsert_of_a_table_without_a_primary_key_is_a_plain_insert(api: Api) -> None:
    answer = api.call("POST", "/keyless", json={"word": "a"}, prefer="resolution=merge-duplicates")
    assert refusal(answer) == (409, "23505")
    fresh = api.call("POST", "/keyless", json={"word": "z"}, prefer="resolution=ignore-duplicates")
    assert fresh.status_code == 201
    assert "preference-applied" not in fresh.headers


def test_on_conflict_with_no_such_key_is_postgresqls_refusal(api: Api) -> None:
    answer = api.call("POST", "/people?on_conflict=nope", json={"id": 1}, prefer="resolution=merge-duplicates")
    assert refusal(answer) == (400, "42703")


def test_put_makes_replaces_and_says_which(api: Api) -> None:
    made = api.call("PUT", "/people?id=eq.4", json={"id": 4, "name": "Dee"}, prefer=REPRESENTATION)
    assert (made.status_code, made.json()) == (201, [{"id": 4, "name": "Dee"}])
    assert "content-range" not in made.headers
    there = api.call("PUT", "/people?id=eq.4", json=[{"id": 4, "name": "Eve"}], prefer=REPRESENTATION)
    assert (there.status_code, there.json()) == (200, [{"id": 4, "name": "Eve"}])
    assert api.call("PUT", "/people?id=eq.4", json={"id": 4, "name": "Flo"}).status_code == 204
    assert people(api)[-1] == (4, "Flo")


@pytest.mark.parametrize(
    ("query", "body", "expected"),
    [
        ("?id=eq.4", {"id": 5, "name": "Dee"}, (400, "PGRST115")),
        ("?id=eq.4", [{"id": 5, "name": "Dee"}, {"id": 6, "name": "Eve"}], (400, "PGRST115")),
        ("?id=eq.4", [], (400, "42703")),
        ("?id=gt.4", {"id": 5, "name": "Dee"}, (405, "PGRST105")),
        ("?name=eq.Dee", {"id": 5, "name": "Dee"}, (405, "PGRST105")),
        ("?id=eq.4&name=eq.Dee", {"id": 4, "name": "Dee"}, (405, "PGRST105")),
        ("", {"id": 4, "name": "Dee"}, (405, "PGRST105")),
        ("?or=(id.eq.4)", {"id": 4, "name": "Dee"}, (405, "PGRST105")),
        ("?id=eq.4&limit=1", {"id": 4, "name": "Dee"}, (400, "PGRST114")),
    ],
)
def test_a_put_that_is_not_about_one_row_changes_nothing(
    api: Api, query: str, body: object, expected: tuple[int, str]
) -> None:
    assert refusal(api.call("PUT", f"/people{query}", json=body)) == expected
    assert people(api) == ALL_PEOPLE


def test_update_changes_what_the_filters_let_through(api: Api) -> None:
    answer = api.call("PATCH", "/people?id=in.(1,2)", json={"name": None}, prefer="count=exact")
    assert refusal(answer) == (400, "23502")
    answer = api.call("PATCH", "/tasks?id=in.(1,2)", json={"team_id": 2}, prefer="count=exact")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["content-range"] == "0-1/2"
    none = api.call("PATCH", "/tasks?id=eq.99", json={"team_id": 2}, prefer=REPRESENTATION)
    assert (none.status_code, none.json(), none.headers["content-range"]) == (200, [], "*/*")


@pytest.mark.parametrize("body", [{}, [], [{}]])
def test_an_update_of_nothing_is_an_empty_success(api: Api, body: object) -> None:
    answer = api.call("PATCH", "/people?id=eq.1", json=body, prefer=REPRESENTATION)
    assert (answer.status_code, answer.json()) == (200, [])
    assert people(api) == ALL_PEOPLE


def test_a_generated_column_cannot_be_written_and_comes_back_fresh(api: Api) -> None:
    refused = api.call("PATCH", "/notes?id=eq.1", json={"title_length": 3})
    assert refusal(refused) == (400, "428C9")
    answer = api.call("PATCH", "/notes?id=eq.1&select=title_length", json={"title": "longer"}, prefer=REPRESENTATION)
    assert answer.json() == [{"title_length": 6}]


def test_an_identity_that_is_always_made_cannot_be_given(api: Api) -> None:
    answer = api.call("POST", "/tasks", json={"id": 77, "name": "x"})
    assert refusal(answer) == (400, "428C9")


def test_delete_takes_what_the_filters_let_through(api: Api) -> None:
    answer = api.call("DELETE", "/keyless?word=eq.a", prefer=f"{REPRESENTATION}, count=exact")
    assert (answer.status_code, answer.json()) == (200, [{"word": "a", "weight": 1}])
    assert answer.headers["content-range"] == "*/1"
    assert api.call("DELETE", "/keyless?word=eq.a").status_code == 204


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/people", {"name": "same"}),
        ("DELETE", "/tasks", None),
        ("POST", "/keyless", [{"word": "p"}, {"word": "q"}]),
    ],
)
def test_a_write_that_does_not_give_the_one_object_asked_for_is_rolled_back(
    api: Api, method: str, path: str, body: object
) -> None:
    before = api.rows(
        "select (select json_agg(p) from people p)::text, (select json_agg(t) from tasks t)::text,"
        " (select json_agg(k) from keyless k)::text"
    )
    api.rows("alter table public.people drop constraint people_name_key")
    try:
        answer = api.call(
            method, path, json=body, headers={"accept": "application/vnd.pgrst.object+json"}, prefer=REPRESENTATION
        )
    finally:
        api.rows("alter table public.people add constraint people_name_key unique (name)")
    assert refusal(answer) == (406, "PGRST116")
    after = api.rows(
        "select (select json_agg(p) from people p)::text, (select json_agg(t) from tasks t)::text,"
        " (select json_agg(k) from keyless k)::text"
    )
    assert after == before


def test_more_rows_than_max_affected_are_rolled_back_under_strict_handling(api: Api) -> None:
    answer = api.call("DELETE", "/tasks?id=lte.2", prefer="handling=strict, max-affected=1")
    assert refusal(answer) == (400, "PGRST124")
    assert answer.json()["details"] == "The query affects 2 rows"
    assert api.rows("select count(*) from public.tasks") == [(3,)]
    allowed = api.call("DELETE", "/tasks?id=lte.2", prefer="handling=strict, max-affected=2")
    assert allowed.headers["preference-applied"] == "handling=strict, max-affected=2"
    lenient = api.call("DELETE", "/tasks?id=eq.3", prefer="max-affected=0")
    assert lenient.status_code == 204


def test_tx_rollback_answers_as_if_and_keeps_nothing(api: Api) -> None:
    answer = api.call("POST", "/people", json={"id": 4, "name": "Dee"}, prefer=f"{REPRESENTATION}, tx=rollback")
    assert (answer.status_code, answer.json()) == (201, [{"id": 4, "name": "Dee"}])
    assert answer.headers["preference-applied"] == "return=representation, tx=rollback"
    assert people(api) == ALL_PEOPLE


def test_the_owner_writes_and_the_stranger_does_not(api: Api) -> None:
    mine = api.call("POST", "/notes?select=title", who=api.alice, json={"title": "mine"}, prefer=REPRESENTATION)
    assert (mine.status_code, mine.json()) == (201, [{"title": "mine"}])
    for who, status in ((api.bob, 403), ({}, 401)):
        answer = api.call(
            "POST", "/notes", who=who, json={"title": "forged", "owner": "11111111-1111-4111-8111-111111111111"}
        )
        assert refusal(answer) == (status, "42501")
        assert ("www-authenticate" in answer.headers) == (status == 401)
    changed = api.call("PATCH", "/notes?id=eq.1", who=api.bob, json={"title": "stolen"}, prefer=REPRESENTATION)
    assert (changed.status_code, changed.json()) == (200, [])
    deleted = api.call("DELETE", "/notes?id=eq.1", who=api.bob, prefer=REPRESENTATION)
    assert (deleted.status_code, deleted.json()) == (200, [])
    assert api.rows("select title from public.notes where id = 1") == [("first",)]


def test_an_upsert_cannot_take_over_a_strangers_row(api: Api) -> None:
    answer = api.call(
        "POST", "/notes", who=api.bob, json={"id": 1, "title": "stolen"}, prefer="resolution=merge-duplicates"
    )
    assert refusal(answer) == (403, "42501")
    assert api.rows("select title from public.notes where id = 1") == [("first",)]


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        ("application/json", "", "Empty or invalid json"),
        ("application/json", "{", "Empty or invalid json"),
        ("application/json", "[" * 100_000, "Empty or invalid json"),
        ("application/json", "NaN", "Empty or invalid json"),
        ("application/json", b'{"name": "\xff"}', "Empty or invalid json"),
        ("application/json", "[1, 2]", "All object keys must match"),
        ("application/json", '[{"id": 4}, {"name": "x"}]', "All object keys must match"),
        ("text/csv", "id,name\n4\n5,x", "All lines must have same number of fields"),
        ("text/html", "<p>", "Content-Type not acceptable: text/html"),
        ("a/b; c=d", "x", "Content-Type not acceptable: a/b; c=d"),
        ("", "x", "Content-Type not acceptable: "),
        ("application/octet-stream", "x", "Content-Type not acceptable: application/octet-stream"),
    ],
)
def test_a_body_that_is_no_rows_is_refused(api: Api, content_type: str, body: str | bytes, message: str) -> None:
    answer = api.call("POST", "/people", content=body, headers={"content-type": content_type})
    assert refusal(answer) == (400, "PGRST102")
    assert answer.json()["message"] == message
    assert people(api) == ALL_PEOPLE


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"id": 4, "name": "a\\u0000b"}', (400, "22P05")),
        ('{"id": 99999999999999999999, "name": "big"}', (400, "22003")),
        ('{"id": "x", "name": "word"}', (400, "22P02")),
        ('{"id": 4, "name": "Dee", "age": 5}', (400, "PGRST204")),
        ('{"id": 1, "name": "Ann"}', (409, "23505")),
        ('{"id": ' + "[" * 5000 + "]" * 5000 + ', "name": "deep"}', (400, "22P02")),
    ],
)
def test_values_that_do_not_fit_are_refused_and_nothing_is_kept(api: Api, body: str, expected: tuple[int, str]) -> None:
    answer = api.call("POST", "/people", content=body, headers={"content-type": "application/json"})
    assert answer.status_code < 500, answer.text
    if not body.startswith('{"id": ['):
        assert refusal(answer) == expected
    assert people(api) == ALL_PEOPLE


def test_a_body_beyond_the_limit_is_413(api: Api) -> None:
    answer = api.call("POST", "/people", content=json.dumps([{"id": 4, "name": "x" * 300_000}]))
    assert answer.status_code == 413
    assert people(api) == ALL_PEOPLE


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("returns", ["headers-only", "representation"])
def test_a_column_that_is_not_there_stops_a_write_that_would_tell_of_it(api: Api, method: str, returns: str) -> None:
    body = {"id": 9, "name": "Ida"} if method != "DELETE" else None
    answer = api.call(method, "/people?select=nothing&id=gt.0", json=body, prefer=f"return={returns}")
    assert refusal(answer) == (400, "42703")
    assert people(api) == ALL_PEOPLE


def test_an_empty_select_of_written_rows_shows_their_key(api: Api) -> None:
    answer = api.call("POST", "/people?select=", json={"id": 4, "name": "Dee"}, prefer=REPRESENTATION)
    assert answer.json() == [{"id": 4}]


def test_of_two_bad_values_the_one_of_the_first_name_is_told(api: Api) -> None:
    answer = api.call("POST", "/notes", content=b'{"size": "many", "owner": "me"}', headers=JSON_BODY)
    assert answer.json()["message"] == 'invalid input syntax for type uuid: "me"'


def test_a_put_names_its_key_as_the_column_is_called(api: Api) -> None:
    answer = api.call("PUT", '/people?"id"=eq.1', json={"id": 1, "name": "x"})
    assert refusal(answer) == (405, "PGRST105")
    assert people(api) == ALL_PEOPLE


def test_an_argument_is_read_though_nobody_asks_for_the_result(api: Api) -> None:
    for method in ("GET", "HEAD"):
        assert api.call(method, "/rpc/people_of?team=red").status_code == 400


def test_an_empty_body_is_no_json_for_an_argument_that_takes_it_whole(api: Api) -> None:
    answer = api.call("POST", "/rpc/whole_json", content=b"", headers=JSON_BODY)
    assert refusal(answer) == (400, "22P02")
    assert api.call("POST", "/rpc/motto", content=b"", headers=JSON_BODY).json() == "Hello you"


def test_missing_default_goes_on_with_a_sequence_also_for_rows_that_bring_a_value(api: Api) -> None:
    rows = [{"id": 900, "title": "given"}, {"title": "counted"}]
    answer = api.call(
        "POST", "/notes?columns=id,title", json=rows, prefer="missing=default, return=representation", who=api.alice
    )
    assert [row["id"] for row in answer.json()] == [900, 5]
