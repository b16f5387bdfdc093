"""Second factors of the signed-in user: ``client.auth.mfa``."""

from __future__ import annotations

from isobase.auth._async.signed_in import AsyncSignedIn, token_of
from isobase.auth.helpers import parse_auth_response, validate_uuid
from isobase.auth.mfa_rules import (
    assurance_level,
    challenge_body,
    enroll_body,
    factors_by_type,
    verify_body,
    with_shown_qr_code,
)
from isobase.auth.types import (
    AuthMFAChallengeResponse,
    AuthMFAEnrollResponse,
    AuthMFAGetAuthenticatorAssuranceLevelResponse,
    AuthMFAListFactorsResponse,
    AuthMFAUnenrollResponse,
    AuthMFAVerifyResponse,
    MFAChallengeAndVerifyParams,
    MFAChallengeParams,
    MFAEnrollParams,
    MFAUnenrollParams,
    MFAVerifyParams,
    MFAVerifyWebauthnParams,
)

__all__ = ["AsyncGoTrueMFAAPI"]


class AsyncGoTrueMFAAPI:
    """Enrol, use and give up second factors.

    Every method needs a session (AuthSessionMissingError without one, but for ``get_authenticator_assurance_level``) and
    raises AuthApiError for what the server refuses: docs/auth-mfa.md lists the codes.
    Source: ``supabase_auth``'s class of this name; webauthn after auth-js.
    """

    def __init__(self, client: AsyncSignedIn) -> None:
        self._client = client

    async def enroll(self, params: MFAEnrollParams) -> AuthMFAEnrollResponse:
        """Begin with a new factor, which counts once a challenge of it was answered.

        For ``totp`` the answer holds the secret, and a QR code as an address for an image; both are shown only now.
        """
        token = await token_of(self._client)
        response = await self._client._request("POST", "factors", body=enroll_body(params), jwt=token)
        return with_shown_qr_code(AuthMFAEnrollResponse.model_validate_json(response.content))

    async def challenge(self, params: MFAChallengeParams) -> AuthMFAChallengeResponse:
        """Ask for a challenge, to be answered with ``verify``: it sends the SMS for a phone.

        For ``webauthn`` the answer's ``webauthn.credential_options["publicKey"]`` is what the authenticator is given.
        """
        token = await token_of(self._client)
        response = await self._client._request(
            "POST", f"factors/{_id_of(params['factor_id'])}/challenge", body=challenge_body(params), jwt=token
        )
        return AuthMFAChallengeResponse.model_validate_json(response.content)

    async def challenge_and_verify(self, params: MFAChallengeAndVerifyParams) -> AuthMFAVerifyResponse:
        """Do both with the code that an authenticator app shows now; see ``verify``."""
        challenge = await self.challenge({"factor_id": params["factor_id"]})
        return await self.verify(
            {"factor_id": params["factor_id"], "challenge_id": challenge.id, "code": params["code"]}
        )

    async def verify(self, params: MFAVerifyParams | MFAVerifyWebauthnParams) -> AuthMFAVerifyResponse:
        """Answer a challenge with a code, or with what the authenticator answered.

        The session is replaced by one at ``aal2``, and listeners get ``MFA_CHALLENGE_VERIFIED``. The first answer makes the
        factor verified and ends the user's other sessions.
        """
        token = await token_of(self._client)
        response = await self._client._request(
            "POST", f"factors/{_id_of(params['factor_id'])}/verify", body=verify_body(params), jwt=token
        )
        await self._client._signed_in(parse_auth_response(response), "MFA_CHALLENGE_VERIFIED")
        return AuthMFAVerifyResponse.model_validate_json(response.content)

    async def unenroll(self, params: MFAUnenrollParams) -> AuthMFAUnenrollResponse:
        """Give a factor up; a verified one only in a session at ``aal2``."""
        token = await token_of(self._client)
        response = await self._client._request("DELETE", f"factors/{_id_of(params['factor_id'])}", jwt=token)
        return AuthMFAUnenrollResponse.model_validate_json(response.content)

    async def list_factors(self) -> AuthMFAListFactorsResponse:
        """Ask the server for the user's factors."""
        response = await self._client.get_user()
        return factors_by_type((response.user.factors if response else None) or [])

    async def get_authenticator_assurance_level(
        self, jwt: str | None = None
    ) -> AuthMFAGetAuthenticatorAssuranceLevelResponse:
        """Tell how sure the session is of its user, from its token and without asking the server.

        With ``jwt``, a user's access token, tell it of that one, whose factors the server is asked for. Without a session
        both levels are None.
        """
        session = None if jwt else await self._client.get_session()
        if session is None and (token := jwt or await self._client._user_token()):
            response = await self._client.get_user(token)
            return assurance_level(token, response.user.factors if response else None)
        if session is None:
            return AuthMFAGetAuthenticatorAssuranceLevelResponse(current_authentication_methods=[])
        return assurance_level(session.access_token, session.user.factors)


def _id_of(factor_id: str) -> str:
    """Let a factor's id into an address only when it is one."""
    validate_uuid(factor_id)
    return factor_id
