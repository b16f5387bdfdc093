"""Where the bytes of objects are: one interface, one backend per module.

A blob is written once under a fresh version and never changed: an overwrite is a new version, and the row in
``storage.objects`` says which one counts. So a reader never sees half a write, and a backend needs no lock. ``file`` keeps
blobs on the local disk. An S3 backend implements the same ``BlobStore`` (key ``bucket/name/version``).
Source: contracts/storage.md section 4, layer 1.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from isobase_services.storage.blob.appending import AppendStore

__all__ = ["BlobKey", "BlobMissing", "BlobReader", "BlobStore", "ByteRange", "StoredBlob"]


@dataclass(slots=True, frozen=True)
class BlobKey:
    """Names one version of one object. ``version`` is a uuid made by the service; the others are the user's."""

    bucket: str
    name: str
    version: str


@dataclass(slots=True, frozen=True)
class StoredBlob:
    """What a finished write reports: the ETag with its quotes (md5), the size in bytes, when it was stored (UTC)."""

    etag: str
    size_bytes: int
    stored_at: datetime


@dataclass(slots=True, frozen=True)
class ByteRange:
    """Bytes ``first`` to ``last``, both included."""

    first: int
    last: int

    @property
    def size_bytes(self) -> int:
        """How many bytes the range has."""
        return self.last - self.first + 1


class BlobMissing(Exception):
    """There is no blob of this key."""


class BlobReader(Protocol):
    """An open blob. Close it, whatever happens."""

    @property
    def size_bytes(self) -> int:
        """The whole blob's size, whatever range is read."""
        ...

    def chunks(self, byte_range: ByteRange | None = None) -> AsyncIterator[bytes]:
        """The bytes of the range (None: all) in chunks of bounded size. Call it once."""
        ...

    async def close(self) -> None:
        """Give the blob's resources back."""
        ...


class BlobStore(Protocol):
    """Keeps blobs. Every method is safe against a crash at any moment: a blob is there whole, or not at all."""

    @property
    def appends(self) -> AppendStore | None:
        """For blobs that grow; None where the backend knows parts only."""
        ...

    async def start(self) -> None:
        """Make the store ready. Raises ``ConfigurationError`` where it cannot be used."""
        ...

    async def put(self, key: BlobKey, chunks: AsyncIterator[bytes]) -> StoredBlob:
        """Store the stream as a blob and make it durable. What ``chunks`` raises goes on, and nothing is left behind."""
        ...

    async def open(self, key: BlobKey) -> BlobReader:
        """Open for reading. Raises ``BlobMissing``."""
        ...

    async def copy(self, source: BlobKey, target: BlobKey) -> None:
        """Store a second blob with the same bytes, durably. Raises ``BlobMissing``."""
        ...

    async def delete(self, keys: Sequence[BlobKey]) -> None:
        """Remove blobs; one that is not there is no error."""
        ...

    async def close(self) -> None:
        """Give the store's own resources back."""
        ...
