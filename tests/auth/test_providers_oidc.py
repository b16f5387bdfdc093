"""Sign-in through a real OpenID provider: authorize, callback, both flows, linking, and what must not get through."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from isobase_platform.config_auth.email import EmailSettings
from isobase_platform.config_auth.external import ExternalProvider
from tests.auth.conftest import AuthServer, StartAuth, bearer
from tests.plugins.mailbox import MailboxServer
from tests.plugins.oidc_provider import OidcProvider, running_provider

APP = "http://127.0.0.1:3000/welcome"
CALLBACK = "http://isobase/auth/v1/callback"
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
PKCE = {"code_challenge": CHALLENGE, "code_challenge_method": "s256"}


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    """The provider of these tests."""
    with running_provider() as running:
        yield running


def at(provider: OidcProvider, **fields: Any) -> dict[str, ExternalProvider]:
    """The provider under the name ``acme``."""
    given = {"client_id": "app", "secret": SecretStr("s3cret"), "redirect_uri": CALLBACK, "url": provider.url}
    return {"acme": ExternalProvider(enabled=True, **{**given, **fields})}


NOTICES = {"identity_linked": {"enabled": True}, "identity_unlinked": {"enabled": True}}


@pytest_asyncio.fixture
async def auth(start_auth: StartAuth, provider: OidcProvider) -> AsyncIterator[AuthServer]:
    """Auth with the provider, with confirmations and manual linking."""
    async with start_auth(
        external=at(provider),
        enable_manual_linking=True,
        email_enable_confirmations=True,
        enable_anonymous_sign_ins=True,
        email=EmailSettings.model_validate({"notification": NOTICES}),
    ) as server:
        await server.database.execute("delete from auth.oauth_client_states")
        yield server


def fragment_of(answer: httpx.Response) -> dict[str, str]:
    """What an answer's Location carries behind the #."""
    return dict(parse_qsl(urlsplit(answer.headers["location"]).fragment, keep_blank_values=True))


def query_of(answer: httpx.Response) -> dict[str, str]:
    """What an answer's Location carries in its query."""
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query, keep_blank_values=True))


async def go(auth: AuthServer, **params: str) -> str:
    """Begin at /authorize; the provider's URL."""
    answer = await auth.client.get("/authorize", params={"provider": "acme", "redirect_to": APP, **params})
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


async def sign_in(auth: AuthServer, provider: OidcProvider, subject: str, **params: str) -> httpx.Response:
    """The whole walk; the answer of /callback."""
    back = provider.approve(await go(auth, **params), subject)
    return await auth.client.get(back)


def known(provider: OidcProvider, *, email: str = "alice@example.com", verified: bool | None = True) -> str:
    """A user at the provider."""
    subject = f"user-{uuid.uuid4()}"
    claims: dict[str, Any] = {"name": "Alice", "email": email}
    if verified is not None:
        claims["email_verified"] = verified
    provider.put_user(subject, **claims)
    return subject


async def test_authorize_leads_to_the_provider_with_our_parameters(auth: AuthServer, provider: OidcProvider) -> None:
    url = urlsplit(await go(auth, scopes="phone,extra", prompt="login", nonce="n"))
    query = parse_qs(url.query)
    assert f"{url.scheme}://{url.netloc}" == provider.url
    assert query["client_id"] == ["app"]
    assert query["redirect_uri"] == [CALLBACK]
    assert query["response_type"] == ["code"]
    assert query["scope"] == ["openid email profile phone extra"]
    assert (query["prompt"], query["nonce"], query["code_challenge_method"]) == (["login"], ["n"], ["S256"])
    flow = await auth.database.fetchrow("select * from auth.flow_state")
    assert flow is not None
    assert query["state"] == [str(flow["id"])]
    assert (flow["provider_type"], flow["referrer"], flow["authentication_method"]) == ("acme", APP, "oauth")


@pytest.mark.parametrize(
    "name", ["client_id", "redirect_uri", "response_type", "state", "Redirect_Uri", "CODE_verifier"]
)
async def test_caller_cannot_set_the_parameters_that_are_ours(auth: AuthServer, name: str) -> None:
    query = urlsplit(await go(auth, **{name: "https://evil.example.com"})).query
    assert "evil" not in query


