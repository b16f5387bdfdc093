"""Every way to sign in, at a running server with its mail and its text messages."""

from __future__ import annotations

import hashlib
import json
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from isobase.auth import AsyncMemoryStorage
from isobase.auth.errors import (
    AuthApiError,
    AuthImplicitGrantRedirectError,
    AuthInvalidCredentialsError,
    AuthPKCECodeVerifierMissingError,
)
from tests.plugins.mailbox import code_in, link_in
from tests.sdk.auth._async.tools import PASSWORD, Events, new_address, opened, signed_up
from tests.sdk.auth.conftest import AuthService

APP = "http://127.0.0.1:3000/welcome"


def follow(service: AuthService, link: str) -> str:
    """Open the link of a mail as a browser does; gives where it leads."""
    query = urlsplit(link).query
    return page(f"{service.url}/verify?{query}").headers["location"]


def page(url: str) -> httpx.Response:
    """Open an address as a browser does, without going where it leads."""
    return httpx.get(url, follow_redirects=False)


def code_of(url: str) -> str:
    """The code that a redirect carries."""
    return parse_qs(urlsplit(url).query)["code"][0]


def phone_code(service: AuthService) -> tuple[str, str]:
    """Number and code of the newest text message."""
    sent = json.loads(service.texts.calls[-1].body)
    return sent["user"]["phone"], sent["sms"]["otp"]


# Passwords


