"""An app whose users stay signed in while auth moves from Supabase to Isobase and back."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from supabase_auth.errors import AuthApiError

from isobase_adapter import create_async_migration_client
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage, writer_of
from tests.adapter.auth.users import rows_at, same_users
from tests.adapter.client.moving import set_stage, settings_of, wait_for_stage
from tests.adapter.pair import PASSWORD, Pair
from tests.auth.mfa import code_now

THERE_AND_BACK = [*list(Stage)[1:], *reversed(list(Stage)[:-1])]
TWICE_WRITTEN = [Stage.DUAL_WRITE, Stage.SHADOW_READ, Stage.LIVE, Stage.RAMP_DOWN]


@pytest.fixture
async def client(clean_pair: Pair) -> AsyncIterator[Any]:
    made = await create_async_migration_client(
        clean_pair.supabase.url, clean_pair.supabase.anon_key, migration=settings_of(clean_pair)
    )
    yield made
    await made.migration.aclose()


@pytest.fixture
async def admin(clean_pair: Pair) -> AsyncIterator[Any]:
    made = await create_async_migration_client(
        clean_pair.supabase.url, clean_pair.supabase.service_role_key, migration=settings_of(clean_pair)
    )
    yield made
    await made.migration.aclose()


def address() -> str:
    return f"user-{uuid.uuid4().hex[:12]}@example.com"


def move(pair: Pair, stage: Stage, *clients: Any) -> None:
    """Put auth into a stage, and wait until the clients act upon it."""
    set_stage(pair, "auth", stage)
    for client in clients:
        wait_for_stage(client, "auth", stage)


async def test_a_session_lives_through_every_stage_to_the_end_and_back(client: Any, clean_pair: Pair) -> None:
    email, events = address(), []
    client.auth.on_auth_state_change(lambda event, session: events.append(event))
    signed_up = await client.auth.sign_up({"email": email, "password": PASSWORD})
    user = signed_up.user.id
    for number, stage in enumerate(THERE_AND_BACK):
        move(clean_pair, stage, client)
        refreshed = await client.auth.refresh_session()
        assert refreshed.user.id == user
        updated = await client.auth.update_user({"data": {"number": number}})
        assert updated.user.user_metadata["number"] == number
        seen = await client.auth.get_user()
        assert (seen.user.id, seen.user.user_metadata["number"]) == (user, number)
        assert (await client.auth.get_claims())["claims"]["sub"] == user
        if stage in TWICE_WRITTEN:
            same_users(clean_pair)
        side = clean_pair.supabase if writer_of(stage) is Side.SUPABASE else clean_pair.isobase
        ((stored,),) = side.query("select raw_user_meta_data ->> 'number' from auth.users where id = %s", user)
        assert stored == str(number)
    assert "SIGNED_OUT" not in events
    again = await client.auth.sign_in_with_password({"email": email, "password": PASSWORD})
    assert again.user.id == user


@pytest.mark.parametrize("stage", [Stage.DUAL_WRITE, Stage.LIVE])
async def test_what_a_user_does_is_done_on_both_sides(client: Any, clean_pair: Pair, stage: Stage) -> None:
    move(clean_pair, stage, client)
    email = address()
    await client.auth.sign_up({"email": email, "password": PASSWORD})
    same_users(clean_pair)
    await client.auth.update_user({"password": "another fine passphrase"})
    same_users(clean_pair)
    factor = await client.auth.mfa.enroll({"factor_type": "totp", "friendly_name": "phone"})
    same_users(clean_pair)
    challenge = {"factor_id": factor.id, "code": code_now(factor.totp.secret)}
    await client.auth.mfa.challenge_and_verify(challenge)
    same_users(clean_pair)
    assert (await client.auth.mfa.get_authenticator_assurance_level()).current_level == "aal2"
    await client.auth.mfa.unenroll({"factor_id": factor.id})
    same_users(clean_pair)
    await client.auth.sign_out()
    same_users(clean_pair)
    assert rows_at(clean_pair.supabase, "sessions") == []
    for password, is_right in ((PASSWORD, False), ("another fine passphrase", True)):
        if is_right:
            assert (await client.auth.sign_in_with_password({"email": email, "password": password})).user
        else:
            with pytest.raises(AuthApiError):
                await client.auth.sign_in_with_password({"email": email, "password": password})
    assert clean_pair.isobase.query("select count(*) from isobase.outbox") == [(0,)]


async def test_an_administrator_works_on_both_sides(admin: Any, clean_pair: Pair) -> None:
    for stage in TWICE_WRITTEN:
        move(clean_pair, stage, admin)
        email = address()
        made = await admin.auth.admin.create_user({"email": email, "password": PASSWORD, "email_confirm": True})
        same_users(clean_pair)
        changed = await admin.auth.admin.update_user_by_id(made.user.id, {"app_metadata": {"plan": "pro"}})
        assert changed.user.app_metadata["plan"] == "pro"
        same_users(clean_pair)
        assert (await admin.auth.admin.get_user_by_id(made.user.id)).user.email == email
        assert [user.email for user in await admin.auth.admin.list_users()] == [email]
        link = await admin.auth.admin.generate_link({"type": "magiclink", "email": email})
        assert link.user.id == made.user.id
        same_users(clean_pair)
        await admin.auth.admin.delete_user(made.user.id)
        same_users(clean_pair)
        assert rows_at(clean_pair.isobase, "users") == []


async def test_a_session_of_either_side_is_good_in_every_stage(client: Any, clean_pair: Pair) -> None:
    for stage in (Stage.SHADOW_READ, Stage.LIVE):
        move(clean_pair, stage, client)
        for side in (clean_pair.supabase, clean_pair.isobase):
            # Signed in by a browser that knows nothing of the move.
            user = clean_pair.sign_up(at=side)
            session = await client.auth.set_session(user.access_token, user.refresh_token)
            assert session.user.id == user.id
            assert (await client.auth.refresh_session()).user.id == user.id
            same_users(clean_pair)
            await client.auth.sign_out()
            stranger = clean_pair.sign_up(at=side)
            by_password = await client.auth.sign_in_with_password({"email": stranger.email, "password": PASSWORD})
            assert by_password.user.id == stranger.id
            await client.auth.sign_out({"scope": "global"})
            same_users(clean_pair)


async def test_guests_are_carried_and_become_users(client: Any, clean_pair: Pair) -> None:
    move(clean_pair, Stage.DUAL_WRITE, client)
    guest = await client.auth.sign_in_anonymously()
    same_users(clean_pair)
    move(clean_pair, Stage.LIVE, client)
    assert (await client.auth.get_user()).user.is_anonymous
    become = await client.auth.update_user({"email": address(), "password": PASSWORD})
    assert become.user.id == guest.user.id
    same_users(clean_pair)
