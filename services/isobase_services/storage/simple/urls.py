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

    def of(
        self,
        bucket: str,
        key: str,
        *,
        is_public: bool,
        expires_in_s: int | None = None,
        download: str | None = None,
    ) -> tuple[str, int | None]:
        """A file's URL to read, and how many seconds it is good for (None: for ever, for a public file).

        ``expires_in_s``: seconds for a file that is not public, default the settings'. ``download``: the name that browsers
        save it under ("": its own), None to show it.
        """
        path = quote(f"{bucket}/{key}")
        saved = None if download is None else f"download={quote(download, safe='')}"
        if is_public:
            return f"{self._public_base}/{path}{f'?{saved}' if saved else ''}", None
        ttl_s = self._ttl_s if expires_in_s is None else expires_in_s
        token = self._signer.sign_download(bucket, key, ttl_s)
        return f"{self._base}/sign/{path}?token={token}{f'&{saved}' if saved else ''}", ttl_s

    def of_upload(self, bucket: str, key: str, token: str) -> str:
        """The URL of this server that takes the bytes of an announced upload."""
        return f"{self._base}/upload/sign/{quote(f'{bucket}/{key}')}?token={token}"
