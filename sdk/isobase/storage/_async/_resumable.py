"""Drives the resumable protocol: carries out what ``isobase.storage._resumable`` asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx

from isobase._acompat import asleep
from isobase._keys import unverified_claim
from isobase.storage._async._body import blocks_of, piece_of
from isobase.storage._async._landed import landed
from isobase.storage._async._requests import AsyncObjectRequests
from isobase.storage._resumable import (
    Answer,
    Ask,
    Event,
    Load,
    Loaded,
    Look,
    Moved,
    Outcome,
    Remember,
    ResumableTarget,
    Wait,
    resumable_upload,
)
from isobase.storage._source import SeekableSource, Source, StreamSource, Tally
from isobase.storage._transfer import STALLED_RETRIES, Attempts, is_lost
from isobase.storage._upload_store import FileUploadStore, UploadStore
from isobase.storage.constants import RESUMABLE_CHUNK_BYTES
from isobase.storage.exceptions import TransferError
from isobase.storage.types import Progress

__all__ = ["AsyncResumableUpload"]


class _Pieces:
    """The pieces of a file."""

    def __init__(self, source: SeekableSource) -> None:
        self.content = source

    async def load(self, offset: int) -> Loaded:
        """Say where the piece from ``offset`` on ends."""
        return Loaded(min(offset + RESUMABLE_CHUNK_BYTES, self.content.size), self.content.size)

    def blocks(self, offset: int, end: int) -> AsyncIterator[bytes]:
        """Give a piece's bytes."""
        return piece_of(self.content, offset, end)


class _Window:
    """The part of a stream that the server may still ask for: one piece, and a byte to see whether more follows."""

    def __init__(self, source: StreamSource) -> None:
        self._source = source
        self._blocks: AsyncIterator[bytes] = blocks_of(source)
        self._start = 0
        self._data = bytearray()
        self._ended = False
        self.content = Tally()

    async def load(self, offset: int) -> Loaded:
        """Have a piece from ``offset`` on ready. Raises :class:`TransferError` for bytes that are gone."""
        if not self._start <= offset <= self._start + len(self._data):
            raise TransferError("The server lost bytes of a stream, which cannot be read again")
        del self._data[: offset - self._start]
        self._start = offset
        while not self._ended and len(self._data) <= RESUMABLE_CHUNK_BYTES:
            block = await anext(self._blocks, None)
            if block is None:
                self._ended = True
                self.content.end(self._source)
            else:
                self.content.add(block)
                self._data += block
        end = offset + min(len(self._data), RESUMABLE_CHUNK_BYTES)
        is_last = self._ended and len(self._data) <= RESUMABLE_CHUNK_BYTES
        return Loaded(end, end if is_last else self._source.size)

    def blocks(self, offset: int, end: int) -> AsyncIterator[bytes]:
        """Give bytes that were loaded."""
        data = bytes(self._data[offset - self._start : end - self._start])
        return piece_of(SeekableSource(None, memoryview(data), len(data), fingerprint=None), 0, len(data))


class AsyncResumableUpload:
    """One resumable upload. ``store``: default a folder of the user's cache; used for files that have a path."""

    def __init__(
        self,
        requests: AsyncObjectRequests,
        target: ResumableTarget,
        source: Source,
        on_progress: Progress | None,
        store: UploadStore | None,
    ) -> None:
        self._requests = requests
        self._target = target
        self._source = source
        self._pieces = _Pieces(source) if isinstance(source, SeekableSource) else _Window(source)
        self._on_progress = on_progress
        self._store = store or FileUploadStore()
        self._attempts = Attempts(STALLED_RETRIES)
        file = source.fingerprint if isinstance(source, SeekableSource) else None
        token = requests._headers.get("authorization", "").removeprefix("Bearer ")
        self._fingerprint = None if file is None else target.fingerprint(file, unverified_claim(token, "sub"))

    async def run(self) -> None:
        """Upload it."""
        remembered = None if self._fingerprint is None else self._store.get(self._fingerprint)
        steps = resumable_upload(self._target, self._source.size, remembered)
        outcome: Outcome = None
        while True:
            try:
                event = steps.send(outcome)
            except StopIteration:
                return
            outcome = await self._do(event)

    async def _do(self, event: Event) -> Outcome:
        match event:
            case Ask():
                return await self._ask(event)
            case Load(offset):
                return await self._pieces.load(offset)
            case Look():
                found = await landed(self._requests, self._target.key, self._pieces.content, self._attempts)
                return found is not None
            case Wait(error, retry_after):
                if not self._attempts.may_go_on:
                    raise error
                await asleep(self._attempts.pause(retry_after))
            case Remember(url):
                self._remember(url)
            case Moved(offset):
                self._attempts.moved()
                self._report(offset)
        return None

    async def _ask(self, ask: Ask) -> Answer | httpx.TransportError:
        headers = self._requests._all_headers(ask.headers)
        content: AsyncIterator[bytes] | None = None
        if ask.method == "PATCH":
            headers["content-length"] = str(ask.end - ask.offset)
            content = self._bytes(ask.offset, ask.end)
        try:
            with self._attempts.once():
                response = await self._requests._client.request(ask.method, ask.url, headers=headers, content=content)
        except httpx.TransportError as error:
            if not is_lost(error):
                raise
            return error
        return Answer(response.status_code, response.headers, response.text)

    async def _bytes(self, offset: int, end: int) -> AsyncIterator[bytes]:
        async for block in self._pieces.blocks(offset, end):
            yield block
            offset += len(block)
            if offset < end:
                self._report(offset)

    def _remember(self, url: str | None) -> None:
        if self._fingerprint is None:
            return
        if url is None:
            self._store.remove(self._fingerprint)
        else:
            self._store.put(self._fingerprint, url)

    def _report(self, offset: int) -> None:
        if self._on_progress is not None:
            self._on_progress(offset, self._source.size)
