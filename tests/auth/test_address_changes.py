"""Changing e-mail address and phone number, and the code that a change of password may ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from isobase_platform.config_auth.email import EmailSettings
from isobase_platform.config_auth.sms import SmsSettings
from tests.auth.codes import (
    ALICE,
    BOB,
    CHALLENGE,
    VERIFIER,
    confirming,
    follow,
    fragment_of,
    query_of,
    verify,
    verify_hash,
)
from tests.auth.conftest import PASSWORD, AuthServer, StartAuth, bearer
from tests.auth.receivers import Receiver, receiving
from tests.auth.test_hooks import hook_settings
from tests.plugins.mailbox import MailboxServer, code_in, link_in

HALF = "Confirmation link accepted. Please proceed to confirm link sent to the other email"
PHONE = "4915112345678"
SINGLE = EmailSettings(max_frequency_s=0, double_confirm_changes=False)


async def confirmed_alice(auth: AuthServer, mailbox: MailboxServer) -> dict[str, Any]:
    """Alice's session after her sign-up was confirmed; the mailbox is empty again."""
    await auth.client.post("/signup", json={"email": ALICE, "password": PASSWORD})
    session: dict[str, Any] = (await verify(auth, "signup", code_in(await mailbox.arrival(ALICE)))).json()
    mailbox.mailbox.store.clear()
    return session


async def change_email(auth: AuthServer, session: dict[str, Any], email: str = BOB, **fields: str) -> dict[str, Any]:
    """Ask for another address."""
    answer = await auth.client.put("/user", json={"email": email, **fields}, headers=bearer(session))
    assert answer.status_code == 200, answer.text
    user: dict[str, Any] = answer.json()
    return user


@pytest.mark.parametrize("first", [ALICE, BOB])
async def test_both_addresses_must_agree_in_either_order(
    start_auth: StartAuth, mailbox: MailboxServer, first: str
) -> None:
    async with confirming(start_auth) as auth:
        session = await confirmed_alice(auth, mailbox)
        user = await change_email(auth, session)
        assert (user["email"], user["new_email"]) == (ALICE, BOB)
        second = BOB if first == ALICE else ALICE
        codes = {address: code_in(await mailbox.arrival(address)) for address in (ALICE, BOB)}
        half = await verify(auth, "email_change", codes[first], first)
        assert (half.status_code, half.json()) == (200, {"msg": HALF, "code": "200"})
        assert (await verify(auth, "email_change", codes[first], first)).json()["error_code"] == "otp_expired"
        assert (await auth.client.get("/user", headers=bearer(session))).json()["email"] == ALICE
        done = (await verify(auth, "email_change", codes[second], second)).json()
        assert done["user"]["email"] == BOB
        assert "new_email" not in done["user"]
        assert done["user"]["identities"][0]["identity_data"]["email"] == BOB
        assert (await auth.sign_in(BOB)).status_code == 200
        assert (await auth.sign_in(ALICE)).json()["error_code"] == "invalid_credentials"


async def test_links_of_a_secure_change_say_when_the_other_address_is_waited_for(
    start_auth: StartAuth, mailbox: MailboxServer
) -> None:
    async with confirming(start_auth) as auth:
        await change_email(auth, await confirmed_alice(auth, mailbox))
        half = await follow(auth, link_in(await mailbox.arrival(BOB)))
        assert fragment_of(half) == {"message": HALF, "sb": ""}
        fragment = fragment_of(await follow(auth, link_in(await mailbox.arrival(ALICE))))
        assert fragment["type"] == "email_change"
        assert (await auth.client.get("/user", headers=bearer(fragment))).json()["email"] == BOB


async def test_a_pkce_change_ends_in_a_code(start_auth: StartAuth, mailbox: MailboxServer) -> None:
    async with confirming(start_auth) as auth:
        await change_email(auth, await confirmed_alice(auth, mailbox), **CHALLENGE)
        half = await follow(auth, link_in(await mailbox.arrival(BOB)))
        assert query_of(half.headers["location"]) == {"message": HALF}
        done = await follow(auth, link_in(await mailbox.arrival(ALICE)))
        code = query_of(done.headers["location"])["code"]
        exchanged = await auth.client.post(
            "/token?grant_type=pkce", json={"auth_code": code, "code_verifier": VERIFIER}
        )
        assert exchanged.json()["user"]["email"] == BOB


