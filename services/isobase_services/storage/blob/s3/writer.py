"""A stream on its way into an S3 bucket: one request where it is small, else parts of equal size, a few at a time.

The bytes are collected on the event loop, so a slow client holds no thread and no connection, only the buffer of one part.
All requests carry the MD5 of their bytes, so that the server refuses what was damaged on the way, and have their bytes in
memory, so that the library can send them again. Where anything fails, what was begun is aborted.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, TypeAlias

from isobase_services.storage.blob import (
    BlobFacts,
    BlobMissing,
    BlobUnavailable,
    PartInvalid,
    StoredBlob,
    UploadMissing,
)
from isobase_services.storage.blob.s3.client import S3Api, S3Threads
from isobase_services.storage.blob.s3.errors import S3_ERROR, mapped

__all__ = ["Later", "S3Writer", "facts_arguments", "md5_header"]

PARTS_IN_FLIGHT_PER_UPLOAD = 2
PARTS_OF_EQUAL_SIZE = 5_000
"""From this part on, of the 10,000 that S3 allows, each thousand is twice as large as the one before."""
_PARTS_PER_GROWTH = 1_000
Later: TypeAlias = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
"""Runs something to its end although nobody waits for it."""
_log = logging.getLogger("isobase.storage")


def facts_arguments(facts: BlobFacts) -> dict[str, str]:
    """What a request says of an object beside its bytes."""
    arguments = {"ContentType": facts.content_type, "CacheControl": facts.cache_control}
    # A header has room for printable ASCII only; the row holds the text as it was sent.
    return {name: value for name, value in arguments.items() if value and value.isascii() and value.isprintable()}


def md5_header(content: bytes | bytearray) -> str:
    """The value of ``Content-MD5``."""
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


class S3Writer:
    """One upload.

    ``target`` names bucket and key; ``part_bytes`` is the size of its parts; ``slots`` bounds the parts of all uploads
    that are on their way; ``key`` is the user's, for a refusal; ``later`` runs what is left to clean up.
    """

    def __init__(
        self,
        api: S3Api,
        threads: S3Threads,
        slots: asyncio.Semaphore,
        target: dict[str, str],
        facts: BlobFacts,
        part_bytes: int,
        key: str,
        later: Later,
    ) -> None:
        self._api = api
        self._threads = threads
        self._slots = slots
        self._target = target
        self._facts = facts_arguments(facts)
        self._part_bytes = part_bytes
        self._key = key
        self._later = later
        self._upload: str | None = None
        self._sent = 0
        self._parts: dict[int, str] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._single: asyncio.Future[dict[str, Any]] | None = None
        self._is_completing = False
        self._size = 0

    async def write(self, chunks: AsyncIterator[bytes]) -> StoredBlob:
        """Store the stream. What it raises goes on, and then nothing is left but what the server would not give up."""
        try:
            rest = await self._collect(chunks)
            etag = await (self._put_single(rest) if self._upload is None else self._complete(rest))
        except BlobUnavailable:
            # The server is in trouble and may take its time again: nobody waits for that.
            self._later(self._discard())
            raise
        except (BlobMissing, PartInvalid, UploadMissing) as error:
            # Somebody else ended the upload: a rule of the bucket, or an operator.
            self._later(self._discard())
            raise BlobUnavailable("The object store lost an upload", code=S3_ERROR) from error
        except BaseException:
            await asyncio.shield(self._later(self._discard()))
            raise
        return StoredBlob(etag, self._size, datetime.now(UTC))

    async def _collect(self, chunks: AsyncIterator[bytes]) -> bytearray:
        """Send full parts; the bytes behind the last one are returned."""
        buffer = bytearray()
        async for chunk in chunks:
            self._size += len(chunk)
            rest = memoryview(chunk)
            while rest:
                size_bytes = self._size_of_part(self._sent + 1)
                if len(buffer) >= size_bytes:
                    # A full part is sent when a byte follows it: what fits into one goes without multipart.
                    await self._send(buffer)
                    buffer = bytearray()
                    continue
                room = size_bytes - len(buffer)
                buffer += rest[:room]
                rest = rest[room:]
        return buffer

    def _size_of_part(self, number: int) -> int:
        growth = max(0, number - 1 - PARTS_OF_EQUAL_SIZE + _PARTS_PER_GROWTH) // _PARTS_PER_GROWTH
        return self._part_bytes << growth

    async def _send(self, content: bytearray) -> None:
        if self._upload is None:
            self._upload = await self._threads.run(self._create)
        while len(self._running) >= PARTS_IN_FLIGHT_PER_UPLOAD:
            await self._wait(asyncio.FIRST_COMPLETED)
        await self._slots.acquire()
        self._sent += 1
        self._running.add(asyncio.create_task(self._send_part(self._sent, content)))

    async def _send_part(self, number: int, content: bytearray) -> None:
        try:
            self._parts[number] = await self._threads.run(lambda: self._upload_part(number, content))
        finally:
            self._slots.release()

    async def _wait(self, until: str) -> None:
        """Wait for parts on their way; raises what one of them raised."""
        done, _ = await asyncio.wait(self._running, return_when=until)
        for task in done:
            task.result()
        self._running -= done

    async def _put_single(self, content: bytearray) -> str:
        self._single = self._threads.submit(lambda: self._put_object(content))
        answer = await asyncio.shield(self._single)
        return str(answer["ETag"])

    async def _complete(self, rest: bytearray) -> str:
        if rest:
            await self._send(rest)
        if self._running:
            await self._wait(asyncio.ALL_COMPLETED)
        self._is_completing = True
        return await self._threads.run(self._finish)

    def _put_object(self, content: bytearray) -> dict[str, Any]:
        body = bytes(content)
        with mapped("PutObject", self._key):
            answer: dict[str, Any] = self._api.put_object(
                **self._target, **self._facts, Body=body, ContentMD5=md5_header(body)
            )
        return answer

    def _create(self) -> str:
        with mapped("CreateMultipartUpload", self._key):
            return str(self._api.create_multipart_upload(**self._target, **self._facts)["UploadId"])

    def _upload_part(self, number: int, content: bytearray) -> str:
        with mapped("UploadPart", self._key):
            answer = self._api.upload_part(
                **self._target,
                UploadId=self._upload,
                PartNumber=number,
                Body=content,
                ContentMD5=md5_header(content),
            )
        return str(answer["ETag"])

    def _finish(self) -> str:
        parts = [{"PartNumber": number, "ETag": self._parts[number]} for number in sorted(self._parts)]
        with mapped("CompleteMultipartUpload", self._key):
            answer = self._api.complete_multipart_upload(
                **self._target, UploadId=self._upload, MultipartUpload={"Parts": parts}
            )
        return str(answer["ETag"])

    async def _discard(self) -> None:
        """Undo what was begun, when it has ended: a request on a thread cannot be stopped."""
        if self._single is not None:
            await asyncio.wait([self._single])
            self._single.exception()
        if self._running:
            await asyncio.gather(*self._running, return_exceptions=True)
        if self._upload is None and self._single is None:
            return
        try:
            if self._upload is not None:
                await self._threads.run(self._abort)
            if self._upload is None or self._is_completing:
                # It may have been stored although the answer was lost.
                await self._threads.run(self._delete)
        except BlobUnavailable as error:
            _log.warning("an upload to S3 was not cleaned up", extra={"reason": error.message})

    def _abort(self) -> None:
        with contextlib.suppress(UploadMissing), mapped("AbortMultipartUpload", self._key):
            self._api.abort_multipart_upload(**self._target, UploadId=self._upload)

    def _delete(self) -> None:
        with mapped("DeleteObject", self._key):
            self._api.delete_object(**self._target)
