"""Tokens that are signed by a key pair at one side are good at the other, and ``get_claims`` knows both sides' keys."""

from __future__ import annotations

from typing import Any

import jwt

from isobase_adapter import create_async_migration_client
from isobase_adapter.auth.carrier import UserCarrier
from isobase_adapter.auth.resolve import user_thing
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from tests.adapter.auth.conftest import databases_of
from tests.adapter.auth.users import same_users
from tests.adapter.client.moving import set_stage, settings_of, wait_for_stage
from tests.adapter.pair import PASSWORD, Pair


async def test_a_token_of_supabases_key_is_good_at_isobase_once_its_user_is_there(open_pair: Pair) -> None:
    pair = open_pair
    pair.clear()
    set_stage(pair, "auth", Stage.DUAL_WRITE)
    client: Any = await create_async_migration_client(
        pair.supabase.url, pair.supabase.anon_key, migration=settings_of(pair)
    )
    try:
        wait_for_stage(client, "auth", Stage.DUAL_WRITE)
        signed_up = await client.auth.sign_up({"email": "anna@example.com", "password": PASSWORD})
        assert signed_up.session is not None
        assert jwt.get_unverified_header(signed_up.session.access_token)["alg"] == "ES256"
        same_users(pair)
        set_stage(pair, "auth", Stage.LIVE)
        wait_for_stage(client, "auth", Stage.LIVE)
        # The same token, at the other side's auth, and by both sides' keys.
        assert (await client.auth.get_user()).user.id == signed_up.user.id
        assert (await client.auth.get_claims())["headers"]["alg"] == "ES256"
        refreshed = await client.auth.refresh_session()
        assert refreshed.session is not None
        assert jwt.get_unverified_header(refreshed.session.access_token)["alg"] == "HS256"
        same_users(pair)
        set_stage(pair, "auth", Stage.DUAL_WRITE)
        wait_for_stage(client, "auth", Stage.DUAL_WRITE)
        # And back: Isobase's token is signed with the secret that both believe.
        assert (await client.auth.get_user()).user.id == signed_up.user.id
    finally:
        await client.migration.aclose()
    async with databases_of(pair) as databases:
        assert (await UserCarrier(databases).carry([user_thing(signed_up.user.id)], Side.ISOBASE)).changed == 0
