"""Second factors without input and output: what is sent for them, and how sure a session is of its user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from isobase.auth.helpers import decode_jwt
from isobase.auth.types import (
    AMREntry,
    AuthMFAEnrollResponse,
    AuthMFAGetAuthenticatorAssuranceLevelResponse,
    AuthMFAListFactorsResponse,
    Factor,
    MFAChallengeParams,
    MFAEnrollParams,
    MFAVerifyParams,
    MFAVerifyWebauthn,
    MFAVerifyWebauthnParams,
    MFAWebauthnOrigin,
)

__all__ = [
    "assurance_level",
    "challenge_body",
    "enroll_body",
    "factors_by_type",
    "verify_body",
    "with_shown_qr_code",
]

QR_CODE_PREFIX = "data:image/svg+xml;utf-8,"


def enroll_body(params: MFAEnrollParams) -> dict[str, Any]:
    """Give the body of ``POST /factors``: a phone's number, or the issuer for an authenticator app."""
    given = cast("Mapping[str, Any]", params)
    fields = {"phone": ("phone",), "totp": ("issuer",)}.get(params["factor_type"], ())
    return {name: given.get(name) for name in ("friendly_name", "factor_type", *fields)}


def with_shown_qr_code(response: AuthMFAEnrollResponse) -> AuthMFAEnrollResponse:
    """Make the QR code an address that an image's ``src`` takes."""
    if response.totp:
        response.totp.qr_code = f"{QR_CODE_PREFIX}{response.totp.qr_code}"
    return response


def challenge_body(params: MFAChallengeParams) -> dict[str, Any]:
    """Give the body of ``POST /factors/{id}/challenge``."""
    body: dict[str, Any] = {"channel": params.get("channel")}
    if "webauthn" in params:
        body["webauthn"] = _origin(params["webauthn"])
    return body


def verify_body(params: MFAVerifyParams | MFAVerifyWebauthnParams) -> dict[str, Any]:
    """Give the body of ``POST /factors/{id}/verify``: a code, or what the authenticator answered."""
    given = cast("Mapping[str, Any]", params)
    if "webauthn" not in given:
        return {name: given[name] for name in ("factor_id", "challenge_id", "code")}
    answer: MFAVerifyWebauthn = given["webauthn"]
    sent = {**_origin(answer), "type": answer["type"], "credential_response": answer["credential_response"]}
    return {"challenge_id": given["challenge_id"], "webauthn": sent}


def _origin(params: MFAWebauthnOrigin) -> dict[str, Any]:
    """Give who asks under the names that the server knows."""
    origin: dict[str, Any] = {"rpId": params["rp_id"]}
    if "rp_origins" in params:
        origin["rpOrigins"] = params["rp_origins"]
    return origin


def factors_by_type(factors: Sequence[Factor]) -> AuthMFAListFactorsResponse:
    """Sort a user's factors: all of them, and by type those that are verified."""

    def verified(kind: str) -> list[Factor]:
        return [factor for factor in factors if factor.factor_type == kind and factor.status == "verified"]

    return AuthMFAListFactorsResponse(
        all=list(factors), totp=verified("totp"), phone=verified("phone"), webauthn=verified("webauthn")
    )


def assurance_level(
    access_token: str, factors: Sequence[Factor] | None
) -> AuthMFAGetAuthenticatorAssuranceLevelResponse:
    """Tell how sure a token is of its user, and how sure it could be with the factors they have.

    Raises AuthInvalidJwtError for what is no token.
    """
    claims = decode_jwt(access_token)["payload"]
    current = claims.get("aal")
    has_factor = any(factor.status == "verified" for factor in factors or ())
    return AuthMFAGetAuthenticatorAssuranceLevelResponse(
        current_level=current,
        next_level="aal2" if has_factor else current,
        current_authentication_methods=[AMREntry.model_validate(entry) for entry in claims.get("amr") or []],
    )
