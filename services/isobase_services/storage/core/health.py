"""Whether storage can do its work: the question that ``GET /health`` asks. Source: contracts/storage.md 1.6."""

from __future__ import annotations

import asyncio
import logging

from isobase_platform.errors import IsobaseError
from isobase_services.storage.core.database import Actor, StorageDatabase

__all__ = ["Health"]

PROBE_TIMEOUT_S = 5.0
_PROBE = "select id from storage.buckets limit 1"
_log = logging.getLogger("isobase.storage")


class Health:
    """Asks the database for a bucket."""

    def __init__(self, database: StorageDatabase) -> None:
        self._database = database

    async def is_healthy(self, actor: Actor) -> bool:
        """True where the database answers within ``PROBE_TIMEOUT_S`` seconds."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                async with self._database.transaction(actor, as_service=True) as transaction:
                    await transaction.fetchrow(_PROBE)
        except (IsobaseError, TimeoutError) as error:
            _log.warning("storage is not healthy", extra={"reason": type(error).__name__})
            return False
        return True
