"""Calls of functions under /rpc."""

from __future__ import annotations

from typing import Any

import pytest

from tests.database.rest.conftest import Api, refusal


@pytest.mark.parametrize(
    ("function", "arguments", "result"),
    [
        ("add", {"a": 2}, 3),
        ("add", {"a": 2, "b": 5}, 7),
        ("add", {"a": None}, None),
        ("total", {"numbers": [1, 2, 3]}, 6),
        ("over", {"a": 1}, "one int"),
        ("over", {"a": 1, "b": 2}, "two ints"),
        ("whole", {"any": ["thing"]}, {"any": ["thing"]}),
        ("pair", {}, {"first": 1, "second": "two"}),
        ("one_out", {}, {"answer": 42}),
        ("listed", {}, [{"n": 1, "word": "one"}, {"n": 2, "word": "two"}, {"n": 3, "word": "three"}]),
        ("counted", {"upto": 2}, [1, 2]),
        ("small", {"n": 4}, 4),
        ("first_person", {}, {"id": 1, "name": "Ann"}),
        ("no_person", {}, {"id": None, "name": None}),
    ],
)
def test_a_call_gives_what_the_function_returns(
    api: Api, function: str, arguments: dict[str, Any], result: object
) -> None:
    answer = api.call("POST", f"/rpc/{function}", json=arguments)
    assert (answer.status_code, answer.json()) == (200, result)


@pytest.mark.parametrize(
    ("path", "result"),
    [
        ("/rpc/add?a=2&b=3", 5),
        ("/rpc/total?numbers=1&numbers=2", 3),
        ("/rpc/listed?n=gt.1&select=word&order=n.desc&limit=1", [{"word": "three"}]),
        (
            "/rpc/all_people?select=name,shout,passports(number)&id=eq.1",
            [{"name": "Ann", "shout": "ANN", "passports": {"number": "P-1"}}],
        ),
        ("/rpc/add?a=2&a=9", 10),
    ],
)
def test_a_call_by_get_takes_arguments_and_filters_from_the_query(api: Api, path: str, result: object) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.json()) == (200, result)


def test_a_form_calls_a_function(api: Api) -> None:
    assert api.call("POST", "/rpc/add", data={"a": "2", "b": "3"}).json() == 5


def test_void_is_204(api: Api) -> None:
    answer = api.call("POST", "/rpc/nothing", json={})
    assert (answer.status_code, answer.content, answer.headers["content-range"]) == (204, b"", "0-0/*")


def test_a_column_that_a_function_does_not_return_is_told_as_upstream_does(api: Api) -> None:
    answer = api.call("GET", "/rpc/listed?select=words")
    assert refusal(answer) == (400, "42703")
    assert answer.json()["message"] == "column pgrst_call.words does not exist"


def test_rows_of_a_call_are_counted(api: Api) -> None:
    answer = api.call("POST", "/rpc/listed?limit=2", json={}, prefer="count=exact")
    assert (answer.status_code, answer.headers["content-range"]) == (206, "0-1/3")


def test_a_function_that_writes_is_not_called_by_get(api: Api) -> None:
    answer = api.get("/rpc/add_person?id=4&name=Dee")
    assert refusal(answer) == (405, "25006")
    assert api.call("POST", "/rpc/add_person", json={"id": 4, "name": "Dee"}).json() == 4


def test_several_functions_that_fit_are_300_and_none_is_404(api: Api) -> None:
    several = api.call("POST", "/rpc/same", json={"a": "1"})
    assert refusal(several) == (300, "PGRST203")
    none = api.call("POST", "/rpc/add", json={"x": 1})
    assert refusal(none) == (404, "PGRST202")
    assert none.json()["message"] == "Could not find the function public.add(x) in the schema cache"
    assert none.json()["details"] == (
        "Searched for the function public.add with parameter x or with a single unnamed json/jsonb parameter, "
        "but no matches were found in the schema cache."
    )
    near = api.get("/rpc/listedd")
    assert near.json()["hint"] == "Perhaps you meant to call the function public.listed"


def test_a_functions_own_statement_timeout_holds(api: Api) -> None:
    answer = api.call("POST", "/rpc/slow", json={})
    assert refusal(answer) == (500, "57014")


def test_a_function_writes_its_own_error_and_headers(api: Api) -> None:
    tea = api.call("POST", "/rpc/teapot", json={})
    assert tea.status_code == 418
    assert tea.json() == {"code": "TEA", "message": "short and stout", "details": None, "hint": "pour"}
    assert tea.headers["x-tea"] == "green"
    own = api.call("POST", "/rpc/with_headers", json={})
    assert (own.status_code, own.json(), own.headers["cache-control"]) == (202, 1, "no-store")
    assert own.headers.get_list("set-cookie") == ["a=1", "b=2"]


def test_a_function_cannot_split_headers(api: Api) -> None:
    answer = api.call("POST", "/rpc/split_header", json={})
    assert refusal(answer) == (500, "PGRST111")
    assert "x-two" not in answer.headers


def test_sql_sees_role_claims_path_and_request(api: Api) -> None:
    seen = api.get("/rpc/who", who=api.alice).json()
    assert seen["role"] == "authenticated"
    assert seen["claims"]["sub"] == "11111111-1111-4111-8111-111111111111"
    assert seen["path"] == '"public", "public", "extensions"'
    assert (seen["method"], seen["url"]) == ("GET", "/rpc/who")
    anonymous = api.get("/rpc/who", who={}).json()
    assert (anonymous["role"], anonymous["claims"]) == ("anon", {"role": "anon"})


def test_a_body_that_is_no_json_is_refused(api: Api) -> None:
    answer = api.call("POST", "/rpc/add", content="{", headers={"content-type": "application/json"})
    assert refusal(answer) == (400, "PGRST102")


def test_max_affected_needs_a_function_that_returns_rows(api: Api) -> None:
    answer = api.call("POST", "/rpc/add", json={"a": 1}, prefer="handling=strict, max-affected=1")
    assert refusal(answer) == (400, "PGRST128")
    many = api.call("POST", "/rpc/listed", json={}, prefer="handling=strict, max-affected=1")
    assert refusal(many) == (400, "PGRST124")


def test_methods_of_a_function_depend_on_what_it_does(api: Api) -> None:
    assert api.call("OPTIONS", "/rpc/listed").headers["allow"] == "OPTIONS,GET,HEAD,POST"
    assert refusal(api.call("OPTIONS", "/rpc/add_person")) == (404, "PGRST202")
    assert refusal(api.call("DELETE", "/rpc/listed")) == (405, "PGRST101")
