"""Where a client keeps its session: the interface an app implements, and the one in memory.

``isobase.auth.file_storage.FileStorage`` keeps sessions on disk. The async client takes storages of either kind,
because most of them (a dictionary, a small file) have nothing to wait for.

Source: supabase_auth's ``_async/storage.py`` for the names; supabase-js's ``SupportedStorage`` for the contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

# [async]
from inspect import isawaitable

from isobase.auth._sync.storage import SyncSupportedStorage

# [/async]

__all__ = ["AsyncMemoryStorage", "AsyncSupportedStorage", "get_item", "remove_item", "set_item"]


class AsyncSupportedStorage(ABC):
    """Texts by key. Implement the three methods to keep sessions where the app wants them (a keyring, Redis, a
    cookie).
    """

    @abstractmethod
    async def get_item(self, key: str) -> str | None:
        """Give the text kept under ``key``, or None."""

    @abstractmethod
    async def set_item(self, key: str, value: str) -> None:
        """Keep ``value`` under ``key``, in the place of what was there."""

    @abstractmethod
    async def remove_item(self, key: str) -> None:
        """Forget what is kept under ``key``; no error when there is nothing."""


class AsyncMemoryStorage(AsyncSupportedStorage):
    """Keeps texts for as long as the process runs. ``storage`` is the dictionary itself."""

    def __init__(self) -> None:
        self.storage: dict[str, str] = {}

    async def get_item(self, key: str) -> str | None:
        """Give the text kept under ``key``, or None."""
        return self.storage.get(key)

    async def set_item(self, key: str, value: str) -> None:
        """Keep ``value`` under ``key``."""
        self.storage[key] = value

    async def remove_item(self, key: str) -> None:
        """Forget what is kept under ``key``."""
        self.storage.pop(key, None)


# [async]
async def get_item(storage: AsyncSupportedStorage | SyncSupportedStorage, key: str) -> str | None:
    """Read from a storage of either kind."""
    found = storage.get_item(key)
    return await found if isawaitable(found) else found


async def set_item(storage: AsyncSupportedStorage | SyncSupportedStorage, key: str, value: str) -> None:
    """Write to a storage of either kind."""
    done = storage.set_item(key, value)
    if isawaitable(done):
        await done


async def remove_item(storage: AsyncSupportedStorage | SyncSupportedStorage, key: str) -> None:
    """Remove from a storage of either kind."""
    done = storage.remove_item(key)
    if isawaitable(done):
        await done


# [/async]
# [sync] def get_item(storage: SyncSupportedStorage, key: str) -> str | None:
# [sync]     """Read from a storage."""
# [sync]     return storage.get_item(key)
# [sync]
# [sync]
# [sync] def set_item(storage: SyncSupportedStorage, key: str, value: str) -> None:
# [sync]     """Write to a storage."""
# [sync]     storage.set_item(key, value)
# [sync]
# [sync]
# [sync] def remove_item(storage: SyncSupportedStorage, key: str) -> None:
# [sync]     """Remove from a storage."""
# [sync]     storage.remove_item(key)
