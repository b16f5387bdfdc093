"""Auth's own errors: a GoTrue error code, an HTTP status and the upstream's words, below the platform's tree::

    IsobaseError
    └── AuthError                 status, code, message as GoTrue's HTTPError
        ├── OAuthRefusal          400, with OAuth's own name of the error
        └── WeakPassword          422, with the reasons

How they look on the wire is the faces' business (``v1.render``, ``simple``). Source: supabase/auth
internal/api/apierrors/errorcode.go and internal/api/errors.go; contracts auth section 0.
"""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import NoReturn

from isobase_platform.errors import DatabaseError, IsobaseError

__all__ = [
    "AuthError",
    "ErrorCode",
    "OAuthRefusal",
    "WeakPassword",
    "bad_request",
    "fail_with_database_error",
    "forbidden",
    "log_database_error",
    "not_found",
    "overloaded",
    "unprocessable",
]

_VALUE_TOO_LONG = "22001"

_log = logging.getLogger("isobase.auth")


class ErrorCode(StrEnum):
    """GoTrue's stable error codes, as far as this service answers with them."""

    ANONYMOUS_PROVIDER_DISABLED = "anonymous_provider_disabled"
    BAD_CODE_VERIFIER = "bad_code_verifier"
    BAD_JSON = "bad_json"
    BAD_JWT = "bad_jwt"
    BAD_OAUTH_CALLBACK = "bad_oauth_callback"
    BAD_OAUTH_STATE = "bad_oauth_state"
    CAPTCHA_FAILED = "captcha_failed"
    CONFLICT = "conflict"
    CURRENT_PASSWORD_INVALID = "current_password_invalid"  # noqa: S105  an error code
    CURRENT_PASSWORD_REQUIRED = "current_password_required"  # noqa: S105  an error code
    EMAIL_CONFLICT_IDENTITY_NOT_DELETABLE = "email_conflict_identity_not_deletable"
    EMAIL_EXISTS = "email_exists"
    EMAIL_NOT_CONFIRMED = "email_not_confirmed"
    EMAIL_PROVIDER_DISABLED = "email_provider_disabled"
    FEATURE_DISABLED = "feature_disabled"
    FLOW_STATE_EXPIRED = "flow_state_expired"
    FLOW_STATE_NOT_FOUND = "flow_state_not_found"
    FLOW_STATE_ALREADY_USED = "flow_state_already_used"
    HOOK_PAYLOAD_INVALID_CONTENT_TYPE = "hook_payload_invalid_content_type"
    HOOK_PAYLOAD_OVER_SIZE_LIMIT = "hook_payload_over_size_limit"
    HOOK_TIMEOUT = "hook_timeout"
    HOOK_TIMEOUT_AFTER_RETRY = "hook_timeout_after_retry"
    IDENTITY_ALREADY_EXISTS = "identity_already_exists"
    IDENTITY_NOT_FOUND = "identity_not_found"
    INSUFFICIENT_AAL = "insufficient_aal"
    INVALID_CREDENTIALS = "invalid_credentials"
    INVITE_NOT_FOUND = "invite_not_found"
    MANUAL_LINKING_DISABLED = "manual_linking_disabled"
    MFA_CHALLENGE_EXPIRED = "mfa_challenge_expired"
    MFA_FACTOR_NAME_CONFLICT = "mfa_factor_name_conflict"
    MFA_FACTOR_NOT_FOUND = "mfa_factor_not_found"
    MFA_IP_ADDRESS_MISMATCH = "mfa_ip_address_mismatch"
    MFA_PHONE_ENROLL_NOT_ENABLED = "mfa_phone_enroll_not_enabled"
    MFA_PHONE_VERIFY_NOT_ENABLED = "mfa_phone_verify_not_enabled"
    MFA_TOTP_ENROLL_NOT_ENABLED = "mfa_totp_enroll_not_enabled"
    MFA_TOTP_VERIFY_NOT_ENABLED = "mfa_totp_verify_not_enabled"
    MFA_VERIFICATION_FAILED = "mfa_verification_failed"
    MFA_VERIFICATION_REJECTED = "mfa_verification_rejected"
    MFA_VERIFIED_FACTOR_EXISTS = "mfa_verified_factor_exists"
    MFA_WEBAUTHN_ENROLL_NOT_ENABLED = "mfa_webauthn_enroll_not_enabled"
    MFA_WEBAUTHN_VERIFY_NOT_ENABLED = "mfa_webauthn_verify_not_enabled"
    NOT_ADMIN = "not_admin"
    NO_AUTHORIZATION = "no_authorization"
    OAUTH_AUTHORIZATION_NOT_FOUND = "oauth_authorization_not_found"
    OAUTH_CONSENT_NOT_FOUND = "oauth_consent_not_found"
    OAUTH_CLIENT_NOT_FOUND = "oauth_client_not_found"
    OAUTH_CLIENT_STATE_EXPIRED = "oauth_client_state_expired"
    OAUTH_CLIENT_STATE_NOT_FOUND = "oauth_client_state_not_found"
    OAUTH_DYNAMIC_CLIENT_REGISTRATION_DISABLED = "oauth_dynamic_client_registration_disabled"
    OTP_DISABLED = "otp_disabled"
    OTP_EXPIRED = "otp_expired"
    OAUTH_INVALID_STATE = "oauth_invalid_state"
    OAUTH_PROVIDER_NOT_SUPPORTED = "oauth_provider_not_supported"
    OVER_EMAIL_SEND_RATE_LIMIT = "over_email_send_rate_limit"
    OVER_REQUEST_RATE_LIMIT = "over_request_rate_limit"
    OVER_SMS_SEND_RATE_LIMIT = "over_sms_send_rate_limit"
    PASSKEY_DISABLED = "passkey_disabled"
    PHONE_EXISTS = "phone_exists"
    PHONE_NOT_CONFIRMED = "phone_not_confirmed"
    PHONE_PROVIDER_DISABLED = "phone_provider_disabled"
    REAUTHENTICATION_NEEDED = "reauthentication_needed"
    REAUTHENTICATION_NOT_VALID = "reauthentication_not_valid"
    PROVIDER_DISABLED = "provider_disabled"
    PROVIDER_EMAIL_NEEDS_VERIFICATION = "provider_email_needs_verification"
    REFRESH_TOKEN_ALREADY_USED = "refresh_token_already_used"  # noqa: S105  an error code
    REFRESH_TOKEN_NOT_FOUND = "refresh_token_not_found"  # noqa: S105  an error code
    REQUEST_ENTITY_TOO_LARGE = "request_entity_too_large"
    REQUEST_TIMEOUT = "request_timeout"
    SAME_PASSWORD = "same_password"  # noqa: S105  an error code
    SAML_PROVIDER_DISABLED = "saml_provider_disabled"
    SESSION_EXPIRED = "session_expired"
    SESSION_NOT_FOUND = "session_not_found"
    SIGNUP_DISABLED = "signup_disabled"
    SINGLE_IDENTITY_NOT_DELETABLE = "single_identity_not_deletable"
    SMS_SEND_FAILED = "sms_send_failed"
    TOO_MANY_ENROLLED_MFA_FACTORS = "too_many_enrolled_mfa_factors"
    TOO_MANY_PASSKEYS = "too_many_passkeys"
    UNEXPECTED_AUDIENCE = "unexpected_audience"
    SSO_PROVIDER_NOT_FOUND = "sso_provider_not_found"
    UNEXPECTED_FAILURE = "unexpected_failure"
    UNKNOWN = "unknown"
    USER_ALREADY_EXISTS = "user_already_exists"
    USER_BANNED = "user_banned"
    USER_NOT_FOUND = "user_not_found"
    USER_SSO_MANAGED = "user_sso_managed"
    VALIDATION_FAILED = "validation_failed"
    WEAK_PASSWORD = "weak_password"  # noqa: S105  an error code
    WEB3_PROVIDER_DISABLED = "web3_provider_disabled"
    WEBAUTHN_CHALLENGE_EXPIRED = "webauthn_challenge_expired"
    WEBAUTHN_CHALLENGE_NOT_FOUND = "webauthn_challenge_not_found"
    WEBAUTHN_CREDENTIAL_EXISTS = "webauthn_credential_exists"
    WEBAUTHN_VERIFICATION_FAILED = "webauthn_verification_failed"


