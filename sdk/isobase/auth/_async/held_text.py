"""A session's text that the app's storage would not take: held in memory and written as soon as the storage takes it.

A refresh uses the old refresh token up. A storage that fails in that moment (a full disk, a Redis that is away) must not
cost the session, so the new one is held here, and every later look at the storage begins with writing it.
"""

from __future__ import annotations

import logging
import time

from isobase.auth._async.storage import AsyncSupportedStorage, get_item, set_item
from isobase.auth._sync.storage import SyncSupportedStorage
from isobase.auth.session_rules import retry_delay_s

__all__ = ["AsyncHeldText"]

logger = logging.getLogger("isobase.auth")


class AsyncHeldText:
    """Reads and writes one text of a storage, and holds what could not be written."""

    def __init__(self) -> None:
        self._text: str | None = None
        self._before: str | None = None
        self._failures = 0
        self._again_at = 0.0

    @property
    def is_holding(self) -> bool:
        """Whether a text waits to be written."""
        return self._text is not None

    @property
    def again_in_s(self) -> float:
        """How long until the next attempt to write it: later and later."""
        return max(0.0, self._again_at - time.monotonic())

    def hurry(self) -> None:
        """Let the next ``read`` try at once."""
        self._again_at = 0.0

    def _failed(self) -> None:
        self._failures += 1
        self._again_at = time.monotonic() + retry_delay_s(self._failures)

    def drop(self) -> None:
        """Write nothing later: the text was replaced or is not wanted any more."""
        self._text = self._before = None
        self._failures = 0

    async def write(
        self,
        # [async]
        storage: AsyncSupportedStorage | SyncSupportedStorage,
        # [/async]
        # [sync] storage: SyncSupportedStorage,
        key: str,
        text: str,
        before: str | None,
    ) -> None:
        """Write ``text``, in the place of ``before``; what the storage raises is logged, and the text held.

        The log names the error's class alone: its message may show what was to be written.
        """
        if self._text is not None:
            before = self._before
        try:
            await set_item(storage, key, text)
        except Exception as error:  # noqa: BLE001 - whatever an app's storage raises; logged
            logger.error(
                "the storage %s did not take the refreshed session (%s): it is kept in memory and written later",
                type(storage).__name__,
                type(error).__name__,
            )
            self._text, self._before = text, before
            self._failed()
        else:
            self.drop()

    async def read(
        self,
        # [async]
        storage: AsyncSupportedStorage | SyncSupportedStorage,
        # [/async]
        # [sync] storage: SyncSupportedStorage,
        key: str,
    ) -> str | None:
        """Give what is stored, or held. What is held is written first, unless another process has stored something
        meanwhile, which then holds.
        """
        text = self._text
        if text is None:
            return await get_item(storage, key)
        if self.again_in_s:
            return text
        try:
            stored = await get_item(storage, key)
            if stored == self._before:
                await set_item(storage, key, text)
                stored = text
        except Exception as error:  # noqa: BLE001 - whatever an app's storage raises; logged
            self._failed()
            logger.warning("the storage %s still fails (%s)", type(storage).__name__, type(error).__name__)
            return text
        logger.info("the storage %s takes sessions again", type(storage).__name__)
        self.drop()
        return stored
