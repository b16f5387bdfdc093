"""The official Python client, unmodified, on tables that the simple face made: ``client.schema(NAME).table(...)``."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from postgrest import APIError
from supabase import AsyncClient, AsyncClientOptions, acreate_client

from isobase_platform.config import Settings
from tests.database.dynamic.conftest import ALICE, BOB, Server, running
from tests.plugins.listening import listening


@pytest_asyncio.fixture
async def served(database: Settings) -> AsyncIterator[tuple[Server, str]]:
    """The data API on a port, with its URL."""
    async with running(database) as server, listening(server.app) as url:
        yield server, url


@contextlib.asynccontextmanager
async def client_of(served: tuple[Server, str], user_id: str | None) -> AsyncIterator[AsyncClient]:
    """A client with the anon key, signed in as a user or not."""
    server, url = served
    headers = {"Authorization": f"Bearer {server.token(user_id)}"} if user_id else {}
    async with httpx.AsyncClient(timeout=60) as http:
        options = AsyncClientOptions(headers=headers, httpx_client=http)
        yield await acreate_client(url, server.platform.settings.anon_token, options)


async def rows(query: Any) -> list[dict[str, Any]]:
    """The rows that a request of the client's builder answers with."""
    found: list[dict[str, Any]] = (await query.execute()).data
    return found


async def test_official_clients_read_and_write_the_tables_through_schema(served: tuple[Server, str]) -> None:
    server, _ = served
    made = await server.make_database()
    await server.make_table(made["database_id"], name="shelves", columns=[{"name": "label", "type": "text"}])
    reference = {"name": "shelf_id", "type": "uuid", "references": {"table": "shelves"}}
    await server.make_table(made["database_id"], columns=[{"name": "title", "type": "text"}, reference])
    async with client_of(served, ALICE) as alice, client_of(served, BOB) as bob, client_of(served, None) as anon:
        hers = alice.schema(made["schema"])
        shelf = (await rows(hers.table("shelves").insert({"label": "top"})))[0]
        row = (await rows(hers.table("items").insert({"title": "lamp", "shelf_id": shelf["id"]})))[0]
        assert row["owner"] == ALICE
        shown = await rows(hers.table("items").select("title, shelves(label)").eq("title", "lamp"))
        assert shown == [{"title": "lamp", "shelves": {"label": "top"}}]
        whole = {**row, "title": "desk lamp"}
        assert await rows(hers.table("items").upsert(whole)) == [whole]

        his = bob.schema(made["schema"])
        assert await rows(his.table("items").select("*")) == []
        assert await rows(his.table("items").delete().eq("id", row["id"])) == []
        with pytest.raises(APIError) as foreign:
            await his.table("items").insert({"title": "mine, in a foreign database"}).execute()
        assert foreign.value.code == "42501"
        with pytest.raises(APIError) as forged:
            await his.table("items").insert({"title": "x", "owner": ALICE}).execute()
        assert forged.value.code == "42501"
        with pytest.raises(APIError) as given:
            await hers.table("items").update({"owner": BOB}).eq("id", row["id"]).execute()
        assert given.value.code == "42501"
        with pytest.raises(APIError) as refused:
            await anon.schema(made["schema"]).table("items").select("*").execute()
        assert refused.value.code == "42501"
        assert await rows(hers.table("items").delete().eq("id", row["id"])) == [whole]


async def test_a_member_cannot_take_another_members_row_as_his_own(served: tuple[Server, str]) -> None:
    server, _ = served
    url = await server.make_rows_url("members")
    database_id = url.split("/")[2]
    schema = (await server.http.get(f"/db/{database_id}", headers=server.alice)).json()["schema"]
    row = await server.insert(url, server.alice, title="ours")
    async with client_of(served, BOB) as bob:
        table = bob.schema(schema).table("items")
        assert await rows(table.select("*")) == []
        await server.http.put(f"/db/{database_id}/members/{BOB}", json={"role": "editor"}, headers=server.alice)
        table = bob.schema(schema).table("items")
        assert (await rows(table.update({"title": "his words"}).eq("id", row["id"])))[0]["owner"] == ALICE
        with pytest.raises(APIError) as refused:
            await bob.schema(schema).table("items").update({"owner": BOB}).eq("id", row["id"]).execute()
        assert refused.value.code == "42501"


async def test_a_dropped_database_is_gone_for_official_clients_too(served: tuple[Server, str]) -> None:
    server, _ = served
    made = await server.make_database()
    await server.make_table(made["database_id"], "public-read")
    async with client_of(served, None) as anon:
        assert await rows(anon.schema(made["schema"]).table("items").select("*")) == []
        await server.http.delete(f"/db/{made['database_id']}", headers=server.alice)
        with pytest.raises(APIError) as gone:
            await anon.schema(made["schema"]).table("items").select("*").execute()
        assert gone.value.code == "PGRST106"


async def test_schemas_of_databases_are_not_told_to_who_asks_for_an_unknown_one(served: tuple[Server, str]) -> None:
    server, _ = served
    made = await server.make_database()
    async with client_of(served, None) as anon:
        with pytest.raises(APIError) as unknown:
            await anon.schema("nothing").table("items").select("*").execute()
    assert unknown.value.code == "PGRST106"
    assert made["schema"] not in str(unknown.value)
