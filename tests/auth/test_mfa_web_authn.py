"""WebAuthn credentials as second factors, with an authenticator in software."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from isobase_platform.config_auth.mfa import MfaSettings, MfaWebAuthnSettings
from isobase_platform.config_auth.passkey import WebAuthnSettings
from tests.auth.authenticator import Authenticator, encoded
from tests.auth.conftest import AuthServer, StartAuth, bearer
from tests.auth.mfa import aal_of, claims_of, enroll

PARTY = WebAuthnSettings(rp_id="localhost", rp_display_name="Tests", rp_origins=("http://localhost:5173",))
ON: dict[str, Any] = {
    "mfa": MfaSettings(web_authn=MfaWebAuthnSettings(enroll_enabled=True, verify_enabled=True)),
    "webauthn": PARTY,
}


@pytest_asyncio.fixture
async def auth(start_auth: StartAuth) -> AsyncIterator[AuthServer]:
    """Auth with WebAuthn factors on."""
    async with start_auth(**ON) as server:
        yield server


async def ask(auth: AuthServer, session: dict[str, Any], factor_id: str) -> dict[str, Any]:
    """Open a challenge; what the client says about the relying party is ignored."""
    response = await auth.client.post(
        f"/factors/{factor_id}/challenge",
        json={"webauthn": {"rpId": "evil.example.com", "rpOrigins": ["https://evil.example.com"]}},
        headers=bearer(session),
    )
    assert response.status_code == 200, response.text
    opened: dict[str, Any] = response.json()
    return opened


async def send(
    auth: AuthServer, session: dict[str, Any], factor_id: str, challenge_id: str, kind: str, credential: object
) -> httpx.Response:
    """Answer a challenge."""
    return await auth.client.post(
        f"/factors/{factor_id}/verify",
        json={"challenge_id": challenge_id, "webauthn": {"type": kind, "credential_response": credential}},
        headers=bearer(session),
    )


async def enroll_key(
    auth: AuthServer, session: dict[str, Any], authenticator: Authenticator, name: str = ""
) -> tuple[str, dict[str, Any]]:
    """Enrol and verify: (factor id, the session at aal2)."""
    factor = await enroll(auth, session, factor_type="webauthn", friendly_name=name)
    opened = await ask(auth, session, factor["id"])
    credential = authenticator.create(opened["webauthn"]["credential_options"]["publicKey"])
    response = await send(auth, session, factor["id"], opened["id"], "create", credential)
    assert response.status_code == 200, response.text
    return factor["id"], response.json()


async def use_key(
    auth: AuthServer, session: dict[str, Any], factor_id: str, authenticator: Authenticator
) -> httpx.Response:
    """Answer a challenge of a verified factor."""
    opened = await ask(auth, session, factor_id)
    credential = authenticator.get(opened["webauthn"]["credential_options"]["publicKey"])
    return await send(auth, session, factor_id, opened["id"], "request", credential)


async def test_key_is_enrolled_and_raises_sessions(auth: AuthServer) -> None:
    session = await auth.sign_up()
    factor = await enroll(auth, session, factor_type="webauthn", friendly_name="key")
    assert factor == {"id": factor["id"], "type": "webauthn", "friendly_name": "key"}
    opened = await ask(auth, session, factor["id"])
    assert set(opened) == {"id", "type", "expires_at", "webauthn"}
    assert (opened["type"], opened["webauthn"]["type"]) == ("webauthn", "create")
    options = opened["webauthn"]["credential_options"]["publicKey"]
    assert options["rp"] == {"id": "localhost", "name": "Tests"}
    assert options["user"]["id"] == encoded(session["user"]["id"].encode())
    authenticator = Authenticator(aaguid=bytes(range(16)))
    credential = authenticator.create(options)
    raised = (await send(auth, session, factor["id"], opened["id"], "create", credential)).json()
    assert aal_of(raised) == "aal2"
    assert [use["method"] for use in claims_of(raised)["amr"]] == ["mfa/webauthn", "password"]
    (shown,) = raised["user"]["factors"]
    assert (shown["status"], shown["web_authn_aaguid"]) == ("verified", "00010203-0405-0607-0809-0a0b0c0d0e0f")
    assert shown["last_webauthn_challenge_data"]["type"] == "create"
    weak = (await auth.sign_in()).json()
    again = await ask(auth, weak, factor["id"])
    request = again["webauthn"]
    assert (request["type"], request["credential_options"]["publicKey"]["allowCredentials"]) == (
        "request",
        [{"type": "public-key", "id": encoded(authenticator.credential_id), "transports": ["usb"]}],
    )
    response = await use_key(auth, weak, factor["id"], authenticator)
    assert aal_of(response.json()) == "aal2"
    stored = json.loads(await auth.database.fetchval("select web_authn_credential from auth.mfa_factors"))
    assert stored["authenticator"]["signCount"] == 1
    assert await auth.count("mfa_challenges", "id = $1::text::uuid", opened["id"]) == 0


async def test_new_credential_does_not_pass_for_a_verified_factor(auth: AuthServer) -> None:
    factor_id, _ = await enroll_key(auth, await auth.sign_up(), Authenticator())
    thief = (await auth.sign_in()).json()
    opened = await ask(auth, thief, factor_id)
    options = opened["webauthn"]["credential_options"]["publicKey"]
    made = Authenticator().create({**options, "user": {"id": encoded(thief["user"]["id"].encode())}})
    refused = await send(auth, thief, factor_id, opened["id"], "create", made)
    assert (refused.status_code, refused.json()["error_code"]) == (422, "mfa_verification_failed")
    assert await auth.count("sessions", "aal = 'aal2'") == 1


async def test_only_the_factors_own_key_answers_for_it(auth: AuthServer) -> None:
    first, second = Authenticator(), Authenticator()
    first_id, raised = await enroll_key(auth, await auth.sign_up(), first, "first")
    _, raised = await enroll_key(auth, raised, second, "second")
    refused = await use_key(auth, raised, first_id, second)
    assert (refused.status_code, refused.json()["msg"]) == (422, "Failed to validate WebAuthn MFA response")
    assert (await use_key(auth, raised, first_id, first)).status_code == 200


async def test_wrong_answers_are_refused_and_leave_the_challenge_open(auth: AuthServer) -> None:
    authenticator = Authenticator()
    factor_id, raised = await enroll_key(auth, await auth.sign_up(), authenticator)
    opened = await ask(auth, raised, factor_id)
    options = opened["webauthn"]["credential_options"]["publicKey"]
    elsewhere = Authenticator(origin="https://evil.example.com")
    elsewhere.credential_id, elsewhere._key = authenticator.credential_id, authenticator._key
    other = await ask(auth, raised, factor_id)
    old = authenticator.get(other["webauthn"]["credential_options"]["publicKey"])
    right = authenticator.get(options)
    for credential in (
        elsewhere.get(options),
        old,
        {**right, "response": {**right["response"], "signature": "AAAA"}},
        {**right, "response": {**right["response"], "userHandle": encoded(b"somebody else")}},
    ):
        refused = await send(auth, raised, factor_id, opened["id"], "request", credential)
        assert (refused.status_code, refused.json()["error_code"]) == (422, "mfa_verification_failed")
    assert (await send(auth, raised, factor_id, opened["id"], "request", right)).status_code == 200
    again = await send(auth, raised, factor_id, opened["id"], "request", right)
    assert (again.status_code, again.json()["error_code"]) == (422, "mfa_factor_not_found")


async def test_copied_key_is_refused(auth: AuthServer) -> None:
    authenticator = Authenticator()
    factor_id, raised = await enroll_key(auth, await auth.sign_up(), authenticator)
    assert (await use_key(auth, raised, factor_id, authenticator)).status_code == 200
    authenticator.sign_count = 0
    assert (await use_key(auth, raised, factor_id, authenticator)).status_code == 422


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "WebAuthn config required"),
        ({"type": "get"}, "WebAuthn type must be create or request"),
        ({"type": "create"}, "credential_response required"),
        ({"type": "create", "credential_response": "x"}, "Invalid credential_response"),
        ({"type": "create", "credential_response": {}}, "Invalid credential_response"),
        ({"type": "create", "credential_response": {"id": "AA", "type": "public-key"}}, "Invalid credential_response"),
    ],
)
async def test_incomplete_answers_say_what_is_missing(auth: AuthServer, given: object, message: str) -> None:
    session = await auth.sign_up()
    factor = await enroll(auth, session, factor_type="webauthn")
    opened = await ask(auth, session, factor["id"])
    refused = await auth.client.post(
        f"/factors/{factor['id']}/verify",
        json={"challenge_id": opened["id"], "webauthn": given},
        headers=bearer(session),
    )
    assert (refused.status_code, refused.json()["error_code"], refused.json()["msg"]) == (
        400,
        "validation_failed",
        message,
    )


async def test_enrolled_keys_are_kept_out_of_a_second_enrolment(auth: AuthServer) -> None:
    authenticator = Authenticator()
    _, raised = await enroll_key(auth, await auth.sign_up(), authenticator, "first")
    second = await enroll(auth, raised, factor_type="webauthn", friendly_name="second")
    options = (await ask(auth, raised, second["id"]))["webauthn"]["credential_options"]["publicKey"]
    assert [item["id"] for item in options["excludeCredentials"]] == [encoded(authenticator.credential_id)]


async def test_stored_credential_that_cannot_be_read_fails_as_a_wrong_answer(auth: AuthServer) -> None:
    factor_id, raised = await enroll_key(auth, await auth.sign_up(), Authenticator())
    await auth.database.execute("update auth.mfa_factors set web_authn_credential = '{\"id\": 3}'")
    refused = await auth.client.post(f"/factors/{factor_id}/challenge", json={}, headers=bearer(raised))
    assert (refused.status_code, refused.json()["error_code"]) == (422, "mfa_verification_failed")
