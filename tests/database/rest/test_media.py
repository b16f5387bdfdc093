"""Representations: what Accept means, and the database's own handlers through domains named like media types."""

from __future__ import annotations

import pytest

from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.media_handlers import MediaHandler, MediaHandlers
from isobase_services.database.rest.media import Builtin, Media, accepted, negotiate, parse_media_type
from tests.database.rest.conftest import Api, refusal

OBJECT = "application/vnd.pgrst.object+json"
HERE = ("public", "people")


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, ["*/*"]),
        ("", []),
        (" , ", ["", ""]),
        ("text/csv;q=0.5, application/json;q=0.9, */*;q=0.1", ["application/json", "text/csv", "*/*"]),
        ("*/*, text/csv", ["text/csv", "*/*"]),
        ("text/csv, application/json", ["text/csv", "application/json"]),
        ("APPLICATION/Json;charset=utf-8", ["application/json"]),
        ("application/vnd.pgrst.object;nulls=stripped;q=1", [f"{OBJECT};nulls=stripped"]),
        ("application/vnd.pgrst.array+json;nulls=kept", ["application/json"]),
        ("App/Own;version=2", ["App/Own;version=2"]),
        ("undefined", ["undefined"]),
        (
            'application/vnd.pgrst.plan+json; for="text/csv"; options=wal|nothing|analyze',
            ['application/vnd.pgrst.plan+json; for="text/csv"; options=analyze|wal'],
        ),
        ("application/vnd.pgrst.plan", ['application/vnd.pgrst.plan+text; for="application/json"']),
    ],
)
def test_accept_is_read_by_quality_then_speciality_then_place(header: str | None, found: list[str]) -> None:
    assert [one.mime for one in accepted(header)] == found


@pytest.mark.parametrize(
    ("mime", "content_type"),
    [
        ("text/plain", "text/plain; charset=utf-8"),
        (OBJECT, f"{OBJECT}; charset=utf-8"),
        ("application/octet-stream", "application/octet-stream"),
        ("application/vnd.own+json", "application/vnd.own+json"),
    ],
)
def test_only_types_known_by_name_say_their_charset(mime: str, content_type: str) -> None:
    assert Media(parse_media_type(mime).mime, Builtin.ARRAY).content_type == content_type


def handler(target: tuple[str, str] | None) -> MediaHandler:
    return MediaHandler(("public", "f"), target, "app/own")


def test_a_relations_own_handler_comes_before_the_one_of_all_relations() -> None:
    handlers: MediaHandlers = {(HERE, "app/own"): handler(HERE), (None, "app/own"): handler(None)}
    assert negotiate(accepted("app/own"), handlers, HERE, selects_all=True).handler == handler(HERE)
    assert negotiate(accepted("app/own"), handlers, HERE, selects_all=False).handler == handler(None)
    assert negotiate(accepted("app/own"), handlers, ("public", "x"), selects_all=True).handler == handler(None)


def test_a_handler_of_any_type_takes_every_type_but_the_vendored_ones() -> None:
    handlers: MediaHandlers = {(HERE, "*/*"): handler(HERE)}
    assert negotiate(accepted("application/json"), handlers, HERE, selects_all=True).handler == handler(HERE)
    assert negotiate(accepted(OBJECT), handlers, HERE, selects_all=True).handler is Builtin.OBJECT
    assert negotiate(accepted("*/*"), handlers, HERE, selects_all=False).handler is Builtin.ARRAY


def test_a_plan_is_acceptable_only_where_the_setting_allows_it() -> None:
    plan = accepted("application/vnd.pgrst.plan+json")
    with pytest.raises(RequestError, match="None of these media types"):
        negotiate(plan, {}, HERE, selects_all=True)
    found = negotiate(plan, {}, HERE, selects_all=True, allows_explain=True)
    assert (found.handler, found.content_type) == (
        Builtin.ARRAY,
        'application/vnd.pgrst.plan+json; for="application/json"; charset=utf-8',
    )


def test_an_aggregate_over_a_relations_rows_makes_the_body(api: Api) -> None:
    answer = api.get("/people?id=lt.3&order=id", headers={"accept": "text/tab-separated-values"})
    assert (answer.status_code, answer.text) == (200, "id\tname\n1\tAnn\n2\tBen\n")
    assert answer.headers["content-type"] == "text/tab-separated-values"
    assert answer.headers["content-range"] == "0-1/*"
    assert answer.headers["content-length"] == str(len(answer.content))


def test_it_needs_whole_rows(api: Api) -> None:
    answer = api.get("/people?select=id,name", headers={"accept": "text/tab-separated-values"})
    assert refusal(answer) == (406, "PGRST107")
    assert answer.json()["message"] == "None of these media types are available: text/tab-separated-values"


