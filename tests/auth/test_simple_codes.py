"""/auth/send-otp and /auth/verify-otp: sign-in by code for any HTTP client."""

from __future__ import annotations

import httpx
import pytest

from isobase_platform.config_auth.email import EmailSettings
from tests.auth.codes import ALICE, BOB, make_older
from tests.auth.conftest import AuthServer, StartAuth
from tests.plugins.mailbox import MailboxServer, code_in

AT_ONCE = EmailSettings(max_frequency_s=0)


async def send(auth: AuthServer, email: str = ALICE) -> httpx.Response:
    return await auth.simple.post("/send-otp", json={"email": email})


async def sign_in(auth: AuthServer, code: str, email: str = ALICE) -> httpx.Response:
    return await auth.simple.post("/verify-otp", json={"email": email, "code": code})


@pytest.mark.parametrize("confirms", [True, False])
async def test_somebody_new_and_somebody_known_sign_in_by_code(
    start_auth: StartAuth, mailbox: MailboxServer, confirms: bool
) -> None:
    async with start_auth(email_enable_confirmations=confirms, email=AT_ONCE) as auth:
        for number in (1, 2):
            sent = await send(auth)
            assert (sent.status_code, sent.json()) == (200, {"expires_in": 900})
            answer = await sign_in(auth, code_in(await mailbox.arrival(ALICE, count=number)))
            assert answer.status_code == 200, answer.text
            assert answer.json()["user"]["email"] == ALICE
            assert answer.json()["expires_in"] == 900
        assert await auth.count("users") == 1


async def test_a_code_is_good_once_and_for_fifteen_minutes(start_auth: StartAuth, mailbox: MailboxServer) -> None:
    async with start_auth(email=AT_ONCE) as auth:
        await send(auth)
        code = code_in(await mailbox.arrival(ALICE))
        assert (await sign_in(auth, code)).status_code == 200
        again = await sign_in(auth, code)
        assert (again.status_code, again.json()["error"]["code"]) == (401, "otp_expired")
        await send(auth)
        await make_older(auth, "recovery_sent_at", 901)
        late = await sign_in(auth, code_in(await mailbox.arrival(ALICE, count=2)))
        assert (late.status_code, late.json()["error"]["code"]) == (401, "otp_expired")


async def test_the_sixth_guess_is_refused_even_when_it_is_right(start_auth: StartAuth, mailbox: MailboxServer) -> None:
    async with start_auth(email=AT_ONCE) as auth:
        await send(auth)
        code = code_in(await mailbox.arrival(ALICE))
        for _ in range(5):
            assert (await sign_in(auth, f"{(int(code) + 1) % 10**6:06d}")).status_code == 401
        assert (await sign_in(auth, code)).status_code == 401


@pytest.mark.parametrize("signs_up", [True, False])
async def test_an_address_gets_three_codes_an_hour_whoever_it_belongs_to(
    start_auth: StartAuth, mailbox: MailboxServer, signs_up: bool
) -> None:
    async with start_auth() as auth:
        await auth.sign_up()
    async with start_auth(email=AT_ONCE, enable_signup=signs_up) as auth:
        answers = {}
        for email in (ALICE, BOB, ALICE.upper()):
            answers[email] = [
                (answer.status_code, answer.text) for answer in [await send(auth, email) for _ in range(4)]
            ]
        statuses = [status for status, _ in answers[ALICE]]
        assert statuses == [200, 200, 200, 429]
        assert [status for status, _ in answers[BOB]] == statuses
        assert {text for _, text in answers[BOB][:3]} == {text for _, text in answers[ALICE][:3]}
        assert '"over_email_send_rate_limit"' in answers[BOB][3][1]
        assert {status for status, _ in answers[ALICE.upper()]} == {429}
        if not signs_up:
            assert mailbox.to(BOB) == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/send-otp", {}),
        ("/send-otp", {"email": "no address"}),
        ("/send-otp", {"email": 1}),
        ("/verify-otp", {"email": ALICE}),
        ("/verify-otp", {"email": ALICE, "code": "1" * 17}),
        ("/verify-otp", {"email": ALICE, "code": 123456}),
    ],
)
async def test_a_body_that_is_not_valid_is_refused_in_the_shape_of_this_face(
    auth: AuthServer, path: str, body: dict[str, object]
) -> None:
    answer = await auth.simple.post(path, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"].keys() == {"code", "message", "details", "hint", "request_id"}
