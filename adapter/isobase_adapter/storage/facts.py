"""What is known of an object and of a bucket on one side, and whether two sides have the same.

A database tells a row whole (``is_whole``); an API tells less of it: no owner, times in milliseconds, and in lists no
user metadata. Only what both sides tell is compared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["BucketFacts", "ObjectFacts", "differing_columns", "have_equal_bytes", "md5_of_etag"]

_MD5 = re.compile(r'(?:W/)?"?([0-9a-f]{32})"?', re.ASCII)
CARRIED_COLUMNS = ("id", "owner", "owner_id", "created_at", "updated_at", "last_accessed_at")
_COMPARED_COLUMNS = ("id", "owner", "owner_id", "created_at", "updated_at")
"""``last_accessed_at`` is carried with the others, but a read alone may change it."""


@dataclass(slots=True, frozen=True)
class ObjectFacts:
    """An object. ``columns``: those of ``CARRIED_COLUMNS`` that are known, times as ISO text; ``metadata`` as the row
    has it (``eTag``, ``size``, ``mimetype``, ``cacheControl`` ...). ``is_whole``: from the database.
    """

    bucket: str
    key: str
    version: str | None
    columns: Mapping[str, Any]
    metadata: Mapping[str, Any]
    user_metadata: Mapping[str, Any] | None = None
    is_whole: bool = False
    has_user_metadata: bool = True
    """Whether ``user_metadata`` is known (lists of an API do not tell it)."""

    @property
    def size_bytes(self) -> int | None:
        """How long it is, as far as the row says."""
        value = self.metadata.get("size", self.metadata.get("contentLength"))
        return int(value) if isinstance(value, int | str) and str(value).isdecimal() else None

    @property
    def md5(self) -> str | None:
        """The MD5 of its bytes, where its ETag is one (an object that came in parts has another)."""
        return md5_of_etag(self.metadata.get("eTag"))

    @property
    def mime_type(self) -> str:
        """Its content type."""
        return str(self.metadata.get("mimetype") or "application/octet-stream")

    @property
    def cache_control(self) -> str:
        """How long copies of it are good, as a header says it."""
        return str(self.metadata.get("cacheControl") or "no-cache")

    def image(self) -> dict[str, Any]:
        """What tells this state of the object from another, for people and for hashes."""
        return {
            "version": self.version,
            "size": self.size_bytes,
            "etag": self.metadata.get("eTag"),
            "mimetype": self.mime_type,
            "cacheControl": self.cache_control,
            "user_metadata": self.user_metadata,
        }


@dataclass(slots=True, frozen=True)
class BucketFacts:
    """A bucket's own settings. ``columns``: ``owner``, ``owner_id``, ``created_at``, ``updated_at`` where known."""

    id: str
    name: str
    is_public: bool
    file_size_limit_bytes: int | None
    allowed_mime_types: tuple[str, ...] | None
    columns: Mapping[str, Any] = field(default_factory=dict)

    def is_like(self, other: BucketFacts) -> bool:
        """Whether the settings that an app notices are the same."""
        return self.settings() == other.settings()

    def settings(self) -> dict[str, Any]:
        """The settings, as the API takes them."""
        types = None if self.allowed_mime_types is None else list(self.allowed_mime_types)
        return {"public": self.is_public, "file_size_limit": self.file_size_limit_bytes, "allowed_mime_types": types}


def md5_of_etag(etag: object) -> str | None:
    """The MD5 that an ETag is, or None for one of parts or another kind."""
    match = _MD5.fullmatch(etag) if isinstance(etag, str) else None
    return None if match is None else match[1]


def have_equal_bytes(one: ObjectFacts, other: ObjectFacts) -> bool:
    """Whether both have the same bytes, as far as that can be told without reading them.

    By size and MD5; where an ETag is no MD5, by the version, or by the time of the last change in microseconds, which
    only who carries makes equal.
    """
    if one.size_bytes is None or one.size_bytes != other.size_bytes:
        return False
    if one.md5 is not None and other.md5 is not None:
        return one.md5 == other.md5
    if one.version is not None and one.version == other.version:
        return True
    changed = one.columns.get("updated_at")
    return one.is_whole and other.is_whole and changed is not None and changed == other.columns.get("updated_at")


def differing_columns(source: ObjectFacts, target: ObjectFacts) -> list[str]:
    """Name what both sides tell of an object, beside its bytes, and tell differently."""
    found = []
    if source.mime_type != target.mime_type:
        found.append("mimetype")
    if source.cache_control != target.cache_control:
        found.append("cacheControl")
    are_whole = source.is_whole and target.is_whole
    if source.has_user_metadata and target.has_user_metadata:
        # An API makes an empty object of none.
        ours, theirs = source.user_metadata, target.user_metadata
        if ours != theirs and (are_whole or (ours or {}) != (theirs or {})):
            found.append("user_metadata")
    if are_whole:
        found += [name for name in _COMPARED_COLUMNS if source.columns.get(name) != target.columns.get(name)]
    return found
