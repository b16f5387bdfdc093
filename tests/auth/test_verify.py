"""Codes and links come back: confirmation, magic links, recovery, and what is refused."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from tests.auth.codes import (
    ALICE,
    BOB,
    confirming,
    follow,
    fragment_of,
    make_older,
    query_of,
    verify,
    verify_hash,
)
from tests.auth.conftest import PASSWORD, AuthServer, StartAuth, bearer, running_auth
from tests.plugins.mailbox import MailboxServer, code_in, link_in

CONFIRMED_ALICE = {"email": ALICE, "password": PASSWORD, "email_confirm": True}
EXPIRED = (403, "otp_expired", "Token has expired or is invalid")


async def sign_up(auth: AuthServer, mailbox: MailboxServer, *, count: int = 1, **fields: object) -> str:
    """Sign Alice up and return the code of the mail."""
    answer = await auth.client.post("/signup", json={"email": ALICE, "password": PASSWORD, **fields})
    assert answer.status_code == 200, answer.text
    return code_in(await mailbox.arrival(ALICE, count=count))


async def test_a_sign_up_is_confirmed_by_its_code_once(start_auth: StartAuth, mailbox: MailboxServer) -> None:
    async with confirming(start_auth) as auth:
        code = await sign_up(auth, mailbox, data={"full_name": "Alice"})
        assert (await auth.sign_in()).json()["error_code"] == "email_not_confirmed"
        answer = await verify(auth, "signup", code)
        session = answer.json()
        assert answer.status_code == 200, answer.text
        assert session["token_type"] == "bearer"
        assert session["user"]["email_confirmed_at"]
        assert session["user"]["user_metadata"]["email_verified"] is True
        assert session["user"]["identities"][0]["identity_data"]["email_verified"] is True
        assert session["user"]["app_metadata"] == {"provider": "email", "providers": ["email"]}
        assert (await auth.sign_in()).status_code == 200
        again = (await verify(auth, "signup", code)).json()
        assert (again["code"], again["error_code"], again["msg"]) == EXPIRED


async def test_the_link_of_a_sign_up_brings_the_session_to_the_app(
    start_auth: StartAuth, mailbox: MailboxServer
) -> None:
    async with confirming(start_auth, additional_redirect_urls=("https://app.test/**",)) as auth:
        await auth.client.post(
            "/signup?redirect_to=https://app.test/welcome", json={"email": ALICE, "password": PASSWORD}
        )
        link = link_in(await mailbox.arrival(ALICE))
        assert link.startswith(f"{auth.settings.auth_url}/verify?token=")
        assert query_of(link)["redirect_to"] == "https://app.test/welcome"
        answer = await follow(auth, link)
        location = answer.headers["location"]
        fragment = fragment_of(answer)
        assert location.startswith("https://app.test/welcome#access_token=")
        assert list(fragment) == sorted(fragment)
        assert (fragment["type"], fragment["sb"], fragment["token_type"]) == ("signup", "", "bearer")
        assert (await auth.client.get("/user", headers=bearer(fragment))).status_code == 200
        refused = await follow(auth, link)
        assert fragment_of(refused) == {
            "error": "access_denied",
            "error_code": "otp_expired",
            "error_description": "Email link is invalid or has expired",
            "sb": "",
        }


async def test_a_header_of_the_request_does_not_get_into_the_link(
    start_auth: StartAuth, mailbox: MailboxServer
) -> None:
    async with confirming(start_auth) as auth:
        evil = {
            "host": "evil.test",
            "x-forwarded-host": "evil.test",
            "x-forwarded-proto": "https",
            "forwarded": "host=evil.test",
            "origin": "https://evil.test",
            "referer": "https://evil.test/",
            "redirect_to": "https://evil.test/",
        }
        await auth.client.post("/signup", json={"email": ALICE, "password": PASSWORD}, headers=evil)
        mail = await mailbox.arrival(ALICE)
        assert link_in(mail).startswith(f"{auth.settings.auth_url}/verify?")
        assert query_of(link_in(mail))["redirect_to"] == auth.settings.auth.site_url
        assert "evil.test" not in mail.text + mail.html
        answer = await auth.client.get(f"/verify?{link_in(mail).partition('?')[2]}", headers=evil)
        assert answer.headers["location"].startswith(auth.settings.auth.site_url)


@pytest.mark.parametrize("type_", ["magiclink", "email"])
async def test_a_known_user_signs_in_by_code(start_auth: StartAuth, mailbox: MailboxServer, type_: str) -> None:
    async with confirming(start_auth) as auth:
        await verify(auth, "signup", await sign_up(auth, mailbox))
        answer = await auth.client.post("/otp", json={"email": ALICE})
        assert (answer.status_code, answer.json()) == (200, {})
        code = code_in(await mailbox.arrival(ALICE, count=2))
        session = (await verify(auth, type_, code)).json()
        assert session["user"]["email"] == ALICE
        assert (await verify(auth, type_, code)).json()["error_code"] == "otp_expired"
        assert (await auth.sign_in()).status_code == 200


async def test_an_unknown_address_is_registered_by_asking_for_a_code(
    start_auth: StartAuth, mailbox: MailboxServer
) -> None:
    async with confirming(start_auth) as auth:
        answer = await auth.client.post("/otp", json={"email": ALICE, "data": {"full_name": "Alice"}})
        assert (answer.status_code, answer.json()) == (200, {})
        session = (await verify(auth, "email", code_in(await mailbox.arrival(ALICE)))).json()
        assert session["user"]["user_metadata"]["full_name"] == "Alice"
        refused = await auth.client.post("/otp", json={"email": BOB, "create_user": False})
        assert (refused.status_code, refused.json()["error_code"]) == (422, "otp_disabled")
        assert await auth.count("users") == 1


async def test_without_confirmations_a_new_address_gets_a_magic_link(
    start_auth: StartAuth, mailbox: MailboxServer
) -> None:
    async with start_auth() as auth:
        await auth.client.post("/otp", json={"email": ALICE})
        link = link_in(await mailbox.arrival(ALICE))
        assert query_of(link)["type"] == "magiclink"
        session = (await verify_hash(auth, "magiclink", query_of(link)["token"])).json()
        assert session["user"]["email_confirmed_at"]


async def test_a_recovery_link_lets_the_user_set_a_new_password(start_auth: StartAuth, mailbox: MailboxServer) -> None:
    async with confirming(start_auth) as auth:
        await verify(auth, "signup", await sign_up(auth, mailbox))
        assert (await auth.client.post("/recover", json={"email": ALICE})).json() == {}
        link = link_in(await mailbox.arrival(ALICE, count=2))
        assert query_of(link)["type"] == "recovery"
        fragment = fragment_of(await follow(auth, link))
        changed = await auth.client.put("/user", json={"password": "another horse"}, headers=bearer(fragment))
        assert changed.status_code == 200
        assert (await auth.sign_in(password="another horse")).status_code == 200


async def test_a_code_does_not_outlive_a_change_of_password(start_auth: StartAuth, mailbox: MailboxServer) -> None:
    async with confirming(start_auth) as auth:
        session = (await verify(auth, "signup", await sign_up(auth, mailbox))).json()
        await auth.client.post("/otp", json={"email": ALICE})
        mail = await mailbox.arrival(ALICE, count=2)
        await auth.client.put("/user", json={"password": "another horse"}, headers=bearer(session))
        assert (await verify(auth, "magiclink", code_in(mail))).json()["error_code"] == "otp_expired"
        refused = await verify_hash(auth, "magiclink", query_of(link_in(mail))["token"])
        assert refused.json()["error_code"] == "otp_expired"
        assert refused.json()["msg"] == "Email link is invalid or has expired"


async def test_using_a_code_takes_back_every_other_one(start_auth: StartAuth, mailbox: MailboxServer) -> None:
    async with confirming(start_auth) as auth:
        session = (await verify(auth, "signup", await sign_up(auth, mailbox))).json()
        await auth.client.put("/user", json={"email": BOB}, headers=bearer(session))
        change = code_in(await mailbox.arrival(BOB))
        await auth.client.post("/otp", json={"email": ALICE})
        await verify(auth, "email", code_in(await mailbox.arrival(ALICE, count=3)))
        assert (await verify(auth, "email_change", change, BOB)).json()["error_code"] == "otp_expired"
        assert await auth.count("one_time_tokens") == 0


async def test_a_code_is_refused_when_its_time_is_over(start_auth: StartAuth, mailbox: MailboxServer) -> None:
    async with confirming(start_auth) as auth:
        code = await sign_up(auth, mailbox)
        await make_older(auth, "confirmation_sent_at", auth.settings.auth.email.otp_expiry_s + 1)
        assert (await verify(auth, "signup", code)).json()["error_code"] == "otp_expired"
        link = link_in(await mailbox.arrival(ALICE))
        assert fragment_of(await follow(auth, link))["error_code"] == "otp_expired"


async def test_a_new_code_replaces_the_old_one(start_auth: StartAuth, mailbox: MailboxServer) -> None:
    async with confirming(start_auth) as auth:
        first = await sign_up(auth, mailbox)
        assert (await auth.client.post("/resend", json={"type": "signup", "email": ALICE})).json() == {}
        second = code_in(await mailbox.arrival(ALICE, count=2))
        if first != second:
            assert (await verify(auth, "signup", first)).json()["error_code"] == "otp_expired"
        assert (await verify(auth, "signup", second)).status_code == 200


async def test_the_sixth_guess_is_refused_even_when_it_is_right(start_auth: StartAuth, mailbox: MailboxServer) -> None:
    async with confirming(start_auth) as auth:
        code = await sign_up(auth, mailbox)
        wrong = "000000" if code != "000000" else "111111"
        for _ in range(5):
            answer = (await verify(auth, "signup", wrong)).json()
            assert (answer["code"], answer["error_code"], answer["msg"]) == EXPIRED
        assert (await verify(auth, "signup", code)).json()["error_code"] == "otp_expired"
        # A type that looks at the same code is no way around, nor is another process or a restart.
        assert (await verify(auth, "email", code)).json()["error_code"] == "otp_expired"
    async with running_auth(auth.settings) as restarted:
        assert (await verify(restarted, "signup", code)).json()["error_code"] == "otp_expired"
        await restarted.client.post("/resend", json={"type": "signup", "email": ALICE})
        fresh = code_in(await mailbox.arrival(ALICE, count=2))
        assert (await verify(restarted, "signup", fresh)).status_code == 200


async def test_a_hundred_guesses_at_once_are_five(start_auth: StartAuth, mailbox: MailboxServer) -> None:
    async with confirming(start_auth) as auth:
        code = await sign_up(auth, mailbox)
        wrong = [f"{number:06d}" for number in range(100) if f"{number:06d}" != code]
        answers = await asyncio.gather(*(verify(auth, "signup", guess) for guess in wrong))
        assert {answer.status_code for answer in answers} == {403}
        tries = await auth.database.fetchval("select tries from isobase.one_time_codes")
        assert tries == 5
        assert (await verify(auth, "signup", code)).status_code == 403


async def test_of_many_who_type_the_right_code_at_once_one_gets_in(
    start_auth: StartAuth, mailbox: MailboxServer
) -> None:
    async with confirming(start_auth) as auth:
        code = await sign_up(auth, mailbox)
        answers = await asyncio.gather(*(verify(auth, "signup", code) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [200, 403, 403, 403, 403]
        assert await auth.count("sessions") == 1


async def test_the_hash_of_a_link_cannot_be_worked_out_of_address_and_code(
    start_auth: StartAuth, mailbox: MailboxServer
) -> None:
    async with confirming(start_auth) as auth:
        code = await sign_up(auth, mailbox)
        guessed = hashlib.sha224(f"{ALICE}{code}".encode()).hexdigest()
        assert (await verify_hash(auth, "signup", guessed)).json()["error_code"] == "otp_expired"


async def test_a_code_that_another_server_wrote_is_good_too(start_auth: StartAuth, mailbox: MailboxServer) -> None:
    async with confirming(start_auth) as auth:
        await sign_up(auth, mailbox)
        theirs = hashlib.sha224(f"{ALICE}123456".encode()).hexdigest()
        await auth.database.execute("delete from isobase.one_time_codes")
        await auth.database.execute("update auth.one_time_tokens set token_hash = $1", theirs)
        assert (await verify(auth, "signup", "123456")).status_code == 200


async def test_a_code_of_another_kind_or_address_is_refused(start_auth: StartAuth, mailbox: MailboxServer) -> None:
    async with confirming(start_auth) as auth:
        code = await sign_up(auth, mailbox)
        for verify_type in ("recovery", "magiclink", "email_change", "sms", "no_such_type"):
            answer = (await verify(auth, verify_type, code)).json()
            assert (answer["code"], answer["error_code"], answer["msg"]) == EXPIRED
        assert (await verify(auth, "signup", code, BOB)).json()["error_code"] == "otp_expired"
        assert (await verify(auth, "signup", code)).status_code == 200


async def test_a_banned_user_is_told_so_by_the_right_code_only(start_auth: StartAuth, mailbox: MailboxServer) -> None:
    async with confirming(start_auth) as auth:
        code = await sign_up(auth, mailbox)
        await auth.database.execute("update auth.users set banned_until = now() + interval '1 hour'")
        assert (await verify(auth, "signup", "0000000")).json()["error_code"] == "otp_expired"
        assert (await verify(auth, "signup", code)).json()["error_code"] == "user_banned"
        assert await auth.count("sessions") == 0


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 400, "Verify requires a verification type"),
        ({"type": "signup"}, 400, "Verify requires either a token or a token hash"),
        ({"type": "signup", "token": "1", "token_hash": "x"}, 400, "Verify requires either a token or a token hash"),
        (
            {"type": "signup", "token": "1"},
            400,
            "Only an email address or phone number should be provided on verify",
        ),
        (
            {"type": "signup", "token": "1", "email": ALICE, "phone": "4915112345678"},
            400,
            "Only an email address or phone number should be provided on verify",
        ),
        ({"type": "signup", "token": "1", "email": "no address"}, 422, "Invalid email format"),
        ({"type": "sms", "token": "1", "phone": "x"}, 400, "Invalid phone number format (E.164 required)"),
        (
            {"type": "signup", "token_hash": "x", "email": ALICE},
            400,
            "Only the token_hash and type should be provided",
        ),
        ({"type": "sms", "token_hash": "x"}, 400, "Invalid email verification type"),
        ({"type": "signup", "token_hash": "x"}, 403, "Email link is invalid or has expired"),
        ({"type": "signup", "token": "1", "email": ALICE}, 403, "Token has expired or is invalid"),
        ({"type": "phone_change", "token": "1", "phone": "4915112345678"}, 403, "Token has expired or is invalid"),
    ],
)
async def test_what_is_wrong_with_a_request_is_said_as_upstream(
    auth: AuthServer, body: dict[str, str], status: int, message: str
) -> None:
    answer = await auth.client.post("/verify", json=body)
    assert (answer.status_code, answer.json()["msg"]) == (status, message)


async def test_a_link_without_type_or_token_is_answered_in_json(auth: AuthServer) -> None:
    for query, message in (
        ("token=x", "Verify requires a verification type"),
        ("type=signup", "Verify requires a token or a token hash"),
    ):
        answer = await auth.client.get(f"/verify?{query}")
        assert (answer.status_code, answer.json()["msg"]) == (400, message)
    answer = await auth.client.get("/verify?type=no_such_type&token=pkce_x&redirect_to=http://127.0.0.1:3000/a?b=c")
    assert answer.status_code == 303
    assert query_of(answer.headers["location"])["error_code"] == "validation_failed"
    assert query_of(answer.headers["location"])["b"] == "c"


async def test_the_address_that_somebody_else_registered_first_is_the_owners_alone(
    start_auth: StartAuth, mailbox: MailboxServer
) -> None:
    async with confirming(start_auth) as auth:
        await sign_up(auth, mailbox)
        # The owner of the address comes later, by a magic link.
        await auth.client.post("/otp", json={"email": ALICE})
        await mailbox.arrival(ALICE, count=2)
        # The other one tries to make it look like their own sign-up again.
        code = await sign_up(auth, mailbox, count=3)
        assert (await verify(auth, "email", code)).status_code == 200
        assert (await auth.sign_in()).json()["error_code"] == "invalid_credentials"


@pytest.mark.parametrize("by", ["signup", "recovery"])
async def test_a_password_set_by_a_stranger_does_not_survive_the_owners_proof(
    start_auth: StartAuth, mailbox: MailboxServer, by: str
) -> None:
    async with confirming(start_auth) as auth:
        await sign_up(auth, mailbox)
        if by == "signup":
            await auth.client.post("/signup", json={"email": ALICE, "password": "the owner's own"})
        else:
            await auth.client.post("/recover", json={"email": ALICE})
        code = code_in(await mailbox.arrival(ALICE, count=2))
        session = (await verify(auth, by, code)).json()
        assert (await auth.sign_in()).json()["error_code"] == "invalid_credentials"
        changed = await auth.client.put("/user", json={"password": "the owner's own"}, headers=bearer(session))
        assert changed.status_code == 200
        assert (await auth.sign_in(password="the owner's own")).status_code == 200


async def test_a_repeated_sign_up_with_the_same_password_keeps_it(
    start_auth: StartAuth, mailbox: MailboxServer
) -> None:
    async with confirming(start_auth) as auth:
        await sign_up(auth, mailbox)
        assert (await verify(auth, "signup", await sign_up(auth, mailbox, count=2))).status_code == 200
        assert (await auth.sign_in()).status_code == 200
