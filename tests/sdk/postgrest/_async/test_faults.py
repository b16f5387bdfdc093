"""Reads and writes of the data client through a proxy that breaks what a test names, before a running data API."""

from __future__ import annotations

import httpx
import pytest

from isobase import call_options
from isobase.postgrest import APIError, AsyncPostgrestClient, CountMethod
from tests.plugins.fault_proxy import Break
from tests.sdk.postgrest.conftest import Broken, DataApi

RETRY = pytest.mark.capability("database.configuration.auto_retry")


def is_books(_method: str, target: str) -> bool:
    return target.startswith("/rest/v1/books")


@RETRY
@pytest.mark.parametrize("fault", [Break.ERROR_503, Break.REFUSE, Break.LOSE_ANSWER, Break.CUT_ANSWER])
async def test_a_read_is_sent_again(broken: Broken, data_api: DataApi, fault: Break) -> None:
    broken.breaks(fault, is_books, times=1)
    async with AsyncPostgrestClient(broken.url, headers=data_api.headers) as client:
        answer = await client.from_("books").select("id", count=CountMethod.exact).order("id").execute()
    assert (len(answer.data), answer.count) == (4, 4)
    assert len(broken.seen) == 2


@RETRY
async def test_a_read_is_sent_once_where_the_query_the_client_or_the_call_says_so(
    broken: Broken, data_api: DataApi
) -> None:
    broken.breaks(Break.ERROR_503, is_books)
    async with AsyncPostgrestClient(broken.url, headers=data_api.headers) as client:
        with pytest.raises(APIError) as refused:
            await client.from_("books").select("id").retry(False).execute()
        assert (refused.value.code, refused.value.status) == ("503", 503)
        with pytest.raises(APIError), call_options(retries=0):
            await client.from_("books").select("id").execute()
        assert len(broken.seen) == 2
    async with AsyncPostgrestClient(broken.url, headers=data_api.headers, retry_enabled=False) as client:
        with pytest.raises(APIError):
            await client.schema("public").from_("books").select("id").single().execute()
    assert len(broken.seen) == 3


@pytest.mark.parametrize("fault", [Break.LOSE_ANSWER, Break.CUT_ANSWER])
async def test_a_write_whose_answer_is_lost_is_sent_once_and_stands_once(
    broken: Broken, data_api: DataApi, fault: Break
) -> None:
    broken.breaks(fault, is_books)
    async with AsyncPostgrestClient(broken.url, headers=data_api.headers) as client:
        with pytest.raises(httpx.TransportError):
            await client.from_("books").insert({"title": "once"}).execute()
    assert data_api.rows("select count(*) from books where title = 'once'") == [(1,)]


async def test_an_error_that_is_no_error_of_the_data_api_is_told_as_well_as_can_be(
    broken: Broken, data_api: DataApi
) -> None:
    broken.breaks(Break.ERROR_500, is_books)
    async with AsyncPostgrestClient(broken.url, headers=data_api.headers) as client:
        with pytest.raises(APIError) as failed:
            await client.from_("books").select("id").execute()
    error = failed.value
    assert (error.message, error.code, error.hint, error.status) == ("Internal Server Error", "500", None, 500)
    assert "InternalError" in str(error.details)
