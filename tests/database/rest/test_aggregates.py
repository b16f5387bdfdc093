"""Aggregates in ``select``, where the setting allows them: what is grouped, at which level, and what is refused."""

from __future__ import annotations

import pytest

from tests.database.rest.conftest import Api, refusal


@pytest.mark.parametrize(
    ("path", "rows"),
    [
        ("/sales?select=count()", [{"count": 5}]),
        ("/sales?select=n:count()::text", [{"n": "5"}]),
        ("/sales?select=amount.sum(),amount.avg()::int,amount.min(),amount.max(),amount.count()",
         [{"sum": 36.0, "avg": 9, "min": 2.5, "max": 20.0, "count": 4}]),
        ("/sales?select=kind,amount.sum()&order=kind", [{"kind": "pot", "sum": 30.0}, {"kind": "tea", "sum": 6.0}]),
        ("/sales?select=sort:kind,total:amount.sum()&order=kind.desc&limit=1", [{"sort": "tea", "total": 6.0}]),
        ("/sales?select=facts->>pieces::int.sum()", [{"sum": 8}]),
        ("/sales?select=facts->pieces,count()&facts->pieces=not.is.null&facts->>pieces=eq.1", [{"pieces": 1, "count": 2}]),
        ("/sales?select=amount.sum()&kind=eq.tea&shop_id=eq.1", [{"sum": 6.0}]),
        ("/sales?select=name:kind,count()&id=eq.1", [{"name": "tea", "count": 1}]),
        ("/rpc/all_people?select=id.max()", [{"max": 3}]),
        ("/shops?select=*,count()&id=lt.3&order=id",
         [{"id": 1, "name": "north", "count": 1}, {"id": 2, "name": "south", "count": 1}]),
    ],
)  # fmt: skip
def test_rows_are_grouped_by_what_is_not_aggregated(open_api: Api, path: str, rows: list[dict[str, object]]) -> None:
    answer = open_api.get(path)
    assert (answer.status_code, answer.json()) == (200, rows), answer.text


@pytest.mark.parametrize(
    ("path", "rows"),
    [
        ("/shops?select=name,sales(amount.sum())&order=id",
         [{"name": "north", "sales": [{"sum": 26.0}]}, {"name": "south", "sales": [{"sum": 10.0}]},
          {"name": "empty", "sales": [{"sum": None}]}]),
        ("/sales?select=amount.sum(),shops(name)&shop_id=not.is.null&order=shop_id",
         (400, "42803")),
        ("/sales?select=amount.sum(),shops(name)&shops=not.is.null&order=sum", (400, "42703")),
        ("/sales?select=shop_id,amount.sum(),shops(name)&shop_id=not.is.null&order=shop_id",
         [{"shop_id": 1, "sum": 26.0, "shops": {"name": "north"}}, {"shop_id": 2, "sum": 10.0, "shops": {"name": "south"}}]),
        ("/shops?select=count(),sales(kind)&id=eq.2", [{"count": 1, "sales": [{"kind": "pot"}]}]),
    ],
)  # fmt: skip
def test_an_embed_aggregates_its_own_rows_and_groups_its_parents(
    open_api: Api, path: str, rows: list[dict[str, object]] | tuple[int, str]
) -> None:
    answer = open_api.get(path)
    if isinstance(rows, tuple):
        assert refusal(answer) == rows
    else:
        assert (answer.status_code, answer.json()) == (200, rows), answer.text


@pytest.mark.parametrize(
    ("path", "rows"),
    [
        ("/sales?select=...shops(name),amount.sum()&shops=not.is.null&order=shops(name)",
         [{"name": "north", "sum": 26.0}, {"name": "south", "sum": 10.0}]),
        ("/sales?select=kind,...shops(id.max())&order=kind", [{"kind": "pot", "max": 2}, {"kind": "tea", "max": 1}]),
        ("/sales?select=kind,...shops(shops:count())&order=kind", [{"kind": "pot", "shops": 2}, {"kind": "tea", "shops": 2}]),
        ("/tasks?select=...people!tasks_lead(name,...passports(number.count()))&lead_id=not.is.null&order=people(name)",
         [{"name": "Ann", "count": 1}, {"name": "Ben", "count": 0}]),
        ("/tasks?select=count(),...people!tasks_lead(passports(number))&lead_id=eq.1",
         [{"count": 1, "passports": {"number": "P-1"}}]),
    ],
)  # fmt: skip
def test_what_a_spread_aggregates_is_aggregated_over_the_rows_it_is_spread_into(
    open_api: Api, path: str, rows: list[dict[str, object]]
) -> None:
    answer = open_api.get(path)
    assert (answer.status_code, answer.json()) == (200, rows), answer.text


def test_the_total_counts_rows_and_not_groups(open_api: Api) -> None:
    answer = open_api.get("/sales?select=kind,count()", headers={"prefer": "count=exact"})
    assert (len(answer.json()), answer.headers["content-range"]) == (2, "0-1/5")


def test_a_spread_of_many_rows_cannot_be_aggregated(open_api: Api) -> None:
    answer = open_api.get("/shops?select=name,...sales(amount.sum())")
    assert refusal(answer) == (400, "PGRST127")
    assert answer.json()["details"] == "Aggregates are not implemented for one-to-many or many-to-many spreads."


@pytest.mark.parametrize(
    "path",
    [
        "/sales?select=amount.sum()",
        "/sales?select=count()",
        "/shops?select=name,sales(amount.sum())",
        "/sales?select=...shops(id.count())",
        "/shops?select=...sales(id.count())",
        "/rpc/all_people?select=id.max()",
    ],
)
def test_aggregates_are_refused_unless_the_setting_allows_them(api: Api, path: str) -> None:
    answer = api.get(path)
    assert refusal(answer) == (400, "PGRST123")
    assert answer.json()["message"] == "Use of aggregate functions is not allowed"


def test_an_aggregate_of_what_a_write_returns_is_of_the_written_rows(open_api: Api) -> None:
    answer = open_api.call(
        "PATCH",
        "/people?select=count()&id=gt.1",
        json={"name": "renamed"},
        headers={
            "prefer": "return=representation, tx=rollback",
            **open_api.user("11111111-1111-4111-8111-111111111111"),
        },
    )
    assert refusal(answer) == (409, "23505")
    answer = open_api.call(
        "POST",
        "/people?select=count(),id.max()",
        json=[{"id": 7, "name": "G"}, {"id": 8, "name": "H"}],
        headers={"prefer": "return=representation", **open_api.alice},
    )
    assert (answer.status_code, answer.json()) == (201, [{"count": 2, "max": 8}])
