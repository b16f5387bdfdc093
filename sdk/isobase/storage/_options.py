"""From the options of a call to the headers of its request: pure, for both clients.

Files go up as bare bytes with their settings in headers, as storage-js sends streams, and not as a form: what is counted and
repeated is then the file itself, and nothing of it is held in memory.
"""

from __future__ import annotations

import base64
import json
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from isobase.storage.constants import DEFAULT_FILE_OPTIONS
from isobase.storage.types import DownloadOptions, FileOptions, TransformOptions, URLOptions, transform_to_dict

__all__ = [
    "FileSettings",
    "download_query",
    "file_settings",
    "json_text",
    "read_path",
    "url_query",
    "wants_transform",
    "with_guessed_type",
]

SETTINGS: Final = ("cache-control", "content-type", "metadata", "headers", "upsert", "x-upsert")


def json_text(value: object) -> str:
    """Write JSON that any header can carry once it is in base64."""
    return json.dumps(value, separators=(",", ":"))


def _flag(value: str | bool) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


@dataclass(slots=True, frozen=True)
class FileSettings:
    """What an upload says about its file."""

    content_type: str
    cache_control: str
    metadata: dict[str, Any] | None
    upsert: bool
    extra_headers: dict[str, str] = field(default_factory=dict)

    def headers(self, *, with_upsert: bool) -> dict[str, str]:
        """Give the headers of an upload in one request; ``with_upsert``: not for PUT, which always replaces."""
        headers = {"content-type": self.content_type, "cache-control": f"max-age={self.cache_control}"}
        if self.metadata is not None:
            headers["x-metadata"] = base64.b64encode(json_text(self.metadata).encode()).decode()
        if with_upsert:
            headers["x-upsert"] = "true" if self.upsert else "false"
        return headers | {name.lower(): value for name, value in self.extra_headers.items()}

    def resumable_metadata(self, bucket: str, key: str) -> str:
        """Give the ``Upload-Metadata`` of a resumable upload."""
        values = {
            "bucketName": bucket,
            "objectName": key,
            "contentType": self.content_type,
            "cacheControl": self.cache_control,
        }
        if self.metadata is not None:
            values["metadata"] = json_text(self.metadata)
        return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())


def file_settings(options: Mapping[str, Any] | None, *, always_upsert: bool = False) -> FileSettings:
    """Read the file options of a call; members that are no settings of a file are headers, as in storage3."""
    merged: dict[str, Any] = {**DEFAULT_FILE_OPTIONS, **(options or {})}
    upsert = merged.get("upsert") or merged["x-upsert"]
    extra = {name: value for name, value in merged.items() if name not in SETTINGS}
    return FileSettings(
        # In storage3's form the server reads no parameters of it: files are let in, and known, by the media type alone.
        content_type=str(merged["content-type"]).partition(";")[0].strip(),
        cache_control=str(merged["cache-control"]),
        metadata=merged.get("metadata"),
        upsert=always_upsert or _flag(upsert),
        extra_headers={**extra, **(merged.get("headers") or {})},
    )


def wants_transform(options: Mapping[str, Any] | None) -> TransformOptions | None:
    """Give the transformation that options ask for; an empty one is none."""
    return (options or {}).get("transform") or None


def url_query(options: URLOptions | Mapping[str, Any] | None) -> dict[str, str]:
    """Give the query values that a URL gets beside its token: under which name to save, and past which cache."""
    query: dict[str, str] = {}
    if download := (options or {}).get("download"):
        query["download"] = "" if download is True else str(download)
    if (nonce := (options or {}).get("cache_nonce")) is not None:
        query["cacheNonce"] = str(nonce)
    return query


def download_query(options: DownloadOptions | None, query_params: Mapping[str, str] | None) -> dict[str, str]:
    """Give the query of a download."""
    transform = wants_transform(options)
    return {
        **(transform_to_dict(transform) if transform else {}),
        **url_query(options),
        **(query_params or {}),
    }


def read_path(options: DownloadOptions | None) -> list[str]:
    """Give where an object is read: as it is, or rendered."""
    return ["render", "image", "authenticated"] if wants_transform(options) else ["object"]


def with_guessed_type(path: str, options: FileOptions | None) -> FileOptions:
    """Give the options of a file with its type, guessed by the path's ending where they do not say it."""
    guessed: FileOptions = {"content-type": mimetypes.guess_type(path)[0] or "application/octet-stream"}
    return {**guessed, **(options or {})}
