"""What a caller may do on a private channel, as the policies of ``realtime.messages`` say.

Reading: a probe row per extension is written with the service's own rights, looked up with the caller's, and rolled back.
Writing: a row is inserted with the caller's rights, without RETURNING, and rolled back. Both run through the RLS door,
in one round trip each.
Source: contracts/realtime.md 1.13.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from isobase_platform.caller import Caller
from isobase_platform.errors import DatabaseError, Unavailable
from isobase_platform.rls import Act, RlsDoor
from isobase_platform.wire_messages import Step
from isobase_services.realtime.core.undisturbed import undisturbed

__all__ = ["ChannelPolicies", "Extension", "Failure", "PolicyFailed", "ReadGrant"]

COMMIT_SEEN_POLL_S = 0.002
"""How soon a message's transaction is looked for again; twice as long each time."""
COMMIT_SEEN_WITHIN_S = 5.0
CHECK_VIOLATION = "23514"
"""What PostgreSQL says of a row that no partition takes."""

# As upstream: a probe has nothing but its topic and extension, so that policies see the same row.
_INSERT = "insert into realtime.messages (id, topic, extension) values ($1, $2, $3)"
_INSERT_BLIND = "insert into realtime.messages (topic, extension) values ($1, $2)"
_IS_SEEN = "select exists (select from realtime.messages where id = $1::text::uuid)"
_SELECT = "select id from realtime.messages where id = any ($1::uuid[])"

_Answer = TypeVar("_Answer")

_log = logging.getLogger("isobase.realtime")


class Extension(StrEnum):
    """What a policy may speak of in the column ``extension``."""

    BROADCAST = "broadcast"
    PRESENCE = "presence"


class Failure(StrEnum):
    """Why the policies gave no answer."""

    DATABASE_AWAY = "database away"
    CANCELLED = "cancelled"
    PARTITION_MISSING = "partition missing"
    POLICY_RAISED = "policy raised"


class PolicyFailed(Exception):
    """The policies could not be asked, or one of them raised."""

    def __init__(self, message: str, failure: Failure) -> None:
        super().__init__(message)
        self.failure = failure

    @property
    def join_reason(self) -> str | None:
        """Upstream's reason for a join that fails so; None where it says the caller may not read."""
        match self.failure:
            case Failure.DATABASE_AWAY:
                return "UnableToConnectToProject: Realtime was unable to connect to the project database"
            case Failure.CANCELLED:
                return f"QueryCanceled: {self}"
            case Failure.PARTITION_MISSING:
                return "MissingPartition: Realtime was unable to find the expected messages partition"
            case Failure.POLICY_RAISED:
                return None

    @property
    def end_message(self) -> str | None:
        """Upstream's words when a channel ends by it after a new token; None as for ``join_reason``."""
        match self.failure:
            case Failure.DATABASE_AWAY | Failure.PARTITION_MISSING:
                return "Realtime was unable to connect to the project database"
            case Failure.CANCELLED:
                return "Query was cancelled, please try again"
            case Failure.POLICY_RAISED:
                return None


@dataclass(slots=True, frozen=True)
class ReadGrant:
    """What a channel may receive. ``presence`` is None where it was not asked for."""

    broadcast: bool
    presence: bool | None


