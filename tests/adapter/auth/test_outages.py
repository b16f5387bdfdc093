"""Users go on signing in while a side is down, and are the same on both sides afterwards; a handover logs nobody out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from supabase_auth.errors import AuthRetryableError

from isobase_adapter import BreakerSettings, create_async_migration_client
from isobase_adapter.auth.carrier import UserCarrier
from isobase_adapter.auth.resolve import user_thing
from isobase_adapter.auth.sync import UserSync
from isobase_adapter.handover import Handover
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from tests.adapter.auth.conftest import databases_of
from tests.adapter.auth.users import same_users
from tests.adapter.client.moving import set_stage, settings_of, wait_for_stage
from tests.adapter.pair import PASSWORD, Pair, Proxies
from tests.plugins.wire_proxy import Link


@pytest.fixture
async def client(proxied_pair: Proxies) -> AsyncIterator[Any]:
    """A client behind proxies."""
    pair = proxied_pair.pair
    breaker = BreakerSettings(least_calls=3, open_s=0.2)
    settings = settings_of(pair, breaker=breaker)
    made = await create_async_migration_client(pair.supabase.url, pair.supabase.anon_key, migration=settings)
    yield made
    proxied_pair.heal()
    await made.migration.aclose()


def _cut(link: Link, piece: bytes) -> bool:
    """Lose an answer."""
    link.cut()
    return True


async def _calm(pair: Pair) -> None:
    """Carry what happened at the other side meanwhile, as ``sync`` does."""
    async with databases_of(pair) as databases:
        await UserSync(databases, lambda: Side.SUPABASE).round()


async def test_sign_ins_and_refreshes_go_to_supabase_while_isobase_is_down(client: Any, proxied_pair: Proxies) -> None:
    pair = proxied_pair.pair
    set_stage(pair, "auth", Stage.LIVE)
    wait_for_stage(client, "auth", Stage.LIVE)
    signed_up = await client.auth.sign_up({"email": "anna@example.com", "password": PASSWORD})
    same_users(pair)
    proxied_pair.isobase.is_gone = True
    proxied_pair.isobase.cut_all()
    for _ in range(3):
        assert (await client.auth.refresh_session()).user.id == signed_up.user.id
    assert client.migration.answered.is_fallback
    assert (await client.auth.get_user()).user.id == signed_up.user.id
    await client.auth.update_user({"data": {"away": True}})
    again = await client.auth.sign_in_with_password({"email": "anna@example.com", "password": PASSWORD})
    assert again.user.id == signed_up.user.id
    guest = await client.auth.sign_up({"email": "guest@example.com", "password": PASSWORD})
    proxied_pair.heal()
    await _calm(pair)
    same_users(pair)
    await asyncio.sleep(0.5)  # the breaker's pause
    refreshed = await client.auth.refresh_session(again.session.refresh_token)
    assert refreshed.user.user_metadata == signed_up.user.user_metadata | {"away": True}
    assert (await client.auth.admin.sign_out(guest.session.access_token)) is None
    same_users(pair)
    counts = client.migration.metrics()
    assert counts["fallback_writes"]["auth"] >= 5
    events = pair.isobase.query("select detail::text from isobase.migration_events where name = 'fallback_write'")
    assert events
    assert "anna" not in str(events)


async def test_isobase_answers_for_no_user_while_it_lacks_what_supabase_was_told(
    client: Any, proxied_pair: Proxies
) -> None:
    pair = proxied_pair.pair
    signed_up = await client.auth.sign_up({"email": "anna@example.com", "password": PASSWORD})
    set_stage(pair, "auth", Stage.LIVE, writer=Side.SUPABASE)
    wait_for_stage(client, "auth", Stage.LIVE)
    await client.auth.update_user({"data": {"seen": "at both"}})
    pair.supabase.query('update auth.users set raw_user_meta_data = raw_user_meta_data || \'{"seen": "new"}\'')
    await client.auth.get_user()
    assert (client.migration.answered.side, client.migration.answered.is_fallback) == (Side.ISOBASE, False)
    pair.isobase.query(
        "insert into isobase.outbox (state, capability, target, epoch, thing, call, next_at)"
        " values ('pending', 'auth', 'isobase', 0, %s, '{}', now() + interval '1 hour')",
        json.dumps(user_thing(signed_up.user.id).as_json()),
    )
    assert (await client.auth.get_user()).user.user_metadata["seen"] == "new"
    assert (client.migration.answered.side, client.migration.answered.is_fallback) == (Side.SUPABASE, True)


async def test_a_call_that_nobody_heard_the_end_of_is_not_made_twice(client: Any, proxied_pair: Proxies) -> None:
    pair = proxied_pair.pair
    set_stage(pair, "auth", Stage.LIVE)
    wait_for_stage(client, "auth", Stage.LIVE)
    proxied_pair.isobase.on_answer = _cut
    with pytest.raises((AuthRetryableError, httpx.TransportError)):
        await client.auth.sign_up({"email": "anna@example.com", "password": PASSWORD})
    proxied_pair.heal()
    assert pair.supabase.query("select count(*) from auth.users") == [(0,)]
    assert pair.isobase.query("select count(*) from auth.users") == [(1,)]
    # The intent is there, and names whom it was about.
    kept = pair.isobase.query("select distinct coalesce(thing, things -> 0) ->> 'key' from isobase.outbox")
    assert kept == [('["email", "anna@example.com"]',)]
    await _calm(pair)
    same_users(pair)


async def test_the_callers_answer_stands_while_the_second_side_is_away(client: Any, proxied_pair: Proxies) -> None:
    pair = proxied_pair.pair
    set_stage(pair, "auth", Stage.LIVE)
    wait_for_stage(client, "auth", Stage.LIVE)
    proxied_pair.supabase_database.refuses = True
    proxied_pair.supabase_database.cut_all()
    signed_up = await client.auth.sign_up({"email": "anna@example.com", "password": PASSWORD})
    assert (await client.auth.get_user()).user.id == signed_up.user.id
    assert pair.isobase.query("select count(*) from isobase.outbox") == [(1,)]
    proxied_pair.heal()
    async with databases_of(pair) as databases:
        await UserCarrier(databases).carry([user_thing(signed_up.user.id)], Side.SUPABASE)
    same_users(pair)


async def _nothing(pattern: str, side: Side) -> None:
    """Auth has no sequences that both sides share."""


async def test_users_who_refresh_all_the_time_notice_no_handover(clean_pair: Pair) -> None:
    users = [clean_pair.sign_up() for _ in range(6)]
    set_stage(clean_pair, "auth", Stage.DUAL_WRITE)
    clients = [
        await create_async_migration_client(
            clean_pair.supabase.url, clean_pair.supabase.anon_key, migration=settings_of(clean_pair)
        )
        for _ in range(2)
    ]
    is_over = asyncio.Event()
    rounds = dict.fromkeys([user.id for user in users], 0)

    async def live(number: int) -> None:
        token = users[number].refresh_token
        while not is_over.is_set():
            auth = clients[(number + rounds[users[number].id]) % 2].auth
            answer = await auth._refresh_access_token(token)
            assert answer.session is not None
            token = answer.session.refresh_token
            rounds[users[number].id] += 1

    async def everybody_once_more() -> None:
        goal = {user: count + 2 for user, count in rounds.items()}
        while any(rounds[user] < count for user, count in goal.items()):
            await asyncio.sleep(0.02)
            for task in tasks:
                if task.done():
                    task.result()

    async with (
        asyncpg.create_pool(clean_pair.isobase.db_url, min_size=0, max_size=4) as control,
        asyncpg.create_pool(clean_pair.supabase.db_url, min_size=0, max_size=2) as supabase,
    ):
        handover = Handover(control, supabase, move_sequences=_nothing)
        tasks = [asyncio.create_task(live(number)) for number in range(len(users))]
        try:
            async with asyncio.timeout(100):
                for side in (Side.ISOBASE, Side.SUPABASE, Side.ISOBASE):
                    await everybody_once_more()
                    await handover.hand_over("auth", side)
                await everybody_once_more()
                is_over.set()
                await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            for client in clients:
                await client.migration.aclose()
    same_users(clean_pair)
    assert clean_pair.isobase.query("select count(*) from isobase.outbox") == [(0,)]
