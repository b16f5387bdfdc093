"""A resumable upload as values: what a client says of it, and how far it is."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import asyncpg

from isobase_services.storage.blob import BlobKey
from isobase_services.storage.core.object_metadata import DEFAULT_CACHE_CONTROL, DEFAULT_MIME_TYPE
from isobase_services.storage.core.upload import UploadFacts, UploadTarget
from isobase_services.storage.core.user_metadata import parse_user_metadata
from isobase_services.storage.core.write import Draft

__all__ = ["Pairs", "Progress", "UploadDescription", "UploadRight", "UploadState"]

_SECONDS = re.compile(r"-?[0-9]+")

Pairs: TypeAlias = tuple[tuple[str, str | None], ...]
"""The names and values of Upload-Metadata, in the order in which they came."""


@dataclass(slots=True, frozen=True)
class UploadRight:
    """On whose behalf a request writes. ``is_signed``: the right comes from a token, so policies are not asked."""

    owner_id: str | None
    is_upsert: bool
    is_signed: bool = False


@dataclass(slots=True, frozen=True)
class UploadDescription:
    """What the client said of the file when it made the upload."""

    pairs: Pairs

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, str | None]]) -> UploadDescription:
        """From Upload-Metadata as it was sent: the cache time becomes the header that downloads get."""
        given = dict(pairs)
        seconds = given.get("cacheControl") or ""
        given["cacheControl"] = f"max-age={seconds}" if _SECONDS.fullmatch(seconds) else DEFAULT_CACHE_CONTROL
        return cls(tuple(given.items()))

    @classmethod
    def from_json(cls, text: str) -> UploadDescription:
        """From the column ``metadata``."""
        return cls(tuple((name, value) for name, value in json.loads(text)))

    @property
    def json(self) -> str:
        """For the column ``metadata``: ASCII, so that it may hold what PostgreSQL's text cannot."""
        return json.dumps(self.pairs)

    def value(self, name: str) -> str | None:
        """The value of one name, or None."""
        return dict(self.pairs).get(name)

    def facts(self, size_bytes: int | None) -> UploadFacts:
        """The same as every upload's facts."""
        metadata = self.value("metadata")
        return UploadFacts(
            mime_type=self.value("contentType") or DEFAULT_MIME_TYPE,
            cache_control=self.value("cacheControl") or DEFAULT_CACHE_CONTROL,
            user_metadata=parse_user_metadata(metadata) if metadata else None,
            declared_length=size_bytes,
            known_size=size_bytes,
            robots_tag=None,
        )

    def draft(self, key: BlobKey, size_bytes: int | None, right: UploadRight) -> Draft:
        """The object's row as policies are asked about it."""
        target = UploadTarget(key.bucket, key.name, right.owner_id, right.is_upsert, right.is_signed)
        return self.facts(size_bytes).draft(target)


@dataclass(slots=True, frozen=True)
class UploadState:
    """An upload as its row says. ``size_bytes`` is None while the client has not told it."""

    key: BlobKey
    size_bytes: int | None
    offset_bytes: int
    description: UploadDescription
    parts_upload: str | None
    last_part: int
    expires_at: datetime
    is_expired: bool
    is_finished: bool

    @classmethod
    def from_row(cls, key: BlobKey, row: asyncpg.Record) -> UploadState:
        """From a row of ``READ`` or ``TAKE``."""
        return cls(
            key=key,
            size_bytes=row["size_bytes"],
            offset_bytes=row["offset_bytes"],
            description=UploadDescription.from_json(row["metadata"]),
            parts_upload=row["parts_upload"],
            last_part=row["last_part"],
            expires_at=row["expires_at"],
            is_expired=row["is_expired"],
            is_finished=row["is_finished"],
        )

    @property
    def id(self) -> uuid.UUID:
        """The row's key: the version of the object that it becomes."""
        return uuid.UUID(self.key.version)

    def draft(self, right: UploadRight) -> Draft:
        """The object's row as policies are asked about it."""
        return self.description.draft(self.key, self.size_bytes, right)


@dataclass(slots=True, frozen=True)
class Progress:
    """The outcome of a request that brought bytes.

    ``is_released``: somebody else asked for the upload, and the request was ended before its body was.
    """

    key: BlobKey
    offset_bytes: int
    expires_at: datetime
    is_finished: bool
    is_released: bool = False