async def test_implicit_sign_in_ends_with_a_session_in_the_fragment(auth: AuthServer, provider: OidcProvider) -> None:
    subject = known(provider)
    answer = await sign_in(auth, provider, subject)
    assert answer.status_code == 302
    assert answer.headers["location"].startswith(f"{APP}#access_token=")
    fragment = fragment_of(answer)
    assert sorted(fragment) == list(fragment)
    assert set(fragment) >= {"expires_at", "expires_in", "provider_token", "refresh_token", "sb", "token_type"}
    user = (await auth.client.get("/user", headers=bearer(fragment))).json()
    assert user["email"] == "alice@example.com"
    assert user["app_metadata"] == {"provider": "acme", "providers": ["acme"]}
    assert user["user_metadata"]["name"] == "Alice"
    assert user["user_metadata"]["email_verified"] is True
    identity = user["identities"][0]
    assert (identity["provider"], identity["id"]) == ("acme", subject)
    assert identity["identity_data"]["iss"] == provider.url
    assert await auth.count("flow_state") == 0
    assert await auth.count("oauth_client_states") == 0
    assert await auth.count("mfa_amr_claims", "authentication_method = 'oauth'") == 1


async def test_second_sign_in_is_the_same_user_with_fresh_data(auth: AuthServer, provider: OidcProvider) -> None:
    subject = known(provider)
    await sign_in(auth, provider, subject)
    provider.put_user(subject, name="Alice B.", email="alice@example.com", email_verified=True)
    fragment = fragment_of(await sign_in(auth, provider, subject))
    user = (await auth.client.get("/user", headers=bearer(fragment))).json()
    assert user["user_metadata"]["name"] == "Alice B."
    assert (await auth.count("users"), await auth.count("identities")) == (1, 1)


async def test_pkce_sign_in_ends_with_a_code_that_is_exchanged_once(auth: AuthServer, provider: OidcProvider) -> None:
    answer = await sign_in(auth, provider, known(provider), **PKCE)
    assert set(query_of(answer)) == {"code"}
    body = {"auth_code": query_of(answer)["code"], "code_verifier": VERIFIER}
    exchanged = await auth.client.post("/token", params={"grant_type": "pkce"}, json=body)
    assert exchanged.status_code == 200, exchanged.text
    assert exchanged.json()["provider_token"]
    assert exchanged.json()["user"]["email"] == "alice@example.com"
    assert (await auth.client.post("/token", params={"grant_type": "pkce"}, json=body)).status_code == 404


async def test_state_is_good_for_one_callback(auth: AuthServer, provider: OidcProvider) -> None:
    subject = known(provider)
    for pkce, code in (({}, "bad_oauth_state"), (PKCE, "flow_state_already_used")):
        back = provider.approve(await go(auth, **pkce), subject)
        assert (await auth.client.get(back)).status_code == 302
        again = await auth.client.get(back)
        assert (again.status_code, query_of(again)["error_code"]) == (303, code)
        assert again.headers["location"].startswith("http://127.0.0.1:3000?")


async def test_expired_state_is_refused(auth: AuthServer, provider: OidcProvider) -> None:
    back = provider.approve(await go(auth), known(provider))
    await auth.database.execute("update auth.flow_state set created_at = now() - interval '301 s'")
    answer = await auth.client.get(back)
    assert (answer.status_code, query_of(answer)["error_description"]) == (303, "OAuth state has expired")
    assert await auth.count("users") == 0


@pytest.mark.parametrize(
    "state, code, text",
    [
        ("", "bad_oauth_callback", "OAuth state parameter missing"),
        ("x", "bad_oauth_state", "OAuth state parameter is invalid"),
        ("00000000-0000-4000-8000-000000000000", "bad_oauth_state", "OAuth state not found or expired"),
    ],
)
async def test_state_that_is_not_ours_leads_to_the_site(auth: AuthServer, state: str, code: str, text: str) -> None:
    answer = await auth.client.get("/callback", params={"state": state, "code": "c"})
    assert answer.status_code == 303
    expected = {"error": "invalid_request", "error_code": code, "error_description": text}
    assert query_of(answer) == expected
    assert urlsplit(answer.headers["location"]).netloc == "127.0.0.1:3000"


async def test_flow_of_a_mail_is_no_state(auth: AuthServer) -> None:
    """The row of a sign-up with PKCE lies in the same table."""
    body = {"email": "bob@example.com", "password": "correct horse battery", **PKCE}
    assert (await auth.client.post("/signup", json=body)).status_code == 200
    flow_id = await auth.database.fetchval("select id from auth.flow_state")
    answer = await auth.client.get("/callback", params={"state": str(flow_id), "code": "c"})
    assert query_of(answer)["error_code"] == "bad_oauth_state"


