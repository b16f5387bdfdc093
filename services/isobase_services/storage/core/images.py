"""Images as they were asked for: from the cache, or made now. The core's part of image transformation.

Whoever calls has found the row by the caller's right already; nothing here asks policies, and nothing here is reached
without them. The same rendering is made once at a time in a process, and a source that was refused is not tried again for a
minute, so repeating a request that is expensive costs nothing. Source: contracts/storage.md 1.3; docs/decisions/0016.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import logging
import os
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from anyio import to_thread

from isobase_platform.config_storage.images import ImageSettings
from isobase_services.storage.blob import BlobReader
from isobase_services.storage.core.cdn import Purge
from isobase_services.storage.core.database import Actor
from isobase_services.storage.core.read import Access, ObjectRow, Reads
from isobase_services.storage.errors import StorageError, refuse
from isobase_services.storage.render.cache import CachedImage, ImageCache, ImageFile, ImageName
from isobase_services.storage.render.formats import ImageFormat
from isobase_services.storage.render.job import Job, Refusal, Rendered
from isobase_services.storage.render.plan import plan
from isobase_services.storage.render.pool import PoolLimits, RendererUnavailable, RenderPool, TooManyWaiting
from isobase_services.storage.render.transform import Transform

__all__ = ["ImageRequest", "Images"]

REVISION = 1
"""Counts up when the same request would give another image: older results are then not found any more."""
REFUSED_FOR_S = 60.0
MAX_REMEMBERED_REFUSALS = 1000

_log = logging.getLogger("isobase.storage.render")

_ANSWERS = {
    Refusal.UNSUPPORTED: (400, "The source image is invalid or unsupported for rendering"),
    Refusal.TOO_MANY_PIXELS: (400, "The source image resolution is too large to process"),
    Refusal.TOO_LARGE: (400, "The source image file is too large to process"),
    Refusal.TIMED_OUT: (408, "Image request timed out"),
}


@dataclass(slots=True, frozen=True)
class ImageRequest:
    """Whose object, by which right, and what of it. ``row`` was found by just this right."""

    actor: Actor
    access: Access
    row: ObjectRow
    job: Job


@dataclass(slots=True, frozen=True)
class _Made:
    """A result that is nowhere yet."""

    row: ObjectRow
    result: ImageFile
    format: ImageFormat


class Images:
    """Renders images. ``root`` is the directory of the cache and of temporary files."""

    def __init__(self, reads: Reads, settings: ImageSettings, root: Path) -> None:
        self._reads = reads
        self._settings = settings
        self._cache = ImageCache(root, settings.cache_bytes)
        self._pool = RenderPool(
            PoolLimits(
                processes=settings.workers,
                max_waiting=settings.max_waiting,
                memory_bytes=settings.worker_memory_bytes,
                timeout_s=settings.timeout_s,
                idle_s=settings.worker_idle_s,
            )
        )
        self._running: dict[str, asyncio.Event] = {}
        self._refused: OrderedDict[str, tuple[float, Refusal]] = OrderedDict()

    @property
    def is_enabled(self) -> bool:
        """Whether images are rendered at all."""
        return self._settings.enabled

    @property
    def max_dimension(self) -> int:
        """What width and height are cut to, in pixels."""
        return self._settings.max_dimension

    def plan(self, transform: Transform, accept: str) -> Job:
        """What is to be done; see ``render.plan``."""
        return plan(transform, accept, self._settings)

    def etag(self, row: ObjectRow, job: Job) -> str:
        """The result's ETag: another one for each version of the source and for all that decides the result."""
        return f'"{_name(row, job).digest}"'

    async def render(self, request: ImageRequest) -> tuple[ObjectRow, CachedImage]:
        """The image, open, and the row that it was made of (a newer one where the object was overwritten meanwhile).

        Raises InvalidRequest for a source that cannot be rendered (400), takes too long (408) or has too many before it
        (429), NoSuchKey for a row without bytes, InternalError where rendering itself does not work.
        """
        name = _name(request.row, request.job)
        while True:
            cached = await to_thread.run_sync(self._cache.find, name)
            if cached is not None:
                return request.row, cached
            self._check_remembered(name.digest)
            running = self._running.get(name.digest)
            if running is None:
                break
            await running.wait()
        done = self._running[name.digest] = asyncio.Event()
        try:
            return await self._make(request)
        finally:
            del self._running[name.digest]
            done.set()

    async def purge(self, purge: Purge) -> None:
        """Drop rendered images; an ``OwnCache``."""
        await to_thread.run_sync(self._cache.purge, purge.bucket, purge.key)

    async def close(self) -> None:
        """End the rendering processes."""
        await self._pool.close()

    async def _make(self, request: ImageRequest) -> tuple[ObjectRow, CachedImage]:
        size_bytes = request.row.size("size")
        if size_bytes is not None and size_bytes > self._settings.max_source_bytes:
            raise _refusal(Refusal.TOO_LARGE)
        try:
            async with self._pool.slot():
                made = await self._make_in_time(request)
            # The next may begin while this one is put away.
            return made.row, await to_thread.run_sync(self._publish, made, request.job)
        except TooManyWaiting as error:
            raise StorageError("InvalidRequest", 429, "Too many requests") from error
        except RendererUnavailable as error:
            _log.error("Images cannot be rendered: %s", error)
            raise refuse.internal("Internal error") from error
        except OSError as error:
            _log.error("Images cannot be rendered: a temporary file failed: %s", error)
            raise refuse.internal("Internal error") from error

    def _publish(self, made: _Made, job: Job) -> CachedImage:
        try:
            return self._cache.publish(made.result, _name(made.row, job), made.format)
        except BaseException:
            self._cache.discard(made.result)
            raise

    async def _make_in_time(self, request: ImageRequest) -> _Made:
        clock = asyncio.timeout(self._settings.timeout_s)
        try:
            async with clock:
                return await self._make_now(request)
        except TimeoutError as error:
            if not clock.expired():
                raise
            raise self._remember(request, Refusal.TIMED_OUT) from error

    async def _make_now(self, request: ImageRequest) -> _Made:
        found = request.row
        row, reader = await self._reads.open(request.actor, found.bucket, found.key, request.access, found)
        with contextlib.ExitStack() as files:
            source = await self._fetched(reader)
            files.callback(source.close)
            result = await to_thread.run_sync(self._cache.new_result)
            try:
                rendered = await self._pool.run(request.job, source.fileno(), result.file.fileno())
                if rendered.format is None:
                    raise self._remember(dataclasses.replace(request, row=row), _reason(rendered))
                return _Made(row, result, rendered.format)
            except BaseException:
                self._cache.discard(result)
                raise

    async def _fetched(self, reader: BlobReader) -> BinaryIO:
        """The source in a file without a name; never more of it than may be rendered."""
        try:
            if reader.size_bytes > self._settings.max_source_bytes:
                raise _refusal(Refusal.TOO_LARGE)
            source = await to_thread.run_sync(self._cache.new_source)
            try:
                async for chunk in reader.chunks():
                    await to_thread.run_sync(_write, source, chunk)
            except BaseException:
                source.close()
                raise
            return source
        finally:
            await reader.close()

    def _remember(self, request: ImageRequest, reason: Refusal) -> StorageError:
        if reason is not Refusal.FAILED:
            self._refused[_name(request.row, request.job).digest] = time.monotonic() + REFUSED_FOR_S, reason
            while len(self._refused) > MAX_REMEMBERED_REFUSALS:
                self._refused.popitem(last=False)
        return _refusal(reason)

    def _check_remembered(self, digest: str) -> None:
        until_s, reason = self._refused.get(digest, (0.0, None))
        if reason is None:
            return
        if time.monotonic() < until_s:
            raise _refusal(reason)
        del self._refused[digest]


def _name(row: ObjectRow, job: Job) -> ImageName:
    """A version never comes back with other bytes; a row that has none (written by SQL) is told by its change."""
    version = row.version or f"{row.id} {row.updated_at} {row.text('eTag')}"
    text = f"{REVISION}\n{row.bucket}\n{row.key}\n{version}\n".encode("utf-8", "surrogatepass")
    return ImageName(row.bucket, row.key, hashlib.sha256(text + job.to_json()).hexdigest()[:32])


def _reason(rendered: Rendered) -> Refusal:
    return rendered.refusal or Refusal.FAILED


def _refusal(reason: Refusal) -> StorageError:
    if reason not in _ANSWERS:
        return refuse.internal("Internal error")
    status, message = _ANSWERS[reason]
    return StorageError("InvalidRequest", status, message)


def _write(file: BinaryIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(file.fileno(), rest) :]
