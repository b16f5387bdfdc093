"""The four statements, functions and schemas, against a running data API."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import httpx
import pytest

from isobase.postgrest import APIError, AsyncPostgrestClient, CountMethod, ReturnMethod
from tests.sdk.postgrest.conftest import DataApi


@pytest.mark.capability("database.query.from_table", "database.query.select")
async def test_a_select_gives_the_columns_asked_for(data: AsyncPostgrestClient) -> None:
    answer = await data.from_("books").select("id, title").order("id").limit(2).execute()
    assert answer.data == [{"id": 1, "title": "First Light"}, {"id": 2, "title": "Second, Wind"}]
    assert answer.count is None
    assert (await data.table("books").select().eq("id", 1).execute()).data[0]["price"] == 9.5  # type: ignore[index, call-overload]


async def test_a_count_comes_with_the_rows_or_alone(data: AsyncPostgrestClient) -> None:
    answer = await data.from_("books").select("id", count=CountMethod.exact).limit(1).execute()
    assert (len(answer.data), answer.count) == (1, 4)
    alone = await data.from_("books").select("id", count=CountMethod.exact, head=True).execute()
    assert (alone.data, alone.count) == ([], 4)


@pytest.mark.capability("database.using_modifiers.relationship_embed")
async def test_related_rows_come_embedded(data: AsyncPostgrestClient) -> None:
    answer = await data.from_("books").select("title, authors!inner(name), reviews(stars)").eq("id", 1).execute()
    assert answer.data == [
        {"title": "First Light", "authors": {"name": "Ada"}, "reviews": [{"stars": 5}, {"stars": 3}]}
    ]
    sorted_ = (
        await data.from_("books")
        .select("id, ...authors(author:name), reviews(stars)")
        .eq("id", 1)
        .order("stars", foreign_table="reviews")
        .limit(1, foreign_table="reviews")
        .execute()
    )
    assert sorted_.data == [{"id": 1, "author": "Ada", "reviews": [{"stars": 3}]}]


@pytest.mark.capability("database.mutate.insert")
async def test_an_insert_gives_back_what_was_written(data: AsyncPostgrestClient, data_api: DataApi) -> None:
    one = await data.from_("authors").insert({"id": 9, "name": "Zoe", "born": date(1999, 1, 2)}).execute()
    assert one.data == [{"id": 9, "name": "Zoe", "born": "1999-01-02"}]
    many = (
        await data.from_("authors").insert([{"id": 10, "name": "Y"}, {"id": 11, "name": "X", "born": None}]).execute()
    )
    assert len(many.data) == 2
    nothing = await data.from_("authors").insert({"id": 12, "name": "W"}, returning=ReturnMethod.minimal).execute()
    assert nothing.data == []
    assert data_api.rows("select count(*) from public.authors") == [(7,)]


async def test_values_of_python_arrive_as_what_they_are(data: AsyncPostgrestClient, data_api: DataApi) -> None:
    lent = datetime(2026, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
    code = UUID("22222222-2222-4222-8222-222222222222")
    await (
        data.from_("books")
        .insert(
            {"id": 8, "title": "t", "price": Decimal("1234.56"), "lent_at": lent, "cover": b"\x00\xff", "code": code}
        )
        .execute()
    )
    assert data_api.rows(
        "select price::text, lent_at at time zone 'utc', encode(cover, 'hex'), code::text from books where id = 8"
    ) == [("1234.56", lent.replace(tzinfo=None), "00ff", str(code))]


@pytest.mark.parametrize("default_to_null, shelf", [(False, "floor")])
async def test_columns_that_a_row_does_not_name_can_have_their_default(
    data: AsyncPostgrestClient, default_to_null: bool, shelf: str
) -> None:
    rows = [{"id": 5, "title": "a"}, {"id": 6, "title": "b", "shelf": "stack"}]
    answer = await data.from_("books").insert(rows, default_to_null=default_to_null).select("shelf").execute()
    assert answer.data == [{"shelf": shelf}, {"shelf": "stack"}]
    with pytest.raises(APIError) as refused:
        await (
            data.from_("books").insert([{"id": 15, "title": "a"}, {"id": 16, "title": "b", "shelf": "stack"}]).execute()
        )
    assert refused.value.code == "23502"


@pytest.mark.capability("database.mutate.upsert")
async def test_an_upsert_merges_or_leaves_rows_that_are_there(data: AsyncPostgrestClient) -> None:
    merged = await data.from_("authors").upsert([{"id": 1, "name": "Ada L."}, {"id": 4, "name": "Dee"}]).execute()
    assert {row["name"] for row in merged.data} == {"Ada L.", "Dee"}  # type: ignore[index, call-overload]
    left = await data.from_("authors").upsert({"id": 1, "name": "No"}, ignore_duplicates=True).execute()
    assert left.data == []
    by_name = await data.from_("authors").upsert({"id": 7, "name": "Cid"}, on_conflict="name").execute()
    assert by_name.data == [{"id": 7, "name": "Cid", "born": "1950-01-01"}]
    again = await data.from_("authors").insert({"id": 4, "name": "Dee 2"}, upsert=True).execute()
    assert again.data == [{"id": 4, "name": "Dee 2", "born": None}]


@pytest.mark.capability("database.mutate.update", "database.mutate.delete")
async def test_an_update_and_a_delete_touch_what_the_filters_keep(data: AsyncPostgrestClient) -> None:
    changed = await data.from_("reviews").update({"stars": 1}, count=CountMethod.exact).gte("stars", 4).execute()
    assert changed.count == 2
    gone = await data.from_("reviews").delete(returning=ReturnMethod.minimal).eq("stars", 1).execute()
    assert gone.data == []
    assert (await data.from_("reviews").select("id").execute()).data == [{"id": 2}]


@pytest.mark.capability("database.mutate.select_after_mutation")
async def test_a_write_gives_back_the_columns_selected(data: AsyncPostgrestClient) -> None:
    added = (
        await data.from_("authors")
        .insert({"id": 20, "name": "N"}, returning=ReturnMethod.minimal)
        .select("name")
        .execute()
    )
    assert added.data == [{"name": "N"}]
    changed = await data.from_("authors").update({"name": "M"}).eq("id", 20).select("id", "name").single().execute()
    assert changed.data == {"id": 20, "name": "M"}
    gone = await data.from_("authors").delete().eq("id", 20).select("id").execute()
    assert gone.data == [{"id": 20}]


@pytest.mark.capability("database.query.rpc")
async def test_a_function_is_called_with_post_get_and_head(data: AsyncPostgrestClient) -> None:
    assert (await data.rpc("add", {"a": 1, "b": 2}).execute()).data == 3
    assert (await data.rpc("add", {"a": 1}, get=True).execute()).data == 2
    assert (await data.rpc("joined", {"words": ["a,b", "c"]}, get=True).execute()).data == "a,b+c"
    counted = await data.rpc("cheap", {"up_to": 10}, count=CountMethod.exact, head=True).execute()
    assert counted.count == 2
    rows = await data.rpc("cheap", {"up_to": 100}).select("id").gt("price", 5).order("id", desc=True).limit(1).execute()
    assert rows.data == [{"id": 2}]
    assert (await data.rpc("cheap", {"up_to": 5}).select("id").single().execute()).data == {"id": 4}
    assert (await data.rpc("cheap", {"up_to": 1}).maybe_single().execute()).data is None
    assert (await data.rpc("cheap", {"up_to": 5}).select("id").csv().execute()).data == "id\n4"


@pytest.mark.capability("database.query.schema_selection")
async def test_another_schema_is_asked_and_the_first_client_stays_as_it_was(data: AsyncPostgrestClient) -> None:
    archive = data.schema("archive")
    assert (await archive.from_("books").select("title").execute()).data == [{"title": "Old"}]
    await archive.aclose()
    assert len((await data.from_("books").select("id").execute()).data) == 4
    with pytest.raises(APIError) as refused:
        await data.schema("nowhere").from_("books").select().execute()
    assert refused.value.code == "PGRST106"


async def test_an_error_carries_what_the_server_said(data: AsyncPostgrestClient) -> None:
    with pytest.raises(APIError) as refused:
        await data.from_("authors").insert({"id": 1, "name": "again"}).execute()
    error = refused.value
    assert (error.code, error.status) == ("23505", 409)
    assert error.message is not None
    assert "duplicate key" in error.message
    assert error.json() == {"message": error.message, "code": "23505", "hint": None, "details": error.details}
    with pytest.raises(APIError) as missing:
        await data.from_("boks").select(head=True).execute()
    assert missing.value.code == "PGRST205"


async def test_a_client_takes_basic_authentication_and_an_http_client(data_api: DataApi) -> None:
    # [async]
    given = httpx.AsyncClient(headers=data_api.headers, params={"select": "id"})
    # [/async]
    # [sync] given = httpx.Client(headers=data_api.headers, params={"select": "id"})
    async with AsyncPostgrestClient(data_api.url, http_client=given) as client:
        answer = await client.from_("authors").select("name").eq("id", 1).execute()
        assert answer.data == [{"name": "Ada"}]
        client.auth(None, username="a", password="b")
        sent = await client.from_("authors").select("name").eq("id", 1).execute()
        assert sent.data == [{"name": "Ada"}]
        with pytest.raises(ValueError, match="Neither"):
            client.auth(None)
    assert given.is_closed
