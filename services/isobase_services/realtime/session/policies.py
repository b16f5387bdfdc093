"""What a caller may do on a private channel, as the policies of ``realtime.messages`` say.

Reading: a probe row per extension is written with the service's own rights, looked up with the caller's, and rolled back.
Writing: a row is inserted with the caller's rights, without RETURNING, and rolled back. Both run through the RLS door.
Source: contracts/realtime.md 1.13.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from isobase_platform.caller import Caller
from isobase_platform.errors import DatabaseError, Unavailable
from isobase_platform.rls import RlsDoor

__all__ = ["ChannelPolicies", "Extension", "PolicyFailed", "ReadGrant"]

# As upstream: a probe has nothing but its topic and extension, so that policies see the same row.
_INSERT = "insert into realtime.messages (id, topic, extension) values ($1, $2, $3)"
_INSERT_BLIND = "insert into realtime.messages (topic, extension) values ($1, $2)"
_SELECT = "select id from realtime.messages where id = any ($1::uuid[])"

_log = logging.getLogger("isobase.realtime")


class Extension(StrEnum):
    """What a policy may speak of in the column ``extension``."""

    BROADCAST = "broadcast"
    PRESENCE = "presence"


class PolicyFailed(Exception):
    """A policy could not be evaluated; ``is_database_away`` tells an unreachable database from a policy that raises."""

    def __init__(self, message: str, *, is_database_away: bool) -> None:
        super().__init__(message)
        self.is_database_away = is_database_away


@dataclass(slots=True, frozen=True)
class ReadGrant:
    """What a channel may receive. ``presence`` is None where it was not asked for."""

    broadcast: bool
    presence: bool | None


class ChannelPolicies:
    """Asks the policies. Results are remembered by the channel that asked, until its token changes."""

    def __init__(self, door: RlsDoor) -> None:
        self._door = door

    async def may_read(self, caller: Caller, topic: str, *, with_presence: bool) -> ReadGrant:
        """What ``caller`` may receive on the private channel ``topic``. Raises ``PolicyFailed``."""
        probes = {Extension.BROADCAST: uuid.uuid4()}
        if with_presence:
            probes[Extension.PRESENCE] = uuid.uuid4()
        try:
            async with self._door.transaction(Caller.service(), rollback=True) as connection:
                for extension, identifier in probes.items():
                    await connection.execute(_INSERT, identifier, topic, extension.value)
                await connection.switch(caller, settings=_topic_settings(caller, topic))
                visible = {row["id"] for row in await connection.fetch(_SELECT, list(probes.values()))}
        except DatabaseError as error:
            raise _failed(error, topic) from error
        except Unavailable as error:
            raise PolicyFailed(error.message, is_database_away=True) from error
        presence = probes.get(Extension.PRESENCE)
        return ReadGrant(
            broadcast=probes[Extension.BROADCAST] in visible, presence=None if presence is None else presence in visible
        )

    async def may_write(self, caller: Caller, topic: str, extension: Extension) -> bool:
        """Whether ``caller`` may send on the private channel ``topic``. Raises ``PolicyFailed``."""
        try:
            async with self._door.transaction(
                caller, rollback=True, settings=_topic_settings(caller, topic)
            ) as connection:
                await connection.execute(_INSERT_BLIND, topic, extension.value)
        except DatabaseError as error:
            if error.is_insufficient_privilege:
                return False
            raise _failed(error, topic) from error
        except Unavailable as error:
            raise PolicyFailed(error.message, is_database_away=True) from error
        return True


def _topic_settings(caller: Caller, topic: str) -> Mapping[str, str]:
    return {
        "realtime.topic": topic,
        "request.jwt.claim.sub": caller.user_id or "",
        "request.jwt.claim.role": caller.role,
    }


def _failed(error: DatabaseError, topic: str) -> PolicyFailed:
    _log.warning("a policy of realtime.messages failed", extra={"sqlstate": error.sqlstate, "topic": topic})
    return PolicyFailed(error.message, is_database_away=False)
