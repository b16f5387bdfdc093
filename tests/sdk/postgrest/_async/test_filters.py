"""Every filter keeps the rows that it should, asked of a running data API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from isobase.postgrest import AsyncPostgrestClient, AsyncSelectRequestBuilder

Filter = Callable[[AsyncSelectRequestBuilder[Any]], AsyncSelectRequestBuilder[Any]]
CAPABILITY = "database.using_filters."

BOOKS: list[tuple[str, Filter, list[int]]] = [
    ("eq", lambda q: q.eq("shelf", "stack"), [2, 4]),
    ("eq", lambda q: q.eq("title", 'Third "Way"'), [3]),
    ("eq", lambda q: q.eq("lent_at", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)), [2]),
    ("neq", lambda q: q.neq("shelf", "stack"), [1, 3]),
    ("gt", lambda q: q.gt("price", 9.5), [2]),
    ("gte", lambda q: q.gte("price", 9.5), [1, 2]),
    ("lt", lambda q: q.lt("price", 9.5), [4]),
    ("lte", lambda q: q.lte("price", 9.5), [1, 4]),
    ("like", lambda q: q.like("title", "%t%h%"), [1, 4]),
    ("like_all", lambda q: q.like_all_of("title", "%i%,%d%"), [2, 3]),
    ("like_all", lambda q: q.like_all_of("title", ["%d, W%", "S%"]), [2]),
    ("like_any", lambda q: q.like_any_of("title", "First%,fourth%"), [1, 4]),
    ("like_any", lambda q: q.like_any_of("title", ["%d, W%", '%"Way"%']), [2, 3]),
    ("ilike", lambda q: q.ilike("title", "f%"), [1, 4]),
    ("ilike_all", lambda q: q.ilike_all_of("title", ["f%", "%light"]), [1]),
    ("ilike_any", lambda q: q.ilike_any_of("title", ["FIRST%", "%way_"]), [1, 3]),
    ("regex", lambda q: q.regex_match("title", "^[FS]"), [1, 2]),
    ("regex_icase", lambda q: q.regex_imatch("title", "^f"), [1, 4]),
    ("is", lambda q: q.is_("author_id", None), [4]),
    ("is", lambda q: q.not_.is_("price", "null"), [1, 2, 4]),
    ("is_distinct", lambda q: q.is_distinct("author_id", 1), [3, 4]),
    ("in", lambda q: q.in_("title", ["Second, Wind", 'Third "Way"']), [2, 3]),
    ("not_in", lambda q: q.not_in("id", [1, 2]), [3, 4]),
    ("not_in", lambda q: q.not_.not_in("id", [1, 2]), [1, 2]),
    ("contains", lambda q: q.contains("tags", ["two words"]), [4]),
    ("contains", lambda q: q.contains("meta", {"size": {"w": 1}}), [1]),
    ("contains", lambda q: q.contains("pages", "[12,13)"), [2]),
    ("contains", lambda q: q.cs("tags", ["new"]), [1, 4]),
    ("contained_by", lambda q: q.contained_by("tags", ["new", "short", "x"]), [1, 3]),
    ("contained_by", lambda q: q.contained_by("pages", "[0,20)"), [1, 2]),
    ("contained_by", lambda q: q.cd("tags", ["old"]), [2, 3]),
    ("range_gt", lambda q: q.range_gt("pages", (10, 15)), [4]),
    ("range_gte", lambda q: q.range_gte("pages", "[10,15)"), [2, 4]),
    ("range_lt", lambda q: q.range_lt("pages", "[10,15)"), [1]),
    ("range_lte", lambda q: q.range_lte("pages", "[10,20)"), [1, 2]),
    ("range_adjacent", lambda q: q.range_adjacent("pages", "[20,30)"), [2, 4]),
    ("overlaps", lambda q: q.overlaps("tags", ["old", "short"]), [1, 2]),
    ("overlaps", lambda q: q.ov("pages", "[5,12)"), [1, 2]),
    ("match", lambda q: q.match({"shelf": "stack", "author_id": 1}), [2]),
    ("not", lambda q: q.not_.eq("shelf", "stack").gt("id", 1), [3]),
    ("or", lambda q: q.or_("price.is.null,price.lt.6"), [3, 4]),
    ("or", lambda q: q.not_.or_("price.is.null,price.lt.6"), [1, 2]),
    ("raw", lambda q: q.filter("meta->>lang", "in", "(de,fr)"), [2]),
    ("raw", lambda q: q.filter("id", "not.gt", "1"), [1]),
]


@pytest.mark.parametrize(
    "build, expected",
    [
        pytest.param(build, ids, marks=pytest.mark.capability(CAPABILITY + name), id=f"{name}-{at}")
        for at, (name, build, ids) in enumerate(BOOKS)
    ],
)
async def test_a_filter_keeps_the_rows_that_meet_it(
    data: AsyncPostgrestClient, build: Filter, expected: list[int]
) -> None:
    answer = await build(data.from_("books").select("id")).order("id").execute()
    assert answer.data == [{"id": each} for each in expected]


@pytest.mark.capability(CAPABILITY + "text_search")
@pytest.mark.parametrize(
    "query, options, expected",
    [
        ("'cat' & 'mat'", None, [1]),
        ("cats dogs", {"type": "plain", "config": "english"}, [3]),
        ("dog ran", {"type": "phrase", "config": "english"}, [2]),
        ("cat -dog", {"type": "web_search", "config": "english"}, [1]),
        ("cat -dog", {"type": "websearch", "config": "english"}, [1]),
    ],
)
async def test_text_is_searched_in_each_language_of_queries(
    data: AsyncPostgrestClient, query: str, options: dict[str, Any] | None, expected: list[int]
) -> None:
    answer = await data.from_("reviews").select("id").text_search("words", query, options).order("id").execute()
    assert answer.data == [{"id": each} for each in expected]


async def test_the_short_names_of_text_search_do_the_same(data: AsyncPostgrestClient) -> None:
    async def found(build: Filter) -> Any:
        return (await build(data.from_("reviews").select("id")).order("id").execute()).data

    assert await found(lambda q: q.fts("words", "dog")) == [{"id": 2}, {"id": 3}]
    assert await found(lambda q: q.plfts("words", "dogs cats")) == [{"id": 3}]
    assert await found(lambda q: q.phfts("words", "dog ran")) == [{"id": 2}]
    assert await found(lambda q: q.wfts("words", "dog or mat")) == [{"id": 1}, {"id": 2}, {"id": 3}]


async def test_a_filter_on_an_embedded_table_names_it(data: AsyncPostgrestClient) -> None:
    query = data.from_("books").select("id, reviews(id)").eq("reviews.stars", 5).eq("id", 1)
    assert (await query.execute()).data == [{"id": 1, "reviews": [{"id": 1}]}]
    either = (
        data.from_("books")
        .select("id, reviews(id)")
        .eq("id", 1)
        .or_("stars.eq.5,stars.eq.3", reference_table="reviews")
    )
    assert (await either.execute()).data == [{"id": 1, "reviews": [{"id": 1}, {"id": 2}]}]


async def test_an_empty_match_is_refused_before_it_would_keep_every_row(data: AsyncPostgrestClient) -> None:
    with pytest.raises(ValueError, match="at least one"):
        data.from_("books").delete().match({})


async def test_a_statement_written_on_lines_of_its_own_keeps_its_filters(data: AsyncPostgrestClient) -> None:
    query = data.from_("books").delete()
    query.eq("id", 4)
    assert (await query.execute()).data[0]["id"] == 4  # type: ignore[index, call-overload]
    assert len((await data.from_("books").select("id").execute()).data) == 3


async def test_a_copy_of_a_builder_and_its_origin_do_not_share_filters(data: AsyncPostgrestClient) -> None:
    base = data.from_("books").select("id").order("id")
    cheap = base.copy().lt("price", 10)
    dear = base.copy().gte("price", 10).set_header("X-Mine", "1")
    assert (await cheap.execute()).data == [{"id": 1}, {"id": 4}]
    assert (await dear.execute()).data == [{"id": 2}]
    assert len((await base.execute()).data) == 4
    assert "X-Mine" not in base.request.headers