async def test_refusal_at_the_provider_is_told_to_the_app(auth: AuthServer, provider: OidcProvider) -> None:
    url = await go(auth)
    # This provider leaves the state out of its refusal, which an honest one does not.
    state = parse_qs(urlsplit(url).query)["state"][0]
    answer = await auth.client.get(f"{provider.deny(url)}&state={state}")
    assert answer.status_code == 302
    assert answer.headers["location"].startswith(f"{APP}?")
    assert query_of(answer)["error"] == "access_denied"
    assert (fragment_of(answer)["error"], fragment_of(answer)["sb"]) == ("access_denied", "")
    assert "error_code" not in query_of(answer)


async def test_code_that_is_missing_or_wrong_is_told_to_the_app(auth: AuthServer) -> None:
    for params, code, text in (
        ({}, "bad_oauth_callback", "OAuth callback with missing authorization code missing"),
        ({"code": "abcdef"}, "unexpected_failure", "Unable to exchange external code: abcd"),
    ):
        state = parse_qs(urlsplit(await go(auth)).query)["state"][0]
        answer = await auth.client.get("/callback", params={"state": state, **params})
        assert answer.status_code == 302
        assert (query_of(answer)["error_code"], query_of(answer)["error_description"]) == (code, text)
        assert fragment_of(answer)["error_code"] == code


async def test_redirect_target_that_is_not_allowed_becomes_the_site(auth: AuthServer, provider: OidcProvider) -> None:
    subject = known(provider)
    for target in ("https://evil.example.com", "//evil.example.com", "javascript:alert(1)"):
        answer = await sign_in(auth, provider, subject, redirect_to=target)
        assert answer.headers["location"].startswith("http://127.0.0.1:3000#access_token=")


async def test_another_browser_cannot_end_an_implicit_sign_in(auth: AuthServer, provider: OidcProvider) -> None:
    """Login CSRF: somebody begins with their own account and has a victim follow the callback."""
    back = provider.approve(await go(auth), known(provider))
    auth.client.cookies.clear()
    answer = await auth.client.get(back)
    assert (query_of(answer)["error_code"], await auth.count("sessions")) == ("bad_oauth_state", 0)


async def test_mark_is_a_cookie_for_this_server_only(auth: AuthServer) -> None:
    answer = await auth.client.get("/authorize", params={"provider": "acme"})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Max-Age=300" in cookie
    elsewhere = await auth.client.get("/authorize", params={"provider": "acme"}, headers={"host": "other.example.com"})
    assert "set-cookie" not in elsewhere.headers
    with_pkce = await auth.client.get("/authorize", params={"provider": "acme", **PKCE})
    assert "set-cookie" not in with_pkce.headers


async def test_answer_that_names_another_issuer_is_refused(auth: AuthServer, provider: OidcProvider) -> None:
    """Mix-up: the code of one provider must not be spent at another (RFC 9207)."""
    back = provider.approve(await go(auth), known(provider))
    answer = await auth.client.get(f"{back}&iss=https%3A%2F%2Fother.example.com")
    assert query_of(answer)["error_description"] == "Error getting user profile from external provider"
    assert await auth.count("users") == 0


async def test_proven_address_joins_the_account_that_has_it(auth: AuthServer, provider: OidcProvider) -> None:
    created = await auth.client.post(
        "/admin/users",
        json={"email": "alice@example.com", "password": "correct horse battery", "email_confirm": True},
        headers=auth.service_headers,
    )
    answer = await sign_in(auth, provider, known(provider, email="Alice@Example.com"))
    user = (await auth.client.get("/user", headers=bearer(fragment_of(answer)))).json()
    assert user["id"] == created.json()["id"]
    assert user["app_metadata"]["providers"] == ["email", "acme"]
    assert (await auth.sign_in()).status_code == 200
    actions = [
        row["action"]
        for row in await auth.database.fetch("select payload ->> 'action' as action from auth.audit_log_entries")
    ]
    assert "identity_linked" in actions


