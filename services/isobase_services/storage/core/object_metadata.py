"""What the column ``metadata`` of an object's row says of its blob, as JSON text."""

from __future__ import annotations

import json
from typing import Any

from isobase_services.storage.blob import StoredBlob
from isobase_services.storage.core.times import iso_milliseconds

__all__ = ["DEFAULT_CACHE_CONTROL", "DEFAULT_MIME_TYPE", "object_metadata_json"]

DEFAULT_MIME_TYPE = "application/octet-stream"
DEFAULT_CACHE_CONTROL = "no-cache"
"""What an object gets whose request says nothing of it."""


def object_metadata_json(blob: StoredBlob, *, mime_type: str, cache_control: str, robots_tag: str | None = None) -> str:
    """The members of upstream's row (contracts/storage.md 1.2 "Upload rules"), and the robots tag where one was sent."""
    metadata: dict[str, Any] = {
        "eTag": blob.etag,
        "size": blob.size_bytes,
        "mimetype": mime_type,
        "cacheControl": cache_control,
        "lastModified": iso_milliseconds(blob.stored_at),
        "contentLength": blob.size_bytes,
        "httpStatusCode": 200,
    }
    if robots_tag:
        metadata["xRobotsTag"] = robots_tag
    return json.dumps(metadata)
