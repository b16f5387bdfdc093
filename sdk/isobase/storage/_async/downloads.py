"""Downloads in flat memory: as a stream, and to a file. Both go on after cut connections."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

import httpx

from isobase._acompat import ablocking, asleep
from isobase.storage._async._requests import AsyncObjectRequests
from isobase.storage._download import Reception
from isobase.storage._options import download_query, read_path
from isobase.storage._transfer import STALLED_RETRIES, Attempts, is_lost, is_passing_status
from isobase.storage._url import object_parts
from isobase.storage.exceptions import StorageApiError, error_of
from isobase.storage.types import DownloadOptions, Progress

__all__ = ["AsyncDownload", "AsyncDownloads"]

WRITE_BYTES = 1024 * 1024


class AsyncDownload:
    """An object that is read block by block: iterate over it, best inside ``async with``, which closes the connection.

    Once it is open it knows ``size`` (bytes, None where the server does not say), ``content_type``, ``etag`` and ``headers``.
    A connection that is cut is opened again for what is missing, as long as the object is the same. Errors while opening:
    ``StorageApiError``; while reading: httpx's errors when trying again does not help, ``TransferError`` where the object was
    replaced meanwhile. What ``call_options`` says counts where the download is opened.
    """

    def __init__(self, requests: AsyncObjectRequests, url: str, on_progress: Progress | None) -> None:
        self._requests = requests
        self._url = url
        self._on_progress = on_progress
        self._attempts = Attempts(STALLED_RETRIES)
        self._reception = Reception()
        self._answer: AbstractAsyncContextManager[httpx.Response] | None = None
        self._response: httpx.Response | None = None
        self._skip = 0

    @property
    def size(self) -> int | None:
        """The object's bytes."""
        return self._reception.total

    @property
    def etag(self) -> str | None:
        """The object's etag."""
        return self._reception.etag

    @property
    def content_type(self) -> str | None:
        """The object's type."""
        return self._reception.headers.get("content-type")

    @property
    def headers(self) -> httpx.Headers:
        """The headers of the first answer."""
        return httpx.Headers(dict(self._reception.headers))

    async def open(self) -> Self:
        """Ask for the object and wait for the begin of the answer; gives the download itself. Again: does nothing."""
        if self._response is None:
            self._attempts = Attempts(STALLED_RETRIES)
            await self._open()
        return self

    async def read(self) -> bytes:
        """Give all bytes that were not read yet."""
        return b"".join([block async for block in self])

    async def aclose(self) -> None:
        """End the download, also in the middle."""
        answer, self._answer, self._response = self._answer, None, None
        if answer is not None:
            await answer.__aexit__(None, None, None)

    async def __aenter__(self) -> Self:
        """Open it."""
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.aclose()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Read block by block."""
        await self.open()
        try:
            while True:
                try:
                    async for block in self._rest():
                        self._attempts.moved()
                        self._attempts.check()
                        yield block
                    if self._reception.is_complete:
                        return
                    raise httpx.RemoteProtocolError("the connection was closed before the object was complete")
                except httpx.TransportError as error:
                    if not is_lost(error) or not self._reception.may_go_on or not self._attempts.may_go_on:
                        raise
                await self.aclose()
                await asleep(self._attempts.pause())
                await self._open()
        finally:
            await self.aclose()

    async def _rest(self) -> AsyncIterator[bytes]:
        response = cast("httpx.Response", self._response)
        async for block in response.aiter_bytes():
            rest = block[self._skip :]
            self._skip -= len(block) - len(rest)
            if not rest:
                continue
            self._reception.received += len(rest)
            if self._on_progress is not None:
                self._on_progress(self._reception.received, self._reception.total)
            yield rest

    async def _open(self) -> None:
        while True:
            try:
                await self._ask()
            except httpx.TransportError as error:
                if not is_lost(error) or not self._attempts.may_go_on:
                    raise
            except StorageApiError as error:
                if not is_passing_status(error.http_status or 0) or not self._attempts.may_go_on:
                    raise
            else:
                return
            await asleep(self._attempts.pause())

    async def _ask(self) -> None:
        headers = self._requests._all_headers(self._reception.request_headers())
        with self._attempts.once():
            answer = self._requests._client.stream("GET", self._url, headers=headers)
            response = await answer.__aenter__()
        try:
            if not response.is_success:
                await response.aread()
                raise error_of(response)
            self._skip = self._reception.begin(response.status_code, response.headers)
        except BaseException:
            await answer.__aexit__(None, None, None)
            raise
        self._answer, self._response = answer, response


class AsyncDownloads(AsyncObjectRequests):
    """The downloads of one bucket that hold no object in memory."""

    def download_stream(
        self,
        path: str,
        options: DownloadOptions | None = None,
        query_params: dict[str, str] | None = None,
        *,
        on_progress: Progress | None = None,
    ) -> AsyncDownload:
        """Give an object to read block by block, in flat memory; nothing is asked before it is opened or read.

        options, query_params: as for :meth:`download`. on_progress: called with the bytes that came and their number (None:
        not known). Use it as ``async with bucket.download_stream(path) as stream: async for block in stream: ...``.
        Source: storage-js's ``download(...).asStream()``.
        """
        url = self._base_url.joinpath(*read_path(options), self.id, *object_parts(path))
        return AsyncDownload(self, str(url.with_query(download_query(options, query_params))), on_progress)

    async def download_to(
        self,
        path: str,
        target: str | os.PathLike[str],
        options: DownloadOptions | None = None,
        query_params: dict[str, str] | None = None,
        *,
        on_progress: Progress | None = None,
    ) -> Path:
        """Write an object to a file; gives the file's path.

        target: the file, whose folder exists. It appears, or is replaced, when the object is there whole; until then the
        bytes are in a hidden file beside it, which is removed after an error. Other arguments and errors as for
        :meth:`download_stream`, and ``OSError``.
        """
        target = Path(target)
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        async with self.download_stream(path, options, query_params, on_progress=on_progress) as stream:
            file = await ablocking(open, part, "xb")
            try:
                await _write(file, stream)
                await ablocking(file.close)
                os.replace(part, target)
            except BaseException:
                file.close()
                with contextlib.suppress(OSError):
                    os.unlink(part)
                raise
        return target


async def _write(file: IO[bytes], stream: AsyncDownload) -> None:
    waiting = bytearray()
    async for block in stream:
        waiting += block
        if len(waiting) >= WRITE_BYTES:
            await ablocking(file.write, waiting)
            waiting = bytearray()
    await ablocking(file.write, waiting)
