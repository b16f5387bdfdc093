"""Rows become the model that was given, and models can be written; against a running data API."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NotRequired, TypedDict
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field

from isobase.postgrest import UNSET, AsyncPostgrestClient, Bytea, CountMethod, ReturnMethod, RowValidationError
from tests.sdk.postgrest.conftest import DataApi


class Shelf(StrEnum):
    FLOOR = "floor"
    STACK = "stack"


class Author(BaseModel):
    id: int
    name: str
    born: date | None = None


class Book(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    number: int = Field(alias="id")
    title: str
    price: Decimal | None
    shelf: Shelf
    tags: list[str]
    meta: dict[str, Any] | None
    lent_at: datetime | None
    cover: Bytea | None
    code: UUID | None


class NewBook(BaseModel):
    number: int | None = Field(default=None, serialization_alias="id")
    title: str
    price: Decimal | None = None
    shelf: Shelf = Shelf.FLOOR
    cover: bytes | None = None


@dataclass
class Review:
    id: int
    stars: int
    words: str | None = UNSET
    book: int = field(default=UNSET, metadata={"column": "book_id"})


class AuthorRow(TypedDict):
    id: int
    name: str
    born: NotRequired[date | None]


class AuthorWithBooks(BaseModel):
    name: str
    books: list[Book]


async def test_rows_become_pydantic_models(data: AsyncPostgrestClient) -> None:
    answer = await data.table("books", model=Book).select(count=CountMethod.exact).order("id").execute()
    first, second = answer.data[:2]
    assert (first.number, first.title, first.price, first.shelf) == (1, "First Light", Decimal("9.50"), Shelf.FLOOR)
    assert (first.cover, first.code) == (b"\xde\xad", UUID("11111111-1111-4111-8111-111111111111"))
    assert second.lent_at is not None
    assert second.lent_at.year == 2026
    assert answer.count == 4
    single = await data.from_("books", model=Book).select().eq("id", 2).single().execute()
    assert single.data.title == "Second, Wind"
    maybe = await data.from_("books", model=Book).select().eq("id", 2).maybe_single().execute()
    assert maybe.data == single.data
    assert (await data.from_("books", model=Book).select().eq("id", 99).maybe_single().execute()).data is None


async def test_embedded_rows_become_the_models_inside(data: AsyncPostgrestClient) -> None:
    answer = await data.from_("authors", model=AuthorWithBooks).select("name, books(*)").eq("id", 1).single().execute()
    assert [book.title for book in answer.data.books] == ["First Light", "Second, Wind"]


async def test_rows_become_dataclasses_and_typed_dicts(data: AsyncPostgrestClient) -> None:
    reviews = await data.table("reviews", model=Review).select("id, stars").order("id").execute()
    assert reviews.data[0] == Review(1, 5)
    authors = await data.table("authors", model=AuthorRow).select().order("id").execute()
    assert authors.data[0]["born"] == date(1815, 12, 10)


async def test_a_select_may_have_a_model_of_its_own(data: AsyncPostgrestClient) -> None:
    answer = await data.table("authors", model=Author).select("id, name", model=AuthorRow).eq("id", 2).execute()
    assert answer.data == [{"id": 2, "name": "Ben"}]


async def test_what_a_function_gives_becomes_the_type_asked_for(data: AsyncPostgrestClient) -> None:
    total = await data.rpc("add", {"a": 1}, model=int).execute()
    assert total.data == 2
    cheap = await data.rpc("cheap", {"up_to": 10}, model=list[Book]).order("id").execute()
    assert [book.number for book in cheap.data] == [1, 4]
    one = await data.rpc("cheap", {"up_to": 5}, model=Book).single().execute()
    assert one.data.number == 4


async def test_models_and_dataclasses_are_written_by_their_columns_names(
    data: AsyncPostgrestClient, data_api: DataApi
) -> None:
    await data.from_("books").insert(NewBook(number=7, title="a", price=Decimal("1.10"), cover=b"\x01")).execute()
    assert data_api.rows("select title, price::text, shelf::text, encode(cover, 'hex') from books where id = 7") == [
        ("a", "1.10", "floor", "01")
    ]
    await data.from_("reviews", model=Review).insert([Review(8, 1, "w", 1), Review(9, 2, None, 2)]).execute()
    await data.from_("reviews", model=Review).insert(Review(10, 3)).execute()
    assert data_api.rows("select id, stars, words, book_id from reviews where id > 7 order by id") == [
        (8, 1, "w", 1),
        (9, 2, None, 2),
        (10, 3, None, None),
    ]


async def test_fields_that_were_never_given_are_not_written(data: AsyncPostgrestClient, data_api: DataApi) -> None:
    await data.from_("books").update(NewBook(title="only this")).eq("id", 2).execute()
    assert data_api.rows("select title, shelf::text, price::text from books where id = 2") == [
        ("only this", "stack", "20.00")
    ]


async def test_a_row_that_does_not_fit_names_table_row_and_column(data: AsyncPostgrestClient) -> None:
    with pytest.raises(RowValidationError) as unfit:
        await data.table("books", model=Book).select("id, title, price, shelf, tags, meta, lent_at, cover").execute()
    assert unfit.value.message is not None
    assert unfit.value.message.startswith(
        "what 'books' answered does not fit Book: row 0, column 'code': Field required"
    )
    assert unfit.value.details is not None
    assert unfit.value.details[0] == {"row": 0, "column": "code", "problem": "Field required"}
    assert unfit.value.code == "row_validation"
    again = pickle.loads(pickle.dumps(unfit.value))
    assert (type(again), again.json()) == (RowValidationError, unfit.value.json())
    with pytest.raises(RowValidationError, match="column 'name'"):
        await data.table("authors", model=Author).select("id").eq("id", 1).single().execute()
    with pytest.raises(RowValidationError, match="column 'name'"):
        await data.table("authors", model=Author).select("id").eq("id", 1).maybe_single().execute()


async def test_a_write_that_answers_nothing_has_no_rows_to_fit(data: AsyncPostgrestClient) -> None:
    answer = (
        await data.table("authors", model=Author)
        .insert(Author(id=30, name="x"), returning=ReturnMethod.minimal)
        .execute()
    )
    assert answer.data == []
    counted = await data.table("authors", model=Author).select(count=CountMethod.exact, head=True).execute()
    assert (counted.data, counted.count) == ([], 4)
