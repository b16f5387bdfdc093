"""Files of an app's users: announced by kind, sent to where the server says, completed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

from isobase._acompat import ablocking
from isobase._face._async.face import AsyncFace
from isobase._face.errors import IsobaseAPIError
from isobase._face.wire import path, read
from isobase._http import AsyncSession
from isobase.uploads.models import BegunUpload, StoredFile
from isobase.uploads.sources import PIECE_BYTES, Progress, Sendable, Source, content_type_of, opened

__all__ = ["AsyncUploads"]

STEP_TIMEOUT_S = 60.0


class AsyncUploads:
    """Uploads of signed-in users (``client.uploads``).

    url: the project's. headers: ``apikey`` and the user's ``Authorization``. http_client: sends the requests.
    store_client: sends files to the store, which must not get the project's keys.
    Every method raises ``IsobaseAPIError`` when the server refuses (``user_required`` for a token that is no user's),
    and httpx's exceptions when nothing answers. Source: docs/storage-uploads.md.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        http_client: httpx.AsyncClient | None = None,
        store_client: httpx.AsyncClient | None = None,
    ) -> None:
        self._face = AsyncFace(url, headers or {}, http_client)
        self._owns_store = store_client is None
        self._store = store_client or AsyncSession(timeout=STEP_TIMEOUT_S)

    async def aclose(self) -> None:
        """Close the connections, unless they are those of clients that were given."""
        await self._face.aclose()
        if self._owns_store:
            await self._store.aclose()

    async def send(
        self,
        kind: str,
        file: Sendable,
        *,
        content_type: str | None = None,
        variables: Mapping[str, str] | None = None,
        on_progress: Progress | None = None,
    ) -> StoredFile:
        """Announce a file, send it to the store and complete it.

        kind: what sort of file it is (``profile-picture`` ...); the server's settings say where it goes and what it
        may be.
        file: bytes, a path, or an open binary file, which is sent from where it stands. content_type: default by the
        file's name.
        variables: those that the kind asks for. on_progress: called with sent and all bytes.
        """
        source = await ablocking(opened, file)
        try:
            kind_of_file = content_type_of(source.name, content_type)
            begun = await self.begin(kind, content_type=kind_of_file, size=source.size, variables=variables)
            await self._put(begun, source, on_progress)
        finally:
            await ablocking(source.close)
        return await self.complete(begun.upload_id)

    async def begin(
        self, kind: str, *, content_type: str, size: int, variables: Mapping[str, str] | None = None
    ) -> BegunUpload:
        """Announce a file of exactly ``size`` bytes; an app may have somebody else send it to ``upload_url``."""
        body = {"kind": kind, "content_type": content_type, "size": size, "variables": dict(variables or {})}
        return read(BegunUpload, (await self._face.ask("POST", path("storage", "uploads"), json=body)).json())

    async def put(self, begun: BegunUpload, file: Sendable, *, on_progress: Progress | None = None) -> None:
        """Send the bytes of an announced file. A store that refuses them raises ``IsobaseAPIError``."""
        source = await ablocking(opened, file)
        try:
            await self._put(begun, source, on_progress)
        finally:
            await ablocking(source.close)

    async def complete(self, upload_id: str) -> StoredFile:
        """Make the file of what was sent; may be repeated, and gives the same then (so it is, after a lost
        connection)."""
        where = path("storage", "uploads", upload_id, "complete")
        return read(StoredFile, (await self._face.ask("POST", where, is_repeatable=True)).json())

    async def form(
        self,
        file: Sendable,
        *,
        name: str | None = None,
        content_type: str | None = None,
        folder: str | None = None,
        public: bool = False,
        kind: str | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> StoredFile:
        """Send a small file through the server itself, in one request.

        name: the file's, default that of its path. folder: below the user's own. public: whether anybody may read it
        by its URL.
        kind: decides instead of ``folder`` and ``public``; ``variables`` are those it asks for.
        """
        source = await ablocking(opened, file)
        try:
            shown = name or source.name or "file"
            content = await ablocking(source.file.read)
        finally:
            await ablocking(source.close)
        fields: dict[str, str] = dict(variables or {})
        if kind is not None:
            fields["type"] = kind
        else:
            fields |= {"folder": folder} if folder is not None else {}
            fields["public"] = "true" if public else "false"
        form = {"data": fields, "files": {"file": (shown, content, content_type_of(shown, content_type))}}
        return read(StoredFile, (await self._face.ask("POST", path("storage", "upload"), form=form)).json())

    async def get(self, file_id: str, *, expires_in: int | None = None, download: str | bool = False) -> StoredFile:
        """Give a file's facts with a URL.

        expires_in: seconds that a signed URL is good for, 1 second to 7 days; default: the server's setting.
        download: whether browsers save it, or under which name.
        """
        params: list[tuple[str, str]] = []
        if expires_in is not None:
            params.append(("expires_in", str(expires_in)))
        if download:
            params.append(("download", "" if download is True else download))
        return read(StoredFile, (await self._face.ask("GET", path("storage", file_id), params=params)).json())

    async def delete(self, file_id: str) -> None:
        """Delete a file."""
        await self._face.ask("DELETE", path("storage", file_id))

    async def _put(self, begun: BegunUpload, source: Source, on_progress: Progress | None) -> None:
        # The exact length, or the body would go in chunks, which stores refuse.
        headers = {**begun.headers, "Content-Length": str(source.size)}
        response = await self._store.request(
            begun.method, begun.upload_url, headers=headers, content=_pieces(source, on_progress)
        )
        if not response.is_success:
            raise IsobaseAPIError(
                "store_refused",
                f"The store answered {response.status_code}",
                response.text[:500] or None,
                status=response.status_code,
            )


async def _pieces(source: Source, on_progress: Progress | None) -> AsyncIterator[Any]:
    sent = 0
    while piece := await ablocking(source.file.read, PIECE_BYTES):
        yield piece
        sent += len(piece)
        if on_progress is not None:
            on_progress(sent, source.size)
