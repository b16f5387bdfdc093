"""What a write says before it is sent, and what its answer tells, of rows that may be there anew and of keys it lacks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest

from isobase_adapter.http.relations import Relation
from isobase_adapter.http.rest_writes import plan_write
from isobase_adapter.rows.tables import Column, Table, Trigger
from isobase_adapter.things import Thing, ThingKind

SHOPS = Table(
    "public",
    "shops",
    (
        Column("id", "uuid", "uuid", "uuid", "=", True, default="gen_random_uuid()"),
        Column("n", "int", "int4", "int", "="),
    ),
    key=("id",),
)
RELATION = Relation("public.shops", (SHOPS,), referring=("public.orders", "public.lines"))
ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"
WHOLE = {"public.shops", "public.orders", "public.lines"}


def request(method: str, query: str = "", body: Any = None, **headers: str) -> httpx.Request:
    made = httpx.Request(method, f"http://x/rest/v1/shops{query}", json=body, headers=headers)
    made.read()
    return made


def row(key: str = ONE, *, is_anew: bool) -> Thing:
    return Thing(ThingKind.ROW, "public.shops", (key,), is_anew)


@pytest.mark.parametrize(
    ("made", "status", "before", "after"),
    [
        pytest.param(request("POST", "", {"id": ONE}), 201, True, True, id="inserted"),
        pytest.param(
            request("POST", "", {"id": ONE}, prefer="resolution=merge-duplicates"), 200, True, False, id="found"
        ),
        pytest.param(
            request("POST", "", {"id": ONE}, prefer="resolution=merge-duplicates"), 201, True, True, id="upserted"
        ),
        pytest.param(
            request("POST", "?on_conflict=n", {"id": ONE, "n": 1}, prefer="resolution=merge-duplicates"),
            200,
            True,
            True,
            id="found-by-other-columns",
        ),
        pytest.param(request("PUT", f"?id=eq.{ONE}", {"id": ONE}), 200, True, False, id="put"),
        pytest.param(request("PATCH", f"?id=eq.{ONE}", {"n": 1}), 200, False, False, id="changed"),
        pytest.param(request("DELETE", f"?id=eq.{ONE}"), 200, False, False, id="deleted"),
    ],
)
def test_an_inserted_row_is_named_with_what_refers_to_it(
    made: httpx.Request, status: int, before: bool, after: bool
) -> None:
    plan = plan_write(made, RELATION)
    assert plan.things == (row(is_anew=before),)
    answer = httpx.Response(status, json=[{"isobase_key_0": ONE}])
    assert plan.changed(answer) == (row(is_anew=after),)
    alone = plan_write(made, replace(RELATION, referring=()))
    assert alone.things == alone.changed(answer) == (row(is_anew=False),)


def test_a_row_with_another_key_is_named_under_both_with_what_refers_to_them() -> None:
    plan = plan_write(request("PATCH", f"?id=eq.{ONE}", {"id": TWO}), RELATION)
    assert plan.things == (row(is_anew=True), row(TWO, is_anew=True))
    assert plan.changed(httpx.Response(200, json=[{"isobase_key_0": TWO}])) == plan.things


def test_where_inserted_rows_are_not_known_the_tables_that_refer_to_them_are_compared_too() -> None:
    for body in ([{"id": ONE}] * 5001, [{"n": 1}, {"id": ONE}]):
        plan = plan_write(request("POST", "", body), RELATION)
        assert {thing.resource for thing in plan.things} == WHOLE
    # Nothing can refer to a key that is made for the row.
    (alone,) = plan_write(request("POST", "", {"n": 1}), RELATION).things
    assert alone == Thing(ThingKind.TABLE, "public.shops")
    trigger = Trigger("t", "CREATE TRIGGER t BEFORE INSERT ON public.shops FOR EACH ROW EXECUTE FUNCTION f()", "O", "f")
    guarded = replace(RELATION, tables=(replace(SHOPS, triggers=(trigger,)),))
    assert {thing.resource for thing in plan_write(request("POST", "", {"n": 1}), guarded).things} == WHOLE
    (changed,) = plan_write(request("PATCH", "?n=eq.1", {"n": 2}), RELATION).things
    assert changed == alone


@pytest.mark.parametrize("body", [{"n": 1}, [{"n": 1}, {"n": 2}]])
def test_an_insert_of_rows_that_its_caller_may_not_read_is_sent_with_the_keys_that_name_them(body: Any) -> None:
    made = plan_write(request("POST", "?columns=n", body), RELATION).with_made_keys()
    assert made is not None
    sent = json.loads(made.request.content)
    rows = sent if isinstance(body, list) else [sent]
    keys = [each.pop("id") for each in rows]
    assert all(UUID(key).version == 4 for key in keys)
    assert sent == body
    assert made.request.url.query == b"columns=n,id"
    assert int(made.request.headers["content-length"]) == len(made.request.content)
    named = tuple(row(key, is_anew=False) for key in keys)
    assert made.changed(httpx.Response(201), is_original=True) == named
    assert made.changed(httpx.Response(201, headers={"preference-applied": "tx=rollback"}), is_original=True) == ()


@pytest.mark.parametrize(
    ("made", "table"),
    [
        pytest.param(request("POST", "", {"id": ONE}), SHOPS, id="given"),
        pytest.param(request("POST", "", {"n": 1}, prefer="resolution=merge-duplicates"), SHOPS, id="upsert"),
        pytest.param(request("POST", "?select=n", {"n": 1}, prefer="return=representation"), SHOPS, id="shown"),
        pytest.param(request("PATCH", "?n=eq.1", {"n": 1}), SHOPS, id="change"),
        pytest.param(
            request("POST", "", {"n": 1}),
            replace(SHOPS, columns=(replace(SHOPS.columns[0], default="auth.uid()"), SHOPS.columns[1])),
            id="other-default",
        ),
    ],
)
def test_no_key_is_made_where_another_could_come_of_it(made: httpx.Request, table: Table) -> None:
    assert plan_write(made, replace(RELATION, tables=(table,))).with_made_keys() is None


def test_a_row_whose_key_is_made_for_it_is_named_alone_and_one_with_a_sequences_number_is_not() -> None:
    answer = httpx.Response(201, json=[{"isobase_key_0": ONE}])
    assert plan_write(request("POST", "", {"n": 1}), RELATION).changed(answer) == (row(is_anew=False),)
    serial = replace(SHOPS, columns=(replace(SHOPS.columns[0], default="nextval('s'::regclass)"), SHOPS.columns[1]))
    plan = plan_write(request("POST", "", {"n": 1}), replace(RELATION, tables=(serial,)))
    assert plan.changed(answer) == (row(is_anew=True),)
    assert plan.things == (Thing(ThingKind.TABLE, "public.shops"),)


def test_rows_are_named_by_a_table_of_values_only_where_its_names_are_surely_those_of_its_columns() -> None:
    plan = plan_write(request("POST", "", {"n": 1}, accept="text/csv", prefer="return=representation"), RELATION)
    answer = httpx.Response(201, headers={"content-type": "text/csv; charset=utf-8"}, text=f"id,n\n{ONE},1")
    assert plan.changed(answer) == (row(is_anew=False),)
    asked = request("POST", "?select=n", {"n": 1}, accept="text/csv", prefer="return=representation")
    # As PostgREST 12 has it: the key's name stands in the head, its value in no line.
    answer = httpx.Response(201, headers={"content-type": "text/csv; charset=utf-8"}, text="id,n\n1")
    assert {thing.resource for thing in plan_write(asked, RELATION).changed(answer)} <= WHOLE
    assert all(thing.is_whole for thing in plan_write(asked, RELATION).changed(answer))
