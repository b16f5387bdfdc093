"""Whose rights a call carries, by the headers that arrive: views, explicit tokens, redirects."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from isobase import AsyncClient, AsyncClientOptions, create_async_client
from tests.sdk.core._async.test_client import token_of
from tests.sdk.core.conftest import WireServer, answer

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
