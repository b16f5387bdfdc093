"""URLs that lead to the object store itself: reads that cost this server nothing. Source: contracts/storage.md section 4."""

from __future__ import annotations

from isobase_services.storage.blob import BlobKey, BlobMissing, BlobStore
from isobase_services.storage.core.read import ObjectRow
from isobase_services.storage.disposition import attachment

__all__ = ["MAX_DIRECT_URL_TTL_S", "DirectReads"]

MAX_DIRECT_URL_TTL_S = 7 * 24 * 3600
"""S3 signs for no longer."""


class DirectReads:
    """Makes such URLs where ``is_enabled`` and the store takes presigned requests."""

    def __init__(self, blobs: BlobStore, *, is_enabled: bool) -> None:
        self._blobs = blobs
        self._is_enabled = is_enabled

    async def url(self, row: ObjectRow, expires_in_s: int, download: str | None) -> str | None:
        """A URL to the bytes that ``row`` names now; None where there is none to give.

        The caller has the right to read the row. ``download``: the name to save the file under, None to show it. An
        overwrite or a removal ends the URL, as it names the version.
        """
        if not self._is_enabled or not row.version or expires_in_s > MAX_DIRECT_URL_TTL_S:
            return None
        disposition = None if download is None else attachment(download)
        try:
            request = await self._blobs.presign_get(
                BlobKey(row.bucket, row.key, row.version), expires_in_s, disposition=disposition
            )
        except BlobMissing:  # a version that no store ever made: the row was written by SQL
            return None
        return None if request is None else request.url
