"""``application/vnd.pgrst.plan``: how PostgreSQL would answer, where the setting allows to ask."""

from __future__ import annotations

import pytest

from tests.database.rest.conftest import Api, refusal

PLAN = "application/vnd.pgrst.plan"


@pytest.mark.parametrize("path", ["/people", "/rpc/motto"])
def test_a_plan_is_not_acceptable_unless_the_setting_allows_it(api: Api, path: str) -> None:
    assert refusal(api.get(path, headers={"accept": PLAN})) == (406, "PGRST107")


def test_a_plan_is_text_by_default(open_api: Api) -> None:
    answer = open_api.get("/people?id=eq.1", headers={"accept": PLAN})
    assert answer.status_code == 200
    assert answer.text.startswith("Aggregate")
    assert answer.text.endswith("\n")
    assert answer.headers["content-type"] == f'{PLAN}+text; for="application/json"; charset=utf-8'
    assert answer.headers["content-length"] == str(len(answer.content))
    assert "content-range" not in answer.headers


def test_options_go_to_explain(open_api: Api) -> None:
    accept = f'{PLAN}+json; for="text/csv"; options=verbose|settings|analyze|nothing'
    answer = open_api.get("/people?id=eq.1", headers={"accept": accept})
    (plan,) = answer.json()
    assert plan["Plan"]["Actual Rows"] == 1
    assert any("string_agg" in shown for shown in plan["Plan"]["Output"])
    assert plan["Settings"]["search_path"].startswith('"public"')
    assert (
        answer.headers["content-type"]
        == f'{PLAN}+json; for="text/csv"; options=analyze|verbose|settings; charset=utf-8'
    )


def test_options_that_do_not_go_together_are_postgresqls_to_refuse(open_api: Api) -> None:
    assert refusal(open_api.get("/people", headers={"accept": f"{PLAN};options=wal"})) == (400, "22023")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/people", {"id": 9, "name": "Ida"}),
        ("PATCH", "/people?id=eq.1", {"name": "Ida"}),
        ("PUT", "/people?id=eq.9", {"id": 9, "name": "Ida"}),
        ("DELETE", "/people", None),
        ("POST", "/rpc/motto", {"name": "B"}),
    ],
)
def test_the_plan_of_a_write_writes_nothing(open_api: Api, method: str, path: str, body: dict[str, object]) -> None:
    before = open_api.rows("select * from public.people order by id")
    answer = open_api.call(
        method,
        path,
        json=body,
        headers={"accept": f'{PLAN}+json;for="application/vnd.pgrst.object+json"'},
        prefer="return=representation, count=exact",
    )
    assert (answer.status_code, list(answer.json()[0])) == (200, ["Plan"])
    assert not {"content-range", "preference-applied", "location"} & answer.headers.keys()
    assert open_api.rows("select * from public.people order by id") == before


def test_the_plan_is_of_what_the_caller_may_see(open_api: Api) -> None:
    answer = open_api.get("/notes", who=open_api.alice, headers={"accept": PLAN})
    assert "is_public" in answer.text
    assert refusal(open_api.get("/forbidden", who=open_api.alice, headers={"accept": PLAN})) == (403, "42501")
