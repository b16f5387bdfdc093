"""Codes for test numbers, codes that the provider makes, and notices after changes, over the routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from isobase_platform.config_auth.email import EmailSettings
from isobase_platform.config_auth.sms import SmsSettings
from tests.auth.conftest import PASSWORD, AuthServer, StartAuth, bearer
from tests.auth.test_text_messages import Provider, twilio
from tests.plugins.listening import listening
from tests.plugins.mailbox import MailboxServer, code_in

PHONE = "15550100"


@asynccontextmanager
async def auth_with_sms(
    start_auth: StartAuth, provider: Provider | None = None, **sms: Any
) -> AsyncIterator[AuthServer]:
    app = Starlette(routes=[Route("/{path:path}", (provider or Provider({})).take, methods=["POST"])])
    async with listening(app) as url:
        for group in sms.values():
            if isinstance(group, dict) and "account_sid" in group:
                group.update(enabled=True, api_url=url)
        settings = SmsSettings.model_validate({"max_frequency_s": 0, **sms})
        async with start_auth(phone_enable_signup=True, phone_enable_confirmations=True, sms=settings) as auth:
            yield auth


async def sign_up_by_phone(auth: AuthServer, phone: str = PHONE, **fields: object) -> dict[str, Any]:
    answer = await auth.client.post("/signup", json={"phone": phone, "password": PASSWORD, **fields})
    assert answer.status_code == 200, answer.text
    user: dict[str, Any] = answer.json()
    return user


async def verify(auth: AuthServer, code: str, kind: str = "sms") -> tuple[int, dict[str, Any]]:
    answer = await auth.client.post("/verify", json={"type": kind, "phone": PHONE, "token": code})
    return answer.status_code, answer.json()


async def test_a_test_number_gets_its_code_and_no_message(start_auth: StartAuth) -> None:
    async with auth_with_sms(start_auth, test_otp={PHONE: "424242"}) as auth:
        await sign_up_by_phone(auth)
        assert (await verify(auth, "111111"))[0] == 403
        status, session = await verify(auth, "424242")
        assert (status, session["user"]["phone"]) == (200, PHONE)
        again = await auth.client.post("/otp", json={"phone": f"+{PHONE}"})
        assert (again.status_code, again.json()) == (200, {"message_id": "test-otp"})
        assert (await verify(auth, "424242"))[0] == 200
        assert (await verify(auth, "424242"))[0] == 403  # a code is good once


async def test_another_number_needs_a_provider(start_auth: StartAuth) -> None:
    async with auth_with_sms(start_auth, test_otp={"15550199": "424242"}) as auth:
        answer = await auth.client.post("/otp", json={"phone": PHONE})
        assert (answer.status_code, answer.json()["msg"]) == (500, "Unable to get SMS provider")


async def test_a_code_arrives_through_twilio_and_opens_a_session(start_auth: StartAuth) -> None:
    provider = Provider({"sid": "SM1"}, 201)
    async with auth_with_sms(start_auth, provider, twilio=twilio(), template="{{ .Code }} is it") as auth:
        answer = await auth.client.post("/otp", json={"phone": PHONE, "channel": "whatsapp"})
        assert (answer.status_code, answer.json()) == (200, {})  # a sign-up in disguise
        form = provider.calls[0][2]
        assert (form["To"], form["Channel"]) == (f"whatsapp:+{PHONE}", "whatsapp")
        assert (await verify(auth, form["Body"].removesuffix(" is it")))[0] == 200
        again = await auth.client.post("/otp", json={"phone": PHONE})
        assert (again.status_code, again.json()) == (200, {"message_id": "SM1"})


async def test_whatsapp_is_refused_where_no_provider_has_it(start_auth: StartAuth) -> None:
    async with auth_with_sms(start_auth, test_otp={PHONE: "424242"}) as auth:
        answer = await auth.client.post("/otp", json={"phone": PHONE, "channel": "whatsapp"})
        assert (answer.status_code, answer.json()["error_code"]) == (400, "validation_failed")


async def test_what_the_provider_refuses_is_upstreams_error_and_leaves_nothing_to_wait_for(
    start_auth: StartAuth,
) -> None:
    provider = Provider({"message": "no", "more_info": "x"}, 400)
    async with auth_with_sms(start_auth, provider, twilio=twilio(), max_frequency_s=60) as auth:
        for _ in range(2):
            answer = await auth.client.post("/signup", json={"phone": PHONE, "password": PASSWORD})
            assert answer.status_code == 422, answer.text
            assert answer.json()["error_code"] == "sms_send_failed"
            assert answer.json()["msg"] == "Error sending confirmation OTP to provider: no More information: x"


async def test_codes_that_twilio_verify_makes_are_checked_by_it(start_auth: StartAuth) -> None:
    provider = Provider({"sid": "VE1"}, 201)
    async with auth_with_sms(start_auth, provider, twilio_verify=twilio(message_service_sid="VA1")) as auth:
        await sign_up_by_phone(auth)
        provider.answer = {"status": "pending", "valid": False}
        assert (await verify(auth, "777777"))[0] == 403
        provider.answer = {"status": "approved", "valid": True}
        assert (await verify(auth, "777777"))[0] == 200
        assert [call[0].rpartition("/")[2] for call in provider.calls] == ["Verifications", *2 * ["VerificationCheck"]]


def noticing(*names: str) -> EmailSettings:
    notices = {name: {"enabled": True} for name in names}
    return EmailSettings.model_validate(
        {"notification": notices, "max_frequency_s": 0, "double_confirm_changes": False}
    )


async def test_a_new_password_is_told_where_the_project_wants_it(start_auth: StartAuth, mailbox: MailboxServer) -> None:
    async with start_auth(email=noticing("password_changed")) as auth:
        session = await auth.sign_up()
        changed = await auth.client.put("/user", json={"password": "another long password"}, headers=bearer(session))
        assert changed.status_code == 200
        mail = await mailbox.arrival("alice@example.com")
        assert mail.subject == "Your password was changed"
        await auth.client.put("/user", json={"data": {"a": 1}}, headers=bearer(session))
        await mailbox.silence()
    async with start_auth() as auth:
        session = await auth.sign_up("bob@example.com")
        await auth.client.put("/user", json={"password": "another long password"}, headers=bearer(session))
        await mailbox.silence()


async def test_a_new_address_is_told_to_the_old_one_once_it_is_confirmed(
    start_auth: StartAuth, mailbox: MailboxServer
) -> None:
    async with start_auth(email=noticing("email_changed")) as auth:
        session = await auth.sign_up()
        await auth.client.put("/user", json={"email": "new@example.com"}, headers=bearer(session))
        code = code_in(await mailbox.arrival("new@example.com"))
        assert mailbox.to("alice@example.com") == []
        body = {"type": "email_change", "email": "new@example.com", "token": code}
        assert (await auth.client.post("/verify", json=body)).status_code == 200
        mail = await mailbox.arrival("alice@example.com")
        assert mail.subject == "Your e-mail address was changed"
        assert "new@example.com" in mail.text


@pytest.mark.parametrize("needs_confirmation", [False, True])
async def test_a_new_phone_number_is_told_by_mail(
    start_auth: StartAuth, mailbox: MailboxServer, needs_confirmation: bool
) -> None:
    sms = SmsSettings(test_otp={PHONE: "424242"})
    async with start_auth(
        email=noticing("phone_changed", "identity_linked"), sms=sms, phone_enable_confirmations=needs_confirmation
    ) as auth:
        session = await auth.sign_up()
        assert (await auth.client.put("/user", json={"phone": PHONE}, headers=bearer(session))).status_code == 200
        if needs_confirmation:
            assert mailbox.to("alice@example.com") == []
            assert (await verify(auth, "424242", "phone_change"))[0] == 200
        await mailbox.arrival("alice@example.com", count=2)
        mails = {mail.subject: mail.text for mail in mailbox.to("alice@example.com")}
        assert PHONE in mails["Your phone number was changed"]
        assert "through phone" in mails["A new way to sign in"]
