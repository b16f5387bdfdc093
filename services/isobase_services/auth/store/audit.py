"""Entries of ``auth.audit_log_entries``. Source: supabase/auth internal/models/audit_log_entry.go; contracts auth 2.17."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from isobase_services.auth.models import NIL_UUID, NO_TIME, JsonObject, User

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = [
    "APPEND_ENTRIES",
    "MAX_OFFSET_ROWS",
    "Action",
    "Actor",
    "Entry",
    "StoredEntry",
    "client_address",
    "find_entries",
    "keeps_rows",
    "record",
    "stored_payloads",
    "user_actor",
]

MAX_OFFSET_ROWS = 2**62

keeps_rows: ContextVar[bool] = ContextVar("keeps_rows", default=True)
"""Whether the request's entries become rows (``auth.audit.database_enabled``); the router sets it for each request."""

client_address: ContextVar[Callable[[], str]] = ContextVar("client_address", default=str)
"""Tells the address of the request's client, empty where it is unknown; the router sets it for each request."""

MAX_NAME_CHARS = 255
"""Of a user's own full name in the log: it is written with all that they do, and they may make it as long as a request."""

_log = logging.getLogger("isobase.auth.audit")


class Action(Enum):
    """What happened, with the kind of log that upstream files it under."""

    LOGIN = ("login", "account")
    LOGOUT = ("logout", "account")
    USER_SIGNED_UP = ("user_signedup", "team")
    USER_DELETED = ("user_deleted", "team")
    USER_MODIFIED = ("user_modified", "user")
    USER_CONFIRMATION_REQUESTED = ("user_confirmation_requested", "user")
    USER_REPEATED_SIGNUP = ("user_repeated_signup", "user")
    USER_UPDATED_PASSWORD = ("user_updated_password", "user")
    USER_INVITED = ("user_invited", "team")
    USER_RECOVERY_REQUESTED = ("user_recovery_requested", "user")
    USER_REAUTHENTICATE_REQUESTED = ("user_reauthenticate_requested", "user")
    TOKEN_REVOKED = ("token_revoked", "token")
    TOKEN_REFRESHED = ("token_refreshed", "token")
    FACTOR_IN_PROGRESS = ("factor_in_progress", "factor")
    FACTOR_UNENROLLED = ("factor_unenrolled", "factor")
    CHALLENGE_CREATED = ("challenge_created", "factor")
    VERIFICATION_ATTEMPTED = ("verification_attempted", "factor")
    FACTOR_DELETED = ("factor_deleted", "factor")
    FACTOR_UPDATED = ("factor_updated", "factor")
    IDENTITY_LINKED = ("identity_linked", "user")
    IDENTITY_UNLINKED = ("identity_unlinked", "user")
    INVITE_ACCEPTED = ("invite_accepted", "account")
    PASSKEY_CREATED = ("passkey_created", "user")
    PASSKEY_UPDATED = ("passkey_updated", "user")
    PASSKEY_DELETED = ("passkey_deleted", "user")


_WITH_ADDRESS = frozenset(
    {
        Action.FACTOR_IN_PROGRESS,
        Action.FACTOR_UNENROLLED,
        Action.CHALLENGE_CREATED,
        Action.VERIFICATION_ATTEMPTED,
        Action.FACTOR_DELETED,
        Action.IDENTITY_LINKED,
        Action.IDENTITY_UNLINKED,
        Action.PASSKEY_CREATED,
        Action.PASSKEY_UPDATED,
        Action.PASSKEY_DELETED,
    }
)
"""What upstream keeps the client's address with."""


@dataclass(slots=True, frozen=True)
class Actor:
    """Who did it; an administrator is the nil id under the name of the token's role."""

    id: UUID
    username: str
    is_sso: bool = False
    full_name: str | None = None

    @classmethod
    def admin(cls, role: str) -> Actor:
        """The holder of an administrator's token."""
        return cls(NIL_UUID, role)


