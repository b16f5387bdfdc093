"""What somebody began in an account does not go on after its owner changed the password, or the account was deleted."""

from __future__ import annotations

import httpx
import pytest

from isobase_platform.config_auth.email import EmailSettings
from tests.auth.codes import ALICE, BOB, CHALLENGE, VERIFIER, confirming, follow, query_of
from tests.auth.conftest import AuthServer, StartAuth, bearer
from tests.auth.test_address_changes import PHONE, change_email, confirmed_alice, texting, verify_phone
from tests.plugins.mailbox import MailboxServer, link_in

OTHER_PHONE = "4915187654321"


async def exchange(auth: AuthServer, code: str) -> httpx.Response:
    """Give an auth code and its verifier for a session."""
    body = {"auth_code": code, "code_verifier": VERIFIER}
    return await auth.client.post("/token", params={"grant_type": "pkce"}, json=body)


async def test_change_of_phone_is_not_resumed_after_a_new_password(start_auth: StartAuth) -> None:
    """Whoever knows the owner's number could else have a new code sent to the number that a thief asked for."""
    async with texting(start_auth) as (auth, receiver):
        await auth.client.post("/signup", json={"phone": PHONE, "password": "the first words"})
        session = await verify_phone(auth, "sms", receiver.calls[-1].json["sms"]["otp"])
        await auth.client.put("/user", json={"phone": OTHER_PHONE}, headers=bearer(session))
        changed = await auth.client.put("/user", json={"password": "the second words"}, headers=bearer(session))
        assert "new_phone" not in changed.json()
        sent = len(receiver.calls)
        assert (await auth.client.post("/resend", json={"type": "phone_change", "phone": PHONE})).json() == {}
        await auth.client.post("/verify", json={"type": "phone_change", "phone": OTHER_PHONE, "token": "000000"})
        assert len(receiver.calls) == sent


async def test_change_of_email_is_not_resumed_after_a_new_password(
    start_auth: StartAuth, mailbox: MailboxServer
) -> None:
    email = EmailSettings(max_frequency_s=0, double_confirm_changes=False)
    async with confirming(start_auth, email=email) as auth:
        session = await confirmed_alice(auth, mailbox)
        await change_email(auth, session)
        await mailbox.arrival(BOB)
        changed = await auth.client.put("/user", json={"password": "the second words"}, headers=bearer(session))
        assert "new_email" not in changed.json()
        assert (await auth.client.post("/resend", json={"type": "email_change", "email": ALICE})).json() == {}
        assert await auth.count("one_time_tokens") == 0


@pytest.mark.parametrize("end", ["password", "soft delete"])
async def test_auth_code_that_was_given_out_ends_with_the_password_and_the_account(
    start_auth: StartAuth, mailbox: MailboxServer, end: str
) -> None:
    async with confirming(start_auth) as auth:
        session = await confirmed_alice(auth, mailbox)
        await auth.client.post("/otp", json={"email": ALICE, **CHALLENGE})
        landed = await follow(auth, link_in(await mailbox.arrival(ALICE)))
        code = query_of(landed.headers["location"])["code"]
        if end == "password":
            changed = await auth.client.put("/user", json={"password": "the second words"}, headers=bearer(session))
        else:
            changed = await auth.client.request(
                "DELETE",
                f"/admin/users/{session['user']['id']}",
                json={"should_soft_delete": True},
                headers=auth.service_headers,
            )
        assert changed.status_code == 200
        answer = await exchange(auth, code)
        assert (answer.status_code, answer.headers.get("x-sb-error-code")) == (404, "flow_state_not_found")
