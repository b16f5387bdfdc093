"""How a change of a database made at run time gets around: by its name, to every process, and without reading the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from isobase_platform.config import Settings
from isobase_services.database import cache_keeper
from isobase_services.database.query import load_cache
from tests.database.dynamic.conftest import ITEMS, Server, running
from tests.plugins.patience import until

PATIENCE_S = 60.0


async def heard_while(server: Server, settings: Settings, work: Callable[[], object]) -> list[str]:
    """The notices that come while some requests are made."""
    heard: list[str] = []
    await server.owner.add_listener("pgrst", lambda *notice: heard.append(str(notice[3])))
    result = work()
    if asyncio.iscoroutine(result):
        await result
    await server.owner.fetchval("select 1")
    await server.owner.reset()
    return heard


async def test_every_change_is_told_by_the_name_of_its_schema_alone(server: Server, database: Settings) -> None:
    schema = ""

    async def work() -> None:
        nonlocal schema
        made = await server.make_database()
        schema = made["schema"]
        table = await server.make_table(made["database_id"], "public")
        url = f"/db/{made['database_id']}/tables/{table['table_id']}"
        body = {"columns": {"drop": ["tags"]}, "comment": "x", "access": "members"}
        assert (await server.http.patch(url, json=body, headers=server.alice)).status_code == 200
        assert (await server.http.delete(url, headers=server.alice)).status_code == 200
        assert (await server.http.delete(f"/db/{made['database_id']}", headers=server.alice)).status_code == 200

    assert await heard_while(server, database, work) == [f"reload schema {schema}"] * 5


async def test_what_goes_along_with_a_table_in_another_schema_is_told_to_all(
    server: Server, database: Settings
) -> None:
    made = await server.make_database()
    table = await server.make_table(made["database_id"])
    await server.owner.execute(f"create view public.shown as select * from {made['schema']}.items")
    url = f"/db/{made['database_id']}/tables/{table['table_id']}"
    heard = await heard_while(server, database, lambda: server.http.delete(url, headers=server.alice))
    assert sorted(heard) == ["reload schema", f"reload schema {made['schema']}"]


async def test_other_processes_serve_a_new_table_to_official_clients(database: Settings) -> None:
    async with running(database) as first, running(database) as second:
        made = await first.make_database()
        await first.make_table(made["database_id"], "public-read")
        headers = {**second.anon, "accept-profile": made["schema"]}
        async with asyncio.timeout(PATIENCE_S):
            while (await second.http.get("/rest/v1/items", headers=headers)).status_code != 200:
                await asyncio.sleep(0.02)
        await first.http.delete(f"/db/{made['database_id']}", headers=first.alice)
        async with asyncio.timeout(PATIENCE_S):
            while (await second.http.get("/rest/v1/items", headers=headers)).status_code != 406:
                await asyncio.sleep(0.02)


async def test_tables_made_at_once_are_read_alone_and_together(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [await server.make_database(f"n{number}") for number in range(3)]
    loads: list[str] = []
    whole, part = load_cache.load_schema_cache, load_cache.load_part

    async def counted_whole(*args: object) -> object:
        loads.append("whole")
        return await whole(*args)  # type: ignore[arg-type]

    async def counted_part(*args: object) -> object:
        loads.append("part")
        return await part(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(cache_keeper, "load_schema_cache", counted_whole)
    monkeypatch.setattr(cache_keeper, "load_part", counted_part)
    bodies = [(one, {**ITEMS, "name": f"t{number}"}) for number in range(5) for one in made]
    answers = await asyncio.gather(
        *(server.http.post(f"/db/{one['database_id']}/tables", json=body, headers=server.alice) for one, body in bodies)
    )
    assert {answer.status_code for answer in answers} == {201}
    assert "whole" not in loads
    for one, body in bodies:
        headers = {**server.alice, "accept-profile": one["schema"]}
        assert (await server.http.get(f"/rest/v1/{body['name']}", headers=headers)).json() == []


async def test_no_request_about_rows_fails_while_its_table_changes(server: Server) -> None:
    url = await server.make_rows_url()
    await server.insert(url, server.alice, title="steady")
    table, is_over, answers = url.removesuffix("/rows"), False, 0

    async def use(**request: Any) -> None:
        nonlocal answers
        while not is_over:
            answer = await server.http.request(headers=server.alice, **request)
            assert answer.status_code in {200, 201}, answer.text
            answers += 1

    tasks = [
        asyncio.create_task(use(method="GET", url=f"{url}?title=eq.steady")),
        asyncio.create_task(use(method="POST", url=url, json={"title": "new"})),
        asyncio.create_task(use(method="GET", url=f"{url}?select=*&limit=3&order=title")),
    ]
    for number in range(6):
        changes: list[dict[str, Any]] = [
            {"add": [{"name": f"c{number}", "type": "text", "default": "x"}]},
            {"change": [{"name": "quantity", "type": "bigint" if number % 2 == 0 else "integer"}]},
            {"drop": [f"c{number}"]},
        ]
        for columns in changes:
            answer = await server.http.patch(table, json={"columns": columns}, headers=server.alice)
            assert answer.status_code == 200, answer.text
    await until(lambda: answers > 10 or any(task.done() for task in tasks))
    is_over = True
    await asyncio.gather(*tasks)


async def test_embedding_works_on_tables_that_were_read_alone(server: Server) -> None:
    made = await server.make_database()
    shelf = {"name": "shelf_id", "type": "uuid", "references": {"table": "shelves"}}
    await server.make_table(made["database_id"], name="shelves", columns=[{"name": "label", "type": "text"}])
    await server.make_table(made["database_id"], columns=[{"name": "title", "type": "text"}, shelf])
    headers = {**server.alice, "accept-profile": made["schema"]}
    answer = await server.http.get("/rest/v1/items?select=title,shelves(label)", headers=headers)
    assert (answer.status_code, answer.json()) == (200, [])
    answer = await server.http.get("/rest/v1/shelves?select=label,items(title)", headers=headers)
    assert (answer.status_code, answer.json()) == (200, [])


async def test_a_database_with_views_and_functions_is_read_with_all_the_rest(server: Server) -> None:
    made = await server.make_database()
    await server.make_table(made["database_id"])
    await server.owner.execute(
        f"create view {made['schema']}.titles with (security_invoker = on) as select id, title from {made['schema']}.items;"
        f"grant select on {made['schema']}.titles to authenticated"
    )
    await server.make_table(made["database_id"], name="more")
    headers = {**server.alice, "accept-profile": made["schema"]}
    for path in ("titles?select=title", "more"):
        assert (await server.http.get(f"/rest/v1/{path}", headers=headers)).status_code == 200, path
