"""The errors of the auth client, the same for its sync and its async form.

    AuthError
      AuthApiError                            the server refused; ``status`` and ``code`` say why
      AuthUnknownError                        the answer could not be read; ``original_error`` is the reason
      CustomAuthError
        AuthSessionMissingError               nobody is signed in
        AuthInvalidCredentialsError           what was given cannot be sent
        AuthImplicitGrantRedirectError        the address that a sign-in came back with carries an error
        AuthPKCECodeVerifierMissingError      the code verifier of a flow is not in this client's storage
        AuthRetryableError                    the server was not reached, or was away (502-504, 520-524, 530)
        AuthWeakPasswordError                 the password is refused; ``reasons`` say why
        AuthInvalidJwtError                   a token is malformed, expired or signed by nobody known
        UserDoesntExist                       the token's user is gone

Source: ``supabase_auth.errors``, of which every name, attribute, text and base class is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from typing_extensions import TypedDict

__all__ = [
    "AuthApiError",
    "AuthApiErrorDict",
    "AuthApiErrorWithReasonsDict",
    "AuthError",
    "AuthImplicitGrantRedirectError",
    "AuthImplicitGrantRedirectErrorDetails",
    "AuthImplicitGrantRedirectErrorDict",
    "AuthInvalidCredentialsError",
    "AuthInvalidJwtError",
    "AuthPKCECodeVerifierMissingError",
    "AuthRetryableError",
    "AuthSessionMissingError",
    "AuthUnknownError",
    "AuthWeakPasswordError",
    "CustomAuthError",
    "ErrorCode",
    "UserDoesntExist",
]

ErrorCode = (
    Literal[
        "unexpected_failure",
        "validation_failed",
        "bad_json",
        "email_exists",
        "phone_exists",
        "bad_jwt",
        "not_admin",
        "no_authorization",
        "user_not_found",
        "session_not_found",
        "session_expired",
        "refresh_token_not_found",
        "refresh_token_already_used",
        "flow_state_not_found",
        "flow_state_expired",
        "signup_disabled",
        "user_banned",
        "provider_email_needs_verification",
        "invite_not_found",
        "bad_oauth_state",
        "bad_oauth_callback",
        "oauth_provider_not_supported",
        "unexpected_audience",
        "single_identity_not_deletable",
        "email_conflict_identity_not_deletable",
        "identity_already_exists",
        "email_provider_disabled",
        "phone_provider_disabled",
        "too_many_enrolled_mfa_factors",
        "mfa_factor_name_conflict",
        "mfa_factor_not_found",
        "mfa_ip_address_mismatch",
        "mfa_challenge_expired",
        "mfa_verification_failed",
        "mfa_verification_rejected",
        "insufficient_aal",
        "captcha_failed",
        "saml_provider_disabled",
        "manual_linking_disabled",
        "sms_send_failed",
        "email_not_confirmed",
        "phone_not_confirmed",
        "reauth_nonce_missing",
        "saml_relay_state_not_found",
        "saml_relay_state_expired",
        "saml_idp_not_found",
        "saml_assertion_no_user_id",
        "saml_assertion_no_email",
        "user_already_exists",
        "sso_provider_not_found",
        "saml_metadata_fetch_failed",
        "saml_idp_already_exists",
        "sso_domain_already_exists",
        "saml_entity_id_mismatch",
        "conflict",
        "provider_disabled",
        "user_sso_managed",
        "reauthentication_needed",
        "same_password",
        "reauthentication_not_valid",
        "otp_expired",
        "otp_disabled",
        "identity_not_found",
        "weak_password",
        "over_request_rate_limit",
        "over_email_send_rate_limit",
        "over_sms_send_rate_limit",
        "bad_code_verifier",
        "anonymous_provider_disabled",
        "hook_timeout",
        "hook_timeout_after_retry",
        "hook_payload_over_size_limit",
        "hook_payload_invalid_content_type",
        "request_timeout",
        "mfa_phone_enroll_not_enabled",
        "mfa_phone_verify_not_enabled",
        "mfa_totp_enroll_not_enabled",
        "mfa_totp_verify_not_enabled",
        "mfa_webauthn_enroll_not_enabled",
        "mfa_webauthn_verify_not_enabled",
        "mfa_verified_factor_exists",
        "invalid_credentials",
        "email_address_not_authorized",
        "email_address_invalid",
        "invalid_jwt",
    ]
    | str
)
"""The codes that upstream's clients know; a server may send others."""


class AuthError(Exception):
    """Anything that the auth client raises on purpose: ``message``, ``name`` (the kind) and ``code`` (or None)."""

    def __init__(self, message: str, code: ErrorCode | None) -> None:
        super().__init__(message)
        self.message = message
        self.name = "AuthError"
        self.code = code

    def __reduce__(self) -> tuple[Callable[..., AuthError], tuple[type[AuthError], str, dict[str, object]]]:
        """Let an error be copied and pickled: constructors of the subclasses take more than the message."""
        return _restored, (type(self), str(self.message), self.__dict__)


