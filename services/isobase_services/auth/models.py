"""Users, identities, factors and sessions as plain values, and how they are read from rows.

Rows may have been written by hand (seeds, imports): a null where GoTrue itself writes an empty text is read as one.
Columns: contracts auth section 3.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

__all__ = [
    "AAL1",
    "AAL2",
    "AUTHENTICATED_AUDIENCE",
    "NIL_UUID",
    "NO_FACTS",
    "NO_TIME",
    "ClientFacts",
    "Factor",
    "Grant",
    "Identity",
    "JsonObject",
    "MethodUse",
    "OAuthTerms",
    "OpenSession",
    "Session",
    "SessionTerms",
    "User",
    "session_from_row",
    "user_from_row",
]

JsonObject: TypeAlias = Mapping[str, Any]

NIL_UUID = UUID(int=0)
"""``instance_id`` of every row: a remnant of upstream's multi-tenant days that it still filters on."""
AUTHENTICATED_AUDIENCE = "authenticated"
"""``aud`` and ``role`` of users unless an administrator says otherwise, as Supabase configures GoTrue."""
AAL1 = "aal1"
AAL2 = "aal2"
NO_TIME = datetime(1, 1, 1, tzinfo=UTC)
"""Go's time that is none: upstream shows it where a row has no time."""


@dataclass(slots=True, frozen=True)
class Identity:
    """One way to sign in of a user; ``provider_id`` is the user's id for email and phone."""

    id: UUID
    provider_id: str
    user_id: UUID
    identity_data: JsonObject
    provider: str
    last_sign_in_at: datetime | None
    created_at: datetime
    updated_at: datetime
    email: str


@dataclass(slots=True, frozen=True)
class Factor:
    """One second factor of a user, without its secret."""

    id: UUID
    created_at: datetime
    updated_at: datetime
    status: str
    friendly_name: str
    factor_type: str
    phone: str
    last_challenged_at: datetime | None
    web_authn_aaguid: str = ""
    last_webauthn_challenge_data: JsonObject | None = None

    @property
    def is_verified(self) -> bool:
        """True once the user has proven to hold it."""
        return self.status == "verified"


@dataclass(slots=True, frozen=True, kw_only=True)
class User:
    """A row of auth.users with its identities and factors; absent texts are empty, absent times None.

    The defaults are those of a user who has done nothing yet.
    """

    id: UUID
    aud: str
    role: str
    email: str
    phone: str
    encrypted_password: str | None = field(default=None, repr=False)
    is_sso_user: bool = False
    is_anonymous: bool = False
    email_confirmed_at: datetime | None = None
    phone_confirmed_at: datetime | None = None
    confirmed_at: datetime | None = None
    invited_at: datetime | None = None
    confirmation_sent_at: datetime | None = None
    recovery_sent_at: datetime | None = None
    email_change: str = ""
    email_change_sent_at: datetime | None = None
    phone_change: str = ""
    phone_change_sent_at: datetime | None = None
    reauthentication_sent_at: datetime | None = None
    last_sign_in_at: datetime | None = None
    app_metadata: JsonObject
    user_metadata: JsonObject
    created_at: datetime
    updated_at: datetime
    banned_until: datetime | None = None
    deleted_at: datetime | None = None
    identities: tuple[Identity, ...] = ()
    factors: tuple[Factor, ...] = ()

    @property
    def has_password(self) -> bool:
        """True where a password can sign the user in."""
        return bool(self.encrypted_password)

    @property
    def is_email_confirmed(self) -> bool:
        """True once the e-mail address is proven."""
        return self.email_confirmed_at is not None

    @property
    def is_phone_confirmed(self) -> bool:
        """True once the phone number is proven."""
        return self.phone_confirmed_at is not None

    @property
    def has_verified_factor(self) -> bool:
        """True where the user can, and for some changes must, reach aal2."""
        return any(factor.is_verified for factor in self.factors)

    def is_banned(self, now: datetime) -> bool:
        """True while a ban lasts."""
        return self.banned_until is not None and now < self.banned_until


@dataclass(slots=True, frozen=True)
class MethodUse:
    """One entry of a token's ``amr``: how the user proved to be themself, and when."""

    method: str
    used_at: datetime


@dataclass(slots=True, frozen=True)
class Session:
    """A row of auth.sessions with the methods used in it."""

    id: UUID
    user_id: UUID
    created_at: datetime
    not_after: datetime | None
    refreshed_at: datetime | None
    aal: str
    methods: tuple[MethodUse, ...]
    tag: str = ""
    oauth: OAuthTerms | None = None
    """Set where a program opened it in the user's name."""

    def is_past_end(self, now: datetime) -> bool:
        """True after ``not_after``, where one is set."""
        return self.not_after is not None and now > self.not_after


@dataclass(slots=True, frozen=True)
class ClientFacts:
    """What a session remembers of the client that opened or refreshed it."""

    user_agent: str | None
    ip: str | None


NO_FACTS = ClientFacts(None, None)


@dataclass(slots=True, frozen=True)
class OAuthTerms:
    """The program that a session belongs to, and the scopes that its user granted, separated by blanks."""

    client_id: UUID
    scope: str


