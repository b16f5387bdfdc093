"""Second factors through the client, against a running auth server: apps, phones, and an authenticator in software."""

from __future__ import annotations

from uuid import uuid4

import pytest

from isobase.auth import AsyncGoTrueAdminAPI, AsyncGoTrueClient
from isobase.auth.errors import AuthApiError, AuthSessionMissingError
from isobase.auth.types import AuthChangeEvent, AuthMFAEnrollResponse, Session
from tests.auth.authenticator import Authenticator
from tests.auth.mfa import code_now
from tests.sdk.auth._async.conftest import MakeClient
from tests.sdk.auth.conftest import ORIGIN, RP_ID, AuthService

PHONE = "+15555550{}"


async def enroll_app(client: AsyncGoTrueClient, name: str = "app") -> AuthMFAEnrollResponse:
    """Enrol an authenticator app."""
    return await client.mfa.enroll({"factor_type": "totp", "friendly_name": name, "issuer": "Tests"})


async def verify_app(client: AsyncGoTrueClient) -> AuthMFAEnrollResponse:
    """Enrol an authenticator app and verify it; the session is at aal2 then."""
    factor = await enroll_app(client)
    assert factor.totp is not None
    await client.mfa.challenge_and_verify({"factor_id": factor.id, "code": code_now(factor.totp.secret)})
    return factor


async def level_of(client: AsyncGoTrueClient) -> tuple[str | None, str | None]:
    """Give the current and the next level."""
    level = await client.mfa.get_authenticator_assurance_level()
    return level.current_level, level.next_level


@pytest.mark.capability("auth.mfa.enroll")
async def test_an_app_is_enrolled_with_a_secret_that_its_repr_keeps(client: AsyncGoTrueClient) -> None:
    factor = await enroll_app(client)
    assert factor.type == "totp"
    assert factor.friendly_name == "app"
    assert factor.totp is not None
    assert factor.totp.qr_code.startswith("data:image/svg+xml;utf-8,<")
    assert factor.totp.secret in factor.totp.uri
    assert "issuer=Tests" in factor.totp.uri
    assert factor.totp.secret not in repr(factor)


@pytest.mark.capability("auth.mfa.challenge", "auth.mfa.verify", "auth.mfa.get_authenticator_assurance_level")
async def test_an_answered_challenge_raises_the_session_and_tells_the_listeners(client: AsyncGoTrueClient) -> None:
    told: list[tuple[AuthChangeEvent, Session | None]] = []
    client.on_auth_state_change(lambda event, session: told.append((event, session)))
    before = await client.get_session()
    factor = await enroll_app(client)
    assert factor.totp is not None
    assert await level_of(client) == ("aal1", "aal1")
    challenge = await client.mfa.challenge({"factor_id": factor.id})
    assert challenge.factor_type == "totp"
    answer = await client.mfa.verify(
        {"factor_id": factor.id, "challenge_id": challenge.id, "code": code_now(factor.totp.secret)}
    )
    session = await client.get_session()
    assert before is not None
    assert session is not None
    assert session.access_token == answer.access_token != before.access_token
    assert await level_of(client) == ("aal2", "aal2")
    methods = (await client.mfa.get_authenticator_assurance_level()).current_authentication_methods
    assert sorted(entry.method for entry in methods) == ["password", "totp"]
    assert [event for event, _ in told if event == "MFA_CHALLENGE_VERIFIED"] == ["MFA_CHALLENGE_VERIFIED"]
    assert told[-1][1] == session


@pytest.mark.capability("auth.mfa.challenge_and_verify", "auth.mfa.list_factors")
async def test_a_verified_factor_stands_in_the_list_by_its_type(client: AsyncGoTrueClient) -> None:
    factor = await verify_app(client)
    await client.mfa.enroll({"factor_type": "webauthn", "friendly_name": "key"})
    factors = await client.mfa.list_factors()
    assert [one.id for one in factors.totp] == [factor.id]
    assert (factors.phone, factors.webauthn) == ([], [])
    assert sorted(one.factor_type for one in factors.all) == ["totp", "webauthn"]


@pytest.mark.capability("auth.mfa.get_authenticator_assurance_level")
async def test_a_new_sign_in_of_a_user_with_a_factor_could_be_surer(
    client: AsyncGoTrueClient, make_client: MakeClient
) -> None:
    await verify_app(client)
    session = await client.get_session()
    assert session is not None
    other = await make_client(sign_up=False)
    signed_in = await other.sign_in_with_password(
        {"email": session.user.email or "", "password": "correct horse battery"}
    )
    assert signed_in.session is not None
    assert await level_of(other) == ("aal1", "aal2")
    of_a_token = await client.mfa.get_authenticator_assurance_level(signed_in.session.access_token)
    assert (of_a_token.current_level, of_a_token.next_level) == ("aal1", "aal2")


