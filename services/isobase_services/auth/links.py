"""The links in mail and the redirects they end in. Pure functions.

Links are made of settings alone: what a request says of hosts (``Host``, ``X-Forwarded-Host``) must never lead a reader of
mail elsewhere. Source: contracts auth 2.8, 2.9; supabase/auth internal/mailer/templatemailer and internal/api/verify.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias
from urllib.parse import parse_qsl, quote, quote_plus, urlencode, urljoin

from isobase_platform.config import Settings
from isobase_services.auth.errors import AuthError
from isobase_services.auth.models import Grant

__all__ = [
    "ERRORS_BY_STATUS",
    "LinkType",
    "action_link",
    "code_redirect",
    "error_fields_redirect",
    "error_redirect",
    "grant_redirect",
    "location",
    "message_redirect",
]

LinkType: TypeAlias = Literal["signup", "invite", "magiclink", "recovery", "email_change"]

ERRORS_BY_STATUS = {
    400: "invalid_request",
    401: "unauthorized_client",
    403: "access_denied",
    500: "server_error",
    503: "temporarily_unavailable",
}


def action_link(settings: Settings, link_type: LinkType, token_hash: str, redirect_to: str) -> str:
    """The link that proves its reader's address and sends them to ``redirect_to``."""
    paths = settings.auth.email.links
    path = {
        "signup": paths.confirmation,
        "invite": paths.invite,
        "magiclink": paths.recovery,
        "recovery": paths.recovery,
        "email_change": paths.email_change,
    }[link_type]
    base = f"{settings.auth_url}/verify" if path is None else urljoin(settings.auth_url, path)
    # Upstream takes a target without these for one that was encoded already.
    target = quote_plus(redirect_to) if any(character in redirect_to for character in "&=#") else redirect_to
    return f"{base}?token={quote_plus(token_hash)}&type={link_type}&redirect_to={target}"


def grant_redirect(target: str, grant: Grant, extra: Mapping[str, str]) -> str:
    """``target`` with the session in its fragment, keys sorted; ``sb`` tells clients that it is auth's."""
    fields = {
        "access_token": grant.access_token,
        "token_type": "bearer",
        "expires_in": str(grant.expires_in_s),
        "expires_at": str(grant.expires_at_s),
        "refresh_token": grant.refresh_token,
        "sb": "",
        **extra,
    }
    return f"{target}#{_encoded(fields)}"


def code_redirect(target: str, auth_code: str) -> str:
    """``target`` with ``code`` in its query."""
    base, query, fragment = _parts(target)
    return _joined(base, {**query, "code": auth_code}, fragment)


def message_redirect(target: str, message: str, *, is_pkce: bool) -> str:
    """``target`` with a message in its fragment, for PKCE in its query too."""
    base, query, _ = _parts(target)
    added = {"message": message} if is_pkce else {}
    return _joined(base, {**query, **added}, _encoded({"message": message, "sb": ""}))


def error_redirect(target: str, error: AuthError, *, is_pkce: bool) -> str:
    """``target`` with what went wrong in its fragment, for PKCE in its query too."""
    base, query, _ = _parts(target)
    fields = {"error_code": error.code, "error_description": error.message}
    if error.status in ERRORS_BY_STATUS:
        fields["error"] = ERRORS_BY_STATUS[error.status]
    return _joined(base, {**query, **fields} if is_pkce else query, _encoded({**fields, "sb": ""}))


def error_fields_redirect(target: str, fields: Mapping[str, str], *, in_fragment: bool) -> str:
    """``target`` with an error in its query, and ``in_fragment`` those of its fields there that are not empty."""
    base, query, fragment = _parts(target)
    if in_fragment:
        fragment = _encoded({**{name: value for name, value in fields.items() if value}, "sb": ""})
    return _joined(base, {**query, **fields}, fragment)


def location(url: str) -> str:
    """``url`` as a header may hold it: what is not ASCII is percent-encoded."""
    return quote(url, safe="".join(map(chr, range(0x21, 0x7F))))


def _parts(url: str) -> tuple[str, dict[str, str], str]:
    rest, _, fragment = url.partition("#")
    base, _, query = rest.partition("?")
    return base, dict(parse_qsl(query, keep_blank_values=True)), fragment


def _joined(base: str, query: Mapping[str, str], fragment: str) -> str:
    return base + (f"?{_encoded(query)}" if query else "") + (f"#{fragment}" if fragment else "")


def _encoded(fields: Mapping[str, str]) -> str:
    return urlencode(sorted(fields.items()))
