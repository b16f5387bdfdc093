"""Somebody waits in an account for the owner of its address, or tries to get an address confirmed that is not theirs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from isobase_platform.config_auth.external import ExternalProvider
from tests.auth.conftest import AuthServer, StartAuth, bearer
from tests.plugins.mailbox import MailboxServer, code_in
from tests.plugins.oidc_provider import OidcProvider, running_provider

CALLBACK = "http://isobase/auth/v1/callback"
APP = "http://127.0.0.1:3000/welcome"
VICTIM = "alice@example.com"
ATTACKER = "bob@example.com"


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    """A provider that lets its users claim addresses before it has proven them."""
    with running_provider() as running:
        yield running


def at(provider: OidcProvider) -> dict[str, ExternalProvider]:
    """The provider as settings know it."""
    given = ExternalProvider(
        enabled=True, client_id="app", secret=SecretStr("s"), redirect_uri=CALLBACK, url=provider.url
    )
    return {"acme": given}


async def come_back(auth: AuthServer, provider: OidcProvider, subject: str) -> str:
    """Sign in at the provider as ``subject``; returns where the browser lands."""
    begun = await auth.client.get("/authorize", params={"provider": "acme", "redirect_to": APP})
    landed = await auth.client.get(provider.approve(begun.headers["location"], subject))
    return landed.headers["location"]


def error_of(location: str) -> str:
    """The error that a browser was told of, empty for none."""
    return parse_qs(urlsplit(location).query).get("error_code", [""])[0]


async def test_another_proven_address_does_not_confirm_the_accounts_own(
    start_auth: StartAuth, provider: OidcProvider
) -> None:
    """The provider let its user claim Alice's address; later it proves one, but that one is another."""
    subject = f"user-{uuid.uuid4()}"
    async with start_auth(external=at(provider), email_enable_confirmations=True) as auth:
        provider.put_user(subject, email=VICTIM, email_verified=False)
        assert error_of(await come_back(auth, provider, subject)) == "provider_email_needs_verification"
        await auth.database.execute("update auth.users set confirmation_sent_at = null")
        provider.put_user(subject, email=ATTACKER, email_verified=True)
        assert error_of(await come_back(auth, provider, subject)) == "provider_email_needs_verification"
        assert await auth.count("users", "email_confirmed_at is not null") == 0
        assert await auth.count("sessions") == 0


async def test_accounts_own_address_is_confirmed_once_the_provider_proves_it(
    start_auth: StartAuth, provider: OidcProvider
) -> None:
    subject = f"user-{uuid.uuid4()}"
    async with start_auth(external=at(provider), email_enable_confirmations=True) as auth:
        provider.put_user(subject, email=VICTIM, email_verified=False)
        await come_back(auth, provider, subject)
        provider.put_user(subject, email="Alice@Example.com", email_verified=True)
        assert "access_token=" in await come_back(auth, provider, subject)
        assert await auth.count("users", "email_confirmed_at is not null") == 1


@pytest.mark.parametrize(
    ("path", "kind"), [("/signup", "signup"), ("/otp", "email"), ("/recover", "recovery")], ids=lambda value: str(value)
)
async def test_who_proves_an_address_shuts_out_whoever_claimed_it_at_a_provider_first(
    start_auth: StartAuth, provider: OidcProvider, mailbox: MailboxServer, path: str, kind: str
) -> None:
    subject = f"user-{uuid.uuid4()}"
    provider.put_user(subject, email=VICTIM, email_verified=False)
    async with start_auth(external=at(provider), email_enable_confirmations=True) as auth:
        await come_back(auth, provider, subject)
        await auth.database.execute("update auth.users set confirmation_sent_at = null")
        await mailbox.arrival(VICTIM)
        asked = await auth.client.post(path, json={"email": VICTIM, "password": "Alice's own words"})
        assert asked.status_code == 200, asked.text
        code = code_in(await mailbox.arrival(VICTIM, count=2))
        owner = await auth.client.post("/verify", json={"type": kind, "email": VICTIM, "token": code})
        assert owner.status_code == 200, owner.text
        assert "access_token=" not in await come_back(auth, provider, subject)
        assert await auth.count("sessions") == 1
        user = (await auth.client.get("/user", headers=bearer(owner.json()))).json()
        assert [identity["provider"] for identity in user["identities"]] == ["email"]
        assert user["app_metadata"]["providers"] == ["email"]


