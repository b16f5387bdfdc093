"""Where flows call hooks: new users, passwords and second factors that are tried, messages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from isobase_platform.config_auth.rate_limit import RateLimitSettings
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError
from isobase_services.auth.messages import EmailKind, EmailMessage, Messages, SmsKind, SmsMessage
from isobase_services.auth.models import ClientFacts
from tests.auth.conftest import PASSWORD, AuthServer, StartAuth, bearer
from tests.auth.mfa import answer, code_now, enroll
from tests.auth.receivers import Call, receiving
from tests.auth.test_hooks import hook_settings, is_signed
from tests.auth.test_messages import a_user

USER = {"email": "alice@example.com", "password": PASSWORD, "data": {"plan": "gold"}}


def refusing(call: Call) -> Response:
    return JSONResponse({"error": {"http_code": 403, "message": "nobody from there"}})


async def test_a_new_user_is_shown_to_the_hook_before_they_exist(start_auth: StartAuth) -> None:
    async with receiving() as hook, start_auth(hook=hook_settings("before_user_created", hook.url)) as auth:
        session = await auth.sign_up(data={"plan": "gold"})
    (call,) = hook.calls
    assert call.json["metadata"]["name"] == "before-user-created"
    assert call.json["user"] == {
        "id": session["user"]["id"],
        "aud": "authenticated",
        "role": "",
        "email": "alice@example.com",
        "phone": "",
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "user_metadata": {"plan": "gold"},
        "identities": [],
        "created_at": "0001-01-01T00:00:00Z",
        "updated_at": "0001-01-01T00:00:00Z",
        "is_anonymous": False,
    }
    assert PASSWORD.encode() not in call.body


async def test_a_user_whom_the_hook_refuses_does_not_come_into_being(start_auth: StartAuth) -> None:
    async with receiving(refusing) as hook:
        async with start_auth(
            hook=hook_settings("before_user_created", hook.url), enable_anonymous_sign_ins=True
        ) as auth:
            for body in (USER, {}):
                refused = await auth.client.post("/signup", json=body)
                assert (refused.status_code, refused.json()["msg"]) == (403, "nobody from there")
            assert await auth.count("users") == 0


async def test_the_hook_is_not_asked_about_who_exists_or_whom_an_administrator_makes(start_auth: StartAuth) -> None:
    async with receiving() as hook, start_auth(hook=hook_settings("before_user_created", hook.url)) as auth:
        created = await auth.client.post("/admin/users", json=USER, headers=auth.service_headers)
        assert created.status_code == 200
        assert (await auth.client.post("/signup", json=USER)).json()["user"]["id"] == created.json()["id"]
    assert hook.calls == []


async def test_the_hook_after_a_sign_up_sees_the_user_as_they_are(start_auth: StartAuth) -> None:
    async with receiving() as hook, start_auth(hook=hook_settings("after_user_created", hook.url)) as auth:
        session = await auth.sign_up()
        (call,) = hook.calls
        assert call.json["user"]["identities"][0]["provider"] == "email"
        assert call.json["user"]["id"] == session["user"]["id"]
        hook.answer = refusing
        refused = await auth.client.post("/signup", json={**USER, "email": "bob@example.com"})
        assert refused.status_code == 403
        assert await auth.count("users", "email = 'bob@example.com'") == 1


def deciding(**decision: object) -> Any:
    return lambda call: JSONResponse(decision)


async def test_a_hook_is_told_whether_a_password_was_right(start_auth: StartAuth) -> None:
    async with receiving(deciding(decision="continue")) as hook:
        async with start_auth(hook=hook_settings("password_verification_attempt", hook.url)) as auth:
            user_id = (await auth.sign_up())["user"]["id"]
            assert (await auth.sign_in()).status_code == 200
            assert (await auth.sign_in(password="wrong")).json()["error_code"] == "invalid_credentials"
            assert (await auth.sign_in("nobody@example.com")).status_code == 400
    assert [(call.json["user_id"], call.json["valid"]) for call in hook.calls] == [(user_id, True), (user_id, False)]
    assert PASSWORD.encode() not in b"".join(call.body for call in hook.calls)


@pytest.mark.parametrize(("ends_sessions", "left"), [(False, 1), (True, 0)])
async def test_a_hook_may_refuse_a_right_password_and_end_the_users_sessions(
    start_auth: StartAuth, ends_sessions: bool, left: int
) -> None:
    rejection = deciding(decision="reject", message="locked", should_logout_user=ends_sessions)
    async with receiving(rejection) as hook:
        async with start_auth(hook=hook_settings("password_verification_attempt", hook.url)) as auth:
            await auth.sign_up()
            refused = await auth.sign_in()
            assert (refused.status_code, refused.json()["error_code"]) == (400, "invalid_credentials")
            assert refused.json()["msg"] == "locked"
            assert await auth.count("sessions") == left


async def test_a_rejection_without_words_has_upstreams(start_auth: StartAuth) -> None:
    async with receiving(deciding(decision="reject")) as hook:
        async with start_auth(hook=hook_settings("password_verification_attempt", hook.url)) as auth:
            await auth.sign_up()
            assert (await auth.sign_in()).json()["msg"] == "Further password verification attempts will be rejected."


async def test_a_hook_that_fails_lets_no_password_pass(start_auth: StartAuth) -> None:
    async with receiving(deciding(decision=1)) as hook:
        async with start_auth(hook=hook_settings("password_verification_attempt", hook.url)) as auth:
            await auth.sign_up()
            assert (await auth.sign_in()).status_code == 500


async def test_a_hook_is_told_of_second_factors_and_may_sign_the_user_out(start_auth: StartAuth) -> None:
    async with receiving(deciding(decision="continue")) as hook:
        async with start_auth(hook=hook_settings("mfa_verification_attempt", hook.url)) as auth:
            session = await auth.sign_up()
            factor = await enroll(auth, session)
            assert (await answer(auth, session, factor["id"], "000000")).status_code == 422
            hook.answer = deciding(decision="reject")
            refused = await answer(auth, session, factor["id"], code_now(factor["totp"]["secret"]))
            assert (refused.status_code, refused.json()["error_code"]) == (403, "mfa_verification_rejected")
            assert refused.json()["msg"] == "Further MFA verification attempts will be rejected."
            assert await auth.count("sessions") == 0
            assert (await auth.client.get("/user", headers=bearer(session))).status_code == 403
    told = [(call.json["factor_id"], call.json["factor_type"], call.json["valid"]) for call in hook.calls]
    assert told == [(factor["id"], "totp", False), (factor["id"], "totp", True)]


@asynccontextmanager
async def messages_of(auth: AuthServer) -> AsyncIterator[Messages]:
    core = AuthCore.of(auth.platform)
    yield core.messages
    await core.hooks.close()
    await core.hasher.close(1.0)
    await core.messages.close(1.0)


async def test_mail_goes_to_the_hook_in_the_place_of_a_server(start_auth: StartAuth) -> None:
    message = EmailMessage(
        EmailKind.RECOVERY,
        a_user(),
        "alice@example.com",
        code="123456",
        token_hash="abc",
        link="https://x",
        redirect_to="http://127.0.0.1:3000/here",
        facts=ClientFacts(None, "203.0.113.7"),
    )
    async with receiving() as hook, start_auth(hook=hook_settings("send_email", hook.url)) as auth:
        async with messages_of(auth) as messages:
            await messages.send_email(message)
    (call,) = hook.calls
    assert is_signed(call)
    assert call.json["metadata"]["ip_address"] == "203.0.113.7"
    assert call.json["user"]["email"] == "alice@example.com"
    assert call.json["email_data"] == {
        "token": "123456",
        "token_hash": "abc",
        "redirect_to": "http://127.0.0.1:3000/here",
        "email_action_type": "recovery",
        "site_url": auth.platform.settings.auth_url,
        "token_new": "",
        "token_hash_new": "",
        "old_email": "",
        "old_phone": "",
        "provider": "",
        "factor_type": "",
    }


async def test_both_halves_of_a_secure_change_of_e_mail_come_in_one_call_crossed_as_upstream(
    start_auth: StartAuth,
) -> None:
    current = EmailMessage(EmailKind.EMAIL_CHANGE, a_user(), "alice@example.com", code="111111", token_hash="current")
    new = EmailMessage(
        EmailKind.EMAIL_CHANGE, a_user(), "new@example.com", code="222222", token_hash="new", to_current=current
    )
    async with receiving() as hook, start_auth(hook=hook_settings("send_email", hook.url)) as auth:
        async with messages_of(auth) as messages:
            await messages.send_email(new)
    (call,) = hook.calls
    data = call.json["email_data"]
    assert (data["token"], data["token_hash_new"]) == ("111111", "current")
    assert (data["token_new"], data["token_hash"]) == ("222222", "new")


async def test_text_messages_go_to_the_hook(start_auth: StartAuth) -> None:
    async with receiving() as hook, start_auth(hook=hook_settings("send_sms", hook.url)) as auth:
        async with messages_of(auth) as messages:
            await messages.send_sms(SmsMessage(SmsKind.CONFIRMATION, a_user(), "15550100", "123456"))
            await messages.send_sms(SmsMessage(SmsKind.FACTOR, a_user(), "15550100", "654321"))
    assert [call.json["sms"] for call in hook.calls] == [
        {"otp": "123456", "phone": "15550100"},
        {"otp": "654321", "phone": "15550100", "sms_type": "mfa"},
    ]


async def test_what_the_hook_refuses_is_told_to_who_waits(start_auth: StartAuth) -> None:
    async with receiving(refusing) as hook, start_auth(hook=hook_settings("send_email", hook.url)) as auth:
        async with messages_of(auth) as messages:
            with pytest.raises(AuthError) as refusal:
                await messages.send_email(EmailMessage(EmailKind.INVITE, a_user(), "alice@example.com"))
    assert (refusal.value.status, refusal.value.message) == (403, "nobody from there")


@pytest.mark.parametrize(("needs_confirmation", "calls"), [(True, 1), (False, 3)])
async def test_mail_that_leaves_is_counted_while_addresses_need_confirmation(
    start_auth: StartAuth, needs_confirmation: bool, calls: int
) -> None:
    async with receiving() as hook:
        async with start_auth(
            hook=hook_settings("send_email", hook.url),
            rate_limit=RateLimitSettings(email_sent=1),
            email_enable_confirmations=needs_confirmation,
        ) as auth:
            codes = []
            async with messages_of(auth) as messages:
                for _ in range(3):
                    try:
                        await messages.send_email(EmailMessage(EmailKind.INVITE, a_user(), "alice@example.com"))
                    except AuthError as error:
                        codes.append(error.code)
    assert len(hook.calls) == calls
    assert codes == ["over_email_send_rate_limit"] * (3 - calls)
