"""Invitations, and links that an administrator sends by means of their own."""

from __future__ import annotations

from typing import Any

import pytest

from isobase_platform.config_auth.email import EmailSettings
from tests.auth.codes import ALICE, BOB, confirming, follow, fragment_of, query_of, verify, verify_hash
from tests.auth.conftest import PASSWORD, AuthServer, StartAuth, bearer
from tests.plugins.mailbox import MailboxServer, code_in, link_in


async def order(auth: AuthServer, type_: str, status: int = 200, **fields: Any) -> dict[str, Any]:
    """Ask for a link."""
    answer = await auth.client.post(
        "/admin/generate_link", json={"type": type_, "email": ALICE, **fields}, headers=auth.service_headers
    )
    assert answer.status_code == status, answer.text
    link: dict[str, Any] = answer.json()
    return link


async def create(auth: AuthServer, email: str = ALICE, **fields: Any) -> None:
    """Create a confirmed user."""
    answer = await auth.client.post(
        "/admin/users",
        json={"email": email, "password": PASSWORD, "email_confirm": True, **fields},
        headers=auth.service_headers,
    )
    assert answer.status_code == 200, answer.text


async def test_an_invited_user_gets_in_by_the_link_and_sets_a_password(
    start_auth: StartAuth, mailbox: MailboxServer
) -> None:
    async with confirming(start_auth) as auth:
        answer = await auth.client.post(
            "/invite", json={"email": ALICE, "data": {"team": "blue"}}, headers=auth.service_headers
        )
        user = answer.json()
        assert answer.status_code == 200, answer.text
        assert user["invited_at"]
        assert user["user_metadata"] == {"team": "blue"}
        link = link_in(await mailbox.arrival(ALICE))
        assert query_of(link)["type"] == "invite"
        fragment = fragment_of(await follow(auth, link))
        assert fragment["type"] == "invite"
        changed = await auth.client.put("/user", json={"password": PASSWORD}, headers=bearer(fragment))
        assert changed.status_code == 200
        assert (await auth.sign_in()).status_code == 200
        again = await auth.client.post("/invite", json={"email": ALICE}, headers=auth.service_headers)
        assert (again.status_code, again.json()["error_code"]) == (422, "email_exists")


async def test_only_administrators_invite_and_make_links(auth: AuthServer) -> None:
    session = await auth.sign_up()
    for path in ("/invite", "/admin/generate_link"):
        assert (await auth.client.post(path, json={"email": BOB})).status_code == 401
        refused = await auth.client.post(path, json={"email": BOB}, headers=bearer(session))
        assert (refused.status_code, refused.json()["error_code"]) == (403, "not_admin")


async def test_an_invitation_overrules_the_password_of_who_registered_the_address_first(
    start_auth: StartAuth, mailbox: MailboxServer
) -> None:
    async with confirming(start_auth) as auth:
        await auth.client.post("/signup", json={"email": ALICE, "password": PASSWORD})
        await mailbox.arrival(ALICE)
        await auth.client.post("/invite", json={"email": ALICE}, headers=auth.service_headers)
        code = code_in(await mailbox.arrival(ALICE, count=2))
        assert (await verify(auth, "invite", code)).status_code == 200
        assert (await auth.sign_in()).json()["error_code"] == "invalid_credentials"


async def test_a_sign_up_link_makes_the_user_whom_it_confirms(start_auth: StartAuth, mailbox: MailboxServer) -> None:
    async with confirming(start_auth) as auth:
        made = await order(auth, "signup", password=PASSWORD, data={"team": "blue"})
        assert made["user_metadata"] == {"team": "blue"}
        assert (made["verification_type"], made["redirect_to"]) == ("signup", auth.settings.auth.site_url)
        assert made["action_link"].startswith(
            f"{auth.settings.auth_url}/verify?token={made['hashed_token']}&type=signup"
        )
        assert (await verify(auth, "signup", made["email_otp"])).status_code == 200
        assert (await auth.sign_in()).status_code == 200
        await mailbox.silence()
        assert (await order(auth, "signup", 422, password=PASSWORD))["error_code"] == "email_exists"


@pytest.mark.parametrize("type_", ["magiclink", "recovery"])
async def test_a_link_lets_a_known_user_in(start_auth: StartAuth, type_: str) -> None:
    async with confirming(start_auth) as auth:
        await create(auth)
        made = await order(auth, type_)
        assert (made["email"], made["verification_type"]) == (ALICE, type_)
        assert fragment_of(await follow(auth, made["action_link"]))["type"] == type_
        assert (await auth.sign_in()).status_code == 200


async def test_a_magic_link_for_somebody_new_is_a_sign_up(start_auth: StartAuth) -> None:
    async with confirming(start_auth) as auth:
        made = await order(auth, "magiclink")
        assert made["verification_type"] == "signup"
        assert (await verify_hash(auth, "signup", made["hashed_token"])).status_code == 200


async def test_an_invitation_can_be_a_link(start_auth: StartAuth) -> None:
    async with confirming(start_auth) as auth:
        made = await order(auth, "invite", data={"team": "blue"})
        assert made["invited_at"]
        assert (await verify_hash(auth, "invite", made["hashed_token"])).json()["user"]["email"] == ALICE


async def test_both_links_of_a_change_of_address_make_it(start_auth: StartAuth) -> None:
    async with confirming(start_auth) as auth:
        await create(auth)
        current = await order(auth, "email_change_current", new_email=BOB)
        new = await order(auth, "email_change_new", new_email=BOB)
        assert (current["new_email"], current["verification_type"]) == (BOB, "email_change_current")
        assert query_of(new["action_link"])["type"] == "email_change"
        assert "message" in fragment_of(await follow(auth, current["action_link"]))
        assert (await verify(auth, "email_change", new["email_otp"], BOB)).json()["user"]["email"] == BOB


async def test_a_link_to_another_new_address_does_not_confirm_this_one(start_auth: StartAuth) -> None:
    async with confirming(start_auth, EmailSettings(double_confirm_changes=False)) as auth:
        await create(auth)
        stale = await order(auth, "email_change_new", new_email="carol@example.com")
        await auth.database.execute("update auth.users set email_change = $1", BOB)
        assert fragment_of(await follow(auth, stale["action_link"]))["error_code"] == "otp_expired"


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"type": "no_such_type"}, 400, "validation_failed"),
        ({"type": "recovery"}, 404, "user_not_found"),
        ({"type": "email_change_new", "new_email": BOB}, 404, "user_not_found"),
        ({"type": "signup"}, 400, "validation_failed"),
        ({"type": "signup", "password": "x"}, 422, "weak_password"),
        ({"type": "signup", "email": "x"}, 400, "validation_failed"),
    ],
)
async def test_an_order_that_cannot_be_carried_out_is_refused(
    auth: AuthServer, fields: dict[str, str], status: int, code: str
) -> None:
    answer = await auth.client.post(
        "/admin/generate_link", json={"email": ALICE, **fields}, headers=auth.service_headers
    )
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)
    assert await auth.count("users") == 0


async def test_a_link_leads_where_the_list_allows(start_auth: StartAuth) -> None:
    async with confirming(start_auth, additional_redirect_urls=("https://app.test/**",)) as auth:
        await create(auth)
        made = await order(auth, "magiclink", redirect_to="https://app.test/a?b=c")
        assert made["redirect_to"] == "https://app.test/a?b=c"
        assert made["action_link"].endswith("&redirect_to=https%3A%2F%2Fapp.test%2Fa%3Fb%3Dc")
        made = await order(auth, "magiclink", redirect_to="https://evil.test/")
        assert made["redirect_to"] == auth.settings.auth.site_url
