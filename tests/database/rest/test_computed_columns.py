"""Functions of a row that read like columns: in select, filters and orders, of tables and of views."""

from __future__ import annotations

import pytest

from tests.database.rest.conftest import Api, refusal


@pytest.mark.parametrize(
    ("path", "rows"),
    [
        ("/people?select=shout&id=eq.1", [{"shout": "ANN"}]),
        ("/people?select=loud:shout::text,id&shout=eq.BEN", [{"loud": "BEN", "id": 2}]),
        ("/people?select=id&order=shout.desc", [{"id": 3}, {"id": 2}, {"id": 1}]),
        ("/people?select=id&or=(shout.like.A*,shout.in.(CID,X))&order=id", [{"id": 1}, {"id": 3}]),
        ("/shops?select=facts->n&facts->>n=eq.5&order=facts->n,id", [{"n": 5}, {"n": 5}, {"n": 5}]),
        ("/led_tasks?select=line&line_length=eq.10&order=line.desc", [{"line": "dig by Ann"}]),
        ("/led_tasks?select=id&order=line_length.desc,line", [{"id": 2}, {"id": 1}]),
        ("/tasks?select=name,people!tasks_lead(shout)&id=eq.1", [{"name": "dig", "people": {"shout": "ANN"}}]),
        ("/people?select=id,led_tasks(line)&id=eq.1&led_tasks.line=like.dig*",
         [{"id": 1, "led_tasks": [{"line": "dig by Ann"}]}]),
        ("/tasks?select=name,...people!tasks_lead(shout)&id=eq.1", [{"name": "dig", "shout": "ANN"}]),
        ("/rpc/all_people?select=shout&shout=eq.CID", [{"shout": "CID"}]),
        ("/shops?select=best->amount&id=eq.1", [{"amount": 20.0}]),
    ],
)  # fmt: skip
def test_a_function_of_a_row_reads_like_a_column(api: Api, path: str, rows: list[dict[str, object]]) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.json()) == (200, rows), answer.text


def test_a_write_returns_computed_columns(api: Api) -> None:
    answer = api.call(
        "POST",
        "/people?select=id,shout",
        json={"id": 9, "name": "Ida"},
        headers={"prefer": "return=representation", **api.alice},
    )
    assert (answer.status_code, answer.json()) == (201, [{"id": 9, "shout": "IDA"}])


def test_computed_columns_are_summed_and_grouped_by(open_api: Api) -> None:
    answer = open_api.get("/led_tasks?select=lead_name,line_length.sum()&order=lead_name")
    assert answer.json() == [{"lead_name": "Ann", "sum": 10}, {"lead_name": "Ben", "sum": 11}]
    answer = open_api.get("/led_tasks?select=line_length,count()&line_length=gt.10")
    assert answer.json() == [{"line_length": 11, "count": 1}]


def test_a_computed_column_is_not_part_of_a_star_and_not_written(api: Api) -> None:
    assert "shout" not in api.get("/people?id=eq.1").json()[0]
    answer = api.call("PATCH", "/people?id=eq.1", json={"shout": "X"}, headers=api.alice)
    assert refusal(answer) == (400, "PGRST204")
