"""Codes by SMS as second factors. The messages go to a hook, which is what a project without a provider would do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.responses import JSONResponse, Response

from isobase_platform.config_auth.mfa import MfaPhoneSettings, MfaSettings
from tests.auth.conftest import AuthServer, StartAuth, bearer
from tests.auth.mfa import aal_of, answer, challenge, claims_of, enroll
from tests.auth.receivers import Call, Receiver, receiving
from tests.auth.test_hooks import hook_settings

PHONE = "+15555550100"


def error_of(response: httpx.Response) -> tuple[int, str]:
    """Status and code."""
    return response.status_code, response.json()["error_code"]


@asynccontextmanager
async def phone_auth(start_auth: StartAuth, **changes: Any) -> AsyncIterator[tuple[AuthServer, Receiver]]:
    """Auth with phone factors on, without a pause between codes, and where its messages go."""
    phone = MfaPhoneSettings(enroll_enabled=True, verify_enabled=True, **{"max_frequency_s": 0, **changes})
    async with (
        receiving() as receiver,
        start_auth(mfa=MfaSettings(phone=phone), hook=hook_settings("send_sms", receiver.url)) as auth,
    ):
        yield auth, receiver


def sent_code(receiver: Receiver) -> str:
    """The code in the last message."""
    code: str = receiver.calls[-1].json["sms"]["otp"]
    return code


def wrong(code: str) -> str:
    """Another code of the same length."""
    return "".join(str((int(digit) + 1) % 10) for digit in code)


async def enroll_phone(auth: AuthServer, session: dict[str, Any]) -> dict[str, Any]:
    """Enrol a phone factor."""
    return await enroll(auth, session, factor_type="phone", phone=PHONE, friendly_name="phone")


async def test_code_that_was_sent_raises_the_session(start_auth: StartAuth) -> None:
    async with phone_auth(start_auth) as (auth, receiver):
        session = await auth.sign_up()
        factor = await enroll_phone(auth, session)
        assert factor == {"id": factor["id"], "type": "phone", "friendly_name": "phone", "phone": PHONE}
        opened = await auth.client.post(f"/factors/{factor['id']}/challenge", json={}, headers=bearer(session))
        assert set(opened.json()) == {"id", "type", "expires_at"}
        sms = receiver.calls[-1].json["sms"]
        assert (sms["phone"].removeprefix("+"), sms["sms_type"]) == (PHONE.removeprefix("+"), "mfa")
        code = sent_code(receiver)
        assert (len(code), code.isdigit()) == (6, True)
        stored = await auth.database.fetchval("select otp_code from auth.mfa_challenges")
        assert len(stored) == 64, "a hash"
        response = await answer(auth, session, factor["id"], code, opened.json()["id"])
        raised = response.json()
        assert aal_of(raised) == "aal2"
        assert [use["method"] for use in claims_of(raised)["amr"]] == ["mfa/phone", "password"]
        (shown,) = raised["user"]["factors"]
        assert (shown["phone"], shown["factor_type"]) == (PHONE.removeprefix("+"), "phone")
        assert await auth.database.fetchval("select otp_code from auth.mfa_challenges") == ""
        again = await answer(auth, raised, factor["id"], code, opened.json()["id"])
        assert again.status_code == 422


async def test_code_is_good_for_its_own_challenge_and_five_tries(start_auth: StartAuth) -> None:
    async with phone_auth(start_auth) as (auth, receiver):
        session = await auth.sign_up()
        factor = await enroll_phone(auth, session)
        first = await challenge(auth, session, factor["id"])
        first_code = sent_code(receiver)
        second = await challenge(auth, session, factor["id"])
        code = sent_code(receiver)
        crossed = await answer(auth, session, factor["id"], first_code, second)
        assert (error_of(crossed), crossed.json()["msg"]) == (
            (422, "mfa_verification_failed"),
            "Invalid MFA Phone code entered",
        )
        await asyncio.gather(*(answer(auth, session, factor["id"], wrong(code), second) for _ in range(8)))
        assert error_of(await answer(auth, session, factor["id"], code, second)) == (422, "mfa_challenge_expired")
        assert (await answer(auth, session, factor["id"], first_code, first)).status_code == 200


async def test_codes_have_the_length_and_the_pause_that_are_set(start_auth: StartAuth) -> None:
    async with phone_auth(start_auth, otp_length=8, max_frequency_s=60) as (auth, receiver):
        session = await auth.sign_up()
        factor = await enroll_phone(auth, session)
        url, headers = f"/factors/{factor['id']}/challenge", bearer(session)
        answers = await asyncio.gather(*(auth.client.post(url, json={}, headers=headers) for _ in range(3)))
        assert sorted(response.status_code for response in answers) == [200, 429, 429]
        assert len(sent_code(receiver)) == 8
        assert len(receiver.calls) == 1
        early = await auth.client.post(url, json={}, headers=headers)
        assert error_of(early) == (429, "over_sms_send_rate_limit")
        assert early.json()["msg"].startswith("For security purposes, you can only request this after ")


async def test_code_that_cannot_be_sent_leaves_nothing_to_wait_for(start_auth: StartAuth) -> None:
    async with phone_auth(start_auth, max_frequency_s=60) as (auth, receiver):
        session = await auth.sign_up()
        factor = await enroll_phone(auth, session)

        def refuse(call: Call) -> Response:
            return JSONResponse({"error": {"http_code": 503, "message": "out of order"}})

        usual, receiver.answer = receiver.answer, refuse
        failed = await auth.client.post(f"/factors/{factor['id']}/challenge", json={}, headers=bearer(session))
        assert failed.status_code >= 500
        assert await auth.count("mfa_challenges") == 0
        assert await auth.count("mfa_factors", "last_challenged_at is not null") == 0
        receiver.answer = usual
        await challenge(auth, session, factor["id"])


async def test_number_is_checked_and_verified_once(start_auth: StartAuth) -> None:
    async with phone_auth(start_auth) as (auth, receiver):
        session = await auth.sign_up()
        for phone, message in (
            ("", "Phone number required to enroll Phone factor"),
            ("+0", "Invalid phone number format (E.164 required)"),
        ):
            refused = await auth.client.post(
                "/factors", json={"factor_type": "phone", "phone": phone}, headers=bearer(session)
            )
            assert (error_of(refused), refused.json()["msg"]) == ((400, "validation_failed"), message)
        await enroll_phone(auth, session)
        factor = await enroll_phone(auth, session)
        assert await auth.count("mfa_factors") == 1, "an unverified factor of the number makes room"
        opened = await challenge(auth, session, factor["id"])
        raised = (await answer(auth, session, factor["id"], sent_code(receiver), opened)).json()
        taken = await auth.client.post(
            "/factors",
            json={"factor_type": "phone", "phone": PHONE, "friendly_name": "again"},
            headers=bearer(raised),
        )
        assert error_of(taken) == (422, "mfa_verified_factor_exists")


async def test_channel_must_be_one_that_exists(start_auth: StartAuth) -> None:
    async with phone_auth(start_auth) as (auth, receiver):
        session = await auth.sign_up()
        factor = await enroll_phone(auth, session)
        refused = await auth.client.post(
            f"/factors/{factor['id']}/challenge", json={"channel": "pigeon"}, headers=bearer(session)
        )
        assert error_of(refused) == (400, "validation_failed")
        assert receiver.calls == []


async def test_administrators_change_the_number(start_auth: StartAuth) -> None:
    async with phone_auth(start_auth) as (auth, _):
        session = await auth.sign_up()
        factor = await enroll_phone(auth, session)
        url = f"/admin/users/{session['user']['id']}/factors/{factor['id']}"
        changed = await auth.client.put(url, json={"phone": "+1 555 5550111"}, headers=auth.service_headers)
        assert (changed.status_code, changed.json()["phone"]) == (200, "15555550111")
        refused = await auth.client.put(url, json={"phone": "x"}, headers=auth.service_headers)
        assert error_of(refused) == (400, "validation_failed")


async def test_code_that_was_sent_to_the_old_number_is_worthless_after_a_change(start_auth: StartAuth) -> None:
    async with phone_auth(start_auth) as (auth, receiver):
        session = await auth.sign_up()
        factor = await enroll_phone(auth, session)
        opened = await challenge(auth, session, factor["id"])
        url = f"/admin/users/{session['user']['id']}/factors/{factor['id']}"
        await auth.client.put(url, json={"phone": "+15555550111"}, headers=auth.service_headers)
        refused = await answer(auth, session, factor["id"], sent_code(receiver), opened)
        assert error_of(refused) == (422, "mfa_verification_failed")
