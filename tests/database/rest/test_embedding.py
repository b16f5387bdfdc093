"""Embedded resources: which relationship, joined how, shown how."""

from __future__ import annotations

from typing import Any

import pytest

from tests.database.rest.conftest import RELOAD_TIMEOUT_S, Api, refusal


@pytest.mark.parametrize(
    ("path", "rows"),
    [
        ("/tasks?select=name,teams(name)&id=eq.1", [{"name": "dig", "teams": {"name": "Red"}}]),
        ("/tasks?select=name,teams(name)&id=eq.3", [{"name": "rest", "teams": None}]),
        (
            "/teams?select=name,tasks(name)&id=eq.1&tasks.order=name.desc&tasks.limit=1",
            [{"name": "Red", "tasks": [{"name": "fill"}]}],
        ),
        (
            "/tasks?select=lead:people!tasks_lead(name),helper:people!helper_id(name)&id=eq.1",
            [{"lead": {"name": "Ann"}, "helper": {"name": "Ben"}}],
        ),
        ("/tasks?select=lead_id(name)&id=eq.1", [{"lead_id": {"name": "Ann"}}]),
        ("/tasks?select=tasks_lead(name)&id=eq.1", [{"tasks_lead": {"name": "Ann"}}]),
        (
            "/people?select=name,passports(number)&id=in.(1,2)&order=id",
            [{"name": "Ann", "passports": {"number": "P-1"}}, {"name": "Ben", "passports": None}],
        ),
        (
            "/people?select=name,teams(name)&id=eq.1&teams.order=id",
            [{"name": "Ann", "teams": [{"name": "Red"}, {"name": "Blue"}]}],
        ),
        ("/people?select=teams!members(name)&id=eq.2", [{"teams": [{"name": "Red"}]}]),
        ("/people?select=name,...passports(number)&id=eq.1", [{"name": "Ann", "number": "P-1"}]),
        ("/tree?select=id,tree(id)&id=eq.1&tree.order=id", [{"id": 1, "tree": [{"id": 2}, {"id": 3}]}]),
        ("/tree?select=id,parent_id(id)&id=eq.2", [{"id": 2, "parent_id": {"id": 1}}]),
        ("/tree?select=id,children:tree!parent_id(id)&id=eq.2", [{"id": 2, "children": []}]),
        ("/led_tasks?select=name,people(name)&id=eq.1", [{"name": "dig", "people": {"name": "Ann"}}]),
        ("/people?select=name,led_tasks(name)&id=eq.1", [{"name": "Ann", "led_tasks": [{"name": "dig"}]}]),
        (
            "/teams?select=name,tasks(name,people!tasks_lead(name,passports(number)))&id=eq.1&tasks.id=eq.1",
            [{"name": "Red", "tasks": [{"name": "dig", "people": {"name": "Ann", "passports": {"number": "P-1"}}}]}],
        ),
    ],
)
def test_an_embed_follows_its_key(api: Api, path: str, rows: list[dict[str, object]]) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.json()) == (200, rows), answer.text


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/people?select=name,passports!inner(number)", ["Ann"]),
        ("/people?select=name,passports()&passports=is.null&order=name", ["Ben", "Cid"]),
        ("/people?select=name,passports()&passports=not.is.null", ["Ann"]),
        ("/people?select=name,teams!inner()&teams.name=eq.Blue", ["Ann"]),
        ("/people?select=name,teams()&teams=is.null", ["Cid"]),
        (
            "/people?select=name,passports(),teams()&or=(passports.not.is.null,teams.not.is.null)&order=name",
            ["Ann", "Ben"],
        ),
        ("/people?select=name,passports!left(number)&passports.number=eq.none&order=name", ["Ann", "Ben", "Cid"]),
    ],
)
def test_an_embed_can_hold_back_its_parents_and_counts_agree(api: Api, path: str, names: list[str]) -> None:
    answer = api.get(path, prefer="count=exact")
    assert [row["name"] for row in answer.json()] == names
    assert answer.headers["content-range"].endswith(f"/{len(names)}")