async def test_without_a_session_there_is_no_level(make_client: MakeClient) -> None:
    assert await level_of(await make_client(sign_up=False)) == (None, None)


@pytest.mark.capability("auth.mfa.verify")
async def test_a_wrong_code_is_refused_and_the_session_stays_as_it_was(client: AsyncGoTrueClient) -> None:
    factor = await enroll_app(client)
    before = await client.get_session()
    challenge = await client.mfa.challenge({"factor_id": factor.id})
    with pytest.raises(AuthApiError) as refused:
        await client.mfa.verify({"factor_id": factor.id, "challenge_id": challenge.id, "code": "000000"})
    assert (refused.value.status, refused.value.code) == (422, "mfa_verification_failed")
    assert await client.get_session() == before


@pytest.mark.capability("auth.mfa.unenroll")
async def test_a_factor_that_was_given_up_is_gone(client: AsyncGoTrueClient) -> None:
    factor = await verify_app(client)
    assert (await client.mfa.unenroll({"factor_id": factor.id})).id == factor.id
    assert (await client.mfa.list_factors()).all == []


@pytest.mark.capability("auth.mfa.enroll", "auth.mfa.challenge", "auth.mfa.verify")
async def test_a_phone_is_verified_with_the_code_that_it_got(
    client: AsyncGoTrueClient, auth_service: AuthService
) -> None:
    number = PHONE.format(uuid4().int % 1000)
    factor = await client.mfa.enroll({"factor_type": "phone", "friendly_name": "phone", "phone": number})
    assert (factor.type, factor.phone) == ("phone", number)
    challenge = await client.mfa.challenge({"factor_id": factor.id, "channel": "sms"})
    sent = [call.json["sms"] for call in auth_service.texts.calls]
    (code,) = [text["otp"] for text in sent if text["phone"].removeprefix("+") == number.removeprefix("+")][-1:]
    await client.mfa.verify({"factor_id": factor.id, "challenge_id": challenge.id, "code": code})
    assert await level_of(client) == ("aal2", "aal2")
    assert [one.id for one in (await client.mfa.list_factors()).phone] == [factor.id]


@pytest.mark.capability("auth.mfa.enroll", "auth.mfa.challenge", "auth.mfa.verify")
async def test_an_authenticator_is_verified_and_used(client: AsyncGoTrueClient, make_client: MakeClient) -> None:
    key = Authenticator(rp_id=RP_ID, origin=ORIGIN)
    factor = await client.mfa.enroll({"factor_type": "webauthn", "friendly_name": "key"})
    assert (factor.type, factor.totp) == ("webauthn", None)

    async def answer(user: AsyncGoTrueClient) -> str:
        challenge = await user.mfa.challenge(
            {"factor_id": factor.id, "webauthn": {"rp_id": RP_ID, "rp_origins": [ORIGIN]}}
        )
        assert challenge.webauthn is not None
        options = challenge.webauthn.credential_options["publicKey"]
        kind = challenge.webauthn.type
        credential = key.create(options) if kind == "create" else key.get(options)
        await user.mfa.verify(
            {
                "factor_id": factor.id,
                "challenge_id": challenge.id,
                "webauthn": {"rp_id": RP_ID, "rp_origins": [ORIGIN], "type": kind, "credential_response": credential},
            }
        )
        return kind

    assert await answer(client) == "create"
    assert await level_of(client) == ("aal2", "aal2")
    session = await client.get_session()
    assert session is not None
    other = await make_client(sign_up=False)
    await other.sign_in_with_password({"email": session.user.email or "", "password": "correct horse battery"})
    assert await answer(other) == "request"
    assert [one.id for one in (await other.mfa.list_factors()).webauthn] == [factor.id]


async def test_second_factors_need_a_session(make_client: MakeClient) -> None:
    client = await make_client(sign_up=False)
    some_id = str(uuid4())
    for call in (
        lambda: client.mfa.enroll({"factor_type": "totp"}),
        lambda: client.mfa.challenge({"factor_id": some_id}),
        lambda: client.mfa.verify({"factor_id": some_id, "challenge_id": some_id, "code": "123456"}),
        lambda: client.mfa.unenroll({"factor_id": some_id}),
    ):
        with pytest.raises(AuthSessionMissingError):
            await call()


@pytest.mark.capability("auth.admin.list_mfa_factors", "auth.admin.delete_mfa_factor")
async def test_an_admin_takes_a_lost_factor_away(client: AsyncGoTrueClient, admin: AsyncGoTrueAdminAPI) -> None:
    factor = await verify_app(client)
    session = await client.get_session()
    assert session is not None
    (found,) = await admin.mfa.list_factors({"user_id": session.user.id})
    assert (found.id, found.status, found.factor_type) == (factor.id, "verified", "totp")
    deleted = await admin.mfa.delete_factor({"user_id": session.user.id, "id": factor.id})
    assert deleted.id == factor.id
    assert await admin.mfa.list_factors({"user_id": session.user.id}) == []
