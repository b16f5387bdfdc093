"""Providers together with the rest: the official client, a project's hook, and two callbacks at one moment."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import SecretStr
from supabase_auth import AsyncGoTrueClient, AsyncMemoryStorage

from isobase_platform.config import AuthSettings
from isobase_platform.config_auth.external import ExternalProvider
from isobase_services.auth.providers import Providers
from tests.auth.conftest import AuthServer, StartAuth, bearer
from tests.auth.receivers import receiving
from tests.auth.test_hooks import hook_settings
from tests.auth.test_hooks_in_flows import refusing
from tests.auth.test_sms_and_notices import noticing
from tests.plugins.listening import listening
from tests.plugins.mailbox import MailboxServer, code_in
from tests.plugins.oidc_provider import OidcProvider, running_provider

CALLBACK = "http://isobase/auth/v1/callback"
APP = "http://127.0.0.1:3000/welcome"


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    """The provider of these tests."""
    with running_provider() as running:
        yield running


def at(provider: OidcProvider, name: str = "acme") -> dict[str, ExternalProvider]:
    """The provider under a name."""
    given = ExternalProvider(
        enabled=True, client_id="app", secret=SecretStr("s"), redirect_uri=CALLBACK, url=provider.url
    )
    return {name: given}


def known(provider: OidcProvider) -> str:
    """A user at the provider."""
    subject = f"user-{uuid.uuid4()}"
    provider.put_user(subject, name="Alice", email="alice@example.com", email_verified=True)
    return subject


async def begin(auth: AuthServer) -> str:
    """The provider's URL."""
    answer = await auth.client.get("/authorize", params={"provider": "acme", "redirect_to": APP})
    return answer.headers["location"]


async def test_official_client_signs_in_by_a_provider(start_auth: StartAuth, provider: OidcProvider) -> None:
    """The client's own steps: a URL, which the browser follows to its end, and the code that comes back."""
    # The client knows names, and this one asks for no ID token: the profile is asked for at the issuer's userinfo.
    external = at(provider, "google")
    async with start_auth(external=external) as auth, listening(auth.app) as url, httpx.AsyncClient(timeout=60) as http:
        client = AsyncGoTrueClient(
            url=f"{url}/auth/v1",
            headers={"apikey": auth.settings.anon_token},
            auto_refresh_token=False,
            storage=AsyncMemoryStorage(),
            http_client=http,
            flow_type="pkce",
        )
        options = {"redirect_to": APP, "scopes": "phone", "query_params": {"prompt": "login"}}
        begun = await client.sign_in_with_oauth({"provider": "google", "options": options})  # type: ignore[typeddict-item]
        there = (await http.get(begun.url)).headers["location"]
        back = provider.approve(there, known(provider))
        landed = (await auth.client.get(back)).headers["location"]
        code = parse_qs(urlsplit(landed).query)["code"][0]
        answer = await client.exchange_code_for_session({"auth_code": code})
        assert answer.session is not None
        assert answer.session.provider_token
        assert answer.user is not None
        assert (answer.user.email, answer.user.app_metadata["provider"]) == ("alice@example.com", "google")
        user = await client.get_user()
        assert user is not None
        assert user.user.identities is not None


async def test_hook_may_keep_a_providers_user_out(start_auth: StartAuth, provider: OidcProvider) -> None:
    async with receiving(refusing) as hook:
        async with start_auth(external=at(provider), hook=hook_settings("before_user_created", hook.url)) as auth:
            landed = await auth.client.get(provider.approve(await begin(auth), known(provider)))
            query = parse_qs(urlsplit(landed.headers["location"]).query)
            assert (query["error"], query["error_description"]) == (["access_denied"], ["nobody from there"])
            assert await auth.count("users") == 0
    (call,) = hook.calls
    assert call.json["user"]["app_metadata"] == {"provider": "acme", "providers": ["acme"]}
    assert call.json["user"]["user_metadata"]["name"] == "Alice"


