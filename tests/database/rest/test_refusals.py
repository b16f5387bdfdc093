"""Bad requests and bad callers: upstream's status and body, no trace of the inside, nothing changed."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote

import pytest

from tests.database.rest.conftest import Api, refusal


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/nowhere", (404, "PGRST205")),
        ("/secret_people", (404, "PGRST205")),
        ("/a/b", (404, "PGRST125")),
        ("/rpc/a/b", (404, "PGRST125")),
        ("/people/1", (404, "PGRST125")),
        ("/people%00", (404, "PGRST125")),
        ("/people?id=5", (400, "PGRST100")),
        ("/people?id=foo.5", (400, "PGRST100")),
        ("/people?id=eq", (400, "PGRST100")),
        ("/people?id=in.5", (400, "PGRST100")),
        ("/people?id=is.maybe", (400, "PGRST100")),
        ("/people?id=eq(some).{1}", (400, "PGRST100")),
        ("/people?or=()", (400, "PGRST100")),
        ("/people?or=(id.eq.1", (400, "PGRST100")),
        ("/people?and=id.eq.1", (400, "42703")),
        ("/people?not.and=id.eq.1", (400, "PGRST100")),
        ("/people?select=id,", (400, "PGRST100")),
        ("/people?select=passports(number", (400, "PGRST100")),
        ("/people?select=id::int%3Bdrop", (400, "PGRST100")),
        ("/people?select=id::int[]", (400, "PGRST100")),
        ("/people?select=id::no_such_type", (400, "42704")),
        ("/people?order=id.up", (400, "PGRST100")),
        ("/people?order=", (400, "PGRST100")),
        ("/people?select=age", (400, "42703")),
        ("/people?age=eq.1", (400, "42703")),
        ("/people?order=age", (400, "42703")),
        ("/people?id=eq.x", (400, "22P02")),
        ("/people?id=eq.99999999999999999999", (400, "22003")),
        ("/people?limit=99999999999999999999", (200, "")),
        ("/people?offset=99999999999999999999", (400, "22003")),
        ("/people?id=eq.%00", (400, "22021")),
        ("/people?id=eq.%FF", (400, "PGRST100")),
        ("/people?" + "x" * 70 + "=eq.1", (400, "42703")),
        ("/notes?mood=eq.angry", (400, "22P02")),
        ("/notes?tags=in.(a)", (400, "42704")),
        ("/notes?raw=eq.x", (404, "42883")),
        ("/notes?meta->list->99999999999=eq.1", (400, "22003")),
        ("/notes?title=fts(nolang).x", (400, "42704")),
        ("/notes?title=match.(", (400, "2201B")),
        ("/notes?title=fts.(", (400, "42601")),
        ("/people?select=id," + "(" * 3000, (400, "PGRST100")),
        ("/people?select=" + "a(" * 3000, (400, "PGRST100")),
        ("/people?or=" + "(or" * 3000, (400, "PGRST100")),
        ("/people?select=" + "tasks!tasks_lead(people!tasks_lead(" * 40, (400, "PGRST100")),
        ("/notes?" + "meta" + "->a" * 2000 + "=is.null", (200, "")),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_request_that_cannot_be_understood_is_refused_as_upstream_does(
    api: Api, path: str, expected: tuple[int, str]
) -> None:
    answer = api.get(path)
    assert answer.status_code == expected[0], answer.text
    if expected[1]:
        assert refusal(answer) == expected
        assert answer.headers["proxy-status"] == f"PostgREST; error={expected[1]}"
        assert answer.headers["content-type"] == "application/json; charset=utf-8"


def test_a_missing_table_is_named_and_the_nearest_hinted(api: Api) -> None:
    answer = api.get("/peoples")
    assert answer.json() == {
        "code": "PGRST205",
        "details": None,
        "hint": "Perhaps you meant the table 'public.people'",
        "message": "Could not find the table 'public.peoples' in the schema cache",
    }
    assert api.get("/secret_peopl").json()["hint"] is None


def test_a_parse_error_says_where(api: Api) -> None:
    assert api.get("/people?id=0").json() == {
        "code": "PGRST100",
        "details": 'unexpected "0" expecting "not" or operator (eq, gt, ...)',
        "hint": None,
        "message": '"failed to parse filter (0)" (line 1, column 1)',
    }


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("TRACE", "/people", (405, "PGRST117")),
        ("LINK", "/people", (405, "PGRST117")),
        ("POST", "/", (405, "PGRST117")),
        ("PUT", "/rpc/add", (405, "PGRST101")),
    ],
)
def test_a_method_that_is_not_known_is_405(api: Api, method: str, path: str, expected: tuple[int, str]) -> None:
    assert refusal(api.call(method, path)) == expected


def test_a_schema_that_is_not_exposed_is_406_and_hidden_ones_are_not_named(api: Api) -> None:
    answer = api.get("/people", headers={"accept-profile": "hidden"})
    assert refusal(answer) == (406, "PGRST106")
    assert answer.json()["message"] == "Invalid schema: hidden"
    assert answer.json()["hint"] == "Only the following schemas are exposed: public, graphql_public"
    other = api.get("/people", headers={"accept-profile": "graphql_public"})
    assert refusal(other) == (404, "PGRST205")
    assert api.get("/people").headers["content-profile"] == "public"


def test_an_accept_that_nobody_can_serve_is_406(api: Api) -> None:
    answer = api.get("/people", headers={"accept": "image/png"})
    assert refusal(answer) == (406, "PGRST107")
    assert answer.json()["message"] == "None of these media types are available: image/png"


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_tokens_that_do_not_verify_are_401_with_the_reason(api: Api) -> None:
    good = api.token(role="authenticated", sub="11111111-1111-4111-8111-111111111111")
    header, payload, signature = good.split(".")
    unsigned = f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{payload}."
    cases = [
        ("Bearer", "PGRST301", "Empty JWT is sent in Authorization header"),
        ("Bearer nonsense", "PGRST301", "Expected 3 parts in JWT; got 1"),
        ("Bearer a.b", "PGRST301", "Expected 3 parts in JWT; got 2"),
        (
            f"Bearer {header}.{encoded({'role': 'service_role'})}.{signature}",
            "PGRST301",
            "No suitable key or wrong key type",
        ),
        (f"Bearer {unsigned}", "PGRST301", "Wrong or unsupported encoding algorithm"),
        (f"Bearer {api.token(role='authenticated', exp=int(time.time()) - 60)}", "PGRST303", "JWT expired"),
        (f"Bearer {api.token(role='authenticated', nbf=int(time.time()) + 600)}", "PGRST303", "JWT not yet valid"),
        (f"Bearer {api.token(role='authenticated', iat=int(time.time()) + 600)}", "PGRST303", "JWT issued at future"),
        (f"Bearer {api.token(role='authenticated', exp='soon')}", "PGRST303", "The JWT 'exp' claim must be a number"),
        (
            f"Bearer {api.token(role='authenticated', aud=5)}",
            "PGRST303",
            "The JWT 'aud' claim must be a string or an array of strings",
        ),
    ]
    for value, code, message in cases:
        answer = api.get("/people", who={"authorization": value})
        assert refusal(answer) == (401, code), value
        assert answer.json()["message"] == message
        assert answer.headers["www-authenticate"] == f'Bearer error="invalid_token", error_description="{message}"'


def test_a_token_that_expired_just_now_is_forgiven(api: Api) -> None:
    token = api.token(role="authenticated", exp=int(time.time()) - 5)
    assert api.get("/people", who={"authorization": f"bearer {token}"}).status_code == 200


@pytest.mark.parametrize("role", ["no_such_role", "", 5, None, ["service_role"]])
def test_a_role_that_does_not_exist_is_no_way_in(api: Api, role: object) -> None:
    answer = api.get("/people", who={"authorization": f"Bearer {api.token(role=role)}"})
    assert answer.status_code == 401, answer.text


@pytest.mark.parametrize(
    "role", ["postgres", "supabase_admin", "authenticator", "pg_read_all_data", "supabase_auth_admin"]
)
def test_a_token_for_an_owners_role_gets_none_of_its_rights(api: Api, role: str) -> None:
    token = api.token(role=role)
    answer = api.get("/forbidden", who={"authorization": f"Bearer {token}"})
    assert answer.status_code in {401, 403}, answer.text


def test_a_token_without_a_role_is_anon(api: Api) -> None:
    answer = api.get("/rpc/who", who={"authorization": f"Bearer {api.token(sub='x')}"})
    assert answer.json()["role"] == "anon"


def test_what_is_not_granted_is_401_to_anon_and_403_to_a_user(api: Api) -> None:
    anonymous = api.get("/forbidden", who={})
    assert refusal(anonymous) == (401, "42501")
    assert anonymous.headers["www-authenticate"] == "Bearer"
    known = api.get("/forbidden", who=api.alice)
    assert refusal(known) == (403, "42501")
    assert "www-authenticate" not in known.headers


def test_each_reads_their_own_rows_and_what_is_public(api: Api) -> None:
    for who, ids in ((api.alice, [1, 2]), (api.bob, [2, 3]), ({}, [2]), (api.service, [1, 2, 3])):
        assert [row["id"] for row in api.get("/notes?select=id&order=id", who=who).json()] == ids
        counted = api.get("/notes?select=id", who=who, prefer="count=exact")
        assert counted.headers["content-range"].endswith(f"/{len(ids)}")


INJECTIONS = [
    "1;drop table public.people",
    "1'; drop table public.people; --",
    '1"; drop table public.people; --',
    "1) or true --",
    "$1",
    "\\'; drop table public.people; --",
    "/*",
    "E'\\x27'",
    "1 union select * from hidden.secret_people",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_text_of_a_request_becomes_sql(api: Api, text: str) -> None:
    escaped = quote(text, safe="")
    quoted = quote('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"', safe="")
    attempts = [
        ("GET", f"/people?name=eq.{escaped}"),
        ("GET", f"/people?name=in.({quoted})"),
        ("GET", f"/people?or=(name.eq.{quoted})"),
        ("GET", f"/people?select={escaped}"),
        ("GET", f"/people?select=id::{escaped}"),
        ("GET", f"/people?select=x:{quoted}"),
        ("GET", f"/people?select={quoted}:id"),
        ("GET", f"/people?select=passports!{quoted}(number)"),
        ("GET", f"/people?order={quoted}"),
        ("GET", f"/people?{quoted}=eq.1"),
        ("GET", f"/notes?meta->{quoted}=eq.1"),
        ("GET", f"/people?limit={escaped}"),
        ("GET", f"/notes?title=fts({escaped}).x"),
        ("GET", f"/{escaped}"),
        ("GET", f"/rpc/{escaped}"),
        ("GET", f"/rpc/add?{quoted}=1"),
        ("POST", f"/people?columns={quoted}"),
        ("POST", f"/people?on_conflict={quoted}"),
    ]
    for method, path in attempts:
        answer = api.call(
            method, path, content="{}" if method == "POST" else None, prefer="resolution=merge-duplicates"
        )
        assert answer.status_code < 500, (path, answer.text)
    body = api.call("POST", "/people", json={text: 1})
    assert refusal(body)[0] == 400
    for name in ("accept-profile", "prefer", "range", "accept"):
        value = f"timezone={text}" if name == "prefer" else text
        assert api.get("/people", headers={name: value}).status_code < 500
    assert api.rows("select count(*) from public.people") == [(3,)]


def test_options_names_the_methods_of_a_target(api: Api) -> None:
    assert api.call("OPTIONS", "/people").headers["allow"] == "OPTIONS,GET,HEAD,POST,PUT,PATCH,DELETE"
    assert api.call("OPTIONS", "/keyless").headers["allow"] == "OPTIONS,GET,HEAD,POST,PATCH,DELETE"
    assert api.call("OPTIONS", "/led_tasks").headers["allow"] == "OPTIONS,GET,HEAD"
    assert refusal(api.call("OPTIONS", "/nowhere")) == (404, "PGRST205")


def test_the_root_describes_what_the_caller_may_use(api: Api) -> None:
    everything = api.get("/").json()
    assert "/people" in everything["paths"]
    assert "/forbidden" in everything["paths"]
    assert "/rpc/add" in everything["paths"]
    anonymous = api.get("/", who={}).json()
    assert "/people" in anonymous["paths"]
    assert "/forbidden" not in anonymous["paths"]
    assert "forbidden" not in anonymous["definitions"]
