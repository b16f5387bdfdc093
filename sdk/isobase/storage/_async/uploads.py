"""Uploads of one bucket's objects."""

from __future__ import annotations

from isobase.storage._async._requests import AsyncObjectRequests
from isobase.storage._async._single import AsyncSingleUpload
from isobase.storage._options import FileSettings, file_settings
from isobase.storage._source import FileInput, source_of
from isobase.storage._url import object_parts
from isobase.storage.types import FileOptions, Progress, RequestMethod, UploadResponse, UploadSignedUrlFileOptions

__all__ = ["AsyncUploads"]


class AsyncUploads(AsyncObjectRequests):
    """The uploads to one bucket."""

    async def upload(
        self,
        path: str,
        file: FileInput,
        file_options: FileOptions | None = None,
        *,
        on_progress: Progress | None = None,
        size: int | None = None,
    ) -> UploadResponse:
        """Upload a new object; the file is never held in memory whole.

        file: a path (``str`` or ``Path``), bytes, a file that is open for reading bytes, or an iterable of bytes.
        file_options: ``content-type``, ``cache-control`` (seconds), ``upsert`` ("true": replace what is there), ``metadata``
        (of one's own), ``headers``.
        on_progress: called with the bytes that are sent and their number (None: not known); it may step back after a lost
        connection, and what it raises ends the upload. size: the bytes of an iterable, where they are known.

        A connection that is lost on the way is tried again: what can be read again is sent again, and where an answer was
        lost it is found out whether the object is there. Raises ``StorageApiError`` (``Duplicate``, ``Unauthorized``,
        ``Payload too large`` ...), httpx's errors for the network, ``TransferError`` for a file that changed meanwhile.
        """
        settings = file_settings(file_options)
        return await self._upload("POST", path, file, settings, None, on_progress, size)

    async def update(
        self,
        path: str,
        file: FileInput,
        file_options: FileOptions | None = None,
        *,
        on_progress: Progress | None = None,
        size: int | None = None,
    ) -> UploadResponse:
        """Upload an object in the place of the one that is there; arguments and errors as for :meth:`upload`."""
        settings = file_settings(file_options, always_upsert=True)
        return await self._upload("PUT", path, file, settings, None, on_progress, size)

    async def upload_to_signed_url(
        self,
        path: str,
        token: str,
        file: FileInput,
        file_options: UploadSignedUrlFileOptions | None = None,
        *,
        on_progress: Progress | None = None,
        size: int | None = None,
    ) -> UploadResponse:
        """Upload with the ``token`` of :meth:`create_signed_upload_url`; other arguments and errors as for :meth:`upload`."""
        return await self._upload("PUT", path, file, file_settings(file_options), token, on_progress, size)

    async def _upload(
        self,
        method: RequestMethod,
        path: str,
        file: FileInput,
        settings: FileSettings,
        token: str | None,
        on_progress: Progress | None,
        size: int | None,
    ) -> UploadResponse:
        path_parts = object_parts(path)
        key = "/".join(path_parts)
        source = source_of(file, size=size)
        try:
            single = AsyncSingleUpload(
                self,
                method,
                [*(["object", "upload", "sign"] if token else ["object"]), self.id, *path_parts],
                {"token": token} if token else None,
                settings.headers(with_upsert=method == "POST"),
                source,
                on_progress,
            )
            answer = await single.run(key)
        finally:
            source.close()
        return UploadResponse(path if token else key, answer["Key"], id=answer.get("Id"))
