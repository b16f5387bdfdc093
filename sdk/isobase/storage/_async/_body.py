"""The bytes of an upload, read where they do not hold the caller's loop, with what is sent reported."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable

from isobase._acompat import ablocking
from isobase.storage._source import SeekableSource, StreamSource, Tally
from isobase.storage.constants import TRANSFER_CHUNK_BYTES

__all__ = ["blocks_of", "piece_of", "stream_of"]


async def piece_of(
    source: SeekableSource, offset: int, end: int, report: Callable[[int], object] | None = None
) -> AsyncIterator[bytes]:
    """Give the bytes from ``offset`` to ``end``; ``report`` hears how far it is after each block was taken."""
    is_short = source.is_in_memory or end - offset <= TRANSFER_CHUNK_BYTES
    while offset < end:
        count = min(TRANSFER_CHUNK_BYTES, end - offset)
        block = source.read(offset, count) if is_short else await ablocking(source.read, offset, count)
        yield bytes(block)
        offset += count
        if report is not None:
            report(offset)


async def blocks_of(source: StreamSource) -> AsyncIterator[bytes]:
    """Give the blocks of a stream as they come."""
    # [async]
    if isinstance(source.stream, AsyncIterable):
        async for block in source.stream:
            yield block
        return
    # [/async]
    if not isinstance(source.stream, Iterable):
        raise TypeError("an async iterable can be uploaded by the async client alone")
    blocks = iter(source.stream)
    while (following := next(blocks, None)) is not None:
        yield following


async def stream_of(
    source: StreamSource, tally: Tally, report: Callable[[int], object] | None = None
) -> AsyncIterator[bytes]:
    """Give the bytes of a stream, counted."""
    async for block in blocks_of(source):
        yield block
        tally.add(block)
        if report is not None:
            report(tally.sent)
    tally.end(source)
