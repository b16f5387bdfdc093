"""The stored messages of a private channel, for those who join it with a replay.

Read with the service's rights: whether the caller may read the channel was decided by its policies, per topic and not per
row, as upstream does. Source: contracts/realtime.md 1.8.
"""

from __future__ import annotations

import asyncio
import logging

from isobase_platform.caller import Caller
from isobase_platform.errors import DatabaseError, Unavailable
from isobase_platform.rls import RlsDoor
from isobase_services.realtime.core.replay import ReplayRefused, ReplayWindow, StoredMessage
from isobase_services.realtime.core.undisturbed import undisturbed

__all__ = ["MessageHistory"]

TIMEOUT_S = 5.0
# Partitions of days to come are empty: a minute is for clocks that differ. Messages of one transaction have the same
# time; nothing is deleted from a partition, so that ctid is the order in which they were sent.
_SELECT = """
select id::text as id, event, payload::text as payload, binary_payload
  from realtime.messages
 where topic = $1 and private and extension = 'broadcast'
   and inserted_at >= $2 and inserted_at < (now() at time zone 'utc') + interval '1 minute'
 order by inserted_at desc, ctid desc
 limit $3
"""

_log = logging.getLogger("isobase.realtime")


class MessageHistory:
    """Reads ``realtime.messages``."""

    def __init__(self, door: RlsDoor) -> None:
        self._door = door

    async def replay(self, topic: str, window: ReplayWindow) -> list[StoredMessage]:
        """The newest messages of the private channel ``topic`` within ``window``, oldest first.

        Raises ``ReplayRefused`` when the database does not answer within ``TIMEOUT_S`` seconds or with an error.
        """
        return await undisturbed(self._read(topic, window))

    async def _read(self, topic: str, window: ReplayWindow) -> list[StoredMessage]:
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._door.transaction(Caller.service(), read_only=True) as connection,
            ):
                rows = await connection.fetch(_SELECT, topic, window.since, window.limit)
        except (DatabaseError, Unavailable, TimeoutError) as error:
            _log.warning("messages could not be replayed", extra={"reason": str(error), "topic": topic})
            raise ReplayRefused("Realtime was unable to replay messages") from error
        return [
            StoredMessage(row["id"], row["event"] or "", row["payload"], row["binary_payload"])
            for row in reversed(rows)
        ]
