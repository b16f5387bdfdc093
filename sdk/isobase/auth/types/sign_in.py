"""What a sign-in takes: typed dictionaries, checked by the type checker alone.

Source: ``supabase_auth.types``; the credentials of wallets after auth-js, ``lib/types.ts``.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from isobase.auth.types.users import EmailOtpType, Provider

__all__ = [
    "CodeExchangeParams",
    "ResendCredentials",
    "ResendEmailCredentials",
    "ResendEmailCredentialsOptions",
    "ResendPhoneCredentials",
    "ResendPhoneCredentialsOptions",
    "SignInAnonymouslyCredentials",
    "SignInAnonymouslyCredentialsOptions",
    "SignInWithEmailAndPasswordCredentials",
    "SignInWithEmailAndPasswordlessCredentials",
    "SignInWithEmailAndPasswordlessCredentialsOptions",
    "SignInWithIdTokenCredentials",
    "SignInWithIdTokenCredentialsOptions",
    "SignInWithOAuthCredentials",
    "SignInWithOAuthCredentialsOptions",
    "SignInWithPasswordCredentials",
    "SignInWithPasswordCredentialsOptions",
    "SignInWithPasswordlessCredentials",
    "SignInWithPhoneAndPasswordCredentials",
    "SignInWithPhoneAndPasswordlessCredentials",
    "SignInWithPhoneAndPasswordlessCredentialsOptions",
    "SignInWithSSOCredentials",
    "SignInWithSSOOptions",
    "SignUpWithEmailAndPasswordCredentials",
    "SignUpWithEmailAndPasswordCredentialsOptions",
    "SignUpWithPasswordCredentials",
    "SignUpWithPhoneAndPasswordCredentials",
    "SignUpWithPhoneAndPasswordCredentialsOptions",
    "VerifyEmailOtpParams",
    "VerifyMobileOtpParams",
    "VerifyOtpParams",
    "VerifyOtpParamsOptions",
    "VerifyTokenHashParams",
]


class SignUpWithEmailAndPasswordCredentialsOptions(TypedDict):
    """``data`` become the user's metadata."""

    email_redirect_to: NotRequired[str]
    data: NotRequired[Any]
    captcha_token: NotRequired[str]


class SignUpWithEmailAndPasswordCredentials(TypedDict):
    """A new user with an e-mail address."""

    email: str
    password: str
    options: NotRequired[SignUpWithEmailAndPasswordCredentialsOptions]


class SignUpWithPhoneAndPasswordCredentialsOptions(TypedDict):
    """``data`` become the user's metadata; the code is sent by SMS unless told otherwise."""

    data: NotRequired[Any]
    captcha_token: NotRequired[str]
    channel: NotRequired[Literal["sms", "whatsapp"]]


class SignUpWithPhoneAndPasswordCredentials(TypedDict):
    """A new user with a phone number."""

    phone: str
    password: str
    options: NotRequired[SignUpWithPhoneAndPasswordCredentialsOptions]


SignUpWithPasswordCredentials = SignUpWithEmailAndPasswordCredentials | SignUpWithPhoneAndPasswordCredentials


class SignInWithPasswordCredentialsOptions(TypedDict):
    """Beside the password."""

    data: NotRequired[Any]
    captcha_token: NotRequired[str]


class SignInWithEmailAndPasswordCredentials(TypedDict):
    """E-mail address and password."""

    email: str
    password: str
    options: NotRequired[SignInWithPasswordCredentialsOptions]


class SignInWithPhoneAndPasswordCredentials(TypedDict):
    """Phone number and password."""

    phone: str
    password: str
    options: NotRequired[SignInWithPasswordCredentialsOptions]


SignInWithPasswordCredentials = SignInWithEmailAndPasswordCredentials | SignInWithPhoneAndPasswordCredentials


class SignInWithIdTokenCredentialsOptions(TypedDict):
    """Beside the token."""

    captcha_token: NotRequired[str]


class SignInWithIdTokenCredentials(TypedDict):
    """A provider's own ID token; ``provider`` is its name, ``custom:<name>`` or the token's ``iss``."""

    provider: Literal["google", "apple", "azure", "facebook", "kakao"] | str
    token: str
    access_token: NotRequired[str]
    nonce: NotRequired[str]
    options: NotRequired[SignInWithIdTokenCredentialsOptions]