def test_rows_of_nothing_but_empty_embeds_are_empty_objects(api: Api) -> None:
    answer = api.get("/people?select=teams()&teams=is.null", prefer="count=exact")
    assert (answer.json(), answer.headers["content-range"]) == ([{}], "0-0/1")


def test_two_ways_to_a_table_are_300_with_each_named(api: Api) -> None:
    answer = api.get("/tasks?select=people(name)")
    assert refusal(answer) == (300, "PGRST201")
    assert answer.json()["details"] == [
        {
            "cardinality": "many-to-one",
            "relationship": "tasks_helper using tasks(helper_id) and people(id)",
            "embedding": "tasks with people",
        },
        {
            "cardinality": "many-to-one",
            "relationship": "tasks_lead using tasks(lead_id) and people(id)",
            "embedding": "tasks with people",
        },
    ]
    assert "'people!tasks_helper', 'people!tasks_lead'" in answer.json()["hint"]


@pytest.mark.parametrize(
    ("path", "expected", "hint"),
    [
        ("/tasks?select=team(name)", (400, "PGRST200"), "Perhaps you meant 'teams' instead of 'team'."),
        ("/tasks?select=keyless(word)", (400, "PGRST200"), None),
        ("/people?select=secret_people(id)", (400, "PGRST200"), None),
        (
            "/people?select=name&passports.number=eq.1",
            (400, "PGRST108"),
            "Verify that 'passports' is included in the 'select' query parameter.",
        ),
        ("/people?select=name,teams(name)&order=teams(name)", (400, "PGRST118"), None),
        ("/people?select=id.sum()", (400, "PGRST123"), None),
    ],
)
def test_what_cannot_be_embedded_is_refused(api: Api, path: str, expected: tuple[int, str], hint: str | None) -> None:
    answer = api.get(path)
    assert refusal(answer) == expected
    assert answer.json()["hint"] == hint
    assert "hidden" not in answer.text


def test_policies_hold_inside_embeds(api: Api) -> None:
    api.rows("create table if not exists public.remarks (id int primary key, note_id int references public.notes)")
    api.rows("grant select on public.remarks to anon, authenticated")
    try:
        api.rows("insert into public.remarks select id, id from public.notes")
        api.rows("notify pgrst, 'reload schema'")
        wait_for(api, "/remarks?select=id")
        answer = api.get("/remarks?select=id,notes(title)&order=id", who=api.bob)
        assert answer.json() == [
            {"id": 1, "notes": None},
            {"id": 2, "notes": {"title": "second"}},
            {"id": 3, "notes": {"title": "third"}},
        ]
    finally:
        api.rows("drop table public.remarks")
        api.rows("notify pgrst, 'reload schema'")


def wait_for(api: Api, path: str, status: int = 200) -> None:
    """Until the schema cache has seen a change."""
    import time

    deadline_s = time.monotonic() + RELOAD_TIMEOUT_S
    while api.get(path).status_code != status and time.monotonic() < deadline_s:
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("parameters", "keys"),
    [
        ("", ["name", "lead", "helper", "teams"]),
        ("&teams.id=gt.0", ["name", "teams", "lead", "helper"]),
        ("&teams.id=gt.0&helper.id=gt.0", ["name", "teams", "helper", "lead"]),
        ("&teams.id=gt.0&helper.order=id", ["name", "helper", "teams", "lead"]),
        ("&lead.limit=1&helper.or=(id.eq.1,id.eq.2)&teams.order=id", ["name", "helper", "lead", "teams"]),
    ],
)
def test_embeds_with_parameters_of_their_own_come_first_as_upstream(api: Api, parameters: str, keys: list[str]) -> None:
    select = "name,lead:people!tasks_lead(name),helper:people!tasks_helper(name),teams(name)"
    answer = api.get(f"/tasks?select={select}&id=eq.1{parameters}")
    assert [list(row) for row in answer.json()] == [keys]


