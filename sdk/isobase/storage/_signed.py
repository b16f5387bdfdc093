"""From the server's answers about signed URLs to what the client gives: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isobase.storage._url import StorageUrl
from isobase.storage.exceptions import StorageException
from isobase.storage.types import CreateSignedUrlResponse, SignedUploadURL, SignedUrlResponse, SignedUrlsJsonItem

__all__ = ["signed_item", "signed_upload", "signed_url"]


def signed_url(base: StorageUrl, relative: str | None, query: Mapping[str, str]) -> SignedUrlResponse:
    """Give the whole URL of a signature; None stays None."""
    if relative is None:
        return {"signedURL": None, "signedUrl": None}
    url = str(base.below(relative).extend_query(query))
    return {"signedURL": url, "signedUrl": url}


def signed_item(base: StorageUrl, item: SignedUrlsJsonItem, query: Mapping[str, str]) -> CreateSignedUrlResponse:
    """Give one of several signatures."""
    return {"error": item.error, "path": item.path, **signed_url(base, item.signedURL, query)}


def signed_upload(base: StorageUrl, answer: Mapping[str, Any], path: str) -> SignedUploadURL:
    """Give a URL for an upload. Raises ``StorageException`` where the answer holds no token."""
    url = base.below(str(answer["url"]))
    token = url.query.get("token")
    if not token:
        raise StorageException("No token sent by the API")
    return {"signed_url": str(url), "signedUrl": str(url), "token": token, "path": path}