@dataclass(slots=True, frozen=True)
class SessionTerms:
    """How long what a face hands out lives: access tokens in seconds; sessions in seconds, None without end.

    ``of_simple_face``: whether access tokens are signed as that face's are.
    """

    access_token_s: int
    session_s: int | None = None
    of_simple_face: bool = False


@dataclass(slots=True, frozen=True)
class OpenSession:
    """A session with a refresh token to hand out, whose access token is still to be made (``flows.grants.issue_grant``).

    ``method``: how the session was opened or "token_refresh"; ``is_new``: it was opened for this grant, so that nobody
    knows it should the grant fail.
    """

    user: User
    session_id: UUID
    created_at: datetime
    not_after: datetime | None
    methods: tuple[MethodUse, ...]
    method: str
    refresh_token: str = field(repr=False)
    facts: ClientFacts
    terms: SessionTerms
    is_new: bool
    is_reuse: bool = False
    oauth: OAuthTerms | None = None


@dataclass(slots=True, frozen=True)
class Grant:
    """What signing in or refreshing gives: the tokens, their end, the user, and whether the refresh token is new."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in_s: int
    expires_at_s: int
    user: User
    session_id: UUID
    is_reuse: bool = False


def user_from_row(row: asyncpg.Record) -> User:
    """Read a row of ``store.users.USER_COLUMNS`` with ``identities`` and ``factors`` as JSON texts."""
    return User(
        id=row["id"],
        aud=row["aud"] or "",
        role=row["role"] or "",
        email=row["email"] or "",
        phone=row["phone"] or "",
        encrypted_password=row["encrypted_password"],
        is_sso_user=row["is_sso_user"],
        is_anonymous=row["is_anonymous"],
        email_confirmed_at=row["email_confirmed_at"],
        phone_confirmed_at=row["phone_confirmed_at"],
        confirmed_at=row["confirmed_at"],
        invited_at=row["invited_at"],
        confirmation_sent_at=row["confirmation_sent_at"],
        recovery_sent_at=row["recovery_sent_at"],
        email_change=row["email_change"] or "",
        email_change_sent_at=row["email_change_sent_at"],
        phone_change=row["phone_change"] or "",
        phone_change_sent_at=row["phone_change_sent_at"],
        reauthentication_sent_at=row["reauthentication_sent_at"],
        last_sign_in_at=row["last_sign_in_at"],
        app_metadata=_object(row["raw_app_meta_data"]),
        user_metadata=_object(row["raw_user_meta_data"]),
        created_at=row["created_at"] or NO_TIME,
        updated_at=row["updated_at"] or NO_TIME,
        banned_until=row["banned_until"],
        deleted_at=row["deleted_at"],
        identities=tuple(_identity(item) for item in json.loads(row["identities"])),
        factors=tuple(_factor(item) for item in json.loads(row["factors"])),
    )


def session_from_row(row: asyncpg.Record) -> Session | None:
    """Read the ``session_...`` columns of ``store.sessions.SESSION_COLUMNS``; None where a left join found no session."""
    if row["session_id"] is None:
        return None
    methods = [MethodUse(item["method"], _time(item["used_at"])) for item in json.loads(row["session_methods"])]
    return Session(
        id=row["session_id"],
        user_id=row["session_user_id"],
        created_at=row["session_created_at"] or NO_TIME,
        not_after=row["session_not_after"],
        refreshed_at=row["session_refreshed_at"],
        aal=row["session_aal"] or AAL1,
        methods=tuple(methods),
        tag=row["session_tag"] or "",
        oauth=None
        if row["session_oauth_client_id"] is None
        else OAuthTerms(row["session_oauth_client_id"], row["session_scopes"] or ""),
    )


def _object(text: str | None) -> JsonObject:
    value = json.loads(text) if text else None
    return value if isinstance(value, dict) else {}


def _time(text: str | None) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else NO_TIME


def _optional_time(text: str | None) -> datetime | None:
    return _time(text) if text else None


def _identity(item: JsonObject) -> Identity:
    data = item["identity_data"]
    return Identity(
        id=UUID(item["id"]),
        provider_id=item["provider_id"],
        user_id=UUID(item["user_id"]),
        identity_data=data if isinstance(data, dict) else {},
        provider=item["provider"],
        last_sign_in_at=_optional_time(item["last_sign_in_at"]),
        created_at=_time(item["created_at"]),
        updated_at=_time(item["updated_at"]),
        email=item["email"] or "",
    )


def _factor(item: JsonObject) -> Factor:
    return Factor(
        id=UUID(item["id"]),
        created_at=_time(item["created_at"]),
        updated_at=_time(item["updated_at"]),
        status=item["status"],
        friendly_name=item["friendly_name"] or "",
        factor_type=item["factor_type"],
        phone=item["phone"] or "",
        last_challenged_at=_optional_time(item["last_challenged_at"]),
        web_authn_aaguid=item["web_authn_aaguid"] or "",
        last_webauthn_challenge_data=item["last_webauthn_challenge_data"],
    )
