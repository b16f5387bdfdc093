"""Names that an app was given lead nowhere else: what a URL is made of stays one segment below its service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from isobase import AsyncClient
from tests.sdk.core._async.test_client import token_of
from tests.sdk.core.conftest import WireServer

SERVICE = token_of("service_role")
Call = Callable[[AsyncClient, str], Any]
CALLS: dict[str, Call] = {
    "table": lambda client, name: client.table(name).delete().eq("id", 1).execute(),
    "function of the database": lambda client, name: client.rpc(name).execute(),
    "function": lambda client, name: client.functions.invoke(name),
    "bucket": lambda client, name: client.storage.delete_bucket(name),
    "bucket of a file": lambda client, name: client.storage.from_(name).upload("key", b""),
    "file": lambda client, name: client.storage.from_("bucket").download(name),
    "provider": lambda client, name: client.auth.admin.custom_providers.delete_provider(name),
    "topic": lambda client, name: client.channel(name).http_send("event", {}),
    "event": lambda client, name: client.channel("topic").http_send(name, {}),
    "database": lambda client, name: client.db.get(name),
}


@pytest.mark.parametrize("kind", CALLS)
async def test_a_name_of_dots_is_refused(wire: WireServer, kind: str) -> None:
    async with AsyncClient(wire.url, SERVICE) as client:
        with pytest.raises(ValueError, match=r"name|dot segments"):
            await CALLS[kind](client, "..")
    assert wire.heard == []


@pytest.mark.parametrize("name", ["../../auth/v1/admin/users", "rpc/other", "a/../../b", "x?y=z", "x#y", "a\r\nX: y"])
async def test_a_tables_name_is_one_segment(wire: WireServer, name: str) -> None:
    async with AsyncClient(wire.url, SERVICE) as client:
        await client.table(name).select("*").execute()
        await client.rpc(name).execute()
    for heard, before in zip(wire.heard, ("/rest/v1/", "/rest/v1/rpc/"), strict=True):
        path = heard.target.partition("?")[0]
        assert path.startswith(before)
        assert "/" not in path.removeprefix(before)
        assert "x" not in heard.headers


async def test_a_buckets_name_leads_out_of_no_service(wire: WireServer) -> None:
    async with AsyncClient(wire.url, SERVICE) as client:
        for name in ("../../../auth/v1/admin/users/1", "a/../../b", "./a"):
            with pytest.raises(ValueError, match="name"):
                await client.storage.delete_bucket(name)
            with pytest.raises(ValueError, match="name"):
                await client.storage.from_(name).remove(["key"])
    assert wire.heard == []


async def test_a_line_break_in_a_header_is_refused(wire: WireServer) -> None:
    async with AsyncClient(wire.url, SERVICE) as client:
        with pytest.raises(Exception, match="illegal header"):
            await client.schema("a\r\nX-Evil: 1").table("t").select("*").execute()
        with pytest.raises(Exception, match="illegal header"):
            await client.as_user("t\r\nX-Evil: 1").table("t").select("*").execute()
    assert wire.heard == []
