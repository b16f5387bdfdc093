"""What stands in the address that a sign-in comes back to; no I/O."""

from __future__ import annotations

import time
from dataclasses import dataclass

from isobase.auth.errors import AuthImplicitGrantRedirectError, AuthRetryableError
from isobase.auth.helpers import _parse_url_params
from isobase.auth.pkce import FLOW_ID_PARAM

__all__ = ["RedirectSession", "is_implicit_grant", "leaves_session", "pkce_code", "redirect_session"]


def is_implicit_grant(url: str) -> bool:
    """Tell whether an address carries a session, or the error in its place."""
    params = _parse_url_params(url)
    return "access_token" in params or "error_description" in params


def pkce_code(url: str) -> tuple[str, str | None] | None:
    """Give the code of an address that a PKCE sign-in came back to, with its flow id; None when it has none."""
    params = _parse_url_params(url)
    if "code" not in params:
        return None
    return params["code"][0], params.get(FLOW_ID_PARAM, [None])[0]


_OF_LINKING = frozenset({"identity_already_exists", "identity_not_found", "single_identity_not_deletable"})


def leaves_session(error: Exception) -> bool:
    """Tell whether a redirect that failed says nothing about who is signed in. Source: auth-js, ``_initialize``."""
    if isinstance(error, AuthImplicitGrantRedirectError):
        return error.details is not None and error.details["code"] in _OF_LINKING
    return isinstance(error, AuthRetryableError)


@dataclass(slots=True, frozen=True, repr=False)
class RedirectSession:
    """A session as an address carries it: without its user."""

    access_token: str
    refresh_token: str
    expires_in: int
    expires_at: int
    token_type: str
    provider_token: str | None
    provider_refresh_token: str | None
    redirect_type: str | None


def redirect_session(url: str) -> RedirectSession:
    """Read the session of an address. ``AuthImplicitGrantRedirectError`` for an error in its place, or when something
    is missing.
    """
    if not is_implicit_grant(url):
        raise AuthImplicitGrantRedirectError("Not a valid implicit grant flow url.")
    params = {name: values[0] for name, values in _parse_url_params(url).items()}
    if description := params.get("error_description"):
        code, error = params.get("error_code"), params.get("error")
        if not code:
            raise AuthImplicitGrantRedirectError("No error_code detected.")
        if not error:
            raise AuthImplicitGrantRedirectError("No error detected.")
        raise AuthImplicitGrantRedirectError(description, {"code": code, "error": error})
    for name in ("access_token", "expires_in", "refresh_token", "token_type"):
        if not params.get(name):
            raise AuthImplicitGrantRedirectError(f"No {name} detected.")
    try:
        expires_in = int(params["expires_in"])
    except ValueError:
        raise AuthImplicitGrantRedirectError("No expires_in detected.") from None
    return RedirectSession(
        access_token=params["access_token"],
        refresh_token=params["refresh_token"],
        expires_in=expires_in,
        expires_at=round(time.time()) + expires_in,
        token_type=params["token_type"],
        provider_token=params.get("provider_token"),
        provider_refresh_token=params.get("provider_refresh_token"),
        redirect_type=params.get("type"),
    )
