"""The URLs that the simple face gives out: absolute, and by the content delivery network for public files."""

from __future__ import annotations

from urllib.parse import quote

from isobase_platform.config import Settings
from isobase_services.storage.signer import Signer

__all__ = ["FileUrls"]


class FileUrls:
    """Builds URLs from the settings, never from a header of the request."""

    def __init__(self, settings: Settings, signer: Signer) -> None:
        self._signer = signer
        self._ttl_s = settings.storage.signed_url_ttl_s
        self._base = f"{settings.base_url}/storage/v1/object"
        self._public_base = f"{(settings.storage.cdn.url or settings.base_url).rstrip('/')}/storage/v1/object/public"

    def of(self, bucket: str, key: str, *, is_public: bool, expires_in_s: int | None = None) -> tuple[str, int | None]:
        """A file's URL to read, and how many seconds it is good for (None: for ever, for a public file).

        ``expires_in_s``: seconds for a file that is not public, default the settings'.
        """
        path = quote(f"{bucket}/{key}")
        if is_public:
            return f"{self._public_base}/{path}", None
        ttl_s = self._ttl_s if expires_in_s is None else expires_in_s
        return f"{self._base}/sign/{path}?token={self._signer.sign_download(bucket, key, ttl_s)}", ttl_s
