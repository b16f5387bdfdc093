"""The simple face's answer about a file."""

from __future__ import annotations

import uuid
from typing import Any

from isobase_services.storage.simple.urls import FileUrls

__all__ = ["file_answer"]


def file_answer(
    file_id: uuid.UUID,
    bucket: str,
    key: str,
    urls: FileUrls,
    *,
    size_bytes: int | None,
    mime_type: str | None,
    is_public: bool,
    expires_in_s: int | None = None,
    download: str | None = None,
) -> dict[str, Any]:
    """``{file_id, url, expires_in, key, size, content_type}``; ``size`` in bytes, ``expires_in`` in seconds or null.

    ``expires_in_s`` and ``download`` as ``FileUrls.of`` takes them.
    """
    url, ttl_s = urls.of(bucket, key, is_public=is_public, expires_in_s=expires_in_s, download=download)
    return {
        "file_id": str(file_id),
        "url": url,
        "expires_in": ttl_s,
        "key": key,
        "size": size_bytes,
        "content_type": mime_type,
    }