def test_a_name_that_several_embeds_go_by_means_the_first(api: Api) -> None:
    path = "/teams?select=one:tasks(name),two:tasks(name)&id=eq.1&tasks.name=eq.dig&one.order=id&two.order=id"
    (row,) = api.get(path).json()
    assert {name: len(tasks) for name, tasks in row.items()} == {"one": 1, "two": 2}


def test_what_is_not_embedded_is_told_before_two_embeds_of_one_name(api: Api) -> None:
    twice = "/teams?select=tasks(id),tasks(name)"
    assert refusal(api.get(f"{twice}&people.id=eq.1")) == (400, "PGRST108")
    assert refusal(api.get(f"{twice}&order=tasks(id)")) == (400, "PGRST118")
    assert refusal(api.get(twice)) == (400, "42712")


def test_an_error_calls_rows_behind_a_junction_by_their_relation(api: Api) -> None:
    answer = api.get("/people?select=name,teams(nosuch)")
    assert (refusal(answer), answer.json()["message"]) == ((400, "42703"), "column teams.nosuch does not exist")
    answer = api.get("/teams?select=name,tasks(nosuch)")
    assert (refusal(answer), answer.json()["message"]) == ((400, "42703"), "column tasks_1.nosuch does not exist")


def test_rows_are_sorted_by_what_is_embedded_in_a_related_row(api: Api) -> None:
    answer = api.get("/tasks?select=name,people!tasks_lead(passports(number))&order=people(passports),id")
    assert [row["name"] for row in answer.json()] == ["dig", "fill", "rest"]


def test_arrays_are_read_for_the_rows_that_a_limit_leaves_only(open_api: Api) -> None:
    accept = 'application/vnd.pgrst.plan+json; for="application/json"; options=analyze'
    answer = open_api.get("/teams?select=name,tasks(name)&order=name&limit=1", headers={"accept": accept})
    (plan,) = answer.json()

    def loops(node: dict[str, Any]) -> list[int]:
        own = [node["Actual Loops"]] if node.get("Relation Name") == "tasks" else []
        return own + [count for child in node.get("Plans", ()) for count in loops(child)]

    assert loops(plan["Plan"]) == [1]


LONG = "x" * 80


@pytest.mark.parametrize(
    ("path", "row"),
    [
        (f"/tasks?select={LONG}:name&id=eq.1", {LONG[:63]: "dig"}),
        (f"/tasks?select={LONG}:teams(name)&id=eq.1&{LONG}.id=gt.0", {LONG[:63]: {"name": "Red"}}),
        (f"/tasks?select=...teams({LONG}:name)&id=eq.1", {LONG[:63]: "Red"}),
        (f"/tasks?select={'é' * 40}:name&id=eq.1", {"é" * 31: "dig"}),
        ("/tasks?select=isobase_answer:name,id&id=eq.1", {"isobase_answer": "dig", "id": 1}),
        ("/teams?select=isobase_row:tasks(isobase_row:name)&id=eq.1&isobase_row.id=eq.1",
         {"isobase_row": [{"isobase_row": "dig"}]}),
        ("/teams?select=...tasks(isobase_data:name)&id=eq.1&tasks.id=eq.1", {"isobase_data": ["dig"]}),
        ("/tasks?select=tasks_teams_1:name,teams(tasks_teams_1:name)&id=eq.1&order=teams(tasks_teams_1)",
         {"tasks_teams_1": "dig", "teams": {"tasks_teams_1": "Red"}}),
    ],
)  # fmt: skip
def test_an_alias_may_be_any_name_and_is_cut_as_postgresql_cuts_names(
    api: Api, path: str, row: dict[str, object]
) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.json()) == (200, [row]), answer.text


@pytest.mark.parametrize("select", ['"":name', '"":teams(name)', '...teams("":name)', 'teams("")'])
def test_an_empty_name_is_refused(api: Api, select: str) -> None:
    answer = api.get(f"/tasks?select={select}")
    assert refusal(answer) == (400, "42601")
    assert answer.json()["message"] == 'zero-length delimited identifier at or near """"'
