"""Blobs in a bucket of any S3 server: AWS, MinIO, R2, ...

Objects are named as upstream's S3 backend names them (``names``), so that its bucket is served as it is. boto3 does the
talking on threads (``client``); its failures become the store's in ``errors``. An upload is one request or a multipart
upload (``writer``), a read is one request (``reader``), copies are made by the server, and ``parts`` hands S3's own multipart
uploads on. An object is there whole or not at all by S3's own rules, whatever kills this process; what it may leave is an
unfinished multipart upload, which ``scan_uploads`` finds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import UTC
from typing import Any, ParamSpec, TypeVar

from isobase_platform.config_storage.s3 import MIN_PART_SIZE_BYTES, S3Settings
from isobase_services.storage.blob import (
    NO_FACTS,
    BlobEntry,
    BlobFacts,
    BlobKey,
    BlobMissing,
    BlobReader,
    BlobStat,
    ByteRange,
    PresignedRequest,
    StoredBlob,
    StoredPart,
    UploadEntry,
)
from isobase_services.storage.blob.part_order import check_part_number
from isobase_services.storage.blob.s3.client import S3Api, S3Threads, check_bucket, make_client
from isobase_services.storage.blob.s3.copy import copy_object
from isobase_services.storage.blob.s3.errors import mapped
from isobase_services.storage.blob.s3.listing import delete_objects, list_page
from isobase_services.storage.blob.s3.names import ObjectNames
from isobase_services.storage.blob.s3.parts import PartSpool, S3Parts
from isobase_services.storage.blob.s3.reader import S3Reader, open_object
from isobase_services.storage.blob.s3.writer import S3Writer, facts_arguments

__all__ = ["S3BlobStore"]

SPOOL_BUFFER_BYTES = 1024 * 1024
"""How much of a part is collected before it is hashed and put away: few hops to a thread, little memory."""
CLEAN_UP_TIMEOUT_S = 5.0
"""How long the end of the process waits for uploads that are being removed; the rest is found by ``scan_uploads``."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class S3BlobStore:
    """A ``BlobStore`` in the bucket that the settings name. Several processes may share one bucket."""

    min_part_bytes = MIN_PART_SIZE_BYTES
    appends = None
    """S3 objects do not grow."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._bucket = settings.bucket
        self._names = ObjectNames(settings.prefix)
        self._threads = S3Threads(settings.max_connections)
        self._slots = asyncio.Semaphore(settings.max_parts_in_flight)
        self._left: set[asyncio.Task[None]] = set()
        self._api: S3Api = None
        self._public_api: S3Api = None
        self._parts = S3Parts(None, self._bucket, self._names)

    async def start(self) -> None:
        """Make the client and look at the bucket.

        Raises ``ConfigurationError`` where there is no such bucket or it may not be used; a server that does not answer is
        a warning: it may be back when it is needed.
        """
        await self._threads.run(self._prepare)

    def _prepare(self) -> None:
        settings = self._settings
        self._api = make_client(settings, settings.endpoint_url)
        public_url = settings.public_endpoint_url
        self._public_api = make_client(settings, public_url) if public_url else self._api
        self._parts = S3Parts(self._api, self._bucket, self._names)
        check_bucket(self._api, self._bucket)

    async def put(
        self, key: BlobKey, chunks: AsyncIterator[bytes], *, facts: BlobFacts = NO_FACTS, is_unnamed: bool = False
    ) -> StoredBlob:
        """Store the stream; see ``BlobStore.put``."""
        target = self._target(self._names.new(key))
        part_bytes = self._settings.part_size_bytes
        writer = S3Writer(self._api, self._threads, self._slots, target, facts, part_bytes, key.name, self._run_later)
        return await writer.write(chunks)

    async def stat(self, key: BlobKey) -> BlobStat:
        """What the server knows of a blob; see ``BlobStore.stat``."""
        target = self._target(self._names.existing(key))
        return await self._threads.run(lambda: self._stat(target))

    def _stat(self, target: dict[str, str]) -> BlobStat:
        with mapped("HeadObject"):
            facts = self._api.head_object(**target)
        stored_at = facts["LastModified"].astimezone(UTC)
        return BlobStat(int(facts["ContentLength"]), facts.get("ETag"), stored_at, facts.get("ContentType"))

    async def open(self, key: BlobKey, byte_range: ByteRange | None = None) -> BlobReader:
        """Open for reading; see ``BlobStore.open``."""
        target = self._target(self._names.existing(key))
        return await self._threads.run(
            lambda: open_object(self._api, self._threads, target, byte_range), discard=S3Reader.cut
        )

    async def copy(self, source: BlobKey, target: BlobKey, *, facts: BlobFacts | None = None) -> None:
        """Let the server copy; see ``BlobStore.copy``."""
        names = self._names.existing(source), self._names.new(target)
        await self._threads.run(lambda: copy_object(self._api, self._bucket, *names, facts, target.name))

    async def delete(self, keys: Sequence[BlobKey]) -> None:
        """Remove blobs; see ``BlobStore.delete``."""
        names: list[str] = []
        for key in keys:
            try:
                names.append(self._names.existing(key))
            except BlobMissing:
                continue
        await self._delete(names)

    async def _delete(self, names: Sequence[str]) -> None:
        if names:
            await self._threads.run(lambda: delete_objects(self._api, self._bucket, names))

    async def begin_parts(self, key: BlobKey, facts: BlobFacts = NO_FACTS) -> str:
        """Begin a blob of parts; see ``BlobStore.begin_parts``."""
        return await self._run(self._parts.begin, key, facts)

    async def put_part(self, key: BlobKey, upload: str, number: int, chunks: AsyncIterator[bytes]) -> StoredPart:
        """Store a part; see ``BlobStore.put_part``. One that does not fit into memory waits in a temporary file."""
        check_part_number(number)
        spool = PartSpool()
        pending: list[bytes] = []
        pending_bytes = 0
        try:
            async for chunk in chunks:
                pending.append(chunk)
                pending_bytes += len(chunk)
                if pending_bytes >= SPOOL_BUFFER_BYTES:
                    await self._run(spool.append, pending)
                    pending, pending_bytes = [], 0
            await self._run(spool.append, pending)
            return await self._run(self._parts.put, key, upload, number, spool)
        finally:
            # The thread of a cancelled request fails on the closed file; nobody waits for it.
            spool.close()

    async def copy_part(
        self, key: BlobKey, upload: str, number: int, source: BlobKey, byte_range: ByteRange | None = None
    ) -> StoredPart:
        """Store (a range of) another blob as a part; see ``BlobStore.copy_part``."""
        return await self._run(self._parts.copy, key, upload, number, source, byte_range)

    async def list_parts(self, key: BlobKey, upload: str) -> Sequence[StoredPart]:
        """The parts by number; see ``BlobStore.list_parts``."""
        return await self._run(self._parts.list, key, upload)

    async def finish_parts(self, key: BlobKey, upload: str, parts: Sequence[StoredPart]) -> StoredBlob:
        """Make the blob; see ``BlobStore.finish_parts``."""
        return await self._run(self._parts.finish, key, upload, parts)

    async def abort_parts(self, key: BlobKey, upload: str) -> None:
        """Drop an upload; see ``BlobStore.abort_parts``."""
        await self._run(self._parts.abort, key, upload)

    def handle_of(self, key: BlobKey) -> str:
        """The object's key in the bucket; see ``BlobStore.handle_of``."""
        return self._names.existing(key)

    async def scan(self) -> AsyncIterator[BlobEntry]:
        """All objects below the prefix, page by page; see ``BlobStore.scan``."""
        token: str | None = None
        while True:
            entries, token = await self._run(list_page, self._api, self._bucket, self._names.prefix, token)
            for entry in entries:
                yield entry
            if token is None:
                return

    async def delete_handles(self, handles: Sequence[str]) -> None:
        """Remove objects below the prefix; see ``BlobStore.delete_handles``."""
        await self._delete([handle for handle in handles if handle.startswith(self._names.prefix)])

    async def scan_uploads(self) -> AsyncIterator[UploadEntry]:
        """All unfinished multipart uploads below the prefix; see ``BlobStore.scan_uploads``."""
        after: tuple[str, str] | None = None
        while True:
            entries, after = await self._run(self._parts.page, after)
            for entry in entries:
                yield entry
            if after is None:
                return

    async def abort_uploads(self, entries: Sequence[UploadEntry]) -> None:
        """Drop uploads; see ``BlobStore.abort_uploads``."""
        await self._run(self._parts.abort_all, entries)

    async def presign_put(
        self, key: BlobKey, facts: BlobFacts, size_bytes: int, expires_in_s: int
    ) -> PresignedRequest | None:
        """A PUT of one object, whose type and length are part of the signature; see ``BlobStore.presign_put``."""
        arguments = {**self._target(self._names.new(key)), **facts_arguments(facts), "ContentLength": size_bytes}
        headers = {"content-length": str(size_bytes)}
        for name, header in (("ContentType", "content-type"), ("CacheControl", "cache-control")):
            if name in arguments:
                headers[header] = str(arguments[name])
        url = await self._run(self._presign, "put_object", arguments, expires_in_s)
        return PresignedRequest("PUT", url, headers)

    async def presign_get(
        self, key: BlobKey, expires_in_s: int, *, disposition: str | None = None
    ) -> PresignedRequest | None:
        """A GET of one object; see ``BlobStore.presign_get``."""
        arguments: dict[str, object] = {**self._target(self._names.existing(key))}
        if disposition is not None:
            arguments["ResponseContentDisposition"] = disposition
        return PresignedRequest("GET", await self._run(self._presign, "get_object", arguments, expires_in_s), {})

    def _presign(self, method: str, arguments: dict[str, object], expires_in_s: int) -> str:
        with mapped("presign"):
            return str(self._public_api.generate_presigned_url(method, Params=arguments, ExpiresIn=expires_in_s))

    async def close(self) -> None:
        """Wait for what is running, and let the connections go."""
        if self._left:
            await asyncio.wait(self._left, timeout=CLEAN_UP_TIMEOUT_S)
        await self._threads.close()
        for api in {id(api): api for api in (self._api, self._public_api) if api is not None}.values():
            api.close()

    def _target(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": name}

    async def _run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await self._threads.run(lambda: work(*args, **kwargs))

    def _run_later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._left.add(task)
        task.add_done_callback(self._left.discard)
        return task