async def test_hook_is_not_asked_about_a_user_who_is_there(start_auth: StartAuth, provider: OidcProvider) -> None:
    subject = known(provider)
    async with receiving() as hook:
        async with start_auth(external=at(provider), hook=hook_settings("before_user_created", hook.url)) as auth:
            for _ in range(2):
                await auth.client.get(provider.approve(await begin(auth), subject))
    assert len(hook.calls) == 1


async def test_of_two_callbacks_at_one_moment_one_signs_in(start_auth: StartAuth, provider: OidcProvider) -> None:
    async with start_auth(external=at(provider)) as auth:
        back = provider.approve(await begin(auth), known(provider))
        answers = await asyncio.gather(*(auth.client.get(back) for _ in range(6)))
        ends = [urlsplit(answer.headers["location"]).fragment.partition("=")[0] for answer in answers]
        assert ends.count("access_token") == 1
        assert (await auth.count("users"), await auth.count("sessions")) == (1, 1)


async def test_two_first_sign_ins_at_one_moment_are_one_user(start_auth: StartAuth, provider: OidcProvider) -> None:
    subject = known(provider)
    async with start_auth(external=at(provider)) as auth:
        backs = [provider.approve(await begin(auth), subject) for _ in range(4)]
        answers = await asyncio.gather(*(auth.client.get(back) for back in backs))
        assert all("access_token=" in answer.headers["location"] for answer in answers)
        assert (await auth.count("users"), await auth.count("identities")) == (1, 1)
        assert await auth.count("sessions") == 4


async def test_user_is_told_of_identities_that_come_and_go(
    start_auth: StartAuth, provider: OidcProvider, mailbox: MailboxServer
) -> None:
    settings = noticing("identity_linked", "identity_unlinked")
    async with start_auth(external=at(provider), enable_manual_linking=True, email=settings) as auth:
        session = await auth.sign_up("bob@example.com")
        params = {"provider": "acme", "skip_http_redirect": "true"}
        begun = await auth.client.get("/user/identities/authorize", params=params, headers=bearer(session))
        await auth.client.get(provider.approve(begun.json()["url"], known(provider)))
        linked = await mailbox.arrival("bob@example.com")
        assert "acme" in linked.text
        user = (await auth.client.get("/user", headers=bearer(session))).json()
        identity = next(item for item in user["identities"] if item["provider"] == "acme")
        path = f"/user/identities/{identity['identity_id']}"
        assert (await auth.client.delete(path, headers=bearer(session))).status_code == 200
        unlinked = await mailbox.arrival("bob@example.com", count=2)
        assert unlinked.subject != linked.subject


async def test_address_that_a_provider_has_not_proven_is_confirmed_by_mail(
    start_auth: StartAuth, provider: OidcProvider, mailbox: MailboxServer
) -> None:
    subject = f"user-{uuid.uuid4()}"
    provider.put_user(subject, name="Alice", email="alice@example.com", email_verified=False)
    async with start_auth(external=at(provider), email_enable_confirmations=True) as auth:
        await auth.client.get(provider.approve(await begin(auth), subject))
        code = code_in(await mailbox.arrival("alice@example.com"))
        body = {"type": "signup", "email": "alice@example.com", "token": code}
        assert (await auth.client.post("/verify", json=body)).status_code == 200
        landed = await auth.client.get(provider.approve(await begin(auth), subject))
        assert "access_token=" in landed.headers["location"]
        assert await auth.count("users") == 1


def test_providers_that_cannot_work_are_named_at_start(
    provider: OidcProvider, caplog: pytest.LogCaptureFixture
) -> None:
    given = {
        **at(provider),
        "gogle": ExternalProvider(enabled=True, client_id="app", secret=SecretStr("s")),
        "github": ExternalProvider(enabled=True, client_id="app"),
        "google": ExternalProvider(enabled=True, client_id="app"),
        "discord": ExternalProvider(),
    }
    Providers(AuthSettings(external=given), "http://127.0.0.1:54321/auth/v1").warn_of_incomplete()
    told = {
        record.__dict__["key"]: record.__dict__["reason"]
        for record in caplog.records
        if record.name == "isobase.auth.providers"
    }
    assert told == {
        "auth.external.gogle": "not a name that is known, and without the url of an OpenID Connect issuer",
        "auth.external.github": "missing OAuth secret",
    }