@pytest.mark.parametrize("confirmations", [True, False])
async def test_unproven_address_joins_nobody(
    start_auth: StartAuth, provider: OidcProvider, confirmations: bool
) -> None:
    """Also while nobody asks for confirmations, where upstream would join."""
    async with start_auth(external=at(provider), email_enable_confirmations=confirmations) as auth:
        content = {"email": "alice@example.com", "password": "correct horse battery", "email_confirm": True}
        owner = (await auth.client.post("/admin/users", json=content, headers=auth.service_headers)).json()
        answer = await sign_in(auth, provider, known(provider, verified=None))
        if confirmations:
            assert query_of(answer)["error_code"] == "provider_email_needs_verification"
            assert query_of(answer)["error"] == "access_denied"
        else:
            user = (await auth.client.get("/user", headers=bearer(fragment_of(answer)))).json()
            assert (user["id"] != owner["id"], user["email"]) == (True, "")
        assert await auth.count("identities", "user_id = $1", uuid.UUID(owner["id"])) == 1


async def test_account_made_by_somebody_else_before_is_taken_over_by_nobody(
    auth: AuthServer, provider: OidcProvider
) -> None:
    """Who registers a victim's address first keeps no door when the owner comes by a provider that proves it."""
    body = {"email": "alice@example.com", "password": "attackers password", "data": {"name": "Mallory"}}
    assert (await auth.client.post("/signup", json=body)).status_code == 200
    planted = await auth.database.fetchval("select id from auth.users")
    await auth.database.execute(
        "update auth.users set phone = '15550100', phone_confirmed_at = now() where id = $1", planted
    )
    await auth.database.execute(
        "insert into auth.mfa_factors (id, user_id, factor_type, status, created_at, updated_at)"
        " values (gen_random_uuid(), $1, 'totp', 'verified', now(), now())",
        planted,
    )
    answer = await sign_in(auth, provider, known(provider))
    user = (await auth.client.get("/user", headers=bearer(fragment_of(answer)))).json()
    assert (user["id"], user["phone"]) == (str(planted), "")
    assert [identity["provider"] for identity in user["identities"]] == ["acme"]
    assert user["user_metadata"]["name"] == "Alice"
    assert "factors" not in user
    assert user["app_metadata"] == {"provider": "acme", "providers": ["acme"]}
    assert (await auth.sign_in(password="attackers password")).status_code == 400


async def test_unproven_address_is_asked_to_be_confirmed(auth: AuthServer, provider: OidcProvider) -> None:
    answer = await sign_in(auth, provider, known(provider, verified=False))
    assert query_of(answer) == {
        "error": "access_denied",
        "error_code": "provider_email_needs_verification",
        "error_description": "Unverified email with acme. A confirmation email has been sent to your acme email",
    }
    assert await auth.count("one_time_tokens", "token_type = 'confirmation_token'") == 1
    assert (await auth.count("users"), await auth.count("sessions")) == (1, 0)


async def test_profile_without_an_address_needs_the_settings_leave(
    start_auth: StartAuth, provider: OidcProvider
) -> None:
    subject = f"user-{uuid.uuid4()}"
    provider.put_user(subject, name="Alice")
    async with start_auth(external=at(provider)) as auth:
        answer = await sign_in(auth, provider, subject)
        assert query_of(answer)["error_description"] == "Error getting user email from external provider"
    async with start_auth(external=at(provider, email_optional=True)) as auth:
        answer = await sign_in(auth, provider, subject)
        user = (await auth.client.get("/user", headers=bearer(fragment_of(answer)))).json()
        assert (user["email"], user["user_metadata"]["name"]) == ("", "Alice")


async def test_sign_up_that_is_off_is_told_to_the_app(start_auth: StartAuth, provider: OidcProvider) -> None:
    async with start_auth(external=at(provider), enable_signup=False) as auth:
        answer = await sign_in(auth, provider, known(provider))
        assert (query_of(answer)["error"], query_of(answer)["error_code"]) == ("access_denied", "signup_disabled")
        assert await auth.count("users") == 0


async def test_banned_user_is_turned_away(auth: AuthServer, provider: OidcProvider) -> None:
    subject = known(provider)
    await sign_in(auth, provider, subject)
    await auth.database.execute("update auth.users set banned_until = now() + interval '1 h'")
    answer = await sign_in(auth, provider, subject)
    assert (query_of(answer)["error"], query_of(answer)["error_code"]) == ("access_denied", "user_banned")


