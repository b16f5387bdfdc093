"""TOTP factors: enrolling, challenging, verifying and giving up."""

from __future__ import annotations

import asyncio
import base64
import json
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

import pytest

from isobase_services.auth.totp import qr_code_svg, totp_code
from tests.auth.conftest import AuthServer, StartAuth, bearer
from tests.auth.mfa import (
    aal_of,
    answer,
    challenge,
    claims_of,
    code_now,
    enroll,
    enroll_verified,
    forget_used_codes,
)

RFC_SECRET = base64.b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("unix_time_s", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_rfc_6238(unix_time_s: int, code: str) -> None:
    assert totp_code(RFC_SECRET, unix_time_s // 30) == code


def test_qr_code_can_stand_in_a_data_url_as_it_is() -> None:
    svg = qr_code_svg("otpauth://totp/x:alice@example.com?secret=ABC")
    assert svg.startswith("<svg ")
    assert "#" not in svg


async def test_enrolled_factor_shows_its_secret_once_and_is_not_verified(auth: AuthServer) -> None:
    session = await auth.sign_up()
    factor = await enroll(auth, session, friendly_name="phone app", issuer="My App")
    assert set(factor) == {"id", "type", "friendly_name", "totp"}
    assert (factor["type"], factor["friendly_name"]) == ("totp", "phone app")
    uri = urlsplit(factor["totp"]["uri"])
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert unquote(uri.path) == "/My App:alice@example.com"
    query = {name: values[0] for name, values in parse_qs(uri.query).items()}
    assert query == {
        "algorithm": "SHA1",
        "digits": "6",
        "issuer": "My App",
        "period": "30",
        "secret": factor["totp"]["secret"],
    }
    assert factor["totp"]["qr_code"].startswith("<svg ")
    user = (await auth.client.get("/user", headers=bearer(session))).json()
    (shown,) = user["factors"]
    assert shown == {
        "id": factor["id"],
        "created_at": shown["created_at"],
        "updated_at": shown["updated_at"],
        "status": "unverified",
        "friendly_name": "phone app",
        "factor_type": "totp",
        "phone": "",
        "last_challenged_at": None,
    }
    assert factor["totp"]["secret"] not in json.dumps(user)


async def test_issuer_is_the_site_and_account_the_phone_where_there_is_no_address(start_auth: StartAuth) -> None:
    async with start_auth(phone_enable_signup=True, site_url="https://app.example.com:8443/x") as auth:
        session = await auth.sign_up(email=None, phone="15555550123")  # type: ignore[arg-type]
        factor = await enroll(auth, session)
        assert "/app.example.com:8443:15555550123?" in factor["totp"]["uri"]


async def test_verifying_raises_the_session_and_keeps_its_id(auth: AuthServer) -> None:
    session = await auth.sign_up()
    assert aal_of(session) == "aal1"
    factor, raised = await enroll_verified(auth, session)
    before, after = claims_of(session), claims_of(raised)
    assert after["aal"] == "aal2"
    assert after["session_id"] == before["session_id"]
    assert [use["method"] for use in after["amr"]] == ["totp", "password"]
    assert raised["user"]["factors"][0]["status"] == "verified"
    assert raised["refresh_token"] != session["refresh_token"]
    assert raised["token_type"] == "bearer"
    row = await auth.database.fetchrow("select aal::text, factor_id from auth.sessions")
    assert row is not None
    assert (row["aal"], str(row["factor_id"])) == ("aal2", factor["id"])
    refreshed = (await auth.refresh(raised["refresh_token"])).json()
    assert aal_of(refreshed) == "aal2"


async def test_token_from_before_the_factor_does_not_lead_to_the_live_one(auth: AuthServer) -> None:
    session = await auth.sign_up()
    _, raised = await enroll_verified(auth, session)
    await auth.database.execute("update auth.refresh_tokens set updated_at = now() - interval '1 minute' where revoked")
    stolen = await auth.refresh(session["refresh_token"])
    assert (stolen.status_code, stolen.json()["error_code"]) == (400, "refresh_token_already_used")
    assert (await auth.refresh(raised["refresh_token"])).status_code == 400, "the family is revoked"


async def test_verifying_ends_the_weaker_sessions_of_the_user_alone(auth: AuthServer) -> None:
    bob = await auth.sign_up("bob@example.com")
    first = await auth.sign_up()
    second = (await auth.sign_in()).json()
    _, raised = await enroll_verified(auth, first)
    answer_of_second = await auth.client.get("/user", headers=bearer(second))
    assert (answer_of_second.status_code, answer_of_second.json()["error_code"]) == (403, "session_not_found")
    assert (await auth.client.get("/user", headers=bearer(raised))).status_code == 200
    assert (await auth.client.get("/user", headers=bearer(bob))).status_code == 200


async def test_verifying_removes_the_unverified_factors_of_the_type(auth: AuthServer) -> None:
    session = await auth.sign_up()
    await enroll(auth, session, friendly_name="forgotten")
    factor, _ = await enroll_verified(auth, session, friendly_name="kept")
    rows = await auth.database.fetch("select id::text from auth.mfa_factors")
    assert [row["id"] for row in rows] == [factor["id"]]


async def test_second_sign_in_starts_at_aal1_and_is_raised_by_the_factor(auth: AuthServer) -> None:
    factor, first = await enroll_verified(auth, await auth.sign_up())
    session = (await auth.sign_in()).json()
    assert aal_of(session) == "aal1"
    assert (await auth.client.get("/user", headers=bearer(first))).status_code == 200, "an aal2 session stays"
    response = await answer(auth, session, factor["id"], code_now(factor["totp"]["secret"], steps=1))
    assert aal_of(response.json()) == "aal2"


async def test_code_is_good_for_one_use_within_its_window(auth: AuthServer) -> None:
    session = await auth.sign_up()
    factor = await enroll(auth, session)
    before, now, after = (code_now(factor["totp"]["secret"], steps=steps) for steps in (-1, 0, 1))
    raised = (await answer(auth, session, factor["id"], now)).json()
    for code in (now, before):
        again = await answer(auth, raised, factor["id"], code)
        assert (again.status_code, again.json()["error_code"]) == (422, "mfa_verification_failed")
    assert (await answer(auth, raised, factor["id"], after)).status_code == 200


async def test_code_sent_twice_at_once_is_accepted_once(auth: AuthServer) -> None:
    session = await auth.sign_up()
    factor = await enroll(auth, session)
    challenges = [await challenge(auth, session, factor["id"]) for _ in range(4)]
    code = code_now(factor["totp"]["secret"])
    answers = await asyncio.gather(*(answer(auth, session, factor["id"], code, item) for item in challenges))
    assert sorted(item.status_code for item in answers) == [200, 422, 422, 422]


@pytest.mark.parametrize("steps", [-3, 4])
async def test_code_of_another_time_is_refused(auth: AuthServer, steps: int) -> None:
    session = await auth.sign_up()
    factor = await enroll(auth, session)
    response = await answer(auth, session, factor["id"], code_now(factor["totp"]["secret"], steps=steps))
    assert response.status_code == 422
    assert response.json() == {
        "code": 422,
        "error_code": "mfa_verification_failed",
        "msg": "Invalid TOTP code entered",
    }
    assert (await auth.client.get("/user", headers=bearer(session))).json()["factors"][0]["status"] == "unverified"


async def test_challenge_takes_five_codes_even_when_they_come_at_once(auth: AuthServer) -> None:
    session = await auth.sign_up()
    factor = await enroll(auth, session)
    challenge_id = await challenge(auth, session, factor["id"])
    answers = await asyncio.gather(*(answer(auth, session, factor["id"], "abcdef", challenge_id) for _ in range(8)))
    codes = sorted(item.json()["error_code"] for item in answers)
    assert codes == ["mfa_challenge_expired"] * 3 + ["mfa_verification_failed"] * 5
    right = await answer(auth, session, factor["id"], code_now(factor["totp"]["secret"]), challenge_id)
    assert (right.status_code, right.json()["error_code"]) == (422, "mfa_challenge_expired")
    assert (await answer(auth, session, factor["id"], code_now(factor["totp"]["secret"]))).status_code == 200


async def test_factor_takes_ten_wrong_codes_in_a_quarter_of_an_hour(auth: AuthServer) -> None:
    session = await auth.sign_up()
    factor = await enroll(auth, session)
    for _ in range(2):
        challenge_id = await challenge(auth, session, factor["id"])
        for _ in range(5):
            await answer(auth, session, factor["id"], "000000x", challenge_id)
    right = await answer(auth, session, factor["id"], code_now(factor["totp"]["secret"]))
    assert (right.status_code, right.json()["error_code"]) == (429, "over_request_rate_limit")
    await auth.database.execute("update auth.mfa_challenges set created_at = created_at - interval '16 minutes'")
    assert (await answer(auth, session, factor["id"], code_now(factor["totp"]["secret"]))).status_code == 200


async def test_right_codes_do_not_count_as_tries(auth: AuthServer) -> None:
    factor, session = await enroll_verified(auth, await auth.sign_up())
    for _ in range(11):
        await forget_used_codes(auth)
        session = (await answer(auth, session, factor["id"], code_now(factor["totp"]["secret"]))).json()
    assert aal_of(session) == "aal2"


async def test_challenge_is_answered_once(auth: AuthServer) -> None:
    session = await auth.sign_up()
    factor = await enroll(auth, session)
    challenge_id = await challenge(auth, session, factor["id"])
    code = code_now(factor["totp"]["secret"])
    raised = (await answer(auth, session, factor["id"], code, challenge_id)).json()
    again = await answer(auth, raised, factor["id"], code_now(factor["totp"]["secret"], steps=1), challenge_id)
    assert (again.status_code, again.json()["error_code"]) == (422, "mfa_ip_address_mismatch")


async def test_challenge_expires_and_is_bound_to_its_address(auth: AuthServer) -> None:
    session = await auth.sign_up()
    factor = await enroll(auth, session)
    code = code_now(factor["totp"]["secret"])
    old, elsewhere = await challenge(auth, session, factor["id"]), await challenge(auth, session, factor["id"])
    await auth.database.execute(
        "update auth.mfa_challenges set created_at = now() - interval '301 s' where id = $1::text::uuid", old
    )
    await auth.database.execute(
        "update auth.mfa_challenges set ip_address = '203.0.113.7' where id = $1::text::uuid", elsewhere
    )
    expired = (await answer(auth, session, factor["id"], code, old)).json()
    assert expired["error_code"] == "mfa_challenge_expired"
    assert expired["msg"] == (
        f"MFA challenge {old} has expired, verify against another challenge or create a new challenge."
    )
    moved = (await answer(auth, session, factor["id"], code, elsewhere)).json()
    assert (moved["error_code"], moved["msg"]) == (
        "mfa_ip_address_mismatch",
        "Challenge and verify IP addresses mismatch.",
    )


async def test_challenge_answer_shape(auth: AuthServer) -> None:
    session = await auth.sign_up()
    factor = await enroll(auth, session)
    response = await auth.client.post(
        f"/factors/{factor['id']}/challenge", json={"factorId": "ignored", "channel": None}, headers=bearer(session)
    )
    body = response.json()
    assert set(body) == {"id", "type", "expires_at"}
    assert body["type"] == "totp"
    created_at = await auth.database.fetchval("select created_at from auth.mfa_challenges")
    assert body["expires_at"] == int(created_at.timestamp() + 300)
    shown = (await auth.client.get("/user", headers=bearer(session))).json()["factors"][0]
    assert shown["last_challenged_at"].endswith("Z")


async def test_bad_verifications_change_nothing_and_say_why(auth: AuthServer) -> None:
    session = await auth.sign_up()
    factor = await enroll(auth, session)
    other = await enroll(auth, await auth.sign_up("bob@example.com"))
    url, headers = f"/factors/{factor['id']}/verify", bearer(session)
    cases: list[tuple[str, dict[str, object], int, str, str]] = [
        (url, {"challenge_id": str(uuid4())}, 400, "validation_failed", "Code needs to be non-empty"),
        (url, {"challenge_id": "x", "code": "1"}, 400, "bad_json", "Could not parse request body as JSON"),
        (url, {"code": "1"}, 422, "mfa_factor_not_found", "MFA factor with the provided challenge ID not found"),
        (url, {"challenge_id": str(uuid4()), "code": "1"}, 422, "mfa_factor_not_found", "MFA factor with"),
        ("/factors/nope/verify", {"code": "1"}, 404, "validation_failed", "factor_id must be an UUID"),
        (f"/factors/{uuid4()}/verify", {"code": "1"}, 404, "mfa_factor_not_found", "Factor not found"),
        (f"/factors/{other['id']}/verify", {"code": "1"}, 404, "mfa_factor_not_found", "Factor not found"),
    ]
    for path, body, status, code, message in cases:
        response = await auth.client.post(path, json=body, headers=headers)
        assert (response.status_code, response.json()["error_code"]) == (status, code), body
        assert response.json()["msg"].startswith(message)
    assert await auth.count("mfa_factors", "status = 'verified'") == 0


async def test_bad_enrolments_say_why(auth: AuthServer) -> None:
    session = await auth.sign_up()
    await enroll(auth, session, friendly_name="one")
    cases: list[tuple[dict[str, object], int, str, str]] = [
        ({}, 400, "validation_failed", "factor_type needs to be totp, phone, or webauthn"),
        ({"factor_type": "sms"}, 400, "validation_failed", "factor_type needs to be totp, phone, or webauthn"),
        ({"factor_type": "phone"}, 422, "mfa_phone_enroll_not_enabled", "MFA enroll is disabled for Phone"),
        ({"factor_type": "webauthn"}, 422, "mfa_webauthn_enroll_not_enabled", "MFA enroll is disabled for WebAuthn"),
        (
            {"factor_type": "totp", "friendly_name": "one"},
            422,
            "mfa_factor_name_conflict",
            'A factor with the friendly name "one" for this user already exists',
        ),
        ({"factor_type": "totp", "issuer": "x" * 3000}, 400, "validation_failed", "The issuer is too long"),
    ]
    for body, status, code, message in cases:
        response = await auth.client.post("/factors", json=body, headers=bearer(session))
        assert (response.status_code, response.json()["error_code"]) == (status, code), body
        assert response.json()["msg"].startswith(message)
    assert await auth.count("mfa_factors") == 1


async def test_two_factors_without_a_name_collide(auth: AuthServer) -> None:
    session = await auth.sign_up()
    await enroll(auth, session)
    response = await auth.client.post("/factors", json={"factor_type": "totp"}, headers=bearer(session))
    assert (response.status_code, response.json()["error_code"]) == (422, "mfa_factor_name_conflict")


async def test_totp_can_be_switched_off(start_auth: StartAuth) -> None:
    async with start_auth() as auth:
        session = await auth.sign_up()
        factor = await enroll(auth, session)
    mfa = auth.settings.auth.mfa
    off = mfa.model_copy(
        update={"totp": mfa.totp.model_copy(update={"enroll_enabled": False, "verify_enabled": False})}
    )
    async with start_auth(mfa=off) as closed:
        headers = bearer(session)
        enrolment = await closed.client.post("/factors", json={"factor_type": "totp"}, headers=headers)
        assert (enrolment.status_code, enrolment.json()["error_code"]) == (422, "mfa_totp_enroll_not_enabled")
        opened = await closed.client.post(f"/factors/{factor['id']}/challenge", headers=headers)
        assert (opened.status_code, opened.json()["error_code"]) == (422, "mfa_totp_verify_not_enabled")
        answered = await closed.client.post(f"/factors/{factor['id']}/verify", json={"code": "123456"}, headers=headers)
        assert (answered.status_code, answered.json()["error_code"]) == (422, "mfa_totp_verify_not_enabled")