@pytest.mark.capability("auth.sign_in.sign_up", "auth.sign_in.sign_in_with_password")
async def test_who_signed_up_can_sign_in_with_the_password(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        events = Events(client)
        address = new_address()
        made = await client.sign_up(
            {"email": address, "password": PASSWORD, "options": {"data": {"colour": "green"}, "email_redirect_to": APP}}
        )
        assert made.user is not None
        assert made.user.user_metadata["colour"] == "green"
        found = await client.sign_in_with_password({"email": address, "password": PASSWORD})
        assert found.user is not None
        assert found.user.id == made.user.id
        assert found.session == await client.get_session()
        assert events.names == ["SIGNED_IN", "SIGNED_IN"]


async def test_a_wrong_password_is_refused_and_changes_nothing(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        session = await signed_up(client)
        with pytest.raises(AuthApiError) as refused:
            await client.sign_in_with_password({"email": session.user.email or "", "password": "wrong"})
        assert (refused.value.status, refused.value.code) == (400, "invalid_credentials")
        assert await client.get_session() == session


@pytest.mark.parametrize("credentials", [{}, {"email": "a@example.com"}, {"password": "x"}, {"email": "", "phone": ""}])
async def test_missing_credentials_are_an_error_before_anything_is_sent(credentials: dict[str, str]) -> None:
    from isobase.auth import AsyncGoTrueClient

    async with AsyncGoTrueClient(url="http://127.0.0.1:1") as client:
        for method in (client.sign_up, client.sign_in_with_password):
            with pytest.raises(AuthInvalidCredentialsError, match="email or phone number and a password"):
                await method(credentials)  # type: ignore[arg-type]
        with pytest.raises(AuthInvalidCredentialsError, match="domain or provider_id"):
            await client.sign_in_with_sso({})


@pytest.mark.capability("auth.sign_in.sign_in_anonymously")
async def test_an_anonymous_user_can_be_given_an_address_later(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        found = await client.sign_in_anonymously({"options": {"data": {"cart": 3}}})
        assert found.user is not None
        assert found.user.is_anonymous
        assert found.user.user_metadata == {"cart": 3}
        assert (await client.get_session()) == found.session


# Codes and links


@pytest.mark.capability("auth.sign_in.sign_in_with_otp", "auth.sign_in.verify_otp")
async def test_a_code_from_a_mail_signs_in(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        events = Events(client)
        address = new_address()
        asked = await client.sign_in_with_otp({"email": address, "options": {"data": {"colour": "green"}}})
        assert (asked.user, asked.session) == (None, None)
        found = await client.verify_otp(
            {"email": address, "token": code_in(auth_service.mail_for(address)), "type": "email"}
        )
        assert found.user is not None
        assert found.user.email == address
        assert events.names == ["SIGNED_IN"]


async def test_a_code_from_a_text_message_signs_in(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        await client.sign_in_with_otp({"phone": "+4915112345678", "options": {"channel": "sms"}})
        phone, code = phone_code(auth_service)
        with pytest.raises(AuthApiError) as refused:
            await client.verify_otp({"phone": phone, "token": "000000", "type": "sms"})
        assert refused.value.code == "otp_expired"
        found = await client.verify_otp({"phone": phone, "token": code, "type": "sms"})
        assert found.session is not None


async def test_an_unknown_user_is_refused_where_none_is_to_be_made(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        with pytest.raises(AuthApiError) as refused:
            await client.sign_in_with_otp({"email": new_address(), "options": {"should_create_user": False}})
        assert refused.value.code == "otp_disabled"


@pytest.mark.capability("auth.sign_in.resend_confirmation")
async def test_the_mail_of_a_new_address_is_sent_again(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        former = (await signed_up(client)).user.email or ""
        address = new_address()
        changed = await client.update_user({"email": address}, {"email_redirect_to": APP})
        assert changed.user.new_email == address
        first = auth_service.mail_for(address)
        await client.resend({"type": "email_change", "email": former, "options": {"email_redirect_to": APP}})
        assert auth_service.mail_for(address, count=2).id != first.id
        with pytest.raises(AuthInvalidCredentialsError):
            await client.resend({"type": "signup"})  # type: ignore[arg-type]


@pytest.mark.capability("auth.sign_in.send_password_reset_email")
async def test_the_link_of_a_forgotten_password_signs_in_to_change_it(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        address = (await signed_up(client)).user.email or ""
        await client.sign_out()
        events = Events(client)
        await client.reset_password_for_email(address, {"redirect_to": APP})
        back = follow(auth_service, link_in(auth_service.mail_for(address)))
        assert back.startswith(APP)
        await client.initialize(url=back)
        assert events.names == ["SIGNED_IN", "PASSWORD_RECOVERY"]
        await client.update_user({"password": "another horse"})
        await client.sign_in_with_password({"email": address, "password": "another horse"})


@pytest.mark.capability("auth.sign_in.reauthenticate", "auth.session.update_user")
async def test_a_code_is_sent_to_who_is_to_prove_themselves(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        address = (await signed_up(client)).user.email or ""
        answer = await client.reauthenticate()
        assert (answer.user, answer.session) == (None, None)
        nonce = code_in(auth_service.mail_for(address))
        changed = await client.update_user({"password": "another horse", "nonce": nonce, "data": {"colour": "red"}})
        assert changed.user.user_metadata["colour"] == "red"
        session = await client.get_session()
        assert session is not None
        assert session.user == changed.user


@pytest.mark.parametrize(
    ("code", "stays"), [("otp_expired", False), ("identity_already_exists", True)], ids=["of a link", "of an identity"]
)
async def test_a_redirect_that_carries_an_error_raises_it(auth_service: AuthService, code: str, stays: bool) -> None:
    async with opened(auth_service) as client:
        await signed_up(client)
        events = Events(client)
        with pytest.raises(AuthImplicitGrantRedirectError, match="Late") as failed:
            await client.initialize(url=f"{APP}#error=denied&error_code={code}&error_description=Late")
        assert failed.value.details == {"error": "denied", "code": code}
        assert (await client.get_session() is not None) is stays
        assert events == ([] if stays else [("SIGNED_OUT", "session_missing")])


async def test_half_a_session_in_a_redirect_is_refused(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        with pytest.raises(AuthImplicitGrantRedirectError, match="No refresh_token detected"):
            await client.initialize_from_url(f"{APP}#access_token=a&expires_in=60&token_type=bearer")
        await client.initialize_from_url(APP)  # neither session nor error


# The PKCE flow


@pytest.mark.capability("auth.sign_in.exchange_code_for_session")
async def test_a_link_comes_back_with_a_code_that_is_exchanged(auth_service: AuthService) -> None:
    async with opened(auth_service, flow_type="pkce") as client:
        events = Events(client)
        address = new_address()
        await client.sign_in_with_otp({"email": address, "options": {"email_redirect_to": APP}})
        back = follow(auth_service, link_in(auth_service.mail_for(address)))
        found = await client.exchange_code_for_session({"auth_code": code_of(back)})
        assert found.user is not None
        assert found.user.email == address
        assert events.names == ["SIGNED_IN"]
        assert isinstance(client._storage, AsyncMemoryStorage)
        assert list(client._storage.storage) == [client._storage_key]  # no verifier is left


async def test_the_recovery_of_a_password_is_told_of_in_the_pkce_flow_too(auth_service: AuthService) -> None:
    async with opened(auth_service, flow_type="pkce") as client:
        address = (await signed_up(client)).user.email or ""
        events = Events(client)
        await client.reset_password_for_email(address, {"redirect_to": APP})
        await client.initialize(url=follow(auth_service, link_in(auth_service.mail_for(address))))
        assert events.names == ["PASSWORD_RECOVERY"]


@pytest.mark.capability("auth.sign_in.concurrent_pkce_flows")
async def test_flows_side_by_side_keep_their_verifiers(auth_service: AuthService) -> None:
    async with opened(auth_service, flow_type="pkce", append_flow_id_to_redirects=True) as client:
        first, second = new_address(), new_address()
        for address in (first, second):
            await client.sign_in_with_otp({"email": address, "options": {"email_redirect_to": APP}})
        oauth = await client.sign_in_with_oauth({"provider": "acme"})
        for address in (first, second):
            back = follow(auth_service, link_in(auth_service.mail_for(address)))
            await client.initialize(url=back)
            session = await client.get_session()
            assert session is not None
            assert session.user.email == address
        assert oauth.flow_id is not None
        assert await client._verifier_of(oauth.flow_id) is not None


async def test_a_flow_without_a_verifier_is_never_ended_with_anothers(auth_service: AuthService) -> None:
    async with opened(auth_service, flow_type="pkce") as client:
        flows = [await client.sign_in_with_oauth({"provider": "acme"}) for _ in range(6)]
        assert await client._verifier_of(flows[1].flow_id) is not None
        for flow_id in (flows[0].flow_id or "", "never-begun", "../escape"):
            with pytest.raises(AuthPKCECodeVerifierMissingError):
                await client.exchange_code_for_session({"auth_code": "code", "flow_id": flow_id})
        with pytest.raises(AuthApiError) as refused:
            await client.exchange_code_for_session({"auth_code": "code"})
        assert refused.value.code in {"flow_state_not_found", "validation_failed"}


async def test_a_call_that_fails_leaves_no_verifier(auth_service: AuthService) -> None:
    async with opened(auth_service, flow_type="pkce") as client:
        with pytest.raises(AuthApiError):
            await client.sign_in_with_otp({"email": new_address(), "options": {"should_create_user": False}})
        assert isinstance(client._storage, AsyncMemoryStorage)
        assert client._storage.storage == {}


# Providers


@pytest.mark.capability("auth.sign_in.sign_in_with_oauth")
async def test_the_address_of_a_provider_leads_to_its_sign_in_page(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        found = await client.sign_in_with_oauth(
            {
                "provider": "acme",
                "options": {"redirect_to": APP, "scopes": "openid email", "query_params": {"prompt": "consent"}},
            }
        )
        assert (found.provider, found.flow_id) == ("acme", None)
        query = parse_qs(urlsplit(found.url).query)
        assert query == {
            "provider": ["acme"],
            "redirect_to": [APP],
            "scopes": ["openid email"],
            "prompt": ["consent"],
        }
        answer = page(found.url)
        assert answer.status_code == 302
        assert answer.headers["location"].startswith(auth_service.issuer.url)


@pytest.mark.capability("auth.sign_in.sign_in_with_id_token")
async def test_a_providers_id_token_signs_in(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        events = Events(client)
        address = new_address()
        token = auth_service.issuer.sign(
            {
                "aud": "app",
                "email": address,
                "email_verified": True,
                "nonce": hashlib.sha256(b"n0nce").hexdigest(),
            }
        )
        found = await client.sign_in_with_id_token({"provider": "acme", "token": token, "nonce": "n0nce"})
        assert found.user is not None
        assert found.user.email == address
        assert events.names == ["SIGNED_IN"]
        with pytest.raises(AuthApiError):
            await client.sign_in_with_id_token({"provider": "acme", "token": token, "nonce": "other"})


@pytest.mark.capability(
    "auth.identities.list_identities", "auth.identities.link_identity", "auth.identities.unlink_identity"
)
async def test_an_identity_is_linked_listed_and_unlinked(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        user = (await signed_up(client)).user
        events = Events(client)
        place = await client.link_identity({"provider": "acme", "options": {"redirect_to": APP}})
        assert place.url.startswith(auth_service.issuer.url)
        token = auth_service.issuer.sign({"aud": "app", "email": new_address(), "email_verified": True})
        linked = await client.link_identity({"provider": "acme", "token": token})
        assert linked.user is not None
        assert linked.user.id == user.id
        assert events.names == ["USER_UPDATED"]
        found = (await client.get_user_identities()).identities
        assert {one.provider for one in found} == {"email", "acme"}
        answer = await client.unlink_identity(next(one for one in found if one.provider == "acme"))
        assert answer.status_code == 200
        assert [one.provider for one in (await client.get_user_identities()).identities] == ["email"]


async def test_what_the_server_has_switched_off_says_so(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        with pytest.raises(AuthApiError) as refused:
            await client.sign_in_with_sso({"domain": "example.com", "options": {"redirect_to": APP}})
        assert refused.value.code == "saml_provider_disabled"
        with pytest.raises(AuthApiError) as refused:
            await client.sign_in_with_web3({"chain": "solana", "message": "m", "signature": b"s"})
        assert refused.value.code == "web3_provider_disabled"
