"""What every route answers to requests that miss it, and what the description says of the routes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from isobase_platform.config import Settings
from isobase_services.database.dynamic.openapi import OPENAPI
from tests.database.dynamic.conftest import NOBODY, Server, refusal, running

_DB, _TABLES = f"/db/{NOBODY}", f"/db/{NOBODY}/tables"
_METHODS = {
    "/db": {"GET", "POST"},
    _DB: {"GET", "DELETE"},
    f"{_DB}/members": {"GET", "POST"},
    f"{_DB}/members/{NOBODY}": {"PUT", "PATCH", "DELETE"},
    _TABLES: {"GET", "POST"},
    f"{_TABLES}/{NOBODY}": {"GET", "PATCH", "DELETE"},
    f"{_TABLES}/{NOBODY}/rows": {"GET", "POST"},
    f"{_TABLES}/{NOBODY}/rows/{NOBODY}": {"GET", "PATCH", "DELETE"},
}


@pytest.mark.parametrize("path", _METHODS)
async def test_a_wrong_method_is_405_and_names_the_right_ones(server: Server, path: str) -> None:
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - _METHODS[path]:
        answer = await server.http.request(method, path, headers=server.alice)
        assert refusal(answer) == (405, "method_not_allowed"), method
        allowed = {one.strip() for one in answer.headers["allow"].split(",")}
        assert allowed - {"HEAD"} == _METHODS[path]


@pytest.mark.parametrize(
    "path", ["/db/x/y", f"{_DB}/table", f"{_TABLES}/{NOBODY}/columns", f"{_TABLES}/", "/db//tables"]
)
async def test_an_unknown_route_is_404(server: Server, path: str) -> None:
    assert refusal(await server.http.get(path, headers=server.alice))[0] == 404


async def test_a_body_larger_than_the_limit_is_413_and_changes_nothing(database: Settings) -> None:
    small = database.model_copy(update={"rest": database.rest.model_copy(update={"max_body_bytes": 1000})})
    async with running(small) as server:
        url = await server.make_rows_url()
        row = await server.insert(url, server.alice, title="a")
        body = json.dumps({"title": "x" * 1000})
        assert refusal(await server.http.post(url, content=body, headers=server.alice)) == (413, "body_too_large")
        answer = await server.http.patch(f"{url}/{row['id']}", content=body, headers=server.alice)
        assert refusal(answer) == (413, "body_too_large")
        assert (await server.http.get(url, headers=server.alice)).json() == {"rows": [row]}


async def test_no_more_rows_come_at_once_than_the_setting_says(database: Settings) -> None:
    short = database.model_copy(update={"rest": database.rest.model_copy(update={"max_rows": 2})})
    async with running(short) as server:
        url = await server.make_rows_url()
        await server.http.post(url, json=[{"title": name} for name in "abc"], headers=server.alice)
        for query in ("count=exact", "count=exact&limit=50"):
            body = (await server.http.get(f"{url}?{query}", headers=server.alice)).json()
            assert (len(body["rows"]), body["count"]) == (2, 3)


async def test_head_answers_as_get_does(server: Server) -> None:
    url = await server.make_rows_url()
    for path in ("/db", url):
        answer = await server.http.head(path, headers=server.alice)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")


def _operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, operation) for path, item in OPENAPI["paths"].items() for method, operation in item.items()]


def test_the_description_has_every_route_and_no_other() -> None:
    names = {"{database_id}": NOBODY, "{table_id}": NOBODY, "{row_id}": NOBODY, "{user_id}": NOBODY}
    described: dict[str, set[str]] = {}
    for path, method, _ in _operations():
        for name, value in names.items():
            path = path.replace(name, value)
        described.setdefault(path, set()).add(method.upper())
    assert described == _METHODS


def test_every_reference_of_the_description_has_its_schema_and_every_answer_an_example() -> None:
    text = json.dumps(OPENAPI)
    known = {f"#/components/schemas/{name}" for name in [*OPENAPI["schemas"], "Error"]}
    assert {part.split('"')[0] for part in text.split('"$ref": "')[1:]} <= known
    for path, method, operation in _operations():
        assert operation["summary"], path
        for status, answer in operation["responses"].items():
            assert "example" in answer["content"]["application/json"], (path, method, status)
        if method in {"post", "put", "patch"}:
            assert "example" in operation["requestBody"]["content"]["application/json"], (path, method)


async def test_the_examples_of_the_description_are_accepted(server: Server) -> None:
    bodies = {
        (path, method): operation["requestBody"]["content"]["application/json"]["example"]
        for path, method, operation in _operations()
        if "requestBody" in operation
    }
    made = await server.http.post("/db", json=bodies["/db", "post"], headers=server.alice)
    assert made.status_code == 201
    database_id = made.json()["database_id"]
    await server.make_table(database_id, name="shelves", columns=[])
    tables = await server.http.post(
        f"/db/{database_id}/tables", json=bodies["/db/{database_id}/tables", "post"], headers=server.alice
    )
    assert tables.status_code == 201, tables.text
    url = f"/db/{database_id}/tables/{tables.json()['table_id']}/rows"
    rows = "/db/{database_id}/tables/{table_id}/rows"
    row = await server.http.post(url, json=bodies[rows, "post"], headers=server.alice)
    assert row.status_code == 201
    changed = await server.http.patch(
        f"{url}/{row.json()['id']}", json=bodies[rows + "/{row_id}", "patch"], headers=server.alice
    )
    assert changed.status_code == 200
    table = await server.http.patch(
        url.removesuffix("/rows"), json=bodies["/db/{database_id}/tables/{table_id}", "patch"], headers=server.alice
    )
    assert table.status_code == 200, table.text
