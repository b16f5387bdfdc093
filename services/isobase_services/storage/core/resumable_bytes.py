"""Where the bytes of a resumable upload go: the interface, and the one for backends that can add to a blob (local disk).

A sink takes bytes as they come and tells now and then, by its ``Ledger``, up to where they are durable: that offset is what
a client is told after a crash, and nothing else is. Storing runs beside receiving, one step behind it, so that neither
waits for the other, and memory is bounded by two buffers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from isobase_services.storage.blob import StoredBlob, StoredPart
from isobase_services.storage.blob.appending import Appender

__all__ = ["AppendSink", "Background", "Ledger", "Mark", "Sink", "StoredPiece"]

BUFFER_BYTES = 1024 * 1024
"""What is collected before a hop to a thread."""
CHECKPOINT_BYTES = 16 * 1024 * 1024
"""At most so much of one long request is sent again after a crash."""


@dataclass(slots=True, frozen=True)
class StoredPiece:
    """A part in the blob store; ``first_byte`` is its place in the upload."""

    first_byte: int
    size_bytes: int
    number: int
    etag: str


@dataclass(slots=True, frozen=True)
class Mark:
    """Up to ``offset_bytes`` all is durable once this is recorded.

    ``piece``: a part that was stored since the last mark. ``tail``: the bytes behind the last part that still have to be
    kept, with their place, in the row's own transaction. ``drops_tail``: those kept before are in the piece, or in the tail.
    """

    offset_bytes: int
    piece: StoredPiece | None = None
    tail: tuple[int, bytes] | None = None
    drops_tail: bool = False


class Ledger(Protocol):
    """What is written down of an upload's bytes. Everything raises ``LeaseLost`` where the upload has another writer now."""

    async def record(self, mark: Mark) -> None:
        """Commit a mark."""
        ...

    async def keep_upload(self, upload: str) -> None:
        """Commit the blob store's reference of an upload in parts, before the first part is sent."""
        ...

    async def parts(self) -> Sequence[StoredPart]:
        """The parts that are recorded, in their order."""
        ...

    async def tail(self) -> tuple[int, Sequence[bytes]]:
        """How many bytes are recorded in all, and those behind the last part, which are kept here."""
        ...


class Sink(Protocol):
    """The bytes of one request. Call ``close`` at the end, whatever happened."""

    async def write(self, chunk: bytes) -> None:
        """Take bytes; waits while too much is on its way."""
        ...

    async def settle(self) -> Mark:
        """Make everything durable that was taken; the caller records the mark."""
        ...

    async def finish(self) -> StoredBlob:
        """Make it a whole blob, durably. May be called again by another process where the first was killed behind it."""
        ...

    async def close(self) -> None:
        """Give resources back. What was taken and not recorded does not count."""
        ...


class Background:
    """At most one task beside the request's own; what it raises comes out where it is next waited for."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """True while the task works."""
        return self._task is not None and not self._task.done()

    async def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for the task before, then start ``work``."""
        try:
            await self.wait()
        except BaseException:
            work.close()
            raise
        self._task = asyncio.create_task(work)

    async def wait(self) -> None:
        """Wait for the task; raises what it raised. A cancelled caller leaves it to ``close``."""
        if self._task is not None:
            await asyncio.shield(self._task)
            self._task = None

    async def close(self) -> None:
        """Wait for the task and forget its error: its request has failed already, or does not need it."""
        if self._task is not None:
            with contextlib.suppress(Exception):
                await self._task
            self._task = None


class AppendSink:
    """Bytes go to the end of a growing blob, from ``offset_bytes`` on."""

    def __init__(self, appender: Appender, offset_bytes: int, ledger: Ledger) -> None:
        self._appender = appender
        self._ledger = ledger
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._in_flight = 0
        self._written = offset_bytes
        self._checkpointed = offset_bytes
        self._writing = Background()
        self._checkpoint = Background()

    async def write(self, chunk: bytes) -> None:
        """See ``Sink.write``."""
        self._pending.append(chunk)
        self._pending_bytes += len(chunk)
        if self._pending_bytes < BUFFER_BYTES:
            return
        await self._write_on()
        if self._written - self._checkpointed >= CHECKPOINT_BYTES and not self._checkpoint.is_running:
            await self._checkpoint.start(self._keep(self._written))
            self._checkpointed = self._written

    async def _write_on(self) -> None:
        """Start writing what is pending; afterwards everything before it is written."""
        chunks, size = self._pending, self._pending_bytes
        self._pending, self._pending_bytes = [], 0
        await self._writing.start(self._appender.write(chunks))
        self._written += self._in_flight
        self._in_flight = size

    async def _keep(self, offset_bytes: int) -> None:
        await self._appender.sync()
        await self._ledger.record(Mark(offset_bytes))

    async def _write_all(self) -> None:
        if self._pending:
            await self._write_on()
        await self._writing.wait()
        self._written += self._in_flight
        self._in_flight = 0
        await self._checkpoint.wait()

    async def settle(self) -> Mark:
        """See ``Sink.settle``."""
        await self._write_all()
        await self._appender.sync()
        return Mark(self._written)

    async def finish(self) -> StoredBlob:
        """See ``Sink.finish``."""
        await self._write_all()
        return await self._appender.finish()

    async def close(self) -> None:
        """See ``Sink.close``."""
        await self._writing.close()
        await self._checkpoint.close()
        await self._appender.close()
