"""Reading answers, errors and tokens of the auth server: no input or output, shared by the sync and the async client.

Source: ``supabase_auth.helpers`` for names, arguments and what each gives, the order in which an error's message is looked
for, and which statuses may be tried again.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import string
import time
import uuid
from datetime import datetime
from typing import Any, TypeVar, cast
from urllib.parse import parse_qs, urlparse

from httpx import HTTPStatusError, RequestError, Response
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from isobase.auth.constants import API_VERSION_HEADER_NAME, API_VERSIONS_2024_01_01_TIMESTAMP
from isobase.auth.errors import (
    AuthApiError,
    AuthError,
    AuthInvalidJwtError,
    AuthRetryableError,
    AuthUnknownError,
    AuthWeakPasswordError,
)
from isobase.auth.types import (
    AuthOtpResponse,
    AuthResponse,
    GenerateLinkProperties,
    GenerateLinkResponse,
    JWKSet,
    JWTHeader,
    JWTPayload,
    LinkIdentityResponse,
    Session,
    SSOResponse,
    User,
    UserResponse,
)

__all__ = [
    "API_VERSION_REGEX",
    "DecodedJWT",
    "UserParser",
    "base64url_to_bytes",
    "decode_jwt",
    "generate_pkce_challenge",
    "generate_pkce_verifier",
    "get_error_message",
    "handle_exception",
    "is_http_url",
    "is_valid_uuid",
    "model_dump",
    "model_dump_json",
    "model_validate",
    "parse_auth_otp_response",
    "parse_auth_response",
    "parse_jwks",
    "parse_link_identity_response",
    "parse_link_response",
    "parse_response_api_version",
    "parse_sso_response",
    "parse_user_response",
    "validate_exp",
    "validate_nbf",
    "validate_uuid",
]

AnyModel = TypeVar("AnyModel", bound=BaseModel)

MESSAGE_FIELDS = ("msg", "message", "error_description", "error")
AWAY_STATUSES = frozenset({502, 503, 504, 520, 521, 522, 523, 524, 530})
"""What proxies answer when the server behind them does not; the same call may succeed later."""
PKCE_VERIFIER_MIN_CHARS, PKCE_VERIFIER_MAX_CHARS = 43, 128
API_VERSION_REGEX = r"^2[0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-9]|3[0-1])$"


# Answers


def parse_auth_response(response: Response) -> AuthResponse:
    """Read a session with its user, or a user alone who has still to confirm; pydantic's ValidationError otherwise."""
    try:
        session = Session.model_validate_json(response.content)
    except ValidationError:
        return AuthResponse(user=User.model_validate_json(response.content), session=None)
    return AuthResponse(user=session.user, session=session)


def parse_auth_otp_response(response: Response) -> AuthOtpResponse:
    """Read the answer to a message that was sent."""
    return AuthOtpResponse.model_validate_json(response.content)


def parse_link_identity_response(response: Response) -> LinkIdentityResponse:
    """Read where a provider's identity is linked."""
    return LinkIdentityResponse.model_validate_json(response.content)


def parse_link_response(response: Response) -> GenerateLinkResponse:
    """Read a link and its user, which the server sends in one flat object."""
    return GenerateLinkResponse(
        properties=GenerateLinkProperties.model_validate_json(response.content),
        user=User.model_validate_json(response.content),
    )


CLOCK_LEEWAY_S = 60
UserParser: TypeAdapter[UserResponse | User] = TypeAdapter(
    UserResponse | User, config=ConfigDict(defer_build=True, hide_input_in_errors=True)
)


def parse_user_response(response: Response) -> UserResponse:
    """Read a user, sent bare or as ``{"user": ...}``."""
    try:
        return UserResponse(user=User.model_validate_json(response.content))
    except ValidationError as reason:
        try:
            return UserResponse.model_validate_json(response.content)
        except ValidationError:
            raise reason from None  # says what a bare user lacks, which is what servers send


