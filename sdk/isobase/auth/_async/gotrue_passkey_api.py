"""Passkeys of the signed-in user, and signing in with one: ``client.auth.passkey``.

What a browser or a device does stands between ``start_…`` and ``verify_…``. ``register`` and ``authenticate`` do all three
steps with a function that asks the authenticator.
"""

from __future__ import annotations

# [async]
import inspect

# [/async]
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from isobase.auth._async.signed_in import AsyncSignedIn, token_of
from isobase.auth.helpers import parse_auth_response, validate_uuid
from isobase.auth.types import (
    AsyncPasskeyAuthenticator,
    AuthPasskeyAuthenticationOptionsResponse,
    AuthPasskeyListResponse,
    AuthPasskeyRegistrationOptionsResponse,
    AuthResponse,
    PasskeyDeleteParams,
    PasskeyListItem,
    PasskeyMetadata,
    PasskeyUpdateParams,
    StartPasskeyAuthenticationParams,
    VerifyPasskeyAuthenticationParams,
    VerifyPasskeyRegistrationParams,
)

__all__ = ["AsyncGoTruePasskeyAPI"]

Passkeys: TypeAdapter[AuthPasskeyListResponse] = TypeAdapter(
    AuthPasskeyListResponse, config=ConfigDict(defer_build=True)
)


class AsyncGoTruePasskeyAPI:
    """Make, use, name and delete passkeys.

    All but the two steps of a sign-in need a session (AuthSessionMissingError without one). AuthApiError is raised for what
    the server refuses: docs/auth-mfa.md lists the codes (``passkey_disabled`` where they are switched off).
    Source: auth-js, ``GoTrueClient.passkey``; supabase-py has none of this.
    """

    def __init__(self, client: AsyncSignedIn) -> None:
        self._client = client

    async def start_registration(self) -> AuthPasskeyRegistrationOptionsResponse:
        """Ask for the options that an authenticator makes a passkey from, for the signed-in user."""
        response = await self._client._request(
            "POST", "passkeys/registration/options", body={}, jwt=await token_of(self._client)
        )
        return AuthPasskeyRegistrationOptionsResponse.model_validate_json(response.content)

    async def verify_registration(self, params: VerifyPasskeyRegistrationParams) -> PasskeyMetadata:
        """Send what the authenticator made; gives the new passkey."""
        response = await self._client._request(
            "POST", "passkeys/registration/verify", body=_answer(params), jwt=await token_of(self._client)
        )
        return PasskeyMetadata.model_validate_json(response.content)

    async def start_authentication(
        self, params: StartPasskeyAuthenticationParams | None = None
    ) -> AuthPasskeyAuthenticationOptionsResponse:
        """Ask for the options that an authenticator signs, to sign in; no user is named."""
        options = (params or {}).get("options", {})
        response = await self._client._request(
            "POST",
            "passkeys/authentication/options",
            body={"gotrue_meta_security": {"captcha_token": options.get("captcha_token")}},
        )
        return AuthPasskeyAuthenticationOptionsResponse.model_validate_json(response.content)

    async def verify_authentication(self, params: VerifyPasskeyAuthenticationParams) -> AuthResponse:
        """Send what the authenticator signed: its user is signed in, and listeners get ``SIGNED_IN``."""
        response = await self._client._request("POST", "passkeys/authentication/verify", body=_answer(params))
        return await self._client._signed_in(parse_auth_response(response))

    async def register(self, authenticator: AsyncPasskeyAuthenticator) -> PasskeyMetadata:
        """Make a passkey: ``authenticator`` gets the options as a dictionary, and gives the credential in its JSON form."""
        started = await self.start_registration()
        credential = await _asked(authenticator, started.options)
        return await self.verify_registration({"challenge_id": started.challenge_id, "credential": credential})

    async def authenticate(
        self, authenticator: AsyncPasskeyAuthenticator, params: StartPasskeyAuthenticationParams | None = None
    ) -> AuthResponse:
        """Sign in: ``authenticator`` gets the options as a dictionary, and gives the assertion in its JSON form."""
        started = await self.start_authentication(params)
        credential = await _asked(authenticator, started.options)
        return await self.verify_authentication({"challenge_id": started.challenge_id, "credential": credential})

    async def list(self) -> AuthPasskeyListResponse:
        """Give the user's passkeys."""
        response = await self._client._request("GET", "passkeys", jwt=await token_of(self._client))
        return Passkeys.validate_json(response.content)

    async def update(self, params: PasskeyUpdateParams) -> PasskeyListItem:
        """Name a passkey."""
        validate_uuid(params["passkey_id"])
        response = await self._client._request(
            "PATCH",
            f"passkeys/{params['passkey_id']}",
            body={"friendly_name": params["friendly_name"]},
            jwt=await token_of(self._client),
        )
        return PasskeyListItem.model_validate_json(response.content)

    async def delete(self, params: PasskeyDeleteParams) -> None:
        """Delete a passkey; nobody signs in with it any more."""
        validate_uuid(params["passkey_id"])
        await self._client._request("DELETE", f"passkeys/{params['passkey_id']}", jwt=await token_of(self._client))


def _answer(params: VerifyPasskeyRegistrationParams | VerifyPasskeyAuthenticationParams) -> dict[str, Any]:
    return {"challenge_id": params["challenge_id"], "credential": params["credential"]}


async def _asked(authenticator: AsyncPasskeyAuthenticator, options: dict[str, Any]) -> dict[str, Any]:
    """Ask the authenticator (of the async client it may be a coroutine function)."""
    # [async]
    answer = authenticator(options)
    return await answer if inspect.isawaitable(answer) else answer
    # [/async]
    # [sync] return authenticator(options)