def test_it_serves_functions_that_return_the_relations_rows_and_writes(api: Api) -> None:
    wanted = {"accept": "text/tab-separated-values"}
    assert api.get("/rpc/people_of?team=2", headers=wanted).text == "id\tname\n1\tAnn\n"
    made = api.call("POST", "/people", json={"id": 4, "name": "Dee"}, prefer="return=representation", headers=wanted)
    assert (made.status_code, made.text) == (201, "id\tname\n4\tDee\n")
    assert api.call("PATCH", "/people?id=eq.4", json={"name": "Deb"}, headers=wanted).content == b""


def test_head_names_the_type_and_makes_no_body(api: Api) -> None:
    answer = api.call("HEAD", "/people", headers={"accept": "text/tab-separated-values"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "text/tab-separated-values"


def test_a_handler_may_replace_a_builtin_type_for_one_relation(api: Api) -> None:
    answer = api.get("/shelves?order=id", headers={"accept": "text/csv"})
    assert (answer.text, answer.headers["content-type"]) == ("top;?;", "text/csv; charset=utf-8")
    assert api.get("/people?id=eq.1", headers={"accept": "text/csv"}).text == "id,name\n1,Ann"


def test_embeds_have_upstreams_text_in_csv(api: Api) -> None:
    answer = api.get("/teams?select=name,tasks(name)&id=eq.1&tasks.order=id", headers={"accept": "text/csv"})
    assert answer.text == 'name,tasks\nRed,"[{""name"": ""dig""}, {""name"": ""fill""}]"'
    one = api.get("/tasks?select=name,teams(id,name)&name=eq.dig", headers={"accept": "text/csv"})
    assert one.text == 'name,teams\ndig,"{""id"": 1, ""name"": ""Red""}"'


def test_a_handler_of_any_relation_takes_any_select(api: Api) -> None:
    answer = api.get("/people?select=name&id=eq.1", headers={"accept": "application/vnd.list+json"})
    # PostgreSQL sends jsonb behind the number of its format's version, and so does upstream.
    assert answer.content == b'\x01[{"name": "Ann"}]'
    assert answer.headers["content-type"] == "application/vnd.list+json"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [("app/stamp", "app/stamp"), ("app/other", "application/octet-stream"), ("*/*", "application/octet-stream")],
)
def test_a_handler_of_any_type_answers_every_accept_header(api: Api, accept: str, content_type: str) -> None:
    answer = api.get("/stamps?order=id", headers={"accept": accept})
    assert (answer.status_code, answer.content) == (200, b"onetwo")
    assert answer.headers.get_list("content-type") == [content_type]


@pytest.mark.parametrize(
    ("path", "accept", "body", "content_type"),
    [
        ("/rpc/page", "text/html", "<h1>ünder</h1>".encode(), "text/html"),
        ("/rpc/motto", "text/plain", b"Hello you", "text/plain; charset=utf-8"),
        ("/rpc/motto?name=B", "text/html,text/plain;q=0.9,*/*;q=0.8", b"Hello B", "text/plain; charset=utf-8"),
        ("/rpc/motto", "*/*", b'"Hello you"', "application/json; charset=utf-8"),
        ("/rpc/digest", "application/vnd.digest", b"\x00\xff\x10", "application/vnd.digest"),
        ("/rpc/no_page", "text/html", b"", "text/html"),
        ("/rpc/page?limit=0", "text/html", b"", "text/html"),
    ],
)
def test_a_function_may_return_its_representation(
    api: Api, path: str, accept: str, body: bytes, content_type: str
) -> None:
    answer = api.get(path, headers={"accept": accept})
    assert (answer.status_code, answer.content) == (200, body)
    assert answer.headers["content-type"] == content_type


def test_a_function_is_not_acceptable_as_a_type_that_it_does_not_return(api: Api) -> None:
    assert refusal(api.get("/rpc/motto", headers={"accept": "text/html"})) == (406, "PGRST107")
    assert refusal(api.get("/rpc/whole_text", headers={"accept": "text/plain"})) == (404, "PGRST202")


@pytest.mark.parametrize(
    ("function", "content_type", "body", "answer"),
    [
        ("whole_text", "text/plain", b"it \xc3\xbc", "got it ü"),
        ("whole_text", "text/plain; charset=utf-8", b"", "got "),
        ("whole_bytes", "application/octet-stream", b"\x00\xff\x00", 3),
        ("whole_json", "application/json", b'{"a": [1, 2]}', {"a": [1, 2]}),
    ],
)
def test_a_body_may_be_the_one_unnamed_argument(
    api: Api, function: str, content_type: str, body: bytes, answer: object
) -> None:
    given = api.call("POST", f"/rpc/{function}", content=body, headers={"content-type": content_type})
    assert (given.status_code, given.json()) == (200, answer)


def test_a_body_that_is_not_of_the_arguments_type_is_refused(api: Api) -> None:
    broken = api.call("POST", "/rpc/whole_text", content=b"\xff", headers={"content-type": "text/plain"})
    assert refusal(broken)[0] == 400
    other = api.call("POST", "/rpc/whole_bytes", content=b"a", headers={"content-type": "text/plain"})
    assert refusal(other) == (404, "PGRST202")
