"""What a request to auth is: a read, a write, or a question about keys; and whom it may concern. Pure.

Source: supabase/auth internal/api (routes). The method does not tell reads from writes here: some GETs send a mail, begin a
flow or open a session.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

import httpx

from isobase_adapter.auth import resolve
from isobase_adapter.contracts import CallRecord
from isobase_adapter.http.bodies import content_of
from isobase_adapter.things import Thing

__all__ = ["AuthCall", "AuthKind", "Hints", "auth_call", "users_in"]

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_WRITING_GETS = re.compile(r"user/identities/authorize|reauthenticate|verify|authorize|callback|oauth/.*")
_USER_IN_PATH = re.compile(rf"admin/users/({_UUID.pattern})(?:/.*)?", re.IGNORECASE)
MAX_NAMES = 20
MIN_COUNTED_TOKEN_CHARS = 51
MAX_COUNTED_TOKEN_CHARS = 62
NAME_CHARS = 40


class AuthKind(Enum):
    """How a request is treated."""

    READ = "read"
    """One side is asked, as the stage says."""
    WRITE = "write"
    """The side that is written first is asked, then the user is carried."""
    KEYS = "keys"
    """Both are asked, and what they say is put together."""


@dataclass(slots=True, frozen=True)
class Hints:
    """What names a user, in a request. Secrets are never shown and never kept."""

    user: str | None = None
    email: str | None = None
    phone: str | None = None
    refresh_token: str | None = field(default=None, repr=False)
    auth_code: str | None = field(default=None, repr=False)
    token_hash: str | None = field(default=None, repr=False)

    @property
    def counted_session(self) -> str | None:
        """The session that a refresh token of GoTrue's second algorithm names (base64url: version, session's id ...)."""
        token = self.refresh_token or ""
        if not MIN_COUNTED_TOKEN_CHARS <= len(token) <= MAX_COUNTED_TOKEN_CHARS:
            return None
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        return str(UUID(bytes=raw[1:17])) if raw[:1] == b"\x00" else None


@dataclass(slots=True, frozen=True)
class AuthCall:
    """A request to auth. ``things``: whom a write may concern, as far as is known before."""

    kind: AuthKind
    record: CallRecord
    hints: Hints
    things: tuple[Thing, ...] = ()
    is_comparable: bool = False
    """Whether both sides should give the same answer: what is told of users, not what is told of the server."""
    types_code: bool = False
    """Whether it brings a code that somebody typed off a mail or a text message."""
    may_be_repeated: bool = False
    """Whether it may be sent to the other side where it is not known what the first made of it: nothing is made twice."""


def auth_call(request: httpx.Request, operation: str, user: str | None, now: datetime) -> AuthCall:
    """Say what a request is.

    operation: the path below ``/auth/v1/``. user: the id in its token, None without a user's. now: what was changed
    from then on is looked for, where the request does not say whom it is about.
    """
    operation = operation.strip("/")
    query, body = request.url.params, _body(request)
    grant = query.get("grant_type", "")
    names = tuple(sorted(str(name)[:NAME_CHARS] for name in body))[:MAX_NAMES]
    record = CallRecord(
        request.method,
        _without_ids(request.url.path),
        {"fields": list(names)} | ({"grant_type": grant[:NAME_CHARS]} if grant else {}),
    )
    in_path = _USER_IN_PATH.fullmatch(operation)
    hints = Hints(
        user=in_path.group(1).lower() if in_path else user,
        email=_text(body, "email"),
        phone=_text(body, "phone"),
        refresh_token=_text(body, "refresh_token"),
        auth_code=_text(body, "auth_code"),
        token_hash=_text(body, "token_hash"),
    )
    if operation == ".well-known/jwks.json":
        return AuthCall(AuthKind.KEYS, record, hints)
    if request.method in ("GET", "HEAD", "OPTIONS") and not _WRITING_GETS.fullmatch(operation):
        return AuthCall(AuthKind.READ, record, hints, is_comparable=operation.startswith(("user", "admin/users")))
    may_be_repeated = operation == "logout" or (operation == "token" and grant in ("password", "refresh_token"))
    return AuthCall(
        AuthKind.WRITE,
        record,
        hints,
        _things(hints, now),
        types_code=operation == "verify" and _text(body, "token") is not None,
        may_be_repeated=may_be_repeated,
    )


def users_in(response: httpx.Response) -> set[str]:
    """Give the ids of the users that an answer tells of: a session's, a user's own."""
    try:
        value = json.loads(content_of(response))
    except ValueError:
        return set()
    if not isinstance(value, dict):
        return set()
    inner = value.get("user")
    # A user's own body has ``aud``; a factor's or a challenge's has an id, too, which is no user's.
    found = [inner.get("id") if isinstance(inner, dict) else None, value.get("id") if "aud" in value else None]
    return {user.lower() for user in found if isinstance(user, str) and _UUID.fullmatch(user)}


def _things(hints: Hints, now: datetime) -> tuple[Thing, ...]:
    found = []
    if hints.user is not None:
        found.append(resolve.user_thing(hints.user))
    if hints.email:
        found.append(resolve.user_by_email(hints.email))
    if hints.phone:
        found.append(resolve.user_by_phone(hints.phone))
    return tuple(found) or (resolve.changed_since(now),)


def _body(request: httpx.Request) -> Mapping[str, Any]:
    try:
        value = json.loads(request.content or b"{}")
    except (ValueError, httpx.RequestNotRead):
        return {}
    return value if isinstance(value, dict) else {}


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    return value if isinstance(value, str) and value else None


def _without_ids(path: str) -> str:
    return _UUID.sub("{id}", path)
