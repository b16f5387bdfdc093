"""Signed URLs: a short token that stands for one action on one object.

Tokens are HS256 by the project's shared secret: for a download ``{url, scope, iat, exp}`` with, for a rendered image,
``transformations`` and ``format``; for an upload ``{owner, url, upsert, scope, iat, exp}``; ``url`` is ``bucket/key``. They
never carry a role. A token without ``scope`` is an old one: it uploads if it says ``upsert``, else it downloads.
Source: contracts/storage.md 1.2 "Signed tokens"; upstream ``src/internal/auth/jwt.ts`` and ``src/storage/object.ts``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from isobase_platform.errors import TokenError, TokenRefusal
from isobase_platform.tokens import TokenIssuer, TokenVerifier
from isobase_services.storage.errors import refuse
from isobase_services.storage.rules import is_uuid

__all__ = ["Scope", "SignedUrl", "Signer", "TransformClaims", "token_refusal_text"]

_MAX_EXPIRY_AT_S = (2**53 - 1) // 1000
"""The last second that upstream's clock can hold; later expiries are refused."""

_TEXT_BY_REFUSAL = {
    TokenRefusal.MALFORMED: "Invalid Compact JWS",
    TokenRefusal.SIGNATURE: "signature verification failed",
    TokenRefusal.ALGORITHM: '"alg" (Algorithm) Header Parameter value not allowed',
    TokenRefusal.UNKNOWN_KEY: "signature verification failed",
    TokenRefusal.EXPIRED: '"exp" claim timestamp check failed',
    TokenRefusal.NOT_YET_VALID: '"nbf" claim timestamp check failed',
    TokenRefusal.ISSUED_IN_FUTURE: '"iat" claim timestamp check failed (it should be in the past)',
    TokenRefusal.CLAIMS: "Invalid JWT claims",
}


def token_refusal_text(error: TokenError) -> str:
    """What upstream's JWT library says of the same refusal."""
    return _TEXT_BY_REFUSAL[error.reason]


class Scope(StrEnum):
    """What a signed URL may be used for."""

    DOWNLOAD = "download"
    UPLOAD = "upload"
    STAGE = "stage"
    """For the bytes of an announced upload (``core.direct``): they become an object only when the upload is complete."""


@dataclass(slots=True, frozen=True)
class SignedUrl:
    """A verified token: when it ends (unix seconds), and for an upload whose object it will be and whether it may replace.

    ``upload_id`` is the announced upload that a token of the scope ``STAGE`` brings bytes for; None for all others.
    """

    expires_at_s: int
    owner: str | None
    is_upsert: bool
    upload_id: str | None = None
    transformations: str | None = None
    """How the image is to be rendered (``render.transform``)."""
    format: str | None = None


@dataclass(slots=True, frozen=True)
class TransformClaims:
    """What a token says of the image that it is for."""

    transformations: str
    format: str | None


class Signer:
    """Makes and checks the tokens of signed URLs."""

    def __init__(self, issuer: TokenIssuer, verifier: TokenVerifier) -> None:
        self._issuer = issuer
        self._verifier = verifier

    def sign_download(self, bucket: str, key: str, expires_in_s: int, transform: TransformClaims | None = None) -> str:
        """A token to read one object, or its rendering. Raises InvalidParameter for a time beyond what a clock can hold."""
        claims: dict[str, Any] = {}
        if transform is not None:
            claims["transformations"] = transform.transformations
            if transform.format is not None:
                claims["format"] = transform.format
        return self._sign({**claims, "url": f"{bucket}/{key}", "scope": Scope.DOWNLOAD.value}, expires_in_s)

    def sign_downloads(self, bucket: str, keys: Iterable[str], expires_in_s: int) -> dict[str, str]:
        """Tokens to read objects, by key; each as ``sign_download`` makes it, whose errors it has."""
        now_s = _checked_now(expires_in_s)
        # What differs is the URL alone: the rest is written once.
        rest = f',"scope":"{Scope.DOWNLOAD.value}","iat":{now_s},"exp":{now_s + expires_in_s}}}'
        sign = self._issuer.sign_json_with_secret
        return {key: sign(f'{{"url":{json.dumps(f"{bucket}/{key}")}{rest}') for key in keys}

    def sign_upload(self, bucket: str, key: str, expires_in_s: int, *, owner: str | None, is_upsert: bool) -> str:
        """A token to write one object in the name of ``owner``; errors as ``sign_download``."""
        claims: dict[str, Any] = {} if owner is None else {"owner": owner}
        claims |= {"url": f"{bucket}/{key}", "upsert": is_upsert, "scope": Scope.UPLOAD.value}
        return self._sign(claims, expires_in_s)

    def sign_stage(self, bucket: str, key: str, expires_in_s: int, *, upload_id: str) -> str:
        """A token to bring the bytes of an announced upload; errors as ``sign_download``."""
        claims = {"url": f"{bucket}/{key}", "upload_id": upload_id, "scope": Scope.STAGE.value}
        return self._sign(claims, expires_in_s)

    def verify(self, token: str, bucket: str, key: str, scope: Scope, *others: Scope) -> SignedUrl:
        """Check signature and time, then scope (``scope`` or one of ``others``), then path.

        Raises InvalidJWT for a token that does not verify and InvalidSignature for one that is for something else.
        """
        try:
            claims = self._verifier.verify(token)
        except TokenError as error:
            raise refuse.invalid_jwt(token_refusal_text(error)) from error
        found = _scope_of(claims.raw)
        if found not in (scope, *others):
            raise refuse.invalid_signature(f"Token is not scoped for {scope}")
        expires_at_s = claims.expires_at_s
        if claims.raw.get("url") != f"{bucket}/{key}" or expires_at_s is None:
            raise refuse.invalid_signature()
        upload_id = claims.text("upload_id") if found == Scope.STAGE else None
        if found == Scope.STAGE and not is_uuid(upload_id or ""):
            raise refuse.invalid_signature()
        return SignedUrl(
            expires_at_s,
            claims.text("owner"),
            claims.raw.get("upsert") is True,
            upload_id,
            claims.text("transformations"),
            claims.text("format"),
        )

    def _sign(self, claims: dict[str, Any], expires_in_s: int) -> str:
        now_s = _checked_now(expires_in_s)
        return self._issuer.sign_with_secret({**claims, "iat": now_s, "exp": now_s + expires_in_s})


def _checked_now(expires_in_s: int) -> int:
    """Unix seconds now. Raises InvalidParameter for an expiry that cannot be told."""
    now_s = int(time.time())
    if not 1 <= expires_in_s <= _MAX_EXPIRY_AT_S - now_s:
        raise refuse.invalid_parameter("expiresIn")
    return now_s


def _scope_of(claims: Mapping[str, Any]) -> str:
    if "scope" not in claims:
        return Scope.UPLOAD if "upsert" in claims else Scope.DOWNLOAD
    return str(claims["scope"])