def _restored(kind: type[AuthError], message: str, attributes: dict[str, object]) -> AuthError:
    error = kind.__new__(kind, message)
    error.__dict__.update(attributes)
    return error


class AuthApiErrorDict(TypedDict):
    """What ``AuthApiError.to_dict()`` gives."""

    name: str
    message: str
    status: int
    code: ErrorCode | None


class AuthApiError(AuthError):
    """The server answered with an error: ``status`` is the HTTP status, ``code`` the server's word for the reason."""

    def __init__(self, message: str, status: int, code: ErrorCode | None) -> None:
        super().__init__(message, code)
        self.name = "AuthApiError"
        self.status = status

    def to_dict(self) -> AuthApiErrorDict:
        """Give name, message, status and code."""
        return {"name": self.name, "message": self.message, "status": self.status, "code": self.code}


class AuthUnknownError(AuthError):
    """An answer that is no answer of an auth server; ``original_error`` is what reading it raised."""

    def __init__(self, message: str, original_error: Exception) -> None:
        super().__init__(message, None)
        self.name = "AuthUnknownError"
        self.original_error = original_error


class CustomAuthError(AuthError):
    """The base of errors that the client itself finds; ``status`` is the HTTP status that fits them best."""

    def __init__(self, message: str, name: str, status: int, code: ErrorCode | None) -> None:
        super().__init__(message, code)
        self.name = name
        self.status = status

    def to_dict(self) -> AuthApiErrorDict:
        """Give name, message, status and code."""
        return {"name": self.name, "message": self.message, "status": self.status, "code": self.code}


class UserDoesntExist(CustomAuthError):
    """The access token is good, but nobody has it any more."""

    def __init__(self) -> None:
        super().__init__("User does not exist for the provided access token", "UserDoesntExist", 404, "user_not_found")


class AuthSessionMissingError(CustomAuthError):
    """A method that needs a signed-in user was called without a session."""

    def __init__(self) -> None:
        super().__init__("Auth session missing!", "AuthSessionMissingError", 400, None)


class AuthInvalidCredentialsError(CustomAuthError):
    """The credentials given to a method are incomplete, so nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "AuthInvalidCredentialsError", 400, None)


class AuthImplicitGrantRedirectErrorDetails(TypedDict):
    """What the address of a failed sign-in says about the failure."""

    error: str
    code: str


class AuthImplicitGrantRedirectErrorDict(AuthApiErrorDict):
    """What ``AuthImplicitGrantRedirectError.to_dict()`` gives."""

    details: AuthImplicitGrantRedirectErrorDetails | None


class AuthImplicitGrantRedirectError(CustomAuthError):
    """The address that a sign-in came back with carries an error, or lacks a part of the session."""

    def __init__(self, message: str, details: AuthImplicitGrantRedirectErrorDetails | None = None) -> None:
        super().__init__(message, "AuthImplicitGrantRedirectError", 500, None)
        self.details = details

    def to_dict(self) -> AuthImplicitGrantRedirectErrorDict:
        """Give name, message, status, code and details."""
        return {**super().to_dict(), "details": self.details}


class AuthPKCECodeVerifierMissingError(CustomAuthError):
    """A code is to be exchanged, but the storage of this client holds no verifier for its flow.

    Not in supabase_auth 2.34.1, which sends the request without one. Source: auth-js, ``lib/errors.ts``.
    """

    def __init__(
        self, message: str = "No code verifier is stored for this sign-in: was it begun by this client?"
    ) -> None:
        super().__init__(message, "AuthPKCECodeVerifierMissingError", 400, None)


class AuthRetryableError(CustomAuthError):
    """The server was not reached (``status`` 0) or not able to answer; the same call may succeed later."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, "AuthRetryableError", status, None)


class AuthApiErrorWithReasonsDict(AuthApiErrorDict):
    """What ``AuthWeakPasswordError.to_dict()`` gives."""

    reasons: list[str]


class AuthWeakPasswordError(CustomAuthError):
    """The password was refused; ``reasons`` hold ``length``, ``characters`` or ``pwned``."""

    def __init__(self, message: str, status: int, reasons: list[str]) -> None:
        super().__init__(message, "AuthWeakPasswordError", status, "weak_password")
        self.reasons = reasons

    def to_dict(self) -> AuthApiErrorWithReasonsDict:
        """Give name, message, status, code and reasons."""
        return {**super().to_dict(), "reasons": self.reasons}


class AuthInvalidJwtError(CustomAuthError):
    """A token is malformed, expired, or its signature does not hold."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "AuthInvalidJwtError", 400, "invalid_jwt")
