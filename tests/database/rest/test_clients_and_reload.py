"""The official Python client on the data API, and changes of the schema while requests run."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from postgrest import SyncPostgrestClient
from postgrest.exceptions import APIError
from postgrest.types import CountMethod

from tests.database.rest.conftest import ALICE, RELOAD_TIMEOUT_S, Api


def data(response: Any) -> Any:
    """What an answer holds; the client types it as any JSON, which says nothing."""
    return response.data


@pytest.fixture
def alice_client(api: Api) -> Iterator[SyncPostgrestClient]:
    """postgrest-py as Alice."""
    with SyncPostgrestClient(str(api.http.base_url), headers={"authorization": api.alice["authorization"]}) as client:
        yield client


def test_the_official_python_client_reads_and_writes_under_policies(alice_client: SyncPostgrestClient) -> None:
    made = alice_client.from_("notes").insert({"title": "from a client", "tags": ["t"]}).execute()
    assert data(made)[0]["owner"] == ALICE
    found = (
        alice_client.from_("notes").select("id, title", count=CountMethod.exact).ilike("title", "%client%").execute()
    )
    assert (found.count, data(found)[0]["title"]) == (1, "from a client")
    changed = alice_client.from_("notes").update({"title": "changed"}).eq("title", "from a client").execute()
    assert data(changed)[0]["title"] == "changed"
    one = alice_client.from_("notes").select("title").eq("title", "changed").single().execute()
    assert data(one) == {"title": "changed"}
    none = alice_client.from_("notes").select("title").eq("title", "gone").maybe_single().execute()
    assert none is None
    alice_client.from_("notes").delete().eq("title", "changed").execute()
    left = alice_client.from_("notes").select("title").order("id", desc=True).limit(5).execute()
    assert [row["title"] for row in data(left)] == ["second", "first"]


@pytest.fixture
def client(api: Api) -> Iterator[SyncPostgrestClient]:
    """postgrest-py as service_role."""
    with SyncPostgrestClient(str(api.http.base_url), headers=api.service) as client:
        yield client


def test_the_official_python_client_calls_embeds_and_upserts(client: SyncPostgrestClient) -> None:
    assert client.rpc("add", {"a": "1", "b": "2"}).execute().data == 3
    rows = client.from_("people").select("name, teams(name), passports!inner(number)").execute().data
    assert rows == [{"name": "Ann", "teams": [{"name": "Red"}, {"name": "Blue"}], "passports": {"number": "P-1"}}]
    client.from_("people").upsert({"id": 1, "name": "Amy"}).execute()
    assert client.from_("people").select("name").or_("id.eq.1,name.eq.Zed").execute().data == [{"name": "Amy"}]
    assert client.from_("people").select("*").range(1, 2).order("id").execute().data == [
        {"id": 2, "name": "Ben"},
        {"id": 3, "name": "Cid"},
    ]


def test_the_official_python_client_tells_refusals_apart(client: SyncPostgrestClient) -> None:
    with pytest.raises(APIError) as caught:
        client.from_("people").insert({"id": 1, "name": "Twin"}).execute()
    assert caught.value.code == "23505"
    with pytest.raises(APIError) as caught:
        client.from_("people").select("*").single().execute()
    assert caught.value.code == "PGRST116"


def test_no_request_fails_while_the_schema_is_reloaded(api: Api) -> None:
    failures: list[str] = []
    done = threading.Event()

    async def read_all_the_time() -> None:
        async with httpx.AsyncClient(base_url=str(api.http.base_url), headers=api.service, timeout=60) as client:
            while not done.is_set():
                answers = await asyncio.gather(*(client.get("/people?select=name,teams(name)") for _ in range(4)))
                failures.extend(answer.text for answer in answers if answer.status_code != 200)

    reader = threading.Thread(target=lambda: asyncio.run(read_all_the_time()))
    reader.start()
    try:
        for number in range(5):
            api.rows(f"create table public.fresh_{number} (id int primary key)")
            api.rows(f"grant select on public.fresh_{number} to service_role")
            api.rows("notify pgrst, 'reload schema'")
            deadline_s = time.monotonic() + RELOAD_TIMEOUT_S
            while (status := api.get(f"/fresh_{number}").status_code) != 200 and time.monotonic() < deadline_s:
                time.sleep(0.01)
            assert status == 200
    finally:
        done.set()
        reader.join()
        for number in range(5):
            api.rows(f"drop table if exists public.fresh_{number}")
        api.rows("notify pgrst, 'reload schema'")
    assert failures == []
