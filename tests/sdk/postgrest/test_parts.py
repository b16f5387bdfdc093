"""The parts that do no I/O: how values are written, what a request holds, what an error tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import BaseModel, Field

from isobase.postgrest import UNSET, APIError, CountMethod, SyncPostgrestClient
from isobase.postgrest._bodies import encode_body, rows_to_send
from isobase.postgrest.base_request_builder import pre_delete, pre_insert, pre_select, pre_update, pre_upsert
from isobase.postgrest.exceptions import api_error
from isobase.postgrest.types import ReturnMethod
from isobase.postgrest.utils import (
    SyncClient,
    filter_value,
    rpc_query_param,
    sanitize_array_param,
    sanitize_param,
)


class Color(Enum):
    RED = "red"


class Part(BaseModel):
    id: int = Field(default=1, alias="the id")
    word: str | None = None


@dataclass
class Point:
    x: int
    y: int = UNSET
    label: str = field(default="", metadata={"column": "the label"})


@pytest.mark.parametrize(
    "value, written",
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (1, "1"),
        (1.5, "1.5"),
        ("a b", "a b"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        ([1, "x"], '[1,"x"]'),
        (Color.RED, "red"),
        (date(2026, 1, 2), "2026-01-02"),
        (Decimal("1.10"), "1.10"),
    ],
)
def test_a_filters_value_is_written_as_postgresql_reads_it(value: object, written: str) -> None:
    assert filter_value(value) == written


def test_names_and_elements_are_quoted_where_they_would_mean_something() -> None:
    assert sanitize_param('a"b\\c') == '"a\\"b\\\\c"'
    assert sanitize_param("a.b") == "a.b"
    assert sanitize_array_param(["a", "a,b", "", "NULL", None, "two words", "{}", Color.RED]) == (
        '{a,"a,b","","NULL",NULL,"two words","{}",red}'
    )
    assert rpc_query_param(("a", "b c")) == '{a,"b c"}'
    assert rpc_query_param({"a": 1}) == '{"a":1}'


def test_a_body_is_compact_and_holds_pythons_values() -> None:
    value: dict[str, Any] = {
        "day": date(2026, 1, 2),
        "at": time(1, 2, 3),
        "id": UUID(int=1),
        "price": Decimal("1.10"),
        "bytes": b"\x00\xff",
        "color": Color.RED,
        "set": {1},
        "span": timedelta(days=1, seconds=2),
        "ünï": [Part.model_validate({"the id": 2}), Point(1, 2)],
    }
    assert encode_body(value).decode() == (
        '{"day":"2026-01-02","at":"01:02:03","id":"00000000-0000-0000-0000-000000000001","price":"1.10",'
        '"bytes":"\\\\x00ff","color":"red","set":[1],"span":"1 days 2.000000 seconds",'
        '"ünï":[{"the id":2},{"x":1,"y":2,"the label":""}]}'
    )
    with pytest.raises(TypeError, match="object"):
        encode_body({"a": object()})
    with pytest.raises(ValueError, match="Out of range"):
        encode_body(float("nan"))


def test_models_and_dataclasses_become_dicts_and_what_holds_none_stays_the_same_object() -> None:
    rows = [{"a": 1}]
    assert rows_to_send(rows) is rows
    assert rows_to_send([Part(), {"word": "w"}, Point(1)]) == [{}, {"word": "w"}, {"x": 1, "the label": ""}]
    assert repr(UNSET) == "UNSET"
    assert not UNSET


def test_what_a_statement_asks_for_can_be_read() -> None:
    asked = pre_select("a", '"b c"', count=CountMethod.planned, head=True)
    assert (asked.method, asked.params["select"], asked.headers["prefer"]) == ("HEAD", 'a,"b c"', "count=planned")
    bulk = pre_upsert(
        [{"a": 1}, {"b": 2}], count=None, returning=ReturnMethod.minimal, ignore_duplicates=True, on_conflict="a"
    )
    assert dict(bulk.params) == {"on_conflict": "a", "columns": '"a","b"'}
    assert bulk.headers["prefer"] == "return=minimal,resolution=ignore-duplicates"
    assert pre_insert({"a": 1}, count=None, returning=ReturnMethod.minimal, upsert=False).params == httpx.QueryParams()
    assert pre_update({"a": 1}, count=None, returning=ReturnMethod.minimal).method == "PATCH"
    assert (
        pre_delete(count=CountMethod.exact, returning=ReturnMethod.minimal).headers["prefer"]
        == "return=minimal,count=exact"
    )


def test_a_request_can_be_read_and_changed_through_httpxs_types() -> None:
    with SyncPostgrestClient("http://127.0.0.1:1/rest/v1/", headers={"Prefer": "tx=commit"}) as client:
        builder = client.from_("odd table/x").select("id").eq("a b", "ü&=").limit(1)
        request = builder.request
        assert request.url() == "http://127.0.0.1:1/rest/v1/odd%20table%2Fx?select=id&a+b=eq.%C3%BC%26%3D&limit=1"
        assert request.headers["Prefer"] == "tx=commit"
        assert request.headers["Accept-Profile"] == "public"
        request.headers["Prefer"] = "handling=lenient"
        assert builder.max_affected(2).request.headers["prefer"] == "handling=strict,max-affected=2"
        request.params = request.params.set("limit", "5")
        assert builder.copy().limit(7).request.params["limit"] == "7"
        assert request.params["limit"] == "5"
        twin = builder.copy().set_header("X-One", "1")
        assert "x-one" not in request.headers
        assert twin.request.headers["x-one"] == "1"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/rest/v1", "nothing"])
def test_an_address_that_is_none_of_http_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="HTTP URL"):
        SyncPostgrestClient(url)


@pytest.mark.parametrize(
    "proxy_status, code",
    [
        ("PostgREST; error=PGRST116", "PGRST116"),
        ('cdn; error="x,y", "postgrest"; error="PGRST\\"2"', 'PGRST"2'),
        ("PostgREST; other=1", "406"),
        ("cdn; error=dns_timeout", "406"),
        ("", "406"),
    ],
)
def test_an_error_without_a_body_takes_its_code_from_proxy_status(proxy_status: str, code: str) -> None:
    answer = httpx.Response(406, headers={"proxy-status": proxy_status} if proxy_status else {})
    error = api_error(answer)
    assert (error.code, error.message, error.details, error.status) == (code, "Not Acceptable", None, 406)


def test_an_error_shows_itself_as_upstreams_does() -> None:
    error = APIError({"message": "m", "code": "c", "hint": "h", "details": "d"})
    assert repr(error) == "Error c:\nMessage: m\nHint: h\nDetails: d"
    assert str(error) == str(error.json())
    assert repr(APIError({})) == "Empty error"
    assert repr(APIError({"message": "m"})) == "\nMessage: m"
    assert api_error(httpx.Response(502, text='"valid JSON"')).details == '"valid JSON"'
    assert api_error(httpx.Response(400, json={"message": 1})).code == "400"


def test_old_names_warn() -> None:
    with pytest.warns(DeprecationWarning, match="SyncClient"):
        old = SyncClient()
    with pytest.warns(DeprecationWarning, match="aclose"):
        old.aclose()
    with SyncPostgrestClient("http://127.0.0.1:1") as client:
        with pytest.warns(DeprecationWarning, match="from_table"):
            client.from_table("x")
        client.aclose()
        assert client.session.is_closed