@pytest.mark.parametrize("way", ["invite", "link"])
async def test_invited_owner_shuts_out_whoever_claimed_the_address_at_a_provider_first(
    start_auth: StartAuth, provider: OidcProvider, mailbox: MailboxServer, way: str
) -> None:
    subject = f"user-{uuid.uuid4()}"
    provider.put_user(subject, email=VICTIM, email_verified=False)
    async with start_auth(external=at(provider), email_enable_confirmations=True) as auth:
        await come_back(auth, provider, subject)
        await auth.database.execute("update auth.users set confirmation_sent_at = null")
        await mailbox.arrival(VICTIM)
        if way == "invite":
            await auth.client.post("/invite", json={"email": VICTIM}, headers=auth.service_headers)
            code = code_in(await mailbox.arrival(VICTIM, count=2))
        else:
            order = {"type": "invite", "email": VICTIM}
            made = await auth.client.post("/admin/generate_link", json=order, headers=auth.service_headers)
            code = made.json()["email_otp"]
        owner = await auth.client.post("/verify", json={"type": "invite", "email": VICTIM, "token": code})
        assert owner.status_code == 200, owner.text
        assert "access_token=" not in await come_back(auth, provider, subject)


async def test_number_that_an_administrator_wrote_stays_with_who_proves_the_address(
    start_auth: StartAuth, mailbox: MailboxServer
) -> None:
    async with start_auth(email_enable_confirmations=True) as auth:
        prepared = {"email": VICTIM, "phone": "4915112345678", "phone_confirm": True}
        await auth.client.post("/admin/users", json=prepared, headers=auth.service_headers)
        await auth.client.post("/otp", json={"email": VICTIM})
        code = code_in(await mailbox.arrival(VICTIM))
        owner = await auth.client.post("/verify", json={"type": "email", "email": VICTIM, "token": code})
        user = owner.json()["user"]
        assert (user["phone"], user["app_metadata"]["providers"]) == ("4915112345678", ["email", "phone"])


async def test_who_proves_an_address_ends_the_sessions_of_who_joined_it_to_an_account(
    start_auth: StartAuth, provider: OidcProvider, mailbox: MailboxServer
) -> None:
    """A signed-in stranger without an address linked an identity that claims Alice's."""
    subject = f"user-{uuid.uuid4()}"
    provider.put_user(subject, email=VICTIM, email_verified=False)
    settings = {"enable_manual_linking": True, "enable_anonymous_sign_ins": True, "email_enable_confirmations": True}
    async with start_auth(external=at(provider), **settings) as auth:
        stranger = (await auth.client.post("/signup", json={})).json()
        params = {"provider": "acme", "skip_http_redirect": "true"}
        begun = await auth.client.get("/user/identities/authorize", params=params, headers=bearer(stranger))
        await auth.client.get(provider.approve(begun.json()["url"], subject))
        assert await auth.count("users", "email = $1 and email_confirmed_at is null", VICTIM) == 1
        await auth.database.execute("update auth.users set confirmation_sent_at = null")
        await mailbox.arrival(VICTIM)
        await auth.client.post("/otp", json={"email": VICTIM})
        code = code_in(await mailbox.arrival(VICTIM, count=2))
        owner = await auth.client.post("/verify", json={"type": "email", "email": VICTIM, "token": code})
        assert owner.status_code == 200
        refused = await auth.client.get("/user", headers=bearer(stranger))
        assert (refused.status_code, refused.headers["x-sb-error-code"]) == (403, "session_not_found")
        assert (await auth.refresh(stranger["refresh_token"])).status_code == 400


async def test_linking_that_a_thief_began_ends_with_the_password(start_auth: StartAuth, provider: OidcProvider) -> None:
    subject = f"user-{uuid.uuid4()}"
    provider.put_user(subject, email=ATTACKER, email_verified=True)
    async with start_auth(external=at(provider), enable_manual_linking=True) as auth:
        stolen = await auth.sign_up(VICTIM)
        own = (await auth.sign_in(VICTIM)).json()
        params = {"provider": "acme", "skip_http_redirect": "true"}
        begun = await auth.client.get("/user/identities/authorize", params=params, headers=bearer(stolen))
        changed = await auth.client.put("/user", json={"password": "the second words"}, headers=bearer(own))
        assert changed.status_code == 200
        landed = await auth.client.get(provider.approve(begun.json()["url"], subject))
        assert error_of(landed.headers["location"]) == "bad_oauth_state"
        assert await auth.count("identities") == 1
