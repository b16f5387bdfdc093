"""One writer per upload, whichever process it is in: leases in the upload's row, renewed while the writer lives.

No connection is held while bytes move. Whoever finds an upload leased asks its writer to let go: in the same process at
once, in another one by a column that the writer sees with its next renewal. A writer that was killed lets go by not
renewing. (Upstream holds an advisory lock in an open transaction for as long as a request lasts.)
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator

from isobase_platform.caller import Caller
from isobase_platform.errors import IsobaseError
from isobase_services.storage.core import resumable_sql as sql
from isobase_services.storage.core.database import Actor, StorageDatabase

__all__ = ["LEASE_S", "POLL_S", "RELEASE_TIMEOUT_S", "Lease", "Leases"]

LEASE_S = 3.0
"""How long a writer that shows no sign of life keeps others out."""
RENEWAL_S = 0.5
"""How often writers renew, and hear that they are asked to let go."""
RELEASE_TIMEOUT_S = 5.0
"""How long a request waits for another to let go; longer than a dead writer's lease."""
POLL_S = 0.1

_log = logging.getLogger("isobase.storage")
_SERVICE = Actor(Caller.service(), "storage.tus.lease")


class Lease:
    """The right to write to one upload, for one request."""

    def __init__(self, upload_id: uuid.UUID) -> None:
        self.upload_id = upload_id
        self.token = uuid.uuid4()
        self.is_asked = False
        """True when somebody else wants the upload: keep what arrived and let go."""
        self._waiting: asyncio.Timeout | None = None

    def ask(self) -> None:
        """Somebody else wants it."""
        self.is_asked = True
        if self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())

    async def chunks(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The chunks, until their end or until the lease is asked for."""
        while not self.is_asked:
            try:
                async with asyncio.timeout(None) as waiting:
                    self._waiting = waiting
                    chunk = await anext(chunks, b"")
            except TimeoutError:
                return
            finally:
                self._waiting = None
            if not chunk:
                return
            yield chunk


class Leases:
    """The leases of this process."""

    def __init__(self, database: StorageDatabase) -> None:
        self._database = database
        self._held: dict[uuid.UUID, Lease] = {}
        self._task: asyncio.Task[None] | None = None

    def hold(self, lease: Lease) -> None:
        """Renew it from now on; the row has it already."""
        self._held[lease.upload_id] = lease
        if self._task is None:
            self._task = asyncio.create_task(self._renew(), name="renew the leases of resumable uploads")

    def forget(self, lease: Lease) -> None:
        """Renew it no more."""
        if self._held.get(lease.upload_id) is lease:
            del self._held[lease.upload_id]

    def ask(self, upload_id: uuid.UUID) -> bool:
        """Ask the writer in this process to let go; False where there is none."""
        lease = self._held.get(upload_id)
        if lease is not None:
            lease.ask()
        return lease is not None

    def ask_all(self) -> None:
        """Ask all writers of this process: it is about to end, and what arrived so far shall count."""
        for lease in self._held.values():
            lease.ask()

    async def _renew(self) -> None:
        try:
            while self._held:
                await asyncio.sleep(RENEWAL_S)
                if self._held:
                    await self._renew_once()
        finally:
            self._task = None

    async def _renew_once(self) -> None:
        tokens = {lease.token: lease for lease in self._held.values()}
        try:
            async with self._database.transaction(_SERVICE, as_service=True) as transaction:
                rows = await transaction.fetch(sql.RENEW, list(tokens), LEASE_S)
        except IsobaseError:
            # The writers go on: what they store counts if their leases last, and otherwise they hear that it does not.
            _log.warning("leases of resumable uploads could not be renewed", exc_info=True)
            return
        for row in rows:
            if row["release_asked"]:
                tokens[row["lease"]].ask()
