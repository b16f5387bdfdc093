"""Passkeys through the client, against a running auth server, with an authenticator in software."""

from __future__ import annotations

from typing import Any

import pytest

from isobase.auth import AsyncGoTrueAdminAPI, AsyncGoTrueClient
from isobase.auth.errors import AuthApiError, AuthSessionMissingError
from tests.auth.authenticator import Authenticator
from tests.sdk.auth._async.conftest import MakeClient
from tests.sdk.auth.conftest import ORIGIN, RP_ID

NOBODY = "00000000-0000-4000-8000-000000000000"


def new_key() -> Authenticator:
    """An authenticator that a browser at the app's origin would speak for."""
    return Authenticator(rp_id=RP_ID, origin=ORIGIN)


@pytest.mark.capability("auth.passkey.register_passkey", "auth.passkey.sign_in_with_passkey")
async def test_a_passkey_is_registered_and_signs_its_user_in(
    client: AsyncGoTrueClient, make_client: MakeClient
) -> None:
    key = new_key()
    passkey = await client.register_passkey(key.create)
    session = await client.get_session()
    assert session is not None
    other = await make_client(sign_up=False)
    told: list[str] = []
    other.on_auth_state_change(lambda event, _session: told.append(event))
    signed_in = await other.sign_in_with_passkey(key.get)
    assert signed_in.user is not None
    assert signed_in.user.id == session.user.id
    assert await other.get_session() == signed_in.session
    assert told[-1] == "SIGNED_IN"
    (listed,) = await other.passkey.list()
    assert listed.id == passkey.id
    assert listed.last_used_at is not None


@pytest.mark.capability("auth.passkey.register_passkey", "auth.passkey.sign_in_with_passkey")
async def test_the_steps_can_be_made_by_a_browser_elsewhere(client: AsyncGoTrueClient, make_client: MakeClient) -> None:
    key = new_key()
    registration = await client.passkey.start_registration()
    assert registration.options["rp"]["id"] == RP_ID
    made = await client.passkey.verify_registration(
        {"challenge_id": registration.challenge_id, "credential": key.create(registration.options)}
    )
    other = await make_client(sign_up=False)
    authentication = await other.passkey.start_authentication()
    signed_in = await other.passkey.verify_authentication(
        {"challenge_id": authentication.challenge_id, "credential": key.get(authentication.options)}
    )
    assert signed_in.session is not None
    assert [one.id for one in await other.passkey.list()] == [made.id]


@pytest.mark.capability("auth.passkey.list_passkeys", "auth.passkey.update_passkey", "auth.passkey.delete_passkey")
async def test_users_name_and_delete_their_passkeys(client: AsyncGoTrueClient) -> None:
    passkey = await client.register_passkey(new_key().create)
    named = await client.passkey.update({"passkey_id": passkey.id, "friendly_name": "My phone"})
    assert (named.id, named.friendly_name) == (passkey.id, "My phone")
    assert [one.friendly_name for one in await client.passkey.list()] == ["My phone"]
    await client.passkey.delete({"passkey_id": passkey.id})
    assert await client.passkey.list() == []


@pytest.mark.capability("auth.passkey.sign_in_with_passkey")
async def test_a_passkey_that_the_server_does_not_know_signs_nobody_in(make_client: MakeClient) -> None:
    client = await make_client(sign_up=False)
    with pytest.raises(AuthApiError) as refused:
        await client.sign_in_with_passkey(new_key().get)
    assert refused.value.code == "webauthn_verification_failed"
    assert await client.get_session() is None


async def test_what_the_authenticator_raises_reaches_the_caller(client: AsyncGoTrueClient) -> None:
    def refuse(_options: dict[str, Any]) -> dict[str, Any]:
        raise PermissionError("the person said no")

    with pytest.raises(PermissionError, match="said no"):
        await client.register_passkey(refuse)


async def test_registering_needs_a_session(make_client: MakeClient) -> None:
    client = await make_client(sign_up=False)
    with pytest.raises(AuthSessionMissingError):
        await client.register_passkey(new_key().create)


# [async]
async def test_an_authenticator_may_be_a_coroutine_function(client: AsyncGoTrueClient) -> None:
    key = new_key()

    async def create(options: dict[str, Any]) -> dict[str, Any]:
        return key.create(options)

    assert (await client.register_passkey(create)).id


# [/async]
@pytest.mark.capability("auth.passkey_admin.list_passkeys", "auth.passkey_admin.delete_passkey")
async def test_an_admin_lists_and_deletes_a_users_passkeys(
    client: AsyncGoTrueClient, admin: AsyncGoTrueAdminAPI
) -> None:
    passkey = await client.register_passkey(new_key().create)
    session = await client.get_session()
    assert session is not None
    assert [one.id for one in await admin.passkey.list_passkeys({"user_id": session.user.id})] == [passkey.id]
    await admin.passkey.delete_passkey({"user_id": session.user.id, "passkey_id": passkey.id})
    assert await admin.passkey.list_passkeys({"user_id": session.user.id}) == []
    with pytest.raises(AuthApiError) as unknown:
        await admin.passkey.list_passkeys({"user_id": NOBODY})
    assert unknown.value.code == "user_not_found"
