"""The tables of schema ``auth`` that make up a user, and how their rows are told apart on either side. No I/O.

Source: supabase/auth, migrations. Left out are what ends within minutes at the side that made it (passkey ceremonies,
SAML states), the audit log, and what belongs to no user.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString

__all__ = ["TABLES", "TOKENS", "USERS", "AuthTable"]


@dataclass(slots=True, frozen=True)
class AuthTable:
    """One of them. ``key``: what names a row on both sides, where the primary key is each side's own."""

    name: LiteralString
    key: tuple[LiteralString, ...]
    owner: LiteralString
    """The user's id, as an expression over the alias ``t``."""
    condition: LiteralString
    """Which rows are a user's: ``$1`` is an array of users' ids."""
    left_out: frozenset[str] = frozenset()
    """Columns that are each side's own."""


_OF_SESSIONS: LiteralString = "t.session_id in (select s.id from auth.sessions s where s.user_id = any($1::uuid[]))"
_OF_SESSION: LiteralString = "(select s.user_id from auth.sessions s where s.id = t.session_id)"

USERS = AuthTable("users", ("id",), "t.id", "t.id = any($1::uuid[])")
TOKENS = AuthTable("refresh_tokens", ("token",), _OF_SESSION, _OF_SESSIONS, frozenset({"id"}))
"""Each side counts their ``id`` on its own; they are merged, never replaced (``merge.merged_token``)."""

TABLES = (
    USERS,
    AuthTable("identities", ("provider", "provider_id"), "t.user_id", "t.user_id = any($1::uuid[])"),
    AuthTable("mfa_factors", ("id",), "t.user_id", "t.user_id = any($1::uuid[])"),
    AuthTable(
        "mfa_challenges",
        ("id",),
        "(select f.user_id from auth.mfa_factors f where f.id = t.factor_id)",
        "t.factor_id in (select f.id from auth.mfa_factors f where f.user_id = any($1::uuid[]))",
    ),
    AuthTable("sessions", ("id",), "t.user_id", "t.user_id = any($1::uuid[])"),
    AuthTable("mfa_amr_claims", ("session_id", "authentication_method"), _OF_SESSION, _OF_SESSIONS),
    AuthTable("one_time_tokens", ("user_id", "token_type"), "t.user_id", "t.user_id = any($1::uuid[])"),
    AuthTable("flow_state", ("id",), "t.user_id", "t.user_id = any($1::uuid[])"),
    AuthTable("webauthn_credentials", ("id",), "t.user_id", "t.user_id = any($1::uuid[])"),
    AuthTable("oauth_consents", ("user_id", "client_id"), "t.user_id", "t.user_id = any($1::uuid[])"),
)
"""In the order in which rows are made; they are removed the other way round."""
