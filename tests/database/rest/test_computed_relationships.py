"""Relationships that functions over a row give."""

from __future__ import annotations

import pytest

from tests.database.rest.conftest import Api, refusal


@pytest.mark.parametrize(
    ("path", "rows"),
    [
        ("/teams?select=name,captain(name)&order=id",
         [{"name": "Red", "captain": {"name": "Ann"}}, {"name": "Blue", "captain": {"name": "Ann"}}]),
        ("/teams?select=lead:single_captain(name)&id=eq.1", [{"lead": {"name": "Ann"}}]),
        ("/people?select=name,mates(name)&id=eq.2", [{"name": "Ben", "mates": [{"name": "Ann"}]}]),
        ("/people?select=name,mates(name,mates(name))&id=eq.2",
         [{"name": "Ben", "mates": [{"name": "Ann", "mates": [{"name": "Ben"}]}]}]),
        ("/teams?select=name,mates(id)&id=eq.1&mates.order=id.desc&mates.limit=1", [{"name": "Red", "mates": [{"id": 3}]}]),
        ("/teams?select=name,passports(number)&id=eq.2", [{"name": "Blue", "passports": [{"number": "P-1"}]}]),
        ("/tasks?select=teams(name,captain(shout,passports(number)))&id=eq.1",
         [{"teams": {"name": "Red", "captain": {"shout": "ANN", "passports": {"number": "P-1"}}}}]),
        ("/people?select=name,mates!inner()&mates.name=eq.Ann", [{"name": "Ben"}]),
        ("/people?select=name,mates()&mates=is.null", [{"name": "Cid"}]),
        ("/teams?select=name,captain(name)&order=captain(name),name&limit=1", [{"name": "Blue", "captain": {"name": "Ann"}}]),
        ("/rpc/all_people?select=name,mates(name)&id=eq.1", [{"name": "Ann", "mates": [{"name": "Ben"}]}]),
        ("/rpc/first_person?select=mates(name)", {"mates": [{"name": "Ben"}]}),
    ],
)  # fmt: skip
def test_a_function_over_a_row_is_embedded_like_a_relation(api: Api, path: str, rows: object) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.json()) == (200, rows), answer.text


def test_an_inner_computed_embed_counts(api: Api) -> None:
    answer = api.get("/people?select=name,mates!inner(name)&mates.name=eq.Ann", headers={"prefer": "count=exact"})
    assert (answer.status_code, answer.headers["content-range"]) == (200, "0-0/1")


def test_what_a_write_returns_embeds_what_functions_give(api: Api) -> None:
    answer = api.call(
        "PATCH",
        "/teams?id=eq.1&select=name,captain(name)",
        json={"name": "Crimson"},
        headers={"prefer": "return=representation", **api.alice},
    )
    assert (answer.status_code, answer.json()) == (200, [{"name": "Crimson", "captain": {"name": "Ann"}}])


def test_rights_on_what_a_function_reads_are_the_callers(api: Api) -> None:
    assert refusal(api.get("/people?select=name,locked(id)&id=eq.1", who=api.alice)) == (403, "42501")


def test_a_related_order_by_many_rows_is_refused(api: Api) -> None:
    answer = api.get("/people?select=name,mates(name)&order=mates(name)")
    assert refusal(answer) == (400, "PGRST118")
