"""All rows of a large table: as they arrive, and page by page; against a running data API."""

from __future__ import annotations

import contextlib

import pytest
from pydantic import BaseModel

from isobase.postgrest import APIError, AsyncPostgrestClient, RowValidationError
from tests.sdk.postgrest.conftest import DataApi

MANY = 700


class Title(BaseModel):
    id: int
    title: str


@pytest.fixture
def many(data_api: DataApi) -> DataApi:
    """A table of ``MANY`` further rows, some of them long."""
    data_api.rows(
        "with added as (insert into public.books (id, title) select n, repeat('ü\"]},[', n % 500) from"
        f" generate_series(1001, {1000 + MANY}) n returning 1) select count(*) from added"
    )
    return data_api


async def test_rows_come_while_the_answer_arrives(many: DataApi, data: AsyncPostgrestClient) -> None:
    query = data.from_("books").select("id, title").gt("id", 1000).order("id")
    streamed = [row async for row in query.stream()]
    assert len(streamed) == MANY
    assert streamed == (await query.execute()).data
    assert [row async for row in data.from_("books").select("id").eq("id", -1).stream()] == []


async def test_streamed_rows_become_the_model(many: DataApi, data: AsyncPostgrestClient) -> None:
    titles = [
        row async for row in data.from_("books", model=Title).select("id, title").lt("id", 3).order("id").stream()
    ]
    assert titles == [Title(id=1, title="First Light"), Title(id=2, title="Second, Wind")]
    with pytest.raises(RowValidationError, match="column 'title'"):
        async for _ in data.from_("books", model=Title).select("id").stream():
            pass


async def test_a_stream_that_is_left_early_leaves_the_client_usable(many: DataApi, data: AsyncPostgrestClient) -> None:
    # [async]
    closing = contextlib.aclosing
    # [/async]
    # [sync] closing = contextlib.closing
    async with closing(data.from_("books").select().stream()) as rows:
        async for row in rows:
            assert row
            break
    assert len((await data.from_("books").select("id").lt("id", 100).execute()).data) == 4


async def test_a_stream_that_is_refused_raises(data: AsyncPostgrestClient) -> None:
    with pytest.raises(APIError) as refused:
        async for _ in data.from_("nothing").select().stream():
            pass
    assert refused.value.code == "PGRST205"
    with pytest.raises(ValueError, match="no array"):
        query = data.from_("places").select()
        query.geojson()
        async for _ in query.stream():
            pass


async def test_pages_give_every_row_once_while_rows_come_and_go(many: DataApi, data: AsyncPostgrestClient) -> None:
    seen: list[int] = []
    async for page in data.from_("books", model=Title).select("id, title").gt("id", 1000).pages(150):
        assert len(page) <= 150
        seen += [row.id for row in page]
        if len(seen) == 150:
            many.rows(
                "with gone as (delete from books where id < 1050 and id > 1000 returning 1) select count(*) from gone"
            )
    assert seen == list(range(1001, 1001 + MANY))
    assert [page async for page in data.from_("books").select("id").eq("id", -1).pages()] == []
    assert [len(page) async for page in data.from_("authors").select("name").pages(1, key="name")] == [1, 1, 1]


async def test_pages_refuse_what_they_cannot_keep(data: AsyncPostgrestClient) -> None:
    books = data.from_("books")
    for query, key, message in (
        (books.select().order("title"), "id", "order"),
        (books.select("title"), "id", "'id'"),
    ):
        with pytest.raises(ValueError, match=message):
            async for _ in query.pages(1, key=key):
                pass
    with pytest.raises(ValueError, match="size"):
        async for _ in books.select().pages(0):
            pass
