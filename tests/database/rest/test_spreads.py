"""Spreads: an embed whose columns become the parent's, as values of one row or as arrays of many."""

from __future__ import annotations

import pytest

from tests.database.rest.conftest import Api, refusal


@pytest.mark.parametrize(
    ("path", "rows"),
    [
        ("/tasks?select=name,...teams(team:name)&order=id&limit=1", [{"name": "dig", "team": "Red"}]),
        ("/tasks?select=task:name,...teams(*)&id=eq.3", [{"task": "rest", "id": None, "name": None}]),
        ("/tasks?select=task:name,...people!tasks_lead(name,...passports(number))&id=eq.1",
         [{"task": "dig", "name": "Ann", "number": "P-1"}]),
        ("/tasks?select=...people!tasks_lead(*,passports(number))&id=eq.1",
         [{"id": 1, "name": "Ann", "passports": {"number": "P-1"}}]),
        ("/tasks?select=name,...teams()&id=eq.1", [{"name": "dig"}]),
        ("/tasks?select=task:name,...teams(*,*)&id=eq.1", [{"task": "dig", "id": 1, "name": "Red"}]),
        ("/teams?select=name,...captain(lead:name)&id=eq.2", [{"name": "Blue", "lead": "Ann"}]),
    ],
)  # fmt: skip
def test_a_spread_of_one_row_shows_its_columns(api: Api, path: str, rows: list[dict[str, object]]) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.json()) == (200, rows), answer.text


@pytest.mark.parametrize(
    ("path", "rows"),
    [
        ("/teams?select=name,...tasks(tasks:name,lead_id)&order=id",
         [{"name": "Red", "tasks": ["dig", "fill"], "lead_id": [1, 2]}, {"name": "Blue", "tasks": [], "lead_id": []}]),
        ("/teams?select=team:name,...tasks(*)&id=eq.1&tasks.order=name.desc&tasks.limit=1",
         [{"team": "Red", "id": [2], "name": ["fill"], "team_id": [1], "lead_id": [2], "helper_id": [None]}]),
        ("/teams?select=name,...tasks(lead_id)&id=eq.1&tasks.order=name.desc", [{"name": "Red", "lead_id": [2, 1]}]),
        ("/teams?select=name,...tasks(task:name,...people!tasks_lead(lead:name))&id=eq.1&tasks.order=people(lead).desc",
         [{"name": "Red", "task": ["fill", "dig"], "lead": ["Ben", "Ann"]}]),
        ("/people?select=person:name,...teams(teams:name)&id=lt.3&order=id&teams.order=name",
         [{"person": "Ann", "teams": ["Blue", "Red"]}, {"person": "Ben", "teams": ["Red"]}]),
        ("/people?select=name,...teams(team:name,...tasks(task:name))&id=eq.1&teams.order=id&teams.tasks.order=name",
         [{"name": "Ann", "team": ["Red", "Blue"], "task": [["dig", "fill"], []]}]),
        ("/people?select=name,...teams(team:name,tasks(name))&id=eq.2&teams.tasks.limit=1&teams.tasks.order=id",
         [{"name": "Ben", "team": ["Red"], "tasks": [[{"name": "dig"}]]}]),
        ("/people?select=name,...mates(mate:name)&id=eq.1", [{"name": "Ann", "mate": ["Ben"]}]),
        ("/teams?select=name,...tasks()&id=eq.1", [{"name": "Red"}]),
        ("/teams?select=name,...tasks!inner(task:name)&tasks.name=eq.fill", [{"name": "Red", "task": ["fill"]}]),
        ("/teams?select=name,...tasks(task:name)&tasks=is.null", [{"name": "Blue", "task": []}]),
        ("/teams?select=name,...tasks(task:name)&tasks=not.is.null&tasks.order=id",
         [{"name": "Red", "task": ["dig", "fill"]}]),
    ],
)  # fmt: skip
def test_a_spread_of_many_rows_shows_arrays_whose_elements_belong_together(
    api: Api, path: str, rows: list[dict[str, object]]
) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.json()) == (200, rows), answer.text


def test_rows_can_be_grouped_by_the_arrays_of_a_spread(open_api: Api) -> None:
    answer = open_api.get("/teams?select=count(),...tasks(task:name)&id=eq.2")
    assert (answer.status_code, answer.json()) == (200, [{"count": 1, "task": []}])


def test_a_related_order_goes_by_what_the_embed_shows(api: Api) -> None:
    shown = api.get("/tasks?select=name,boss:people!tasks_lead(called:name)&order=boss(called).desc.nullslast")
    assert [row["name"] for row in shown.json()] == ["fill", "dig", "rest"]
    hidden = api.get("/tasks?select=name,boss:people!tasks_lead(called:name)&order=boss(id)")
    assert refusal(hidden) == (400, "42703")
    assert hidden.json()["message"] == "column tasks_boss_1.id does not exist"
