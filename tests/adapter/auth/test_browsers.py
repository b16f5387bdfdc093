"""Users who arrive by a browser: OAuth, links and codes of mails, at whichever side they were begun."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from supabase.lib.client_options import AsyncClientOptions

from isobase_adapter import create_async_migration_client
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage, writer_of
from tests.adapter.auth.users import same_users
from tests.adapter.client.moving import set_stage, settings_of, wait_for_stage
from tests.adapter.pair import PASSWORD, Pair, SideStack
from tests.plugins.oidc_provider import OidcProvider

APP = "http://127.0.0.1:3000"
TWICE_WRITTEN = [Stage.DUAL_WRITE, Stage.LIVE]
BEFORE_AND_AFTER = [
    pytest.param(Stage.DUAL_WRITE, Stage.LIVE, id="forwards"),
    pytest.param(Stage.LIVE, Stage.DUAL_WRITE, id="back"),
]


@pytest.fixture
def pair(open_pair: Pair) -> Pair:
    open_pair.clear()
    return open_pair


@pytest.fixture
async def client(pair: Pair) -> AsyncIterator[Any]:
    options = AsyncClientOptions(flow_type="pkce")
    made = await create_async_migration_client(
        pair.supabase.url, pair.supabase.anon_key, options, migration=settings_of(pair)
    )
    yield made
    await made.migration.aclose()


def move(pair: Pair, client: Any, stage: Stage) -> SideStack:
    """Put auth into a stage; gives the side that is written first."""
    set_stage(pair, "auth", stage)
    wait_for_stage(client, "auth", stage)
    return pair.supabase if writer_of(stage) is Side.SUPABASE else pair.isobase


def address() -> str:
    return f"user-{uuid.uuid4().hex[:12]}@example.com"


def browse(provider: OidcProvider, url: str, email: str) -> str:
    """Go where the app sends the browser, sign in at the provider, and give the code that the app gets."""
    subject = f"user-{uuid.uuid4()}"
    provider.put_user(subject, name="Alice", email=email, email_verified=True)
    asks = url if url.startswith(provider.url) else httpx.get(url).headers["location"]
    return follow(provider.approve(asks, subject))


def follow(url: str) -> str:
    """Go to a page of auth that leads back to the app, and give the code that the app gets."""
    landed = httpx.get(url).headers["location"]
    assert landed.startswith(APP), landed
    return parse_qs(urlsplit(landed).query)["code"][0]


def mails_to(side: SideStack, email: str) -> list[Any]:
    """What has come for an address, newest first."""
    found: list[Any] = httpx.get(f"{side.mailbox_url}/api/v1/search", params={"query": f"to:{email}"}).json()[
        "messages"
    ]
    return found


def mail_to(side: SideStack, email: str) -> str:
    """The text of the newest mail for an address."""
    deadline_s = time.monotonic() + 60
    while True:
        if found := mails_to(side, email):
            return str(httpx.get(f"{side.mailbox_url}/api/v1/message/{found[0]['ID']}").json()["Text"])
        assert time.monotonic() < deadline_s, "no mail came"
        time.sleep(0.05)


@pytest.mark.parametrize("stage", TWICE_WRITTEN)
async def test_an_oauth_user_signs_in_and_is_on_both_sides(
    client: Any, pair: Pair, provider: OidcProvider, stage: Stage
) -> None:
    side, email = move(pair, client, stage), address()
    begun = await client.auth.sign_in_with_oauth({"provider": "google", "options": {"redirect_to": APP}})
    assert begun.url.startswith(f"{side.url}/auth/v1/authorize?")
    session = await client.auth.exchange_code_for_session({"auth_code": browse(provider, begun.url, email)})
    assert session.user.email == email
    same_users(pair)
    assert (await client.auth.refresh_session()).user.email == email
    same_users(pair)


@pytest.mark.parametrize("before, after", BEFORE_AND_AFTER)
async def test_an_oauth_flow_ends_after_the_stage_has_changed(
    client: Any, pair: Pair, provider: OidcProvider, before: Stage, after: Stage
) -> None:
    move(pair, client, before)
    begun = await client.auth.sign_in_with_oauth({"provider": "google", "options": {"redirect_to": APP}})
    move(pair, client, after)
    email = address()
    session = await client.auth.exchange_code_for_session({"auth_code": browse(provider, begun.url, email)})
    assert session.user.email == email
    same_users(pair)
    again = await client.auth.sign_in_with_oauth({"provider": "google", "options": {"redirect_to": APP}})
    assert again.url.partition("/auth/")[0] != begun.url.partition("/auth/")[0]


async def test_an_identity_is_linked_and_taken_off_on_both_sides(
    client: Any, pair: Pair, provider: OidcProvider
) -> None:
    for stage in TWICE_WRITTEN:
        move(pair, client, stage)
        email = address()
        await client.auth.sign_up({"email": email, "password": PASSWORD})
        begun = await client.auth.link_identity({"provider": "google", "options": {"redirect_to": APP}})
        session = await client.auth.exchange_code_for_session({"auth_code": browse(provider, begun.url, email)})
        assert {identity.provider for identity in session.user.identities} == {"email", "google"}
        same_users(pair)
        linked = next(one for one in session.user.identities if one.provider == "google")
        await client.auth.unlink_identity(linked)
        same_users(pair)


@pytest.mark.parametrize("before, after", BEFORE_AND_AFTER)
async def test_a_mail_is_sent_once_and_its_code_is_good_after_the_stage_has_changed(
    client: Any, pair: Pair, before: Stage, after: Stage
) -> None:
    side, email = move(pair, client, before), address()
    await client.auth.sign_in_with_otp({"email": email})
    code = re.search(r"\b\d{6}\b", mail_to(side, email))
    assert code is not None
    same_users(pair)
    other = move(pair, client, after)
    assert mails_to(other, email) == []
    session = await client.auth.verify_otp({"email": email, "token": code[0], "type": "email"})
    assert session.user.email == email
    same_users(pair)
    assert (await client.auth.refresh_session()).user.email == email


@pytest.mark.parametrize("before, after", BEFORE_AND_AFTER)
async def test_a_link_of_a_mail_signs_in_at_its_side_and_the_app_goes_on_at_the_other(
    client: Any, pair: Pair, before: Stage, after: Stage
) -> None:
    side, email = move(pair, client, before), address()
    await client.auth.sign_in_with_otp({"email": email, "options": {"email_redirect_to": APP}})
    link = re.search(r"https?://\S+/verify\?\S+", mail_to(side, email))
    assert link is not None
    assert link[0].startswith(side.url)
    move(pair, client, after)
    session = await client.auth.exchange_code_for_session({"auth_code": follow(link[0].rstrip(")"))})
    assert session.user.email == email
    same_users(pair)
