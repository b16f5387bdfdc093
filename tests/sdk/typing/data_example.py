"""What type checkers know of the data client; mypy and pyright read this file, nothing runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_type

from pydantic import BaseModel
from typing_extensions import TypedDict

from isobase import AsyncClient, Client
from isobase.postgrest import APIResponse, CountMethod, SingleAPIResponse
from isobase.postgrest.types import JSON


class Todo(BaseModel):
    id: int
    task: str


@dataclass
class Tag:
    word: str


class Row(TypedDict):
    id: int


class Arguments(TypedDict):
    a: int


async def asynchronous(client: AsyncClient) -> None:
    todos = client.table("todos", model=Todo)
    assert_type((await todos.select("*", count=CountMethod.exact).eq("id", 1).order("id").execute()).data, list[Todo])
    assert_type((await todos.select().single().execute()).data, Todo)
    assert_type((await todos.select().maybe_single().execute()).data, Todo | None)
    assert_type((await todos.select("id", model=Row).execute()).data, list[Row])
    assert_type((await todos.insert(Todo(id=1, task="t")).execute()).data, list[Todo])
    assert_type(
        (await todos.insert([{"id": 1, "task": "t"}, {"id": 2, "task": None}]).select("id").execute()).data, list[Todo]
    )
    assert_type((await todos.update({"task": "t"}).eq("id", 1).single().execute()).data, Todo)
    assert_type((await todos.delete().eq("id", 1).execute()).data, list[Todo])
    assert_type((await todos.select().csv().execute()).data, str)
    assert_type((await todos.select().geojson().execute()).data, dict[str, Any])
    assert_type(await todos.select().explain().execute(), str)
    assert_type((await client.table("tags", model=Tag).select().not_.eq("word", "x").execute()).data, list[Tag])
    assert_type(await client.table("todos").select().execute(), APIResponse[JSON])
    assert_type((await client.rpc("open", {}, model=list[Todo]).limit(1).execute()).data, list[Todo])
    assert_type(await client.rpc("open").execute(), SingleAPIResponse[JSON])
    assert_type((await client.schema("other").from_("tags", model=Tag).select().execute()).data, list[Tag])
    async for page in todos.select().pages(10):
        assert_type(page, list[Todo])
    async for todo in todos.select().stream():
        assert_type(todo, Todo)


def synchronous(client: Client) -> None:
    todos = client.table("todos", model=Todo)
    assert_type(todos.select().eq("id", 1).execute().data, list[Todo])
    assert_type(todos.select().maybe_single().execute().data, Todo | None)
    assert_type(todos.upsert([Todo(id=1, task="t")]).execute().data, list[Todo])
    assert_type(client.rpc("add", {"a": 1}, model=int).execute().data, int)
    assert_type(client.rpc("add", Arguments(a=1)).execute().data, JSON)
    assert_type(client.table("todos").select().copy().execute(), APIResponse[JSON])
    for page in todos.select().pages(10):
        assert_type(page, list[Todo])
