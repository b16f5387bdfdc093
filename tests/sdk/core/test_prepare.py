"""A request made the short way is the one httpx would make."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from isobase._http.prepare import place_of, short_arguments, short_request

BASE = {"apikey": "k", "Content-Type": "application/json", "Accept-Profile": "public"}


@pytest.mark.parametrize(
    ("method", "url", "arguments"),
    [
        pytest.param(
            "GET", "http://a.example/rest/v1/t", {"params": {"select": "*", "a": "eq.ä b&c"}}, id="parameters"
        ),
        pytest.param("GET", "http://a.example:81/t", {"params": [("a", "1"), ("a", "2")]}, id="a name twice"),
        pytest.param("GET", "https://a.example/t?x=1", {}, id="a query in the URL"),
        pytest.param("POST", "http://a.example/t", {"json": {"a": "ä", "b": None}}, id="json"),
        pytest.param("POST", "http://a.example/t", {"json": []}, id="an empty list"),
        pytest.param("POST", "http://a.example/t", {}, id="no body"),
        pytest.param("DELETE", "http://a.example/t", {}, id="delete"),
        pytest.param("PUT", "http://a.example/t", {"content": b"\x00\x01"}, id="bytes"),
        pytest.param(
            "POST", "http://a.example/t", {"content": "text", "headers": {"content-type": "text/plain"}}, id="text"
        ),
        pytest.param(
            "GET", "http://a.example/t", {"headers": {"APIKEY": "other", "Prefer": "count=exact"}}, id="headers"
        ),
        pytest.param("GET", "http://a.example/a%20b/c.txt", {}, id="an encoded path"),
    ],
)
def test_a_short_request_is_that_of_httpx(method: str, url: str, arguments: dict[str, Any]) -> None:
    with httpx.Client(headers=BASE) as client:
        expected = client.build_request(method, url, **arguments)
        made = short_request(method, url, client.headers, client.timeout.as_dict(), **arguments)
    assert made is not None
    assert made.url == expected.url
    assert dict(made.headers) == dict(expected.headers)
    assert made.read() == expected.read()
    assert made.extensions == expected.extensions
    assert place_of(made) == place_of(expected)


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/a b",
        "http://a.example/ä",
        "http://a.example/a/../b",
        "http://a.example/./b",
        "http://user:word@a.example/",
        "http://bücher.example/",
        "http://a.example/%zz",
        "http://a.example/%2f",
        "relative/path",
        "http://a.example/#part",
        'http://a.example/"',
        "http://a.example/x\n",
    ],
)
def test_a_url_that_httpx_would_change_is_left_to_httpx(url: str) -> None:
    assert short_request("GET", url, httpx.Headers(), {}) is None


def test_bodies_that_are_read_piece_by_piece_are_left_to_httpx() -> None:
    assert short_request("POST", "http://a.example/", httpx.Headers(), {}, content=iter([b"a"])) is None


def test_arguments_that_say_nothing_keep_the_short_way() -> None:
    said = {"json": None, "headers": {"a": "b"}}
    assert short_arguments({**said, "files": None, "data": None, "cookies": None}) == said


@pytest.mark.parametrize("argument", [{"files": {"a": b"b"}}, {"data": {"a": "b"}}, {"timeout": None}])
def test_arguments_that_only_httpx_knows_are_left_to_it(argument: dict[str, Any]) -> None:
    assert short_arguments({"headers": None, **argument}) is None