def parse_sso_response(response: Response) -> SSOResponse:
    """Read where a company's users sign in."""
    return SSOResponse.model_validate_json(response.content)


JWKSetParser: TypeAdapter[JWKSet] = TypeAdapter(JWKSet)


def parse_jwks(response: Response) -> JWKSet:
    """Read the server's public keys; AuthInvalidJwtError when there is none."""
    keys = JWKSetParser.validate_json(response.content)
    if not keys["keys"]:
        raise AuthInvalidJwtError("JWKS is empty")
    return keys


def model_validate(model: type[AnyModel], contents: str | bytes) -> AnyModel:
    """Read JSON into a model. Kept for code of older releases of supabase_auth; models of pydantic 1 are read too."""
    try:
        return model.model_validate_json(contents)
    except AttributeError:
        return cast("AnyModel", cast("Any", model).parse_raw(contents))


def model_dump(model: BaseModel) -> dict[str, Any]:
    """Give a model as a dictionary. Kept as ``model_validate`` is."""
    try:
        return model.model_dump()
    except AttributeError:
        return cast("dict[str, Any]", cast("Any", model).dict())


def model_dump_json(model: BaseModel) -> str:
    """Give a model as JSON. Kept as ``model_validate`` is."""
    try:
        return model.model_dump_json()
    except AttributeError:
        return cast("str", cast("Any", model).json())


# Errors


def get_error_message(error: Any) -> str:
    """Find the text for the user in an error's body, or in an exception; its ``str`` when there is none."""
    for name in MESSAGE_FIELDS:
        if isinstance(error, dict):
            if name in error:
                return cast("str", error[name])
        elif hasattr(error, name):
            return cast("str", getattr(error, name))
    return str(error)


def handle_exception(error: HTTPStatusError | RequestError | RuntimeError) -> AuthError:
    """Turn what httpx raised into the error to raise, which is given, not raised.

    AuthRetryableError: the server was not reached (status 0) or is away. AuthWeakPasswordError: a password was refused.
    AuthApiError: any other refusal. AuthUnknownError: an answer that cannot be read.
    """
    if not isinstance(error, HTTPStatusError):
        return AuthRetryableError(get_error_message(error), 0)
    response = error.response
    status = response.status_code
    try:
        body = response.json()
    except (ValueError, RuntimeError) as reason:  # no JSON, or a body that was never read
        if status in AWAY_STATUSES:
            # Cloudflare's own statuses (520-530) come without a reason phrase.
            return AuthRetryableError(response.reason_phrase or f"HTTP {status}", status)
        return AuthUnknownError(get_error_message(error), reason)
    message = get_error_message(body)
    if status in AWAY_STATUSES:
        return AuthRetryableError(message, status)
    code = _error_code(response, body)
    reasons = _weak_password_reasons(body)
    if code == "weak_password" or (code is None and reasons):
        return AuthWeakPasswordError(message, status, reasons)
    return AuthApiError(message, status or 500, code)


def _error_code(response: Response, body: object) -> str | None:
    """Give an error's code: ``code`` since API version 2024-01-01 (before, that held the status), else ``error_code``."""
    if not isinstance(body, dict):
        return None
    version = parse_response_api_version(response)
    if version and version.timestamp() >= API_VERSIONS_2024_01_01_TIMESTAMP and isinstance(body.get("code"), str):
        return cast("str", body["code"])
    code = body.get("error_code")
    return code if isinstance(code, str) else None


def _weak_password_reasons(body: object) -> list[str]:
    """Give why a password was refused, or nothing when the body does not say it in the known form."""
    found = body.get("weak_password") if isinstance(body, dict) else None
    reasons = found.get("reasons") if isinstance(found, dict) else None
    if not isinstance(reasons, list) or not all(isinstance(reason, str) for reason in reasons):
        return []
    return reasons


