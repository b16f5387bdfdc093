"""Whose rights a call carries, by the headers that arrive: views, explicit tokens, redirects."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from isobase import AsyncClient, AsyncClientOptions, DeadlineExceeded, call_options, create_async_client
from isobase._acompat import asleep
from tests.sdk.core._async.test_client import token_of
from tests.sdk.core.conftest import Heard, WireServer, answer

SERVICE = token_of("service_role")
USER = "user.token.x"


def last_authorization(wire: WireServer) -> str | None:
    """The header of the last request that arrived."""
    return wire.heard[-1].headers.get("authorization")


async def test_a_view_of_a_users_view_with_other_headers_is_still_the_users(wire: WireServer) -> None:
    async with AsyncClient(wire.url, SERVICE) as client:
        view = client.as_user(USER).with_options(headers={"x-app": "1"})
        for call in (
            view.table("t").select("*").execute,
            view.schema("other").table("t").select("*").execute,
            view.rpc("f").execute,
        ):
            await call()
            assert last_authorization(wire) == f"Bearer {USER}"
        await view.storage.list_buckets()
        assert last_authorization(wire) == f"Bearer {USER}"
        await view.functions.invoke("f")
        assert last_authorization(wire) == f"Bearer {USER}"


@pytest.mark.parametrize("token", ["", " ", None])
async def test_a_view_of_no_user_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="token"):
        AsyncClient("http://127.0.0.1:1", SERVICE).as_user(token)


async def other() -> str:
    return "other.token.x"


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(lambda: AsyncClientOptions(access_token=other), id="the client's"),
        pytest.param(lambda: AsyncClientOptions(realtime={"access_token": other}), id="realtime's"),
    ],
)
async def test_a_users_view_asks_no_others_source_of_tokens(
    wire: WireServer, options: Callable[[], AsyncClientOptions]
) -> None:
    async with AsyncClient(wire.url, SERVICE, options()) as client:
        view = client.as_user(USER)
        await view.table("t").select("*").execute()
        assert last_authorization(wire) == f"Bearer {USER}"
        assert view.realtime.access_token == USER
        source = client._realtime_options()["access_token"]
        assert await source() == "other.token.x"
        assert view._realtime_options()["access_token"]() == USER


async def test_a_users_view_broadcasts_over_http_as_the_user(wire: WireServer) -> None:
    wire.answer = lambda _heard, _number: answer(b"", "202 Accepted")
    async with AsyncClient(wire.url, SERVICE) as client:
        await client.as_user(USER).channel("room").http_send("said", {})
        assert last_authorization(wire) == f"Bearer {USER}"
        await client.channel("room").http_send("said", {})
        assert last_authorization(wire) == f"Bearer {SERVICE}"


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
async def test_an_authorization_of_the_apps_own_is_the_only_one(wire: WireServer, name: str) -> None:
    async with await create_async_client(
        wire.url, SERVICE, AsyncClientOptions(headers={name: f"Bearer {USER}", "apikey": "other"})
    ) as client:
        for call in (client.table("t").select("*").execute, client.storage.list_buckets):
            await call()
            assert last_authorization(wire) == f"Bearer {USER}"
            assert wire.heard[-1].headers["apikey"] == SERVICE


async def test_an_apps_http_client_ties_no_users_together_by_cookies(wire: WireServer) -> None:
    wire.answer = lambda heard, _number: answer(
        b"[]", "200 OK", f"Set-Cookie: of={heard.headers['authorization'][-1]}; Path=/"
    )
    async with httpx.AsyncClient(cookies={"app": "1"}) as own:
        client = AsyncClient(wire.url, SERVICE, AsyncClientOptions(httpx_client=own))
        for token in ("a", "b"):
            view = client.as_user(token)
            await view.table("t").select("*").execute()
            await view.functions.invoke("f")
            await view.storage.list_buckets()
        await client.aclose()
        assert {heard.headers["cookie"] for heard in wire.heard} == {"app=1"}
        await own.get(wire.url, headers={"authorization": "c"})
        assert "of=b" in wire.heard[-1].headers["cookie"]  # what the app itself does with its client is its own


async def test_an_apps_http_client_takes_no_key_to_where_a_redirect_leads(wire: WireServer) -> None:
    elsewhere = wire.url.replace("127.0.0.1", "localhost")

    def redirect(heard: Heard, _number: int) -> bytes:
        return answer(b"[]") if heard.target == "/there" else answer(b"", "302 Found", f"Location: {elsewhere}/there")

    wire.answer = redirect
    async with httpx.AsyncClient(follow_redirects=True, auth=("name", "password")) as own:
        client = AsyncClient(wire.url, SERVICE, AsyncClientOptions(httpx_client=own))
        await client.table("t").select("*").execute()
        await client.aclose()
    assert [heard.target.partition("?")[0] for heard in wire.heard] == ["/rest/v1/t", "/there"]
    assert "apikey" in wire.heard[0].headers
    assert wire.heard[1].headers.keys().isdisjoint({"apikey", "authorization", "cookie"})


async def test_the_apps_function_for_tokens_has_the_time_of_the_call_that_waits_for_it(wire: WireServer) -> None:
    async def late() -> str:
        await asleep(0.3)
        return "late"

    async with AsyncClient(wire.url, SERVICE, AsyncClientOptions(access_token=late)) as client:
        with pytest.raises(DeadlineExceeded), call_options(timeout=0.2):
            await client.table("notes").select("*").execute()
    assert wire.heard == []