async def test_provider_that_is_not_there_is_a_json_error(auth: AuthServer) -> None:
    for name, text in (
        ("github", "Unsupported provider: provider is not enabled"),
        ("nobody", "Unsupported provider: Provider nobody could not be found"),
        ("", "Unsupported provider: Provider  could not be found"),
    ):
        answer = await auth.client.get("/authorize", params={"provider": name})
        assert (answer.status_code, answer.json()["error_code"]) == (400, "validation_failed")
        assert answer.json()["msg"] == text


async def test_provider_that_is_down_is_a_500_without_its_address(start_auth: StartAuth) -> None:
    nowhere = {"acme": ExternalProvider(enabled=True, client_id="app", url="http://127.0.0.1:1")}
    async with start_auth(external=nowhere) as auth:
        answer = await auth.client.get("/authorize", params={"provider": "acme"})
        assert (answer.status_code, answer.json()["msg"]) == (500, "Error connecting to external provider")


# -- identities -------------------------------------------------------------------------------------------------------


async def link(auth: AuthServer, provider: OidcProvider, session: dict[str, Any], subject: str) -> httpx.Response:
    """Link an identity to the session's user; the answer of /callback."""
    params = {"provider": "acme", "redirect_to": APP, "skip_http_redirect": "true"}
    answer = await auth.client.get("/user/identities/authorize", params=params, headers=bearer(session))
    assert answer.status_code == 200, answer.text
    return await auth.client.get(provider.approve(answer.json()["url"], subject))


async def confirmed_user(auth: AuthServer, email: str = "bob@example.com") -> dict[str, Any]:
    """A signed-in user with a confirmed address."""
    content = {"email": email, "password": "correct horse battery", "email_confirm": True}
    assert (await auth.client.post("/admin/users", json=content, headers=auth.service_headers)).status_code == 200
    session: dict[str, Any] = (await auth.sign_in(email)).json()
    return session


async def test_user_links_and_unlinks_an_identity(
    auth: AuthServer, provider: OidcProvider, mailbox: MailboxServer
) -> None:
    session = await confirmed_user(auth)
    landed = await link(auth, provider, session, known(provider))
    assert "access_token" in fragment_of(landed)
    assert "through acme" in (await mailbox.arrival("bob@example.com")).text
    user = (await auth.client.get("/user", headers=bearer(session))).json()
    assert (user["email"], user["app_metadata"]["providers"]) == ("bob@example.com", ["email", "acme"])
    acme = next(item for item in user["identities"] if item["provider"] == "acme")
    gone = await auth.client.delete(f"/user/identities/{acme['identity_id']}", headers=bearer(session))
    assert (gone.status_code, gone.json()) == (200, {})
    assert "through acme no more" in (await mailbox.arrival("bob@example.com", count=2)).text
    user = (await auth.client.get("/user", headers=bearer(session))).json()
    assert user["app_metadata"] == {"provider": "email", "providers": ["email"]}
    last = user["identities"][0]["identity_id"]
    refused = await auth.client.delete(f"/user/identities/{last}", headers=bearer(session))
    assert (refused.status_code, refused.json()["error_code"]) == (422, "single_identity_not_deletable")


async def test_unlinking_gives_the_account_the_address_that_is_left(auth: AuthServer, provider: OidcProvider) -> None:
    session = await confirmed_user(auth)
    await link(auth, provider, session, known(provider))
    user = (await auth.client.get("/user", headers=bearer(session))).json()
    email = next(item for item in user["identities"] if item["provider"] == "email")
    assert (await auth.client.delete(f"/user/identities/{email['identity_id']}", headers=bearer(session))).is_success
    user = (await auth.client.get("/user", headers=bearer(session))).json()
    assert (user["email"], user["app_metadata"]["provider"]) == ("alice@example.com", "acme")


async def test_unlinking_to_an_address_that_another_has_is_refused(auth: AuthServer, provider: OidcProvider) -> None:
    session = await confirmed_user(auth)
    await link(auth, provider, session, known(provider))
    # Not by a route: each would refuse it. An import may.
    await confirmed_user(auth, "third@example.com")
    await auth.database.execute("update auth.users set email = 'alice@example.com' where email = 'third@example.com'")
    user = (await auth.client.get("/user", headers=bearer(session))).json()
    email = next(item for item in user["identities"] if item["provider"] == "email")
    answer = await auth.client.delete(f"/user/identities/{email['identity_id']}", headers=bearer(session))
    assert (answer.status_code, answer.json()["error_code"]) == (422, "email_conflict_identity_not_deletable")
    assert await auth.count("identities", "provider = 'acme'") == 1