class AuthError(IsobaseError):
    """An answer that GoTrue gives as an error.

    ``database`` is PostgreSQL's refusal where one caused it: the older error shape shows parts of it (contract section 0).
    """

    default_code = ErrorCode.UNEXPECTED_FAILURE

    def __init__(self, status: int, code: ErrorCode, message: str, *, database: DatabaseError | None = None) -> None:
        super().__init__(message, code=code.value, status=status)
        self.database = database


class OAuthRefusal(AuthError):
    """An error in OAuth's own shape: ``error`` is its name, the message its description; 400 in both API versions."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(400, ErrorCode.UNEXPECTED_FAILURE, description)
        self.error = error


class WeakPassword(AuthError):
    """A password that does not meet the rules; ``reasons`` out of length, characters, pwned."""

    def __init__(self, message: str, reasons: tuple[str, ...]) -> None:
        super().__init__(422, ErrorCode.WEAK_PASSWORD, message)
        self.reasons = reasons


def bad_request(code: ErrorCode, message: str) -> AuthError:
    """A 400."""
    return AuthError(400, code, message)


def forbidden(code: ErrorCode, message: str) -> AuthError:
    """A 403."""
    return AuthError(403, code, message)


def not_found(code: ErrorCode, message: str) -> AuthError:
    """A 404."""
    return AuthError(404, code, message)


def unprocessable(code: ErrorCode, message: str) -> AuthError:
    """A 422."""
    return AuthError(422, code, message)


def overloaded() -> AuthError:
    """The 504 that upstream gives when a request cannot be worked on in time."""
    return AuthError(504, ErrorCode.REQUEST_TIMEOUT, "Processing this request timed out, please retry after a moment.")


def is_address_taken(error: DatabaseError) -> bool:
    """Whether PostgreSQL refused a user because another one has the e-mail address or the phone number."""
    return error.is_unique_violation and error.schema == "auth" and error.table == "users"


def fail_with_database_error(message: str, error: DatabaseError) -> NoReturn:
    """Raise the 500 ``message`` that upstream gives when PostgreSQL refused a statement for a reason of the project's.

    A value that has no room in auth's own columns is the caller's mistake: 400 validation_failed.

    The chain is cut on purpose: PostgreSQL's DETAIL may quote a whole row of auth.users, password hash included. What
    helps to find the cause is logged here instead.
    """
    if error.sqlstate == _VALUE_TOO_LONG and not error.context:  # a context: it is in a trigger of the project's
        raise bad_request(ErrorCode.VALIDATION_FAILED, "A value is too long") from None
    log_database_error(error)
    raise AuthError(500, ErrorCode.UNEXPECTED_FAILURE, message, database=error) from None


def log_database_error(error: DatabaseError) -> None:
    """Log a refusal of PostgreSQL's without its DETAIL."""
    _log.error(
        "statement refused",
        extra={
            "sqlstate": error.sqlstate,
            "reason": error.message,
            "constraint": error.constraint,
            "relation": f"{error.schema}.{error.table}" if error.table else None,
            "context": error.context,
        },
    )
