"""Uploads of one bucket's objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import overload

from isobase._bounded import abounded
from isobase.storage._async._requests import AsyncObjectRequests
from isobase.storage._async._resumable import AsyncResumableUpload
from isobase.storage._async._single import AsyncSingleUpload
from isobase.storage._options import FileSettings, file_settings, with_guessed_type
from isobase.storage._resumable import ResumableTarget
from isobase.storage._source import FileInput, SeekableSource, Source, source_of
from isobase.storage._upload_store import UploadStore
from isobase.storage._url import object_parts
from isobase.storage.constants import RESUMABLE_ABOVE_BYTES
from isobase.storage.types import FileOptions, Progress, RequestMethod, UploadResponse, UploadSignedUrlFileOptions

__all__ = ["AsyncUploads"]


@dataclass(slots=True, frozen=True)
class _Wishes:
    on_progress: Progress | None
    size: int | None
    resumable: bool | None
    store: UploadStore | None

    def resumable_for(self, source: Source) -> bool:
        if source.size == 0:
            return False
        if self.resumable is None:
            return isinstance(source, SeekableSource) and source.size > RESUMABLE_ABOVE_BYTES
        return self.resumable


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
        resumable: bool | None = None,
        store: UploadStore | None = None,
    ) -> UploadResponse:
        """Upload a new object; the file is never held in memory whole.

        file: a path (``str`` or ``Path``), bytes, a file that is open for reading bytes, or an iterable of bytes.
        file_options: ``content-type``, ``cache-control`` (seconds), ``upsert`` ("true": replace what is there), ``metadata``
        (of one's own), ``headers``.
        on_progress: called with the bytes that are sent and their number (None: not known); it may step back after a lost
        connection, and what it raises ends the upload. size: the bytes of an iterable, where they are known.
        resumable: by the resumable protocol (TUS), in pieces of 6 MiB; default for files above 6 MiB. Such an upload goes on
        where it was after lost connections and restarts of the server, and a file's also in a new process.
        store: where those uploads are remembered, default a folder in the user's cache.

        A connection that is lost on the way is tried again: what can be read again is sent again, and where an answer was
        lost it is found out whether the object is there. Raises ``StorageApiError`` (``Duplicate``, ``Unauthorized``,
        ``Payload too large`` ...), httpx's errors for the network, ``TransferError`` for a file that changed meanwhile.
        """
        settings = file_settings(file_options)
        return await self._upload("POST", path, file, settings, None, _Wishes(on_progress, size, resumable, store))

    async def update(
        self,
        path: str,
        file: FileInput,
        file_options: FileOptions | None = None,
        *,
        on_progress: Progress | None = None,
        size: int | None = None,
        resumable: bool | None = None,
        store: UploadStore | None = None,
    ) -> UploadResponse:
        """Upload an object in the place of the one that is there; arguments and errors as for :meth:`upload`."""
        settings = file_settings(file_options, always_upsert=True)
        return await self._upload("PUT", path, file, settings, None, _Wishes(on_progress, size, resumable, store))

    async def upload_to_signed_url(
        self,
        path: str,
        token: str,
        file: FileInput,
        file_options: UploadSignedUrlFileOptions | None = None,
        *,
        on_progress: Progress | None = None,
        size: int | None = None,
        resumable: bool | None = None,
        store: UploadStore | None = None,
    ) -> UploadResponse:
        """Upload with the ``token`` of :meth:`create_signed_upload_url`; other arguments and errors as for :meth:`upload`."""
        wishes = _Wishes(on_progress, size, resumable, store)
        return await self._upload("PUT", path, file, file_settings(file_options), token, wishes)

    # Two forms, because type checkers read a dictionary of files of several kinds in the light of one expected type alone.
    @overload
    async def upload_many(
        self,
        files: Mapping[str, FileInput],
        file_options: FileOptions | None = None,
        *,
        parallel: int = 4,
        on_progress: Callable[[str, int, int | None], object] | None = None,
        store: UploadStore | None = None,
    ) -> list[UploadResponse]: ...

    @overload
    async def upload_many(
        self,
        files: Iterable[tuple[str, FileInput]],
        file_options: FileOptions | None = None,
        *,
        parallel: int = 4,
        on_progress: Callable[[str, int, int | None], object] | None = None,
        store: UploadStore | None = None,
    ) -> list[UploadResponse]: ...

    async def upload_many(
        self,
        files: Mapping[str, FileInput] | Iterable[tuple[str, FileInput]],
        file_options: FileOptions | None = None,
        *,
        parallel: int = 4,
        on_progress: Callable[[str, int, int | None], object] | None = None,
        store: UploadStore | None = None,
    ) -> list[UploadResponse]:
        """Upload several files, ``parallel`` at a time; gives their answers in order.

        files: paths in the bucket and what goes there, as for :meth:`upload`; an iterable is read as it is needed.
        file_options: for all of them; where no ``content-type`` is given, it is guessed by the path's ending. on_progress:
        called with the path, the bytes that are sent of it, and their number. The first error ends the others and is raised:
        files that are up stay.
        """
        pairs: Iterable[tuple[str, FileInput]] = files.items() if isinstance(files, Mapping) else files

        async def one(pair: tuple[str, FileInput]) -> UploadResponse:
            path, file = pair
            progress = None if on_progress is None else partial(on_progress, path)
            return await self.upload(
                path, file, with_guessed_type(path, file_options), on_progress=progress, store=store
            )

        return await abounded(one, pairs, parallel)

    async def _upload(
        self,
        method: RequestMethod,
        path: str,
        file: FileInput,
        settings: FileSettings,
        token: str | None,
        wishes: _Wishes,
    ) -> UploadResponse:
        path_parts = object_parts(path)
        key = "/".join(path_parts)
        source = source_of(file, size=wishes.size)
        try:
            if wishes.resumable_for(source):
                target = ResumableTarget(self._base_url, self.id, key, settings, token)
                await AsyncResumableUpload(self, target, source, wishes.on_progress, wishes.store).run()
                return UploadResponse(path if token else key, f"{self.id}/{key}")
            single = AsyncSingleUpload(
                self,
                method,
                [*(["object", "upload", "sign"] if token else ["object"]), self.id, *path_parts],
                {"token": token} if token else None,
                settings.headers(with_upsert=method == "POST"),
                source,
                wishes.on_progress,
            )
            answer = await single.run(key)
        finally:
            source.close()
        return UploadResponse(path if token else key, answer["Key"], id=answer.get("Id"))