@dataclass(slots=True, frozen=True)
class Entry:
    """One line of the log."""

    actor: Actor
    action: Action
    traits: JsonObject | None = None

    @property
    def content(self) -> dict[str, Any]:
        """The entry as it is kept."""
        action, log_type = self.action.value
        content: dict[str, Any] = {
            "actor_id": str(self.actor.id),
            "actor_via_sso": self.actor.is_sso,
            "actor_username": self.actor.username,
            "action": action,
            "log_type": log_type,
        }
        if self.actor.full_name is not None:
            content["actor_name"] = self.actor.full_name
        if self.traits is not None:
            content["traits"] = self.traits
        return content


@dataclass(slots=True, frozen=True)
class StoredEntry:
    """A row of the log."""

    id: UUID
    payload: JsonObject
    created_at: datetime
    ip_address: str


def user_actor(user: User) -> Actor:
    """The user as the one who acts."""
    full_name = user.user_metadata.get("full_name")
    name = full_name[:MAX_NAME_CHARS] if isinstance(full_name, str) else None
    return Actor(user.id, user.phone or user.email, user.is_sso_user, name)


APPEND_ENTRIES = """
  insert into auth.audit_log_entries (instance_id, id, payload, created_at, ip_address)
  select '00000000-0000-0000-0000-000000000000', gen_random_uuid(), entry.item -> 'payload', clock_timestamp(),
         entry.item ->> 'ip_address'
    from (select item::json, position from unnest({payloads}::text[]) with ordinality as given (item, position)) entry
   order by entry.position"""
"""The insert of entries given as an array of ``stored_payloads``, to stand alone or in a statement that does more.

clock_timestamp keeps their order, which now() would not: it stands still in a transaction.
"""
_RECORD = APPEND_ENTRIES.format(payloads="$1")


async def record(connection: Connection, *entries: Entry) -> None:
    """Write the entries in their order."""
    if payloads := stored_payloads(entries):
        await connection.execute(_RECORD, payloads)


def stored_payloads(entries: Sequence[Entry]) -> list[str]:
    """Log the entries, and return those that become rows as JSON texts for ``APPEND_ENTRIES``."""
    contents = [entry.content for entry in entries]
    is_stored = keeps_rows.get()
    # Where they are rows anyway the log need not repeat them, unless somebody looks closely.
    level = logging.DEBUG if is_stored else logging.INFO
    if _log.isEnabledFor(level):
        for content in contents:
            _log.log(level, "audit", extra={"auth_audit_event": content})
    if not is_stored:
        return []
    return [
        json.dumps({"payload": content, "ip_address": _address_of(entry)})
        for entry, content in zip(entries, contents, strict=True)
    ]


def _address_of(entry: Entry) -> str:
    return client_address.get()() if entry.action in _WITH_ADDRESS else ""


async def find_entries(
    connection: Connection, fields: Sequence[str], text: str, *, limit: int, offset: int
) -> tuple[list[StoredEntry], int]:
    """A page of the log, newest first, and how many entries there are in all.

    ``text`` is looked for in the ``fields`` of the payload, in any case; without fields or text every entry is found.
    """
    condition = "instance_id = $1"
    values: list[object] = [NIL_UUID]
    if fields and text:
        condition += " and exists (select from unnest($2::text[]) as field where payload ->> field ilike $3)"
        values += [list(fields), f"%{text}%"]
    total = await connection.fetchval(f"select count(*) from auth.audit_log_entries where {condition}", *values)  # noqa: S608  constants
    rows = await connection.fetch(
        f"select id, payload, created_at, ip_address from auth.audit_log_entries where {condition}"  # noqa: S608  constants
        f" order by created_at desc nulls last, id limit {int(limit)} offset {int(offset)}",
        *values,
    )
    return [
        StoredEntry(row["id"], json.loads(row["payload"] or "{}"), row["created_at"] or NO_TIME, row["ip_address"])
        for row in rows
    ], total