async def test_one_confirmation_is_enough_where_the_project_says_so(
    start_auth: StartAuth, mailbox: MailboxServer
) -> None:
    async with confirming(start_auth, SINGLE) as auth:
        await change_email(auth, await confirmed_alice(auth, mailbox))
        code = code_in(await mailbox.arrival(BOB))
        assert mailbox.to(ALICE) == []
        assert (await verify(auth, "email_change", code, BOB)).json()["user"]["email"] == BOB


async def test_a_second_request_takes_back_the_codes_of_the_first(
    start_auth: StartAuth, mailbox: MailboxServer
) -> None:
    async with confirming(start_auth) as auth:
        session = await confirmed_alice(auth, mailbox)
        await change_email(auth, session)
        old = await mailbox.arrival(ALICE)
        assert (await verify(auth, "email_change", code_in(old), ALICE)).json()["msg"] == HALF
        await change_email(auth, session, "carol@example.com")
        for mail in (old, await mailbox.arrival(BOB)):
            answer = await verify_hash(auth, "email_change", query_of(link_in(mail))["token"])
            assert answer.json()["error_code"] == "otp_expired"
        # Half of an agreement to the first address is none to the second.
        code = code_in(await mailbox.arrival("carol@example.com"))
        assert (await verify(auth, "email_change", code, "carol@example.com")).json()["msg"] == HALF


async def test_an_address_that_was_taken_meanwhile_is_refused(start_auth: StartAuth, mailbox: MailboxServer) -> None:
    async with confirming(start_auth, SINGLE) as auth:
        await change_email(auth, await confirmed_alice(auth, mailbox))
        code = code_in(await mailbox.arrival(BOB))
        await auth.client.post("/signup", json={"email": BOB, "password": PASSWORD})
        answer = await verify(auth, "email_change", code, BOB)
        assert (answer.status_code, answer.json()["error_code"]) == (422, "email_exists")
        assert await auth.count("users", "email = $1", ALICE) == 1


async def test_an_anonymous_user_becomes_somebody_by_confirming(start_auth: StartAuth, mailbox: MailboxServer) -> None:
    async with confirming(start_auth, enable_anonymous_sign_ins=True) as auth:
        session = (await auth.client.post("/signup", json={})).json()
        user = await change_email(auth, session)
        assert (user["is_anonymous"], user["new_email"]) == (True, BOB)
        user = (await verify(auth, "email_change", code_in(await mailbox.arrival(BOB)), BOB)).json()["user"]
        assert (user["is_anonymous"], user["email"]) == (False, BOB)
        assert user["app_metadata"] == {"provider": "email", "providers": ["email"]}
        assert user["email_confirmed_at"]


@asynccontextmanager
async def texting(start_auth: StartAuth, **changes: Any) -> AsyncIterator[tuple[AuthServer, Receiver]]:
    """Auth that confirms numbers, and where its text messages go."""
    async with receiving() as receiver:
        hook = hook_settings("send_sms", receiver.url)
        async with confirming(start_auth, phone_enable_signup=True, hook=hook, **changes) as auth:
            yield auth, receiver


def texted_code(receiver: Receiver) -> str:
    code: str = receiver.calls[-1].json["sms"]["otp"]
    return code


async def verify_phone(auth: AuthServer, verify_type: str, code: str, phone: str = PHONE) -> Any:
    answer = await auth.client.post("/verify", json={"type": verify_type, "phone": f"+{phone}", "token": code})
    return answer.json()


async def test_a_number_signs_up_and_in_by_codes(start_auth: StartAuth) -> None:
    async with texting(start_auth) as (auth, receiver):
        answer = await auth.client.post("/signup", json={"phone": f"+{PHONE}", "password": PASSWORD})
        assert "access_token" not in answer.json()
        code = texted_code(receiver)
        session = await verify_phone(auth, "sms", code)
        assert session["user"]["phone_confirmed_at"]
        assert (await verify_phone(auth, "sms", code))["error_code"] == "otp_expired"
        assert (await auth.client.post("/otp", json={"phone": PHONE})).json() == {}
        session = await verify_phone(auth, "sms", texted_code(receiver))
        assert session["user"]["phone"] == PHONE
        by_password = await auth.client.post("/token?grant_type=password", json={"phone": PHONE, "password": PASSWORD})
        assert by_password.status_code == 200