def parse_response_api_version(response: Response) -> datetime | None:
    """Give the date of the API version that an error speaks; None when it says none, or no date."""
    version = response.headers.get(API_VERSION_HEADER_NAME)
    if not version or re.search(API_VERSION_REGEX, version) is None:
        return None
    try:
        return datetime.strptime(version, "%Y-%m-%d")  # noqa: DTZ007 - a date, which upstream gives without a zone
    except ValueError:  # such as the 30th of February
        return None


# Tokens


class DecodedJWT(TypedDict):
    """A token taken apart; nothing of it is verified."""

    header: JWTHeader
    payload: JWTPayload
    signature: bytes
    raw: dict[str, str]


JWTHeaderParser: TypeAdapter[JWTHeader] = TypeAdapter(JWTHeader)
JWTPayloadParser: TypeAdapter[JWTPayload] = TypeAdapter(JWTPayload)


def base64url_to_bytes(base64url: str) -> bytes:
    """Decode base64url, with or without padding; ValueError when it is neither."""
    return base64.urlsafe_b64decode(base64url + "=" * (-len(base64url) % 4))


def decode_jwt(token: str) -> DecodedJWT:
    """Take a token apart without verifying it; AuthInvalidJwtError when it is no token."""
    parts = token.split(".")
    if len(parts) != 3:
        raise AuthInvalidJwtError("Invalid JWT structure")
    header, payload, signature = parts
    try:
        return DecodedJWT(
            header=JWTHeaderParser.validate_json(base64url_to_bytes(header)),
            payload=JWTPayloadParser.validate_json(base64url_to_bytes(payload)),
            signature=base64url_to_bytes(signature),
            raw={"header": header, "payload": payload},
        )
    except ValueError as reason:
        raise AuthInvalidJwtError("Invalid JWT structure") from reason


def validate_exp(exp: int | None) -> None:
    """Refuse (AuthInvalidJwtError) a token that has ended or has no end; ``exp`` is in seconds since 1970."""
    if not exp:
        raise AuthInvalidJwtError("JWT has no expiration time")
    if exp <= time.time():
        raise AuthInvalidJwtError("JWT has expired")


def validate_nbf(nbf: object) -> None:
    """Refuse (AuthInvalidJwtError) a token before its time, seconds since 1970; clocks may differ by a minute.

    Source: RFC 7519, section 4.1.5.
    """
    if nbf is not None and not (isinstance(nbf, int | float) and nbf <= time.time() + CLOCK_LEEWAY_S):
        raise AuthInvalidJwtError("JWT is not valid yet")


# Small things


def generate_pkce_verifier(length: int = 64) -> str:
    """Give a random code verifier of ``length`` characters, 43 to 128 (else ValueError). Source: RFC 7636, section 4.1."""
    if not PKCE_VERIFIER_MIN_CHARS <= length <= PKCE_VERIFIER_MAX_CHARS:
        raise ValueError("PKCE verifier length must be between 43 and 128 characters")
    allowed = string.ascii_letters + string.digits + "-._~"
    return "".join(secrets.choice(allowed) for _ in range(length))


def generate_pkce_challenge(code_verifier: str) -> str:
    """Give the challenge (method ``s256``) of a code verifier. Source: RFC 7636, section 4.2."""
    return base64.urlsafe_b64encode(hashlib.sha256(code_verifier.encode()).digest()).rstrip(b"=").decode()


def is_http_url(url: str) -> bool:
    """Tell whether a text is an address of http or https."""
    return urlparse(url).scheme in {"https", "http"}


def is_valid_uuid(value: str) -> bool:
    """Tell whether a text is a UUID."""
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True


def validate_uuid(id: str | None) -> None:
    """Refuse (ValueError) what is no UUID, before it becomes part of an address."""
    if id is None:
        raise ValueError("Invalid id, id is None")
    if not is_valid_uuid(id):
        raise ValueError(f"Invalid id, '{id}' is not a valid uuid")


def _parse_url_params(url: str) -> dict[str, list[str]]:
    """Give the parameters of an address, those of its query before those of its fragment."""
    parts = urlparse(url)
    return {**parse_qs(parts.fragment), **parse_qs(parts.query)}