class SignInWithEmailAndPasswordlessCredentialsOptions(TypedDict):
    """With ``should_create_user`` False an unknown address is refused."""

    email_redirect_to: NotRequired[str]
    should_create_user: NotRequired[bool]
    data: NotRequired[Any]
    captcha_token: NotRequired[str]


class SignInWithEmailAndPasswordlessCredentials(TypedDict):
    """An e-mail address that a code or a link is sent to."""

    email: str
    options: NotRequired[SignInWithEmailAndPasswordlessCredentialsOptions]


class SignInWithPhoneAndPasswordlessCredentialsOptions(TypedDict):
    """With ``should_create_user`` False an unknown number is refused."""

    should_create_user: NotRequired[bool]
    data: NotRequired[Any]
    captcha_token: NotRequired[str]
    channel: NotRequired[Literal["sms", "whatsapp"]]


class SignInWithPhoneAndPasswordlessCredentials(TypedDict):
    """A phone number that a code is sent to."""

    phone: str
    options: NotRequired[SignInWithPhoneAndPasswordlessCredentialsOptions]


SignInWithPasswordlessCredentials = (
    SignInWithEmailAndPasswordlessCredentials | SignInWithPhoneAndPasswordlessCredentials
)


class ResendEmailCredentialsOptions(TypedDict):
    """Where the new mail's link leads to."""

    email_redirect_to: NotRequired[str]
    captcha_token: NotRequired[str]


class ResendEmailCredentials(TypedDict):
    """A mail to send again."""

    type: Literal["signup", "email_change"]
    email: str
    options: NotRequired[ResendEmailCredentialsOptions]


class ResendPhoneCredentialsOptions(TypedDict):
    """Beside the number."""

    captcha_token: NotRequired[str]


class ResendPhoneCredentials(TypedDict):
    """An SMS to send again."""

    type: Literal["sms", "phone_change"]
    phone: str
    options: NotRequired[ResendPhoneCredentialsOptions]


ResendCredentials = ResendEmailCredentials | ResendPhoneCredentials


class SignInWithOAuthCredentialsOptions(TypedDict):
    """``scopes`` are separated by blanks; ``query_params`` are handed on to the provider."""

    redirect_to: NotRequired[str]
    scopes: NotRequired[str]
    query_params: NotRequired[dict[str, str]]


class SignInWithOAuthCredentials(TypedDict):
    """A provider's name."""

    provider: Provider
    options: NotRequired[SignInWithOAuthCredentialsOptions]


class SignInWithSSOOptions(TypedDict):
    """The server answers with the address as JSON unless ``skip_http_redirect`` is False."""

    redirect_to: NotRequired[str]
    skip_http_redirect: NotRequired[bool]
    captcha_token: NotRequired[str]


class SignInWithSSOCredentials(TypedDict):
    """A company, by its mail domain or by the id of its identity provider."""

    provider_id: NotRequired[str]
    domain: NotRequired[str]
    options: NotRequired[SignInWithSSOOptions]


class SignInAnonymouslyCredentialsOptions(TypedDict):
    """``data`` become the user's metadata."""

    data: NotRequired[Any]
    captcha_token: NotRequired[str]


class SignInAnonymouslyCredentials(TypedDict):
    """Nothing but options."""

    options: NotRequired[SignInAnonymouslyCredentialsOptions]


class VerifyOtpParamsOptions(TypedDict):
    """Beside the code."""

    redirect_to: NotRequired[str]
    captcha_token: NotRequired[str]


class VerifyEmailOtpParams(TypedDict):
    """A code from a mail."""

    email: str
    token: str
    type: EmailOtpType
    options: NotRequired[VerifyOtpParamsOptions]


class VerifyMobileOtpParams(TypedDict):
    """A code from an SMS."""

    phone: str
    token: str
    type: Literal["sms", "phone_change"]
    options: NotRequired[VerifyOtpParamsOptions]


class VerifyTokenHashParams(TypedDict):
    """The hash from a mail's link."""

    token_hash: str
    type: EmailOtpType
    options: NotRequired[VerifyOtpParamsOptions]


VerifyOtpParams = VerifyEmailOtpParams | VerifyMobileOtpParams | VerifyTokenHashParams


class CodeExchangeParams(TypedDict):
    """The code that a sign-in came back with; its verifier is taken from the storage when it is not given.

    ``flow_id``: which of several sign-ins that were begun side by side it belongs to.
    """

    code_verifier: NotRequired[str]
    auth_code: str
    redirect_to: NotRequired[str]
    flow_id: NotRequired[str]
