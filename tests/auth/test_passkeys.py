"""Passkeys: registering, signing in, managing; with an authenticator in software."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isobase_platform.config_auth.passkey import PasskeySettings, WebAuthnSettings
from isobase_services.auth.ceremonies import CeremonyFailed, RelyingParty, check_assertion, check_creation
from tests.auth.authenticator import USER_PRESENT, Authenticator, encoded
from tests.auth.conftest import AuthServer, StartAuth, bearer
from tests.auth.mfa import aal_of, claims_of, enroll_verified

PARTY = WebAuthnSettings(rp_id="localhost", rp_display_name="Tests", rp_origins=("http://localhost:5173",))
ON: dict[str, Any] = {"passkey": PasskeySettings(enabled=True), "webauthn": PARTY}


@pytest_asyncio.fixture
async def auth(start_auth: StartAuth) -> AsyncIterator[AuthServer]:
    """Auth with passkeys on."""
    async with start_auth(**ON) as server:
        yield server


async def begin(auth: AuthServer, session: dict[str, Any]) -> dict[str, Any]:
    """Ask for registration options."""
    response = await auth.client.post("/passkeys/registration/options", json={}, headers=bearer(session))
    assert response.status_code == 200, response.text
    ceremony: dict[str, Any] = response.json()
    return ceremony


async def finish(
    auth: AuthServer, session: dict[str, Any], challenge_id: str, credential: dict[str, Any]
) -> httpx.Response:
    """Send what the authenticator made."""
    return await auth.client.post(
        "/passkeys/registration/verify",
        json={"challenge_id": challenge_id, "credential": credential},
        headers=bearer(session),
    )


async def register(auth: AuthServer, session: dict[str, Any], authenticator: Authenticator) -> dict[str, Any]:
    """Add a passkey."""
    ceremony = await begin(auth, session)
    response = await finish(auth, session, ceremony["challenge_id"], authenticator.create(ceremony["options"]))
    assert response.status_code == 200, response.text
    passkey: dict[str, Any] = response.json()
    return passkey


async def sign_in_options(auth: AuthServer) -> dict[str, Any]:
    """Ask for authentication options."""
    ceremony: dict[str, Any] = (await auth.client.post("/passkeys/authentication/options", json={})).json()
    return ceremony


async def send_assertion(auth: AuthServer, challenge_id: str, credential: dict[str, Any]) -> httpx.Response:
    """Send an assertion."""
    return await auth.client.post(
        "/passkeys/authentication/verify", json={"challenge_id": challenge_id, "credential": credential}
    )


async def sign_in(auth: AuthServer, authenticator: Authenticator) -> httpx.Response:
    """Sign in with a passkey."""
    ceremony = await sign_in_options(auth)
    return await send_assertion(auth, ceremony["challenge_id"], authenticator.get(ceremony["options"]))


def error_of(response: httpx.Response) -> tuple[int, str]:
    """Status and code."""
    return response.status_code, response.json()["error_code"]


async def test_registration_options_ask_for_a_discoverable_credential(auth: AuthServer) -> None:
    session = await auth.sign_up(data={"name": "Alice"})
    ceremony = await begin(auth, session)
    assert set(ceremony) == {"challenge_id", "options", "expires_at"}
    UUID(ceremony["challenge_id"])
    options = ceremony["options"]
    assert options["rp"] == {"id": "localhost", "name": "Tests"}
    assert options["user"] == {
        "name": "alice@example.com",
        "displayName": "Alice",
        "id": encoded(session["user"]["id"].encode()),
    }
    assert {"type": "public-key", "alg": -7} in options["pubKeyCredParams"]
    assert options["authenticatorSelection"] == {
        "residentKey": "required",
        "userVerification": "preferred",
    }
    assert (options["attestation"], options["timeout"]) == ("none", 300_000)
    assert "excludeCredentials" not in options


async def test_passkey_is_registered_and_signs_in(auth: AuthServer) -> None:
    session = await auth.sign_up()
    authenticator = Authenticator()
    passkey = await register(auth, session, authenticator)
    assert set(passkey) == {"id", "friendly_name", "created_at"}
    assert passkey["friendly_name"] == "Passkey"
    options = (await sign_in_options(auth))["options"]
    assert set(options) == {"challenge", "timeout", "rpId", "userVerification"}
    response = await sign_in(auth, authenticator)
    assert response.status_code == 200, response.text
    signed_in = response.json()
    assert signed_in["user"]["id"] == session["user"]["id"]
    assert [use["method"] for use in claims_of(signed_in)["amr"]] == ["passkey"]
    assert aal_of(signed_in) == "aal1"
    assert (await auth.client.get("/user", headers=bearer(signed_in))).status_code == 200
    (listed,) = (await auth.client.get("/passkeys", headers=bearer(signed_in))).json()
    assert set(listed) == {"id", "friendly_name", "created_at", "last_used_at"}
    row = await auth.database.fetchrow("select * from auth.webauthn_credentials")
    assert row is not None
    assert (row["sign_count"], json.loads(row["transports"]), row["attestation_type"]) == (1, ["usb"], "none")
    excluded = (await begin(auth, session))["options"]["excludeCredentials"]
    assert excluded == [{"type": "public-key", "id": encoded(authenticator.credential_id)}]


async def test_passkey_is_named_after_what_keeps_it(auth: AuthServer) -> None:
    session = await auth.sign_up()
    aaguid = UUID("bada5566-a7aa-401f-bd96-45619a55120d").bytes
    assert (await register(auth, session, Authenticator(aaguid=aaguid)))["friendly_name"] == "1Password"


async def test_sign_in_is_logged_with_the_passkey(auth: AuthServer) -> None:
    authenticator = Authenticator()
    passkey = await register(auth, await auth.sign_up(), authenticator)
    await sign_in(auth, authenticator)
    payloads = [
        json.loads(row["payload"])
        for row in await auth.database.fetch("select payload from auth.audit_log_entries order by created_at")
    ]
    assert [(entry["action"], entry.get("traits")) for entry in payloads[-2:]] == [
        ("passkey_created", {"passkey_id": passkey["id"]}),
        ("login", {"passkey_id": passkey["id"]}),
    ]


async def test_challenge_is_good_for_one_answer_even_for_a_wrong_one(auth: AuthServer) -> None:
    authenticator = Authenticator()
    session = await auth.sign_up()
    await register(auth, session, authenticator)
    ceremony = await sign_in_options(auth)
    assertion = authenticator.get(ceremony["options"])
    answers = await asyncio.gather(*(send_assertion(auth, ceremony["challenge_id"], assertion) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
    assert error_of(await send_assertion(auth, ceremony["challenge_id"], assertion)) == (
        400,
        "webauthn_challenge_not_found",
    )
    again = await sign_in_options(auth)
    right = authenticator.get(again["options"])
    assert error_of(await send_assertion(auth, again["challenge_id"], {**right, "type": "other"})) == (
        400,
        "webauthn_verification_failed",
    )
    assert error_of(await send_assertion(auth, again["challenge_id"], right)) == (400, "webauthn_challenge_not_found")


async def test_challenge_expires(auth: AuthServer) -> None:
    authenticator = Authenticator()
    session = await auth.sign_up()
    await register(auth, session, authenticator)
    ceremony = await sign_in_options(auth)
    started = await begin(auth, session)
    await auth.database.execute("update auth.webauthn_challenges set expires_at = now() - interval '1 second'")
    answer = await send_assertion(auth, ceremony["challenge_id"], authenticator.get(ceremony["options"]))
    assert error_of(answer) == (400, "webauthn_challenge_expired")
    created = await finish(auth, session, started["challenge_id"], Authenticator().create(started["options"]))
    assert error_of(created) == (400, "webauthn_challenge_expired")


async def test_challenges_of_another_kind_or_user_do_not_count(auth: AuthServer) -> None:
    authenticator, alice = Authenticator(), await auth.sign_up()
    bob = await auth.sign_up("bob@example.com")
    await register(auth, alice, authenticator)
    of_bob = await begin(auth, bob)
    stolen = await finish(auth, alice, of_bob["challenge_id"], Authenticator().create(of_bob["options"]))
    assert error_of(stolen) == (400, "webauthn_challenge_not_found")
    for_sign_in = await sign_in_options(auth)
    crossed = await finish(auth, alice, for_sign_in["challenge_id"], {})
    assert error_of(crossed) == (400, "webauthn_challenge_not_found")
    crossed = await send_assertion(auth, of_bob["challenge_id"], authenticator.get(for_sign_in["options"]))
    assert error_of(crossed) == (400, "webauthn_challenge_not_found")


async def test_answers_that_prove_nothing_are_refused_alike(auth: AuthServer) -> None:
    session = await auth.sign_up()
    good = Authenticator()
    await register(auth, session, good)
    bob = await auth.sign_up("bob@example.com")
    stranger = Authenticator()
    stranger.create((await begin(auth, session))["options"])
    elsewhere, other_party = Authenticator(origin="https://evil.example.com"), Authenticator(rp_id="example.com")
    for spoiled in (elsewhere, other_party):
        spoiled.credential_id, spoiled._key, spoiled.user_handle = good.credential_id, good._key, good.user_handle
    absent = Authenticator(flags=0)
    absent.credential_id, absent._key, absent.user_handle = good.credential_id, good._key, good.user_handle
    as_bob = Authenticator()
    as_bob.credential_id, as_bob._key = good.credential_id, good._key
    as_bob.user_handle = bob["user"]["id"].encode()
    nobody = Authenticator()
    nobody.credential_id, nobody._key, nobody.user_handle = good.credential_id, good._key, str(uuid4()).encode()
    nameless = Authenticator()
    nameless.credential_id, nameless._key, nameless.user_handle = good.credential_id, good._key, b"\xff\x00"
    for spoiled in (stranger, elsewhere, other_party, absent, as_bob, nobody, nameless):
        answer = await sign_in(auth, spoiled)
        assert answer.json() == {
            "code": 400,
            "error_code": "webauthn_verification_failed",
            "msg": "Credential verification failed",
        }
    assert await auth.count("sessions", "user_id = $1::text::uuid", session["user"]["id"]) == 1
    assert (await sign_in(auth, good)).status_code == 200


async def test_copied_authenticator_is_refused_and_one_that_never_counts_is_not(auth: AuthServer) -> None:
    session = await auth.sign_up()
    authenticator = Authenticator()
    await register(auth, session, authenticator)
    authenticator.sign_count = 41
    assert (await sign_in(auth, authenticator)).status_code == 200
    authenticator.sign_count = 41
    assert error_of(await sign_in(auth, authenticator)) == (400, "webauthn_verification_failed")
    synchronised = Authenticator(counts=False)
    await register(auth, session, synchronised)
    assert [(await sign_in(auth, synchronised)).status_code for _ in range(2)] == [200, 200]


async def test_presence_without_verification_is_enough_as_upstream_has_it(auth: AuthServer) -> None:
    authenticator = Authenticator(flags=USER_PRESENT)
    await register(auth, await auth.sign_up(), authenticator)
    assert (await sign_in(auth, authenticator)).status_code == 200


async def test_bad_requests_say_what_is_missing(auth: AuthServer) -> None:
    session = await auth.sign_up()
    for url, headers in (
        ("/passkeys/authentication/verify", {}),
        ("/passkeys/registration/verify", bearer(session)),
    ):
        cases: list[tuple[dict[str, Any], str]] = [
            ({}, "challenge_id is required"),
            ({"challenge_id": str(uuid4())}, "credential is required"),
            ({"challenge_id": "x", "credential": {}}, "challenge_id must be a valid UUID"),
        ]
        for body, message in cases:
            answer = await auth.client.post(url, json=body, headers=headers)
            assert (error_of(answer), answer.json()["msg"]) == ((400, "validation_failed"), message)
        unknown = await auth.client.post(url, json={"challenge_id": str(uuid4()), "credential": None}, headers=headers)
        assert error_of(unknown) == (400, "webauthn_challenge_not_found")


@pytest.mark.parametrize("credential", [None, "x", {}, {"id": "eHg", "rawId": "eHg", "type": "public-key"}])
async def test_what_is_no_answer_is_told_apart_from_one_that_proves_nothing(auth: AuthServer, credential: Any) -> None:
    session = await auth.sign_up()
    for answer in (
        await send_assertion(auth, (await sign_in_options(auth))["challenge_id"], credential),
        await finish(auth, session, (await begin(auth, session))["challenge_id"], credential),
    ):
        assert (error_of(answer), answer.json()["msg"]) == (
            (400, "webauthn_verification_failed"),
            "Invalid credential response",
        )


async def test_guards_stand_before_unknown_routes(auth: AuthServer) -> None:
    for path, status in (
        ("/passkeys/x/y", 401),
        ("/passkeys/registration/other", 401),
        ("/passkeys/authentication/other", 404),
    ):
        assert (await auth.client.get(path)).status_code == status


async def test_credential_belongs_to_one_user(auth: AuthServer) -> None:
    authenticator = Authenticator()
    await register(auth, await auth.sign_up(), authenticator)
    bob = await auth.sign_up("bob@example.com")
    ceremony = await begin(auth, bob)
    answer = await finish(auth, bob, ceremony["challenge_id"], authenticator.create(ceremony["options"]))
    assert error_of(answer) == (422, "webauthn_credential_exists")


async def test_number_of_passkeys_is_limited_even_when_they_come_at_once(start_auth: StartAuth) -> None:
    async with start_auth(passkey=PasskeySettings(enabled=True, max_passkeys_per_user=2), webauthn=PARTY) as auth:
        session = await auth.sign_up()
        ceremonies = [await begin(auth, session) for _ in range(4)]
        answers = await asyncio.gather(
            *(finish(auth, session, c["challenge_id"], Authenticator().create(c["options"])) for c in ceremonies)
        )
        assert sorted(answer.status_code for answer in answers) == [200, 200, 422, 422]
        refused = await auth.client.post("/passkeys/registration/options", headers=bearer(session))
        assert (error_of(refused), refused.json()["msg"]) == (
            (422, "too_many_passkeys"),
            "Maximum number of passkeys reached",
        )


async def test_passkeys_are_named_and_deleted_by_their_user_alone(auth: AuthServer) -> None:
    session, bob = await auth.sign_up(), await auth.sign_up("bob@example.com")
    authenticator = Authenticator()
    url = f"/passkeys/{(await register(auth, session, authenticator))['id']}"
    renamed = await auth.client.patch(url, json={"friendly_name": "my key"}, headers=bearer(session))
    assert (renamed.status_code, renamed.json()["friendly_name"]) == (200, "my key")
    for body, message in (
        ({}, "friendly_name is required"),
        ({"friendly_name": "x" * 121}, "friendly_name must be 120 characters or less"),
    ):
        refused = await auth.client.patch(url, json=body, headers=bearer(session))
        assert (error_of(refused), refused.json()["msg"]) == ((400, "validation_failed"), message)
    for path, headers in ((url, bearer(bob)), (f"/passkeys/{uuid4()}", bearer(session)), ("/passkeys/x", bearer(bob))):
        for refused in (
            await auth.client.patch(path, json={"friendly_name": "mine"}, headers=headers),
            await auth.client.delete(path, headers=headers),
        ):
            assert (error_of(refused), refused.json()["msg"]) == ((404, "validation_failed"), "Passkey not found")
    assert (await auth.client.get("/passkeys", headers=bearer(bob))).json() == []
    deleted = await auth.client.delete(url, headers=bearer(session))
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert error_of(await sign_in(auth, authenticator)) == (400, "webauthn_verification_failed")


async def test_administrators_list_and_delete_passkeys(auth: AuthServer) -> None:
    session = await auth.sign_up()
    passkey = await register(auth, session, Authenticator())
    url = f"/admin/users/{session['user']['id']}/passkeys"
    assert [item["id"] for item in (await auth.client.get(url, headers=auth.service_headers)).json()] == [passkey["id"]]
    assert error_of(await auth.client.get(url, headers=bearer(session))) == (403, "not_admin")
    missing = await auth.client.delete(f"{url}/{uuid4()}", headers=auth.service_headers)
    assert error_of(missing) == (404, "validation_failed")
    deleted = await auth.client.delete(f"{url}/{passkey['id']}", headers=auth.service_headers)
    assert deleted.status_code == 204
    assert (await auth.client.get(url, headers=auth.service_headers)).json() == []


async def test_user_with_a_second_factor_manages_passkeys_at_aal2_only(auth: AuthServer) -> None:
    session = await auth.sign_up()
    passkey = await register(auth, session, Authenticator())
    _, raised = await enroll_verified(auth, session)
    weak = (await auth.sign_in()).json()
    started = await begin(auth, raised)
    for refused in (
        await auth.client.post("/passkeys/registration/options", headers=bearer(weak)),
        await finish(auth, weak, started["challenge_id"], Authenticator().create(started["options"])),
        await auth.client.delete(f"/passkeys/{passkey['id']}", headers=bearer(weak)),
    ):
        assert error_of(refused) == (403, "insufficient_aal")
    assert (await finish(auth, raised, started["challenge_id"], Authenticator().create(started["options"]))).is_success
    assert (await auth.client.delete(f"/passkeys/{passkey['id']}", headers=bearer(raised))).status_code == 204


async def test_banned_and_unconfirmed_users_do_not_get_in(auth: AuthServer) -> None:
    authenticator = Authenticator()
    await register(auth, await auth.sign_up(), authenticator)
    await auth.database.execute("update auth.users set banned_until = now() + interval '1 hour'")
    assert error_of(await sign_in(auth, authenticator)) == (403, "user_banned")
    await auth.database.execute("update auth.users set banned_until = null, email_confirmed_at = null")
    assert error_of(await sign_in(auth, authenticator)) == (403, "email_not_confirmed")


async def test_users_of_single_sign_on_and_anonymous_users_have_no_passkeys(start_auth: StartAuth) -> None:
    async with start_auth(**ON, enable_anonymous_sign_ins=True) as auth:
        anonymous = (await auth.client.post("/signup", json={})).json()
        refused = await auth.client.post("/passkeys/registration/options", headers=bearer(anonymous))
        assert error_of(refused) == (403, "no_authorization")
        session = await auth.sign_up()
        await auth.database.execute("update auth.users set is_sso_user = true")
        refused = await auth.client.post("/passkeys/registration/options", headers=bearer(session))
        assert (error_of(refused), refused.json()["msg"]) == (
            (422, "validation_failed"),
            "SSO users cannot register passkeys",
        )


async def test_everything_below_passkeys_is_disabled_by_default(start_auth: StartAuth) -> None:
    async with start_auth() as auth:
        assert (await auth.client.get("/settings")).json()["passkeys_enabled"] is False
        for method, path in (
            ("POST", "/passkeys/authentication/options"),
            ("POST", "/passkeys/authentication/verify"),
            ("POST", "/passkeys/registration/options"),
            ("GET", "/passkeys"),
            ("PUT", "/passkeys/x"),
            ("GET", "/passkeys/x/y"),
        ):
            answer = await auth.client.request(method, path)
            assert (error_of(answer), answer.json()["msg"]) == ((404, "passkey_disabled"), "Passkeys are disabled")


async def test_relying_party_follows_from_the_site_where_it_is_not_set(start_auth: StartAuth) -> None:
    async with start_auth(passkey=PasskeySettings(enabled=True), site_url="https://app.example.com/home") as auth:
        session = await auth.sign_up()
        assert (await begin(auth, session))["options"]["rp"] == {"id": "app.example.com", "name": "app.example.com"}
        authenticator = Authenticator(rp_id="app.example.com", origin="https://app.example.com")
        await register(auth, session, authenticator)
        assert (await sign_in(auth, authenticator)).status_code == 200


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.binary(max_size=40).map(encoded),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_mangled_answers_fail_as_answers_and_in_no_other_way(data: st.DataObject) -> None:
    party = RelyingParty("localhost", "Tests", ("http://localhost:5173",))
    challenge, authenticator = b"c" * 32, Authenticator()
    made = authenticator.create({"user": {"id": encoded(b"u")}, "challenge": encoded(challenge)})
    used = authenticator.get({"challenge": encoded(challenge)})
    credential = asyncio.run(check_creation(party, made, challenge))
    is_creation = data.draw(st.booleans())
    answer: dict[str, Any] = json.loads(json.dumps(made if is_creation else used))
    place = answer["response"] if data.draw(st.booleans()) else answer
    name = data.draw(st.sampled_from(sorted(set(place) - {"clientExtensionResults", "authenticatorAttachment"})))
    place[name] = data.draw(_JSON)
    try:
        if is_creation:
            asyncio.run(check_creation(party, answer, challenge))
        else:
            asyncio.run(check_assertion(party, answer, challenge, credential))
    except CeremonyFailed:
        return
    assert name in ("transports", "userHandle", "type", "id")
