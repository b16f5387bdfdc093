"""A message of a sync channel, and the reply that it waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from isobase.realtime._async.push import AsyncPush
from isobase.realtime._sync.threads import Threads
from isobase.realtime.message import ReplyPostgresChanges
from isobase.realtime.types import RealtimeAcknowledgementStatus

__all__ = ["SyncPush"]


class SyncPush:
    """What ``SyncRealtimeChannel.push`` gives; its callbacks run in the client's callback thread."""

    def __init__(self, push: AsyncPush, threads: Threads) -> None:
        self._push = push
        self._threads = threads

    @property
    def ref(self) -> str | None:
        """The message's reference, once it was sent."""
        return self._push.ref

    def receive(self, status: RealtimeAcknowledgementStatus, callback: Callable[..., None]) -> SyncPush:
        """Call ``callback`` when it ends so: with the reply, or without arguments at a timeout. Gives itself."""

        def later(*arguments: object) -> None:
            self._threads.dispatch(callback, *arguments)

        self._threads.call(lambda: self._push.receive(status, later))  # type: ignore[call-overload]  # one of the three
        return self

    def result(self) -> tuple[RealtimeAcknowledgementStatus, ReplyPostgresChanges | dict[str, Any] | None]:
        """Wait for its end; gives how it ended and the reply (None at a timeout)."""
        return self._threads.run(self._push.result)
