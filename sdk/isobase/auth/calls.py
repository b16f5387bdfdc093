"""What each sign-in sends, worked out from its credentials without sending anything.

A ``Call`` says where to, with what body, and whether the PKCE flow adds its challenge. Absent values are sent as null,
as supabase_auth does; the server takes null for absent.

Source: ``supabase_auth`` for paths, fields and the texts of the errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from httpx import QueryParams

from isobase.auth.errors import AuthInvalidCredentialsError
from isobase.auth.types import (
    ResendCredentials,
    SignInAnonymouslyCredentials,
    SignInWithIdTokenCredentials,
    SignInWithOAuthCredentials,
    SignInWithPasswordCredentials,
    SignInWithPasswordlessCredentials,
    SignInWithSSOCredentials,
    SignUpWithPasswordCredentials,
    VerifyOtpParams,
)

__all__ = [
    "Call",
    "anonymous_call",
    "id_token_call",
    "oauth_params",
    "otp_call",
    "password_call",
    "recover_call",
    "resend_call",
    "sign_up_call",
    "sso_call",
    "verify_call",
]


@dataclass(slots=True, frozen=True, repr=False)
class Call:
    """A request to the auth server. ``with_pkce``: its body takes a code challenge when the client uses the PKCE
    flow.
    """

    path: str
    body: dict[str, Any]
    query: QueryParams | None = None
    redirect_to: str | None = None
    with_pkce: bool = False
    method: Literal["POST", "PUT"] = "POST"


def _options(credentials: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", cast("Mapping[str, Any]", credentials).get("options") or {})


def _security(options: Mapping[str, Any]) -> dict[str, Any]:
    return {"captcha_token": options.get("captcha_token")}


def anonymous_call(credentials: SignInAnonymouslyCredentials | None) -> Call:
    """Make a user without an address."""
    options = _options(credentials or {})
    return Call("signup", {"data": options.get("data") or {}, "gotrue_meta_security": _security(options)})


def sign_up_call(credentials: SignUpWithPasswordCredentials) -> Call:
    """Make a user with a password. AuthInvalidCredentialsError without a password, or with neither address nor
    number.
    """
    email, phone, password = _address_and_password(credentials)
    options = _options(credentials)
    rest = {"password": password, "data": options.get("data") or {}, "gotrue_meta_security": _security(options)}
    if email:
        body = {"email": email, **rest}
        return Call("signup", body, redirect_to=options.get("email_redirect_to"), with_pkce=True)
    return Call("signup", {"phone": phone, "channel": options.get("channel", "sms"), **rest})


def password_call(credentials: SignInWithPasswordCredentials) -> Call:
    """Sign in with a password. AuthInvalidCredentialsError as for ``sign_up_call``."""
    email, phone, password = _address_and_password(credentials)
    options = _options(credentials)
    body = {
        **({"email": email} if email else {"phone": phone}),
        "password": password,
        "data": options.get("data") or {},
        "gotrue_meta_security": _security(options),
    }
    return Call("token", body, QueryParams(grant_type="password"))


def _address_and_password(credentials: object) -> tuple[str | None, str | None, str]:
    given = cast("Mapping[str, str | None]", credentials)
    email, phone, password = given.get("email"), given.get("phone"), given.get("password")
    if not password or not (email or phone):
        raise AuthInvalidCredentialsError("You must provide either an email or phone number and a password")
    return email or None, phone, password


def id_token_call(credentials: SignInWithIdTokenCredentials, *, links: bool = False) -> Call:
    """Sign in with a provider's ID token; ``links`` adds it to the user who is signed in instead."""
    options = _options(credentials)
    body = {
        "provider": credentials["provider"],
        "id_token": credentials["token"],
        "access_token": credentials.get("access_token"),
        "nonce": credentials.get("nonce"),
        **({"link_identity": True} if links else {}),
        "gotrue_meta_security": _security(options),
    }
    return Call("token", body, QueryParams(grant_type="id_token"))


def sso_call(credentials: SignInWithSSOCredentials) -> Call:
    """Ask where a company's users sign in. AuthInvalidCredentialsError with neither domain nor provider.

    The redirect is asked for as an address in the answer: there is no browser here that could follow it.
    """
    domain, provider_id = credentials.get("domain"), credentials.get("provider_id")
    if not domain and not provider_id:
        raise AuthInvalidCredentialsError("You must provide either a domain or provider_id")
    options = _options(credentials)
    body = {
        **({"domain": domain} if domain else {"provider_id": provider_id}),
        "skip_http_redirect": options.get("skip_http_redirect", True),
        "gotrue_meta_security": _security(options),
        "redirect_to": options.get("redirect_to"),
    }
    return Call("sso", body, with_pkce=True)


def otp_call(credentials: SignInWithPasswordlessCredentials) -> Call:
    """Send a code or a link. AuthInvalidCredentialsError with neither address nor number."""
    given = cast("Mapping[str, Any]", credentials)
    email, phone = given.get("email"), given.get("phone")
    options = _options(credentials)
    rest = {
        "data": options.get("data"),
        "create_user": options.get("should_create_user", True),
        "gotrue_meta_security": _security(options),
    }
    if email:
        return Call("otp", {"email": email, **rest}, redirect_to=options.get("email_redirect_to"), with_pkce=True)
    if phone:
        return Call("otp", {"phone": phone, "channel": options.get("channel", "sms"), **rest})
    raise AuthInvalidCredentialsError("You must provide either an email or phone number")


def resend_call(credentials: ResendCredentials) -> Call:
    """Send a code or a link again. AuthInvalidCredentialsError with neither address nor number.

    The mail of a sign-up or of a change of address leads back with a code in the PKCE flow, so it takes a challenge (as
    in supabase-js; supabase_auth sends none, and the code could not be exchanged).
    """
    given = cast("Mapping[str, Any]", credentials)
    email, phone = given.get("email"), given.get("phone")
    if email is None and phone is None:
        raise AuthInvalidCredentialsError("You must provide either an email or phone number")
    options = _options(credentials)
    body = {
        "type": given.get("type"),
        "gotrue_meta_security": _security(options),
        **({"email": email} if email else {"phone": phone}),
    }
    return Call("resend", body, redirect_to=options.get("email_redirect_to") if email else None, with_pkce=bool(email))


def verify_call(params: VerifyOtpParams) -> Call:
    """Redeem a code or the hash of a link."""
    options = _options(params)
    body = {"gotrue_meta_security": _security(options), **params}
    return Call("verify", body, redirect_to=options.get("redirect_to"))


def recover_call(email: str, options: Mapping[str, Any]) -> Call:
    """Send the mail of a forgotten password."""
    body = {"email": email, "gotrue_meta_security": _security(options)}
    return Call("recover", body, redirect_to=options.get("redirect_to"), with_pkce=True)


def oauth_params(credentials: SignInWithOAuthCredentials) -> dict[str, str]:
    """Give the parameters of a provider's sign-in address."""
    options = _options(credentials)
    params: dict[str, str] = dict(options.get("query_params") or {})
    for name in ("redirect_to", "scopes"):
        if options.get(name):
            params[name] = options[name]
    return params
