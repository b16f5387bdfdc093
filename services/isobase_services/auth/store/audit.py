"""Entries of ``auth.audit_log_entries``. Source: supabase/auth internal/models/audit_log_entry.go; contracts auth 2.17."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from isobase_services.auth.models import NIL_UUID, JsonObject, User

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = ["APPEND_ENTRIES", "Action", "Actor", "Entry", "record", "user_actor"]


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
    PASSKEY_CREATED = ("passkey_created", "user")
    PASSKEY_UPDATED = ("passkey_updated", "user")
    PASSKEY_DELETED = ("passkey_deleted", "user")


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
    def payload(self) -> str:
        """The entry as JSON text."""
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
        return json.dumps(content)


def user_actor(user: User) -> Actor:
    """The user as the one who acts."""
    full_name = user.user_metadata.get("full_name")
    return Actor(user.id, user.phone or user.email, user.is_sso_user, full_name if isinstance(full_name, str) else None)


APPEND_ENTRIES = """
  insert into auth.audit_log_entries (instance_id, id, payload, created_at, ip_address)
  select '00000000-0000-0000-0000-000000000000', gen_random_uuid(), entry.payload::json, clock_timestamp(), ''
    from unnest({payloads}::text[]) with ordinality as entry (payload, position) order by entry.position"""
"""The insert of entries given as an array of payloads, to stand alone or in a statement that does more.

clock_timestamp keeps their order, which now() would not: it stands still in a transaction.
"""
_RECORD = APPEND_ENTRIES.format(payloads="$1")


async def record(connection: Connection, *entries: Entry) -> None:
    """Write the entries in their order."""
    await connection.execute(_RECORD, [entry.payload for entry in entries])
