"""What counts as a difference between two answers to the same read, and what does not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from isobase_adapter.shadow.answers import ReadAnswer
from isobase_adapter.shadow.censoring import MAX_SAMPLE_BYTES, bounded_sample, censored, censored_query
from isobase_adapter.shadow.comparing import compared
from isobase_adapter.shadow.requests import Asked, asked


def rows(*values: Any, status: int = 200, total: str | None = None) -> ReadAnswer:
    headers = {"content-type": "application/json; charset=utf-8"}
    if total is not None:
        headers["content-range"] = f"0-{len(values) - 1}/{total}"
    return ReadAnswer(status, headers, json.dumps(list(values)).encode())


def raw(text: str, content_type: str = "application/json") -> ReadAnswer:
    return ReadAnswer(200, {"content-type": content_type}, text.encode())


def error(status: int, code: str) -> ReadAnswer:
    body = {"code": code, "message": "permission denied for user 7", "details": None, "hint": None}
    return ReadAnswer(status, {"content-type": "application/json"}, json.dumps(body).encode())


A, B = {"id": 1, "t": "a"}, {"id": 2, "t": "b"}
BY_T = asked([("select", "*"), ("order", "t.desc,id")])
EMBEDS = asked([("select", "id,items:order_items!fk(id,n),owner(*)")])


@pytest.mark.parametrize(
    ("first", "second", "how"),
    [
        (rows(A, B), rows(A, B), Asked()),
        (rows(A, B), rows(B, A), Asked()),
        (rows(A, A, B), rows(A, B, A), Asked()),
        (rows({"id": 1, "t": {"x": 1, "y": 2}}), raw('[{"t": {"y": 2, "x": 1}, "id": 1}]'), Asked()),
        (rows({"id": 1, "t": "s"}, {"id": 2, "t": "s"}), rows({"id": 2, "t": "s"}, {"id": 1, "t": "s"}),
         asked([("order", "t")])),
        (rows({"t": 1}, {"t": 2}), rows({"t": 2}, {"t": 1}), asked([("order", "hidden")])),
        (rows({"id": 1, "items": [{"n": 1}, {"n": 2}]}), rows({"id": 1, "items": [{"n": 2}, {"n": 1}]}), EMBEDS),
        (rows(A, status=200), rows(A, status=200, total="*"), Asked()),
        (error(403, "42501"), error(403, "42501"), Asked()),
        (raw("b,1\na,2", "text/csv"), raw("a,2\nb,1", "text/csv"), Asked()),
        (raw("7"), raw(" 7 "), Asked()),
        (rows(A, total="900"), rows(A, total="1000"), asked([], has_exact_count=False)),
        (ReadAnswer(204), ReadAnswer(204), Asked()),
    ],
    ids=["same", "any order", "twice the same row", "names in any order", "ties", "order unseen", "embedded in any order",
         "no count", "same error, other words", "csv", "scalar", "estimates", "nothing"],
)  # fmt: skip
def test_these_say_the_same(first: ReadAnswer, second: ReadAnswer, how: Asked) -> None:
    assert compared(first, second, how) == ()


@pytest.mark.parametrize(
    ("first", "second", "how", "fingerprints"),
    [
        (rows(A, B), rows(A), Asked(), ["missing_row"]),
        (rows(A), rows(A, B), Asked(), ["extra_row"]),
        (rows(A, A), rows(A), Asked(), ["missing_row"]),
        (rows(A, B), rows(A, {"id": 2, "t": "B"}), Asked(), ["column:t"]),
        (rows(A, B), rows({"id": 1, "t": "x"}, {"id": 2, "t": "y"}), Asked(), ["column:t"]),
        (rows({"id": 1, "n": 7}), rows({"id": 1, "n": "7"}), Asked(), ["type:n:number:string"]),
        (raw('[{"id": 1, "n": 1.5}]'), raw('[{"id": 1, "n": "1.5"}]'), Asked(), ["type:n:number:string"]),
        (rows({"id": 1, "n": 1}), rows({"id": 1, "n": True}), Asked(), ["type:n:number:boolean"]),
        (rows({"id": 1, "n": 7}), rows({"id": 1, "n": None}), Asked(), ["type:n:number:null"]),
        (raw('[{"id": 1, "n": 1.0}]'), raw('[{"id": 1, "n": 1.00}]'), Asked(), ["column:n"]),
        (rows({"id": 1, "n": 7}), rows({"id": 1}), Asked(), ["missing_column:n"]),
        (rows({"id": 1}), rows({"id": 1, "n": 7}), Asked(), ["extra_column:n"]),
        (rows({"id": 2, "t": "b"}, {"id": 1, "t": "a"}), rows(A, B), BY_T, ["order:t,id"]),
        (rows(A, total="1"), rows(A, total="2"), Asked(), ["count"]),
        (rows(A), error(404, "PGRST205"), Asked(), ["status:200:404"]),
        (error(403, "42501"), error(403, "PGRST301"), Asked(), ["error_code:42501:PGRST301"]),
        (rows({"id": 1, "items": [{"n": 1}]}), rows({"id": 1, "items": [{"n": 2}]}), EMBEDS, ["column:items"]),
        (rows({"id": 1, "j": [{"n": 1}, {"n": 2}]}), rows({"id": 1, "j": [{"n": 2}, {"n": 1}]}), EMBEDS, ["column:j"]),
        (rows(A), rows(B), asked([("limit", "1")]), ["missing_row:True", "extra_row:True"]),
        (raw("7"), raw("8"), Asked(), ["column:"]),
        (raw("a", "text/plain"), raw("b", "text/plain"), Asked(), ["body"]),
        (raw("[1"), raw("[2"), Asked(), ["body"]),
        (raw('{"id": 1, "t": "a"}'), raw('{"id": 1, "t": "b"}'), Asked(), ["column:t"]),
    ],
)  # fmt: skip
def test_these_differ(first: ReadAnswer, second: ReadAnswer, how: Asked, fingerprints: Sequence[str]) -> None:
    assert [difference.fingerprint for difference in compared(first, second, how)] == fingerprints


def test_columns_can_be_left_out_also_of_embedded_rows() -> None:
    first = rows({"id": 1, "at": 1, "items": [{"n": 1, "at": 1}], "owner": {"at": 1}})
    second = rows({"id": 1, "at": 2, "items": [{"n": 1, "at": 2}], "owner": {"at": 2}})
    assert len(compared(first, second, EMBEDS)) == 3
    assert compared(first, second, EMBEDS, ignore=["at", "items.at", "owner.at"]) == ()


def test_rows_are_paired_by_the_named_columns() -> None:
    first, second = rows({"a": 1, "b": 1, "n": 5}), rows({"a": 1, "b": 1, "n": 6})
    (difference,) = compared(first, second, key=["a", "b"])
    assert (difference.fingerprint, difference.first) == ("column:n", {"a": 1, "b": 1, "n": "5"} | {"n": 5})


def test_an_answer_with_thousands_of_differences_tells_a_few() -> None:
    first = rows(*({"id": number, **{f"c{column}": 1 for column in range(30)}} for number in range(500)))
    second = rows(*({"id": number, **{f"c{column}": 2 for column in range(30)}} for number in range(500)))
    assert len(compared(first, second)) == 10


def test_what_a_read_asks_for_is_read_from_its_query() -> None:
    query = [
        ("select", "id,total,lines:order_lines!inner(id,product(name)),...owner(email)"),
        ("order", "total.desc.nullslast,id"),
        ("lines.order", "id.asc"),
        ("limit", "10"),
    ]
    assert asked(query) == Asked(("total", "id"), frozenset({"lines", "product", "owner"}), frozenset({"lines"}), True)


TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (
            {"id": 1, "password": "x", "api_key": "y", "t": "z"},
            {"id": 1, "password": "[hidden]", "api_key": "[hidden]", "t": "z"},
        ),
        ({"refresh_token": None}, {"refresh_token": None}),
        ({"note": f"see {TOKEN}"}, {"note": "[hidden]"}),
        ({"note": "sb_secret_abcdef"}, {"note": "[hidden]"}),
        ({"note": "postgresql://u:p@host/db"}, {"note": "[hidden]"}),
        ([{"a": {"token_hash": "x"}}], [{"a": {"token_hash": "[hidden]"}}]),
        ({"a": {"b": {"c": {"d": {"e": 1}}}}}, {"a": {"b": {"c": {"d": "[deep]"}}}}),
        ({"long": "x" * 300}, {"long": f"{'x' * 200}... (300 characters)"}),
    ],
)
def test_no_secret_is_stored(value: Any, shown: Any) -> None:
    assert censored(value) == shown


def test_nothing_of_auth_is_stored_but_names() -> None:
    assert censored({"email": "a@b", "ok": True, "n": 7}, hides_all=True) == {
        "email": "[hidden]",
        "ok": True,
        "n": "[hidden]",
    }
    assert censored_query([("email", "eq.a@b")], hides_all=True) == "email=eq.[hidden]"


def test_filters_keep_their_operators_and_lose_their_secrets() -> None:
    query = [
        ("select", "id,token"),
        ("token", "eq.abc"),
        ("total", "gt.5"),
        ("or", "(pin_code.eq.1,password.eq.2)"),
        ("x", f"eq.{TOKEN}"),
    ]
    shown = censored_query(query)
    assert shown == "select=id,token&token=eq.[hidden]&total=gt.5&or=[hidden]&x=eq.[hidden]"


def test_a_sample_is_bounded() -> None:
    sample = {"call": {"path": "/x"}, "supabase": ["x" * MAX_SAMPLE_BYTES], "isobase": None}
    assert bounded_sample(sample) == {"call": {"path": "/x"}, "supabase": "[too large]", "isobase": "[too large]"}


def test_numbers_are_stored_as_they_were_written() -> None:
    (difference,) = compared(raw('[{"id": 1, "n": 1.0}]'), raw('[{"id": 1, "n": 1.00}]'))
    assert (censored(difference.first), censored(difference.second)) == ({"id": 1, "n": "1.0"}, {"id": 1, "n": "1.00"})