async def test_a_number_is_changed_by_the_code_that_was_sent_to_it(
    start_auth: StartAuth, mailbox: MailboxServer
) -> None:
    async with texting(start_auth) as (auth, receiver):
        session = await confirmed_alice(auth, mailbox)
        answer = await auth.client.put("/user", json={"phone": PHONE}, headers=bearer(session))
        assert (answer.json()["phone"], answer.json()["new_phone"]) == ("", PHONE)
        first = texted_code(receiver)
        assert (await auth.client.post("/resend", json={"type": "phone_change", "phone": PHONE})).json() == {}
        assert (await verify_phone(auth, "sms", first))["error_code"] == "otp_expired"
        user = (await verify_phone(auth, "phone_change", first))["user"]
        assert (user["phone"], user["email"]) == (PHONE, ALICE)
        assert user["app_metadata"]["providers"] == ["email", "phone"]


async def test_codes_by_text_are_guessed_at_five_times(start_auth: StartAuth) -> None:
    async with texting(start_auth) as (auth, receiver):
        await auth.client.post("/otp", json={"phone": PHONE})
        code = texted_code(receiver)
        for _ in range(5):
            assert (await verify_phone(auth, "sms", f"{(int(code) + 1) % 10**6:06d}"))["error_code"] == "otp_expired"
        assert (await verify_phone(auth, "sms", code))["error_code"] == "otp_expired"


async def test_a_sign_up_by_number_leaves_nothing_behind_when_nothing_can_be_sent(start_auth: StartAuth) -> None:
    async with confirming(start_auth, phone_enable_signup=True) as auth:
        for path, body in (("/signup", {"password": PASSWORD}), ("/otp", {})):
            answer = await auth.client.post(path, json={"phone": PHONE, **body})
            assert answer.status_code == 500
            assert await auth.count("users") == 0


async def test_text_messages_follow_each_other_no_faster_than_allowed(start_auth: StartAuth) -> None:
    async with texting(start_auth, sms=SmsSettings(max_frequency_s=60)) as (auth, _):
        assert (await auth.client.post("/otp", json={"phone": PHONE})).status_code == 200
        answer = await auth.client.post("/otp", json={"phone": PHONE})
        assert (answer.status_code, answer.json()["error_code"]) == (429, "over_sms_send_rate_limit")


SECURE = EmailSettings(max_frequency_s=0, secure_password_change=True)


async def test_an_old_session_needs_a_code_to_change_the_password(
    start_auth: StartAuth, mailbox: MailboxServer
) -> None:
    async with confirming(start_auth, SECURE) as auth:
        session = await confirmed_alice(auth, mailbox)

        async def change(password: str, **fields: str) -> tuple[int, str]:
            answer = await auth.client.put("/user", json={"password": password, **fields}, headers=bearer(session))
            return answer.status_code, answer.json().get("error_code", "")

        assert await change("another horse") == (200, "")
        await auth.database.execute("update auth.sessions set created_at = created_at - interval '25 hours'")
        assert await change("a third horse") == (400, "reauthentication_needed")
        assert await change("a third horse", nonce="123456") == (422, "reauthentication_not_valid")
        assert (await auth.client.get("/reauthenticate", headers=bearer(session))).json() == {}
        code = code_in(await mailbox.arrival(ALICE))
        wrong = f"{(int(code) + 1) % 10**6:06d}"
        assert await change("a third horse", nonce=wrong) == (422, "reauthentication_not_valid")
        assert await change("a third horse", nonce=code) == (200, "")
        assert await change("a fourth horse", nonce=code) == (422, "reauthentication_not_valid")


async def test_a_nonce_is_guessed_at_five_times(start_auth: StartAuth, mailbox: MailboxServer) -> None:
    async with confirming(start_auth, SECURE) as auth:
        session = await confirmed_alice(auth, mailbox)
        await auth.database.execute("update auth.sessions set created_at = created_at - interval '25 hours'")
        await auth.client.get("/reauthenticate", headers=bearer(session))
        code = code_in(await mailbox.arrival(ALICE))
        for number in range(1, 7):
            nonce = code if number == 6 else f"{(int(code) + number) % 10**6:06d}"
            answer = await auth.client.put(
                "/user", json={"password": "another horse", "nonce": nonce}, headers=bearer(session)
            )
            assert answer.json()["error_code"] == "reauthentication_not_valid"


async def test_reauthentication_needs_an_address(start_auth: StartAuth) -> None:
    async with start_auth(enable_anonymous_sign_ins=True) as auth:
        session = (await auth.client.post("/signup", json={})).json()
        answer = await auth.client.get("/reauthenticate", headers=bearer(session))
        assert (answer.status_code, answer.json()["error_code"]) == (400, "validation_failed")
