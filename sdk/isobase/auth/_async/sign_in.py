"""Every way to sign in. What is sent is worked out in ``isobase.auth.calls``; here it is sent, and the session kept.

Source: ``supabase_auth`` for names, arguments and events; supabase-js for the flow ids of PKCE and for wallets.
"""

from __future__ import annotations

import json

from httpx import QueryParams

from isobase.auth._async.pkce_flows import AsyncPkceFlows
from isobase.auth.calls import (
    anonymous_call,
    id_token_call,
    oauth_params,
    otp_call,
    password_call,
    recover_call,
    resend_call,
    sign_up_call,
    sso_call,
    verify_call,
)
from isobase.auth.errors import AuthPKCECodeVerifierMissingError
from isobase.auth.helpers import parse_auth_otp_response, parse_auth_response, parse_sso_response
from isobase.auth.pkce import PkceFlow, is_flow_id, read_verifier, with_flow_id
from isobase.auth.types import (
    AuthChangeEvent,
    AuthOtpResponse,
    AuthResponse,
    CodeExchangeParams,
    OAuthResponse,
    Options,
    Provider,
    ResendCredentials,
    SignInAnonymouslyCredentials,
    SignInWithIdTokenCredentials,
    SignInWithOAuthCredentials,
    SignInWithPasswordCredentials,
    SignInWithPasswordlessCredentials,
    SignInWithSSOCredentials,
    SignUpWithPasswordCredentials,
    SSOResponse,
    VerifyOtpParams,
)
from isobase.auth.types.web3 import Web3Credentials
from isobase.auth.web3 import web3_call

__all__ = ["AsyncSignIn"]


