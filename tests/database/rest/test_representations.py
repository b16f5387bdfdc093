"""Domain representations: columns that casts show as JSON and read from JSON and from the query string."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.database.rest.conftest import DATABASE_NAME, Api, refusal

REPRESENTATION = "return=representation"
RED = {"id": 1, "name": "red", "tint": "#FF0000", "price": "1.50"}
BLUE = {"id": 2, "name": "blue", "tint": "#0000FF", "price": None}
ROWS = """
truncate public.pens cascade;
insert into public.pens values (1, 'red', 16711680, 150), (2, 'blue', 255, null);
insert into public.cases values (7, 1);
"""


@pytest.fixture
def pens(api: Api) -> Iterator[Api]:
    api.database.execute(ROWS, database=DATABASE_NAME)
    yield api
    api.database.execute("truncate public.pens cascade", database=DATABASE_NAME)


def stored(api: Api) -> list[tuple[object, ...]]:
    return api.rows("select id, tint, price from public.pens order by id")


@pytest.mark.parametrize(
    ("path", "rows"),
    [
        ("/pens?select=id,tint&order=id", [{"id": 1, "tint": "#FF0000"}, {"id": 2, "tint": "#0000FF"}]),
        ("/pens?order=tint", [BLUE, RED]),
        ("/pens?select=*&id=eq.1", [RED]),
        ("/pens?select=price,*&id=eq.1", [{"price": "1.50", **RED}]),
        ("/pens?select=colour:tint&id=eq.1", [{"colour": "#FF0000"}]),
        ("/pens?select=tint::text&id=eq.1", [{"tint": '"#FF0000"'}]),
        ("/priced_pens", [{"id": 1, "tint": "#FF0000", "price": "1.50"}]),
        ("/rpc/all_pens?id=eq.1", [RED]),
        ("/cases?select=id,pens(*)", [{"id": 7, "pens": RED}]),
        ("/cases?select=id,...pens(tint)", [{"id": 7, "tint": "#FF0000"}]),
        ("/pens?select=tint,cases(id)&id=eq.1", [{"tint": "#FF0000", "cases": [{"id": 7}]}]),
    ],
)
def test_a_column_is_shown_through_its_cast_to_json(pens: Api, path: str, rows: list[object]) -> None:
    answer = pens.get(path)
    assert (answer.status_code, answer.json()) == (200, rows)


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("tint=eq.%23FF0000", [1]),
        ("tint=neq.FF0000", [2]),
        ("tint=not.eq.FF0000", [2]),
        ("tint=gt.000FFF", [1]),
        ("tint=in.(FF0000,0000FF)", [1, 2]),
        ("tint=not.in.(FF0000)", [2]),
        ("tint=eq(any).{FF0000,00FF00}", [1]),
        ("tint=is.null", []),
        ("or=(tint.eq.FF0000,price.is.null)", [1, 2]),
        ("price=eq.150", [1]),
    ],
)
def test_a_filters_value_is_read_through_the_cast_from_text(pens: Api, condition: str, ids: list[int]) -> None:
    answer = pens.get(f"/pens?select=id&order=id&{condition}", prefer="count=exact")
    assert [row["id"] for row in answer.json()] == ids
    assert answer.headers["content-range"].endswith(f"/{len(ids)}")


def test_a_value_that_the_function_cannot_read_is_its_error(pens: Api) -> None:
    assert refusal(pens.get("/pens?tint=eq.nothex")) == (400, "22P02")
    assert refusal(pens.get("/pens?tint=like.*FF*")) == (404, "42883")


def test_written_values_are_read_through_the_cast_from_json(pens: Api) -> None:
    made = pens.call("POST", "/pens", json={"id": 3, "tint": "#00FF00", "price": 5}, prefer=REPRESENTATION)
    assert (made.status_code, made.json()) == (201, [{"id": 3, "name": None, "tint": "#00FF00", "price": "0.05"}])
    many = pens.call(
        "POST",
        "/pens?columns=id,tint&select=tint",
        json=[{"id": 4, "tint": "#000001", "price": 9}, {"id": 5}],
        prefer=f"{REPRESENTATION}, missing=default",
    )
    assert many.json() == [{"tint": "#000001"}, {"tint": "#0000FF"}]
    assert stored(pens)[2:] == [(3, 65280, 5), (4, 1, None), (5, 255, None)]


def test_so_are_those_of_a_patch_and_a_put(pens: Api) -> None:
    changed = pens.call("PATCH", "/pens?tint=eq.FF0000&select=id,tint", json={"tint": "#1"}, prefer=REPRESENTATION)
    assert changed.json() == [{"id": 1, "tint": "#000001"}]
    put = pens.call("PUT", "/pens?id=eq.2", json={"id": 2, "name": "b", "tint": "2"}, prefer=REPRESENTATION)
    assert (put.status_code, put.json()) == (200, [{"id": 2, "name": "b", "tint": "#000002", "price": None}])
    assert pens.call("DELETE", "/pens?tint=eq.000002").status_code == 204
    assert stored(pens) == [(1, 1, 150)]


def test_csv_shows_the_same(pens: Api) -> None:
    answer = pens.get("/pens?select=id,tint&id=eq.1", headers={"accept": "text/csv"})
    assert answer.text == 'id,tint\n1,"""#FF0000"""'


def test_rows_are_grouped_by_what_is_stored(pens: Api, open_api: Api) -> None:
    pens.rows("insert into public.pens values (3, 'again', 255, 7) returning id")
    answer = open_api.get("/pens?select=colour:tint,count()&order=tint")
    assert answer.json() == [{"colour": "#0000FF", "count": 2}, {"colour": "#FF0000", "count": 1}]
