"""Tokens and keys: headers, claims and JSON web keys.

Source: ``supabase_auth.types``; fields that are not named here are kept, as upstream keeps them.
"""

from __future__ import annotations

from typing import Literal, NotRequired

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from isobase.auth.types.users import AMREntry, AMREntryDict

__all__ = [
    "JWK",
    "AuthenticatorAssuranceLevels",
    "ClaimsResponse",
    "DecodedJWTDict",
    "JWKSet",
    "JWTHeader",
    "JWTPayload",
    "RequiredClaims",
]

AuthenticatorAssuranceLevels = Literal["aal1", "aal2"]
_OPEN = ConfigDict(extra="allow", defer_build=True)


class DecodedJWTDict(TypedDict):
    """The claims that tell of a second factor."""

    exp: NotRequired[int]
    aal: NotRequired[AuthenticatorAssuranceLevels | None]
    amr: NotRequired[list[AMREntry] | None]


@with_config(_OPEN)
class JWTHeader(TypedDict):
    """A token's header."""

    alg: Literal["RS256", "ES256", "HS256"]
    typ: NotRequired[str]
    kid: NotRequired[str]


class RequiredClaims(TypedDict):
    """The claims of every user's token (upstream keeps this name for older code, and so does this package)."""

    iss: str
    sub: str
    auth: str | list[str]
    exp: int
    iat: int
    role: str
    aal: AuthenticatorAssuranceLevels
    session_id: str


@with_config(_OPEN)
class JWTPayload(TypedDict, total=False):
    """A token's claims."""

    iss: str
    sub: str
    auth: str | list[str]
    exp: int
    iat: int
    role: str
    aal: AuthenticatorAssuranceLevels
    session_id: str
    amr: NotRequired[list[AMREntryDict]]


class ClaimsResponse(TypedDict):
    """A token that was verified, taken apart."""

    claims: JWTPayload
    headers: JWTHeader
    signature: bytes


@with_config(_OPEN)
class JWK(TypedDict, total=False):
    """A public key."""

    kty: Literal["RSA", "EC", "oct"]
    key_ops: list[str]
    alg: str | None
    kid: str | None


@with_config(ConfigDict(defer_build=True))
class JWKSet(TypedDict):
    """A server's public keys."""

    keys: list[JWK]
