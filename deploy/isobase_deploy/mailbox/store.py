"""The messages of the mailbox: in memory, bounded in number and bytes, gone when the stack ends.

In memory because it is a developer's scratch pad whose mails hold codes that open accounts: nothing of it should be found
in a data directory later. Upstream's container forgets at its end too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from isobase_deploy.mailbox.message import StoredMessage

__all__ = ["MailStore"]


class MailStore:
    """Messages by id, oldest first; the oldest make room. Sizes are of the raw messages, in bytes."""

    def __init__(self, *, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages: dict[str, StoredMessage] = {}
        self.size_bytes = 0
        self.deleted_count = 0
        self.accepted_count = 0
        self.accepted_bytes = 0

    def add(self, message: StoredMessage) -> None:
        """Keep a message, and drop the oldest ones that it leaves no room for."""
        self._messages[message.id] = message
        self.size_bytes += len(message.raw)
        self.accepted_count += 1
        self.accepted_bytes += len(message.raw)
        while len(self._messages) > self._max_messages or self.size_bytes > self._max_bytes:
            self._remove(next(iter(self._messages)))
            if not self._messages:
                break

    def get(self, message_id: str) -> StoredMessage | None:
        """The message, or None."""
        return self._messages.get(message_id)

    def newest_first(self, matches: Callable[[StoredMessage], bool] | None = None) -> Sequence[StoredMessage]:
        """All messages, or those that match."""
        newest = reversed(self._messages.values())
        return list(newest) if matches is None else [message for message in newest if matches(message)]

    def delete(self, message_ids: Iterable[str]) -> None:
        """Delete messages; unknown ids are passed over."""
        for message_id in message_ids:
            self._remove(message_id)

    def clear(self) -> None:
        """Delete everything."""
        self.delete(list(self._messages))

    @property
    def count(self) -> int:
        """How many messages there are."""
        return len(self._messages)

    @property
    def unread_count(self) -> int:
        """How many of them nobody has read."""
        return sum(not message.is_read for message in self._messages.values())

    @property
    def tags(self) -> dict[str, int]:
        """How many messages have each tag."""
        found: dict[str, int] = {}
        for message in self._messages.values():
            for tag in message.tags:
                found[tag] = found.get(tag, 0) + 1
        return dict(sorted(found.items()))

    def _remove(self, message_id: str) -> None:
        message = self._messages.pop(message_id, None)
        if message is not None:
            self.size_bytes -= len(message.raw)
            self.deleted_count += 1
