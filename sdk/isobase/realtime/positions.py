"""Where a channel stands in the row changes of its server, so that it can go on there when it joins again. No I/O.

Servers with replay (Isobase) give every change a position, and send what came after one to a channel that joins with
it. A server without replay ignores that it was asked, and no position ever comes.
"""

from __future__ import annotations

from typing import Any

from isobase.realtime.types import RealtimeGap, RealtimeGapReason

__all__ = ["Positions"]

_REASONS = {"PositionTooOld": RealtimeGapReason.TOO_OLD, "PositionInvalid": RealtimeGapReason.INVALID}
NOT_REPLAYED = "the connection was away, and the server does not replay row changes"


class Positions:
    """The last position of one channel, and what was delivered while it joins again.

    Messages of the first version of the protocol do not say which join they belong to: until the server has replied to
    the last one, those before it may still deliver, and replay.
    """

    __slots__ = ("_is_joining", "_is_live", "_may_have_missed", "_seen", "last")

    def __init__(self, since: str | None = None) -> None:
        self.last: str | None = since
        self._is_joining = False
        self._is_live = False
        self._may_have_missed = False
        self._seen: set[tuple[str, tuple[int, ...]]] | None = None

    def join_options(self, given: dict[str, Any], *, replay: bool) -> dict[str, Any] | None:
        """Give ``postgres_changes_options`` of a join that is now sent: with the last position, if there is one.

        None where nothing is asked for: without ``replay``, unless it was ``given``.
        """
        self._may_have_missed = self._is_live
        self._is_joining = True
        if not replay:
            return given or None
        if self._seen is None and self.last is not None:
            self._seen = set()
        return {**given, "position": True} | ({"since": self.last} if self.last is not None else {})

    def joined(self) -> None:
        """Take in the reply to the last join: no join before it sends anything any more."""
        self._is_joining = False

    def is_new(self, data: dict[str, Any], ids: list[int]) -> bool:
        """Take a change in; False where it was delivered before.

        The one case is a join beside which those before it, on the same socket, still delivered: such changes are sent
        again, by every join that is replayed from a place before them.
        """
        self._is_live = True
        position = data.get("position")
        if not isinstance(position, str):
            return True
        if self._seen is not None:
            key = (position, tuple(ids))
            if key in self._seen:
                return False
            self._seen.add(key)
        self.last = position
        return True

    def subscribed(self, position: str | None) -> RealtimeGap | None:
        """Take in that row changes are live; gives the gap there may be, on a server that does not replay."""
        self._is_live = True
        if position is not None:
            self.last = position
        if self._is_joining:
            return None  # of a join before the last one, which sends again what is behind its own start
        self._seen = None
        missed, self._may_have_missed = self._may_have_missed, False
        if position is not None:
            return None
        return RealtimeGap(RealtimeGapReason.NOT_REPLAYED, NOT_REPLAYED) if missed else None

    def refused(self, message: str) -> RealtimeGap | None:
        """Give the gap of an error message of the server, or None where it is about something else."""
        reason = _REASONS.get(message.partition(":")[0])
        if reason is None:
            return None
        self.last = None
        return RealtimeGap(reason, message)