async def test_identity_of_another_is_not_linked_and_not_unlinked(auth: AuthServer, provider: OidcProvider) -> None:
    subject = known(provider)
    owner = fragment_of(await sign_in(auth, provider, subject))
    identity = (await auth.client.get("/user", headers=bearer(owner))).json()["identities"][0]["identity_id"]
    bob = await confirmed_user(auth)
    answer = await link(auth, provider, bob, subject)
    assert query_of(answer)["error_code"] == "identity_already_exists"
    assert query_of(answer)["error_description"] == "Identity is already linked to another user"
    await link(auth, provider, bob, known(provider, email="bob2@example.com"))
    refused = await auth.client.delete(f"/user/identities/{identity}", headers=bearer(bob))
    assert (refused.status_code, refused.json()["error_code"]) == (422, "identity_not_found")


async def test_anonymous_user_becomes_permanent_by_linking(auth: AuthServer, provider: OidcProvider) -> None:
    session = (await auth.client.post("/signup", json={})).json()
    await link(auth, provider, session, known(provider))
    user = (await auth.client.get("/user", headers=bearer(session))).json()
    assert user["id"] == session["user"]["id"]
    assert (user["is_anonymous"], user["email"]) == (False, "alice@example.com")
    assert user["email_confirmed_at"]


async def test_anonymous_user_with_an_unproven_address_must_confirm_it(
    auth: AuthServer, provider: OidcProvider
) -> None:
    session = (await auth.client.post("/signup", json={})).json()
    answer = await link(auth, provider, session, known(provider, verified=False))
    assert query_of(answer)["error_code"] == "email_not_confirmed"
    user = (await auth.client.get("/user", headers=bearer(session))).json()
    assert (user["is_anonymous"], "email_confirmed_at" in user) == (True, False)
    assert await auth.count("one_time_tokens", "token_type = 'confirmation_token'") == 1


async def test_linking_is_off_unless_the_settings_say_so(start_auth: StartAuth, provider: OidcProvider) -> None:
    async with start_auth(external=at(provider)) as auth:
        session = await auth.sign_up()
        identity = session["user"]["identities"][0]["identity_id"]
        for method, path in (("GET", "/user/identities/authorize"), ("DELETE", f"/user/identities/{identity}")):
            answer = await auth.client.request(method, path, headers=bearer(session))
            assert (answer.status_code, answer.json()["error_code"]) == (404, "manual_linking_disabled")
            assert (await auth.client.request(method, path)).status_code == 401


async def test_identity_id_that_is_no_uuid_is_404(auth: AuthServer) -> None:
    session = await confirmed_user(auth)
    answer = await auth.client.delete("/user/identities/x", headers=bearer(session))
    assert (answer.status_code, answer.json()["error_code"]) == (404, "validation_failed")


async def test_invited_user_comes_in_by_the_provider(auth: AuthServer, provider: OidcProvider) -> None:
    invited = await auth.client.post("/admin/users", json={"email": "alice@example.com"}, headers=auth.service_headers)
    token = "0" * 56
    await auth.database.execute(
        "insert into auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to)"
        " values (gen_random_uuid(), $1, 'confirmation_token', $2, 'alice@example.com')",
        uuid.UUID(invited.json()["id"]),
        token,
    )
    stranger = await sign_in(auth, provider, known(provider, email="bob@example.com"), invite_token=token)
    assert query_of(stranger)["error_description"] == "Invited email does not match emails from external provider"
    landed = await sign_in(auth, provider, known(provider), invite_token=token)
    user = (await auth.client.get("/user", headers=bearer(fragment_of(landed)))).json()
    assert (user["id"], user["email"]) == (invited.json()["id"], "alice@example.com")
    assert user["email_confirmed_at"]
    unknown = await auth.client.get("/authorize", params={"provider": "acme", "invite_token": "x"})
    assert (unknown.status_code, unknown.json()["error_code"]) == (404, "user_not_found")


async def test_settings_show_what_is_switched_on(start_auth: StartAuth) -> None:
    external = {"github": ExternalProvider(enabled=True, client_id="a", secret=SecretStr("b"))}
    async with start_auth(external=external) as auth:
        shown = (await auth.client.get("/settings")).json()["external"]
        assert (shown["github"], shown["google"]) == (True, False)
