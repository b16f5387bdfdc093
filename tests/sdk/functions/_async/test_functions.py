"""Functions are called over real sockets with what the options say; refused calls raise what upstream's callers catch."""

from __future__ import annotations

import asyncio
import threading
import time
import warnings
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from isobase._http import CallCancelled, Cancellation
from isobase.functions import AsyncFunctionsClient, FunctionRegion, FunctionsHttpError, FunctionsRelayError
from tests.sdk.functions.server import FunctionServer

JSON = {"responseType": "json"}


@pytest.fixture
async def client(functions: FunctionServer) -> AsyncIterator[AsyncFunctionsClient]:
    client = AsyncFunctionsClient(functions.url, {"apikey": "the-key", "Authorization": "Bearer of-anon"})
    yield client
    await client.aclose()


async def called(client: AsyncFunctionsClient, name: str, options: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = await client.invoke(name, {**(options or {}), **JSON})
    assert isinstance(answer, dict)
    return answer


@pytest.mark.capability("functions.invocation.invoke")
async def test_a_function_gets_the_body_as_json_and_the_clients_headers(client: AsyncFunctionsClient) -> None:
    heard = await called(client, "hello", {"body": {"name": "Ada"}, "headers": {"X-Trace": "7"}})
    assert (heard["name"], heard["method"], heard["body"]) == ("hello", "POST", '{"name":"Ada"}')
    headers = heard["headers"]
    assert headers["content-type"] == "application/json"
    assert headers["apikey"] == "the-key"
    assert headers["authorization"] == "Bearer of-anon"
    assert headers["x-trace"] == "7"
    assert headers["x-client-info"].startswith("supabase-py/supabase_functions v")


@pytest.mark.capability("functions.invocation.invoke")
async def test_without_a_response_type_the_answer_is_bytes(client: AsyncFunctionsClient) -> None:
    assert await client.invoke("bytes") == bytes(range(256))


@pytest.mark.parametrize(
    "body, content_type, sent",
    [
        ("text", "text/plain", "text"),
        (b"\x00\xff", "application/octet-stream", "\x00\xff"),
        (bytearray(b"ab"), "application/octet-stream", "ab"),
        ([1, 2], "application/json", "[1,2]"),
        (False, "application/json", "false"),
    ],
    ids=["text", "bytes", "bytearray", "list", "false"],
)
async def test_a_body_has_the_content_type_of_its_kind(
    client: AsyncFunctionsClient, body: object, content_type: str, sent: str
) -> None:
    heard = await called(client, "hello", {"body": body})
    assert heard["headers"]["content-type"] == content_type
    assert heard["body"] == sent


async def test_a_content_type_of_the_callers_stays(client: AsyncFunctionsClient) -> None:
    heard = await called(client, "hello", {"body": "a,b", "headers": {"content-type": "text/csv"}})
    assert heard["headers"]["content-type"] == "text/csv"


async def test_a_body_can_be_sent_as_it_comes(client: AsyncFunctionsClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    heard = await called(client, "hello", {"body": pieces()})
    assert heard["body"] == "one two"
    assert heard["headers"]["transfer-encoding"] == "chunked"


@pytest.mark.capability("functions.invocation.set_auth_token")
async def test_a_new_token_is_sent_with_the_next_call(client: AsyncFunctionsClient) -> None:
    client.set_auth("of-ada")
    assert (await called(client, "hello"))["headers"]["authorization"] == "Bearer of-ada"


@pytest.mark.capability("functions.invocation.method_override")
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_a_function_is_called_with_the_method_that_is_named(client: AsyncFunctionsClient, method: str) -> None:
    heard = await called(client, "orders/7", {"method": method})
    assert (heard["method"], heard["name"]) == (method, "orders/7")


async def test_a_name_may_have_a_query_and_its_fragment_is_dropped(client: AsyncFunctionsClient) -> None:
    heard = await called(client, "hel lo?name=bob&x=1#part", {"region": FunctionRegion.UsEast1})
    assert heard["name"] == "hel lo"
    assert heard["query"] == {"name": "bob", "x": "1", "forceFunctionRegion": "us-east-1"}


@pytest.mark.parametrize("name", ["", " ", "?a=1", "#x", "../rest/v1/rows", "a/../../b", "/hello", None])
async def test_a_name_that_is_none_is_refused_before_anything_is_sent(
    client: AsyncFunctionsClient, functions: FunctionServer, name: Any
) -> None:
    with pytest.raises(ValueError, match=r"function_name must a valid string value\."):
        await client.invoke(name)
    assert functions.heard == []


@pytest.mark.capability("functions.invocation.region_selection")
async def test_a_call_names_its_region_in_header_and_query(client: AsyncFunctionsClient) -> None:
    heard = await called(client, "hello", {"region": FunctionRegion.EuWest2})
    assert heard["headers"]["x-region"] == "eu-west-2"
    assert heard["query"] == {"forceFunctionRegion": "eu-west-2"}
    anywhere = await called(client, "hello", {"region": FunctionRegion.Any})
    assert "x-region" not in anywhere["headers"]
    assert anywhere["query"] == {}


@pytest.mark.capability("functions.invocation.region_selection")
async def test_a_client_may_have_a_region_that_a_call_overrides(functions: FunctionServer) -> None:
    client = AsyncFunctionsClient(functions.url, {}, region=FunctionRegion.ApSouth1)
    try:
        assert (await called(client, "hello"))["headers"]["x-region"] == "ap-south-1"
        other = await called(client, "hello", {"region": FunctionRegion.SaEast1})
        assert other["headers"]["x-region"] == "sa-east-1"
        anywhere = await called(client, "hello", {"region": FunctionRegion.Any})
        assert "x-region" not in anywhere["headers"]
    finally:
        await client.aclose()


async def test_a_region_by_its_text_works_and_warns(client: AsyncFunctionsClient) -> None:
    with pytest.warns(UserWarning, match=r"Use FunctionRegion\(us-west-1\)"):
        heard = await called(client, "hello", {"region": "us-west-1"})
    assert heard["headers"]["x-region"] == "us-west-1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError):
            await client.invoke("hello", {"region": "moon-1"})


@pytest.mark.parametrize(
    "name, message, status",
    [("fails", "no such order", 422), ("fails-in-words", "boom", 500)],
    ids=["error of a JSON body", "a text"],
)
async def test_a_function_that_fails_raises_what_it_said(
    client: AsyncFunctionsClient, name: str, message: str, status: int
) -> None:
    with pytest.raises(FunctionsHttpError) as caught:
        await client.invoke(name)
    error = caught.value
    assert error.to_dict() == {"name": "FunctionsHttpError", "message": message, "status": status}
    assert error.response is not None
    assert error.response.status_code == status


async def test_a_function_that_fails_without_a_word_is_named_by_its_address(client: AsyncFunctionsClient) -> None:
    with pytest.raises(FunctionsHttpError, match=r"edge function at URL\('http://127.0.0.1:\d+/functions/v1/fails-sil"):
        await client.invoke("fails-silently")


async def test_a_relay_that_did_not_reach_the_function_raises_another_error(client: AsyncFunctionsClient) -> None:
    with pytest.raises(FunctionsRelayError, match="function not found") as caught:
        await client.invoke("relay")
    assert caught.value.status == 200


async def test_a_redirect_to_another_host_takes_no_keys_along(
    client: AsyncFunctionsClient, functions: FunctionServer
) -> None:
    await client.invoke("leaves")
    (heard,) = functions.heard
    assert heard["headers"]["host"].startswith("localhost")
    assert "apikey" not in heard["headers"]
    assert "authorization" not in heard["headers"]


@pytest.mark.capability("functions.invocation.streaming_response")
async def test_events_arrive_while_the_function_still_speaks(
    client: AsyncFunctionsClient, functions: FunctionServer
) -> None:
    heard = []
    async with client.stream("events") as answer:
        assert answer.response.headers["content-type"].startswith("text/event-stream")
        async for event in answer.events():
            heard.append(event)
            functions.release.set()  # the second event is not sent before the first was here
    first, second = heard
    assert (first.event, first.id, first.json()) == ("progress", "1", {"done": 1})
    assert (second.event, second.id, second.retry) == ("message", "1", 10)
    assert second.data == "first line\u2028still\nsecond line"


@pytest.mark.capability("functions.invocation.streaming_response")
async def test_an_answer_can_be_read_in_pieces_and_left(
    client: AsyncFunctionsClient, functions: FunctionServer
) -> None:
    async with client.stream("endless", {"method": "GET"}) as answer:
        async for piece in answer.chunks():
            assert piece.startswith(b"xxx")
            break
    assert functions.gone.wait(60)


async def test_the_lines_of_an_answer_are_given_one_by_one(client: AsyncFunctionsClient) -> None:
    async with client.stream("hello", {"body": "x"}) as answer:
        async for line in answer.lines():
            assert '"name":"hello"' in line


async def test_a_stream_that_is_refused_raises_before_the_block_begins(client: AsyncFunctionsClient) -> None:
    with pytest.raises(FunctionsHttpError, match="no such order"):
        async with client.stream("fails"):
            pytest.fail("the block began")


@pytest.mark.capability("functions.invocation.timeout")
async def test_a_call_ends_when_its_time_is_over(client: AsyncFunctionsClient) -> None:
    began = time.monotonic()
    with pytest.raises(httpx.TimeoutException):
        await client.invoke("silent", {"timeout": 0.2})
    assert time.monotonic() - began < 10


@pytest.mark.capability("functions.invocation.timeout")
async def test_a_call_through_a_given_client_ends_too(functions: FunctionServer) -> None:
    async with httpx.AsyncClient() as given:
        client = AsyncFunctionsClient(functions.url, {}, http_client=given)
        with pytest.raises(httpx.TimeoutException):
            await client.invoke("silent", {"timeout": 0.2})
        await client.aclose()
        assert not given.is_closed


@pytest.mark.capability("functions.invocation.timeout")
async def test_a_streams_time_holds_to_its_end(client: AsyncFunctionsClient) -> None:
    began = time.monotonic()
    with pytest.raises(httpx.TimeoutException):
        async with client.stream("endless", {"timeout": 0.3}) as answer:
            async for _ in answer.chunks():
                assert time.monotonic() - began < 10


@pytest.mark.capability("functions.invocation.request_cancellation")
async def test_a_call_is_cancelled_from_another_thread(client: AsyncFunctionsClient) -> None:
    cancel = Cancellation()
    timer = threading.Timer(0.1, cancel.cancel)
    timer.start()
    began = time.monotonic()
    with pytest.raises(CallCancelled):
        await client.invoke("silent", {"cancel": cancel, "timeout": 30})
    assert time.monotonic() - began < 10
    timer.join()


# [async]
@pytest.mark.capability("functions.invocation.request_cancellation")
async def test_a_task_that_is_cancelled_ends_its_call_and_the_client_goes_on(client: AsyncFunctionsClient) -> None:
    task = asyncio.create_task(client.invoke("silent"))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await called(client, "hello"))["name"] == "hello"


# [/async]