class ChannelPolicies:
    """Asks the policies. Results are remembered by the channel that asked, until its token changes."""

    def __init__(self, door: RlsDoor) -> None:
        self._door = door

    async def wait_for(self, message_id: str) -> None:
        """Wait until the transaction that wrote a message is seen by statements. Raises ``PolicyFailed``.

        The log tells of a commit once it is on disk, which is a moment before other sessions see it: policies that are asked
        in between would answer by what was. Over after ``COMMIT_SEEN_WITHIN_S``, as the message may be deleted by then.
        """
        wait_s, over = COMMIT_SEEN_POLL_S, time.monotonic() + COMMIT_SEEN_WITHIN_S
        try:
            while True:
                async with self._door.transaction(Caller.service(), read_only=True) as connection:
                    if await connection.fetchval(_IS_SEEN, message_id) or time.monotonic() > over:
                        return
                await asyncio.sleep(wait_s)
                wait_s *= 2
        except DatabaseError as error:
            raise _failed(error, message_id) from error
        except Unavailable as error:
            raise PolicyFailed(error.message, Failure.DATABASE_AWAY) from error

    async def may_read(self, caller: Caller, topic: str, *, with_presence: bool) -> ReadGrant:
        """What ``caller`` may receive on the private channel ``topic``. Raises ``PolicyFailed``."""
        return await undisturbed(
            self._with_partitions(topic, lambda: self._read(caller, topic, with_presence=with_presence))
        )

    async def _read(self, caller: Caller, topic: str, *, with_presence: bool) -> ReadGrant:
        probes = {Extension.BROADCAST: uuid.uuid4()}
        if with_presence:
            probes[Extension.PRESENCE] = uuid.uuid4()
        written = [(_INSERT, (str(identifier), topic, extension.value)) for extension, identifier in probes.items()]
        look: Step = (_SELECT, ("{" + ",".join(map(str, probes.values())) + "}",))
        *_, rows = await self._door.rehearse(
            [Act(Caller.service(), written), Act(caller, [look], _topic_settings(caller, topic))]
        )
        visible = {uuid.UUID(bytes=identifier) for (identifier,) in rows if identifier is not None}
        presence = probes.get(Extension.PRESENCE)
        return ReadGrant(
            broadcast=probes[Extension.BROADCAST] in visible, presence=None if presence is None else presence in visible
        )

    async def may_write(self, caller: Caller, topic: str, extension: Extension) -> bool:
        """Whether ``caller`` may send on the private channel ``topic``. Raises ``PolicyFailed``."""
        return await undisturbed(self._with_partitions(topic, lambda: self._write(caller, topic, extension)))

    async def _write(self, caller: Caller, topic: str, extension: Extension) -> bool:
        try:
            await self._door.rehearse(
                [Act(caller, [(_INSERT_BLIND, (topic, extension.value))], _topic_settings(caller, topic))]
            )
        except DatabaseError as error:
            if error.is_insufficient_privilege:
                return False
            raise
        return True

    async def _with_partitions(self, topic: str, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Ask; where the table has no partition for today, because nobody cared for it, make it and ask again."""
        try:
            topic.encode()
        except UnicodeEncodeError as error:
            # Half a surrogate pair is no text: no policy can say anything of such a topic.
            raise PolicyFailed("The topic is no Unicode text", Failure.POLICY_RAISED) from error
        try:
            try:
                return await ask()
            except DatabaseError as error:
                if error.sqlstate != CHECK_VIOLATION:
                    raise
                async with self._door.transaction(Caller.service()) as connection:
                    await connection.execute("select realtime.ensure_partitions()")
                return await ask()
        except DatabaseError as error:
            raise _failed(error, topic) from error
        except Unavailable as error:
            raise PolicyFailed(error.message, Failure.DATABASE_AWAY) from error


def _topic_settings(caller: Caller, topic: str) -> Mapping[str, str]:
    return {
        "realtime.topic": topic,
        "request.jwt.claim.sub": caller.user_id or "",
        "request.jwt.claim.role": caller.role,
    }


def _failed(error: DatabaseError, topic: str) -> PolicyFailed:
    _log.warning("a policy of realtime.messages failed", extra={"sqlstate": error.sqlstate, "topic": topic})
    match error.sqlstate:
        case "57014":
            return PolicyFailed(error.message, Failure.CANCELLED)
        case sqlstate if sqlstate == CHECK_VIOLATION:
            return PolicyFailed(error.message, Failure.PARTITION_MISSING)
        case _:
            return PolicyFailed(error.message, Failure.POLICY_RAISED)