class AsyncSignIn(AsyncPkceFlows):
    """The sign-ins of ``AsyncGoTrueClient``.

    Each raises ``AuthInvalidCredentialsError`` when what is needed is not given, ``AuthApiError``
    (``AuthWeakPasswordError``) when the server refuses, ``AuthRetryableError`` when it cannot be reached.
    """

    async def sign_up(self, credentials: SignUpWithPasswordCredentials) -> AuthResponse:
        """Make a user with an e-mail address or a phone number and a password.

        ``session`` is None while the address is still to be confirmed; else the user is signed in (``SIGNED_IN``).
        """
        return await self._signed_in(parse_auth_response(await self._send(sign_up_call(credentials))))

    async def sign_in_anonymously(self, credentials: SignInAnonymouslyCredentials | None = None) -> AuthResponse:
        """Make a user without an address and sign them in; ``update_user`` gives them an address later."""
        return await self._signed_in(parse_auth_response(await self._send(anonymous_call(credentials))))

    async def sign_in_with_password(self, credentials: SignInWithPasswordCredentials) -> AuthResponse:
        """Sign in with an e-mail address or a phone number and the password."""
        return await self._signed_in(parse_auth_response(await self._send(password_call(credentials))))

    async def sign_in_with_id_token(self, credentials: SignInWithIdTokenCredentials) -> AuthResponse:
        """Sign in with an ID token that a provider (Google, Apple, ...) has given to the app."""
        return await self._signed_in(parse_auth_response(await self._send(id_token_call(credentials))))

    async def sign_in_with_web3(self, credentials: Web3Credentials) -> AuthResponse:
        """Sign in with a message that an Ethereum or Solana wallet has signed.

        ``isobase.auth.web3_message`` writes the message; having it signed is the app's part. Source: supabase-js,
        ``signInWithWeb3``.
        """
        return await self._signed_in(parse_auth_response(await self._send(web3_call(credentials))))

    async def sign_in_with_sso(self, credentials: SignInWithSSOCredentials) -> SSOResponse:
        """Give the address where a company's users sign in, by its mail domain or the id of its identity provider."""
        return parse_sso_response(await self._send(sso_call(credentials)))

    async def sign_in_with_oauth(self, credentials: SignInWithOAuthCredentials) -> OAuthResponse:
        """Give the address of a provider's sign-in page, to open in the user's browser. Nothing is sent.

        In the PKCE flow the answer has a ``flow_id``: give it to ``exchange_code_for_session`` when several sign-ins
        may be under way.
        """
        provider = credentials["provider"]
        flow = await self._begin_flow()
        url, _ = await self._get_url_for_provider(
            f"{self._url}/authorize", provider, oauth_params(credentials), flow=flow
        )
        return OAuthResponse(provider=provider, url=url, flow_id=flow.flow_id if flow else None)

    async def sign_in_with_otp(self, credentials: SignInWithPasswordlessCredentials) -> AuthOtpResponse:
        """Send a code or a link to an e-mail address, or a code to a phone. ``verify_otp`` redeems the code.

        Unknown users are made, unless ``should_create_user`` is False.
        """
        return parse_auth_otp_response(await self._send(otp_call(credentials)))

    async def resend(self, credentials: ResendCredentials) -> AuthOtpResponse:
        """Send the message of a sign-up, or of a change of address or number, once more."""
        return parse_auth_otp_response(await self._send(resend_call(credentials)))

    async def verify_otp(self, params: VerifyOtpParams) -> AuthResponse:
        """Sign in with a code from a mail or an SMS, or with the hash of a mail's link.

        The first of the two confirmations of a new address answers without user and session. A code of type
        ``recovery`` tells ``PASSWORD_RECOVERY``, every other one ``SIGNED_IN``.
        """
        response = await self._send(verify_call(params))
        if params["type"] == "email_change" and _is_first_half(response.content):
            return AuthResponse()
        event: AuthChangeEvent = "PASSWORD_RECOVERY" if params["type"] == "recovery" else "SIGNED_IN"
        return await self._signed_in(parse_auth_response(response), event)

    async def reset_password_for_email(self, email: str, options: Options | None = None) -> None:
        """Send the mail of a forgotten password. Its link signs in (``PASSWORD_RECOVERY``); ``update_user`` sets the
        new one.

        No error for an unknown address: that would tell who has an account.
        """
        await self._send(recover_call(email, options or {}), is_recovery=True)

    async def reset_password_email(self, email: str, options: Options | None = None) -> None:
        """Do what ``reset_password_for_email`` does, under its older name."""
        await self.reset_password_for_email(email, options or {})

    async def exchange_code_for_session(self, params: CodeExchangeParams) -> AuthResponse:
        """Sign in with the code that a provider or a mail's link came back with (PKCE flow).

        The verifier is ``code_verifier``; else that of ``flow_id``; else the newest one this client's storage has.
        Raises ``AuthPKCECodeVerifierMissingError`` when the given flow has none (any more): another flow's is never
        used.
        """
        given, flow_id = params.get("code_verifier") or None, params.get("flow_id")
        if flow_id is not None and not is_flow_id(flow_id):
            raise AuthPKCECodeVerifierMissingError()
        stored = await self._verifier_of(flow_id)
        verifier, is_recovery = read_verifier(stored) if stored else (None, False)
        if verifier is None and given is None and flow_id is not None:
            raise AuthPKCECodeVerifierMissingError()
        event: AuthChangeEvent = "PASSWORD_RECOVERY" if is_recovery and given is None else "SIGNED_IN"
        response = await self._request(
            "POST",
            "token",
            query=QueryParams(grant_type="pkce"),
            body={"auth_code": params.get("auth_code"), "code_verifier": given or verifier},
            redirect_to=params.get("redirect_to"),
        )
        if stored and given in (None, verifier):
            await self._end_flow(flow_id, stored)
        return await self._signed_in(parse_auth_response(response), event)

    async def _get_url_for_provider(
        self, url: str, provider: Provider, params: dict[str, str], *, flow: PkceFlow | None = None
    ) -> tuple[str, QueryParams]:
        """Give an address with its parameters; a flow is begun when none is given and the client uses PKCE."""
        flow = flow or await self._begin_flow()
        query = QueryParams(params)
        if flow is not None:
            query = query.merge(flow.fields)
            if self._append_flow_id and "redirect_to" in query:
                query = query.set("redirect_to", with_flow_id(query["redirect_to"], flow.flow_id))
        query = query.set("provider", provider)
        return f"{url}?{query}", query


def _is_first_half(content: bytes) -> bool:
    """Tell the answer to the first of two confirmations of a new address, which has no user."""
    try:
        found = json.loads(content)
    except ValueError:
        return False
    return isinstance(found, dict) and found.get("code") == "200"
