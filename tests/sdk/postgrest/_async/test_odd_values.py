"""What is filtered is what was asked, whatever columns are called and values hold: asked of a running data API."""

from __future__ import annotations

import random
from typing import Any

import pytest

from isobase.postgrest import AsyncPostgrestClient, AsyncSelectRequestBuilder
from tests.sdk.postgrest.conftest import DataApi

COLUMNS = (
    *("limit", "offset", "order", "select", "columns", "on_conflict", "and", "or", "not", "apikey"),
    *("a,b", "x;y", "x&y", " a", "*", "p(q)", "a:b", 'a"b'),
)
PIECES = (
    *("a", "b", "A", " ", ",", '"', "\\", "(", ")", "{", "}", ".", "%", "_", ":", "&", "=", "+", "#", ";", "/", "?"),
    *("\n", "\t", "'", "ü", "😀", "null", "true", "not.", "in.", "\u00a0", "%20", "[", "]", "--", "$1", "|", "\x01"),
)
FIXED = ("", " ", "null", "NULL", "true", '""', '"a"', "a,b", "(a)", "{}", "\\", '\\"', "\ta", "a ")


def texts(seed: int, number: int) -> list[str]:
    """Texts made of what has a meaning somewhere on the way to the database."""
    chance = random.Random(seed)
    made = {"".join(chance.choices(PIECES, k=chance.randrange(1, 5))) for _ in range(number)}
    return sorted(made | set(FIXED))


@pytest.mark.parametrize("column", COLUMNS)
async def test_a_filter_of_a_column_is_never_lost(data: AsyncPostgrestClient, data_api: DataApi, column: str) -> None:
    odd = data.schema("archive")
    await odd.from_("odd").insert([{"id": 1, column: "v", "x": "w"}, {"id": 2, column: "w", "x": "v"}]).execute()
    assert (await odd.from_("odd").select("id").eq(column, "v").execute()).data == [{"id": 1}]
    changed = await odd.from_("odd").update({"t": "t"}).eq(column, "w").execute()
    assert [row["id"] for row in changed.data] == [2]  # type: ignore[index, call-overload]
    await odd.from_("odd").delete().eq(column, "none").execute()
    assert data_api.rows("select count(*) from archive.odd") == [(2,)]


async def test_a_filter_of_an_embedded_column_is_none_of_its_limits(data: AsyncPostgrestClient) -> None:
    query = data.from_("books").select("id, reviews(id)").eq("reviews.limit", 1)
    assert query.request.url().endswith("&reviews.%22limit%22=eq.1")


async def test_a_filter_keeps_what_equals_its_value_and_nothing_else(data: AsyncPostgrestClient) -> None:
    chance = random.Random(11)
    rows: list[dict[str, Any]] = [
        {"id": at, "t": text, "l": [text, chance.choice(FIXED)], "j": {"k": text, text: 1}, "b": text.encode()}
        for at, text in enumerate(texts(7, 40))
    ]
    odd = data.schema("archive")
    await odd.from_("odd").insert(rows).execute()

    def read() -> AsyncSelectRequestBuilder[Any]:
        return odd.from_("odd").select("id")

    async def check(query: AsyncSelectRequestBuilder[Any], wanted: list[dict[str, Any]]) -> None:
        found = (await query.order("id").execute()).data
        assert [row["id"] for row in found] == [row["id"] for row in wanted], query.request.url()

    for row in rows:
        text, other = row["t"], chance.choice(rows)["t"]
        await check(read().eq("t", text), [row])
        await check(read().neq("t", text), [each for each in rows if each is not row])
        await check(read().match({"t": text, "id": row["id"]}), [row])
        await check(read().in_("t", [text]), [row])
        await check(read().in_("t", [text, other]), [each for each in rows if each["t"] in (text, other)])
        await check(read().not_in("t", [text, other]), [each for each in rows if each["t"] not in (text, other)])
        await check(read().contains("l", [text]), [each for each in rows if text in each["l"]])
        await check(read().overlaps("l", [text, other]), [each for each in rows if {text, other} & {*each["l"]}])
        await check(read().contained_by("l", [text, other]), [each for each in rows if {*each["l"]} <= {text, other}])
        await check(read().contains("j", {"k": text}), [row])
        await check(read().eq("j->>k", text), [row])
        await check(read().eq("b", text.encode()), [row])
        pattern = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        await check(read().like("t", pattern), [row])
        await check(read().like_any_of("t", [pattern, pattern]), [row])


async def test_a_list_of_nothing_keeps_no_row(data: AsyncPostgrestClient) -> None:
    assert (await data.from_("books").select("id").in_("title", []).execute()).data == []
    assert len((await data.from_("books").select("id").not_in("title", []).execute()).data) == 4


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", object()])
async def test_a_row_that_no_json_can_hold_is_refused_before_it_is_sent(
    data: AsyncPostgrestClient, data_api: DataApi, value: object
) -> None:
    with pytest.raises((ValueError, TypeError)):
        await data.from_("authors").insert({"id": 9, "name": value}).execute()
    assert data_api.rows("select count(*) from public.authors") == [(3,)]
