"""Writes at Isobase whose answer is lost are asked for again under their key: each happens once, and none fails."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from isobase_adapter import create_async_migration_client
from isobase_adapter.settings import rpc_rule_of
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from tests.adapter.client.moving import set_stage, settings_of
from tests.adapter.pair import Proxies, User
from tests.plugins.wire_proxy import Link, WireProxy

OUTBOX = "select state, capability, thing from isobase.outbox"


@pytest.fixture
def user(proxied_pair: Proxies) -> User:
    return proxied_pair.pair.sign_up()


@pytest.fixture
async def client(proxied_pair: Proxies) -> AsyncIterator[Any]:
    """A client of an app that is written at Isobase first, once it has heard that Isobase keeps keys."""
    pair = proxied_pair.pair
    set_stage(pair, "table:public.*", Stage.LIVE)
    set_stage(pair, "table:shop.*", Stage.LIVE)
    settings = settings_of(pair, rpc={"public.set_stock": rpc_rule_of("tables:shop.stock")})
    made = await create_async_migration_client(pair.supabase.url, pair.supabase.service_role_key, migration=settings)
    await made.table("kinds").insert({"id": 1, "price": 1}).execute()
    yield made
    await made.migration.aclose()


def lose_an_answer(proxy: WireProxy, *, away_s: float = 0.0) -> list[int]:
    """Cut the next answer of a write off after the server gave it, and take the server away; gives what was lost."""
    lost: list[int] = []
    writes: set[int] = set()

    def asked(link: Link, piece: bytes) -> bool:
        if piece.startswith((b"POST", b"PATCH", b"DELETE")):
            writes.add(link.number)
        return False

    def answered(link: Link, piece: bytes) -> bool:
        if lost or link.number not in writes:
            return False
        lost.append(link.number)
        proxy.refuses = away_s > 0
        if away_s:
            threading.Timer(away_s, proxy.heals).start()
        link.cut()
        return True

    proxy.on_request, proxy.on_answer = asked, answered
    return lost


async def test_a_lost_answer_is_asked_for_again_and_the_write_happens_once(
    client: Any, proxied_pair: Proxies, user: User
) -> None:
    lost = lose_an_answer(proxied_pair.isobase)
    made = await client.table("notes").insert({"title": "once", "owner_id": user.id}).execute()
    pair = proxied_pair.pair
    assert (len(lost), [row["title"] for row in made.data]) == (1, ["once"])
    assert [row["id"] for row in pair.supabase.rows("public.notes")] == [made.data[0]["id"]]
    assert (pair.differing(["public.notes"]), pair.isobase.query(OUTBOX)) == ({}, [])
    assert (client.migration.answered.side, client.migration.writer("table:notes").epoch) == (Side.ISOBASE, 0)


async def test_a_server_that_is_away_for_a_moment_costs_no_failed_call(
    client: Any, proxied_pair: Proxies, user: User
) -> None:
    lost = lose_an_answer(proxied_pair.isobase, away_s=1.0)
    await client.table("kinds").update({"price": 2}).eq("id", 1).execute()
    pair = proxied_pair.pair
    assert (len(lost), pair.supabase.rows("public.kinds")[0]["price"]) == (1, 2)
    assert pair.isobase.query(OUTBOX) == []


async def test_a_function_whose_tables_are_known_is_asked_again_too(client: Any, proxied_pair: Proxies) -> None:
    lost = lose_an_answer(proxied_pair.isobase)
    await client.rpc("set_stock", {"article": "a", "amount": 1}).execute()
    assert len(lost) == 1
    assert (await client.migration.drain(30)).waiting == 0
    assert proxied_pair.pair.supabase.rows("shop.stock") == proxied_pair.pair.isobase.rows("shop.stock") != []


async def test_a_write_whose_answer_does_not_come_in_its_time_is_not_asked_for_again(
    client: Any, proxied_pair: Proxies
) -> None:
    sent: list[bytes] = []

    def asked(link: Link, piece: bytes) -> bool:
        sent.extend(line for line in piece.splitlines() if line.lower().startswith(b"idempotency-key"))
        return False

    proxied_pair.isobase.on_request = asked
    proxied_pair.isobase.on_answer = lambda link, piece: True
    request = client.postgrest.session.patch(
        f"{proxied_pair.pair.supabase.url}/rest/v1/kinds?id=eq.1",
        headers=client.postgrest.headers,
        json={"price": 3},
        timeout=0.5,
    )
    with pytest.raises(httpx.ReadTimeout):
        await request
    proxied_pair.isobase.heals()
    # Its intent stays until the write has surely ended.
    assert (len(sent), proxied_pair.pair.isobase.query("select state from isobase.outbox where state = 'intent'")) == (
        1,
        [("intent",)],
    )
