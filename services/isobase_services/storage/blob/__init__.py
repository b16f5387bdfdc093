"""Where the bytes of objects are: one interface, one backend per module.

A blob is written once under a fresh version and never changed: an overwrite is a new version, and the row in
``storage.objects`` says which one counts. So a reader never sees half a write, and a backend needs no lock. ``file`` keeps
blobs on the local disk, ``s3`` in a bucket of any S3 server. ``errors`` holds what a store may refuse.
Source: contracts/storage.md section 4, layer 1; for parts, S3's multipart uploads.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from isobase_services.storage.blob.appending import AppendStore

from isobase_services.storage.blob.errors import (
    BlobMissing,
    BlobRangeInvalid,
    BlobStoreFull,
    BlobUnavailable,
    PartInvalid,
    UploadMissing,
)

__all__ = [
    "NO_FACTS",
    "BlobEntry",
    "BlobFacts",
    "BlobKey",
    "BlobMissing",
    "BlobRangeInvalid",
    "BlobReader",
    "BlobStat",
    "BlobStore",
    "BlobStoreFull",
    "BlobUnavailable",
    "ByteRange",
    "PartInvalid",
    "PresignedRequest",
    "StoredBlob",
    "StoredPart",
    "UploadEntry",
    "UploadMissing",
]


@dataclass(slots=True, frozen=True)
class BlobKey:
    """Names one version of one object. ``version`` is a uuid made by the service; the others are the user's."""

    bucket: str
    name: str
    version: str


@dataclass(slots=True, frozen=True)
class BlobFacts:
    """What an object store keeps beside the bytes, for those who read from it directly; a disk keeps none of it."""

    content_type: str = ""
    cache_control: str = ""


NO_FACTS = BlobFacts()


@dataclass(slots=True, frozen=True)
class StoredBlob:
    """What a finished write reports: the ETag with its quotes, the size in bytes, when it was stored (UTC).

    The ETag is the MD5 of the bytes, or for a blob made of parts the MD5 of their MD5s, a dash, and their number. Some S3
    servers answer others (encrypted buckets): it tells versions apart, and is no checksum to rely on.
    """

    etag: str
    size_bytes: int
    stored_at: datetime


@dataclass(slots=True, frozen=True)
class BlobStat:
    """What a store knows of a blob without reading it. ``etag`` is None where it keeps none (the disk)."""

    size_bytes: int
    etag: str | None
    stored_at: datetime
    content_type: str | None = None


@dataclass(slots=True, frozen=True)
class StoredPart:
    """A part that is durable: its number (1 to 10,000), its ETag with quotes (the MD5 of its bytes), its size in bytes."""

    number: int
    etag: str
    size_bytes: int


@dataclass(slots=True, frozen=True)
class BlobEntry:
    """A blob as ``scan`` finds it. ``handle`` is the store's own name of it, which ``handle_of`` gives for a key."""

    handle: str
    size_bytes: int
    stored_at: datetime


@dataclass(slots=True, frozen=True)
class UploadEntry:
    """Parts of a blob that was never finished, as ``scan_uploads`` finds them. ``changed_at`` is UTC."""

    handle: str
    upload: str
    changed_at: datetime


@dataclass(slots=True, frozen=True)
class PresignedRequest:
    """A request that somebody else may send to the object store itself, with exactly these headers."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str]


@dataclass(slots=True, frozen=True)
class ByteRange:
    """Bytes ``first`` to ``last``, both included."""

    first: int
    last: int

    @property
    def size_bytes(self) -> int:
        """How many bytes the range has."""
        return self.last - self.first + 1


class BlobReader(Protocol):
    """An open blob. Close it, whatever happens."""

    @property
    def size_bytes(self) -> int:
        """The whole blob's size, whatever range is read."""
        ...

    @property
    def byte_range(self) -> ByteRange | None:
        """What ``chunks`` gives: the range that was asked for, its end cut to the blob's; None for all of it."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes in chunks of bounded size. Call it once. Raises ``BlobUnavailable`` if they end too early."""
        ...

    async def close(self) -> None:
        """Give the blob's resources back; a transfer that was not read to its end is cut."""
        ...


class BlobStore(Protocol):
    """Keeps blobs. Every method is safe against a crash at any moment: a blob is there whole, or not at all.

    Every method raises ``BlobUnavailable`` where the store fails, and ``BlobStoreFull`` where it has no room.
    """

    @property
    def min_part_bytes(self) -> int:
        """How large every part but the last must be; 0 where any size is fine."""
        ...

    @property
    def appends(self) -> AppendStore | None:
        """For blobs that grow; None where the backend knows parts only."""
        ...

    async def start(self) -> None:
        """Make the store ready. Raises ``ConfigurationError`` where it cannot be used."""
        ...

    async def put(
        self, key: BlobKey, chunks: AsyncIterator[bytes], *, facts: BlobFacts = NO_FACTS, is_unnamed: bool = False
    ) -> StoredBlob:
        """Store the stream as a blob and make it durable. What ``chunks`` raises goes on, and nothing is left behind.

        ``is_unnamed``: the version is new and no row names it before this returns, so it need not appear whole at once.
        """
        ...

    async def stat(self, key: BlobKey) -> BlobStat:
        """Size and time of a blob. Raises ``BlobMissing``."""
        ...

    async def open(self, key: BlobKey, byte_range: ByteRange | None = None) -> BlobReader:
        """Open a blob, or a range of it, for reading; on S3 this is the one request of a read.

        Raises ``BlobMissing``, and ``BlobRangeInvalid`` for a range that begins behind the blob's end.
        """
        ...

    async def copy(self, source: BlobKey, target: BlobKey, *, facts: BlobFacts | None = None) -> None:
        """Store a second blob with the same bytes, durably; ``facts`` None keeps the source's. Raises ``BlobMissing``."""
        ...

    async def delete(self, keys: Sequence[BlobKey]) -> None:
        """Remove blobs; one that is not there is no error."""
        ...

    async def begin_parts(self, key: BlobKey, facts: BlobFacts = NO_FACTS) -> str:
        """Begin a blob that is made of parts. Returns the upload's reference, which is good for this key alone."""
        ...

    async def put_part(self, key: BlobKey, upload: str, number: int, chunks: AsyncIterator[bytes]) -> StoredPart:
        """Store one part durably; an earlier part of this number is replaced. Raises ``UploadMissing``."""
        ...

    async def copy_part(
        self, key: BlobKey, upload: str, number: int, source: BlobKey, byte_range: ByteRange | None = None
    ) -> StoredPart:
        """Store (a range of) another blob as a part. Raises ``UploadMissing``, ``BlobMissing``, ``BlobRangeInvalid``."""
        ...

    async def list_parts(self, key: BlobKey, upload: str) -> Sequence[StoredPart]:
        """The parts that are there, by number. Raises ``UploadMissing``."""
        ...

    async def finish_parts(self, key: BlobKey, upload: str, parts: Sequence[StoredPart]) -> StoredBlob:
        """Make the blob of these parts, in this order, and end the upload; other parts are dropped.

        It may be called again with the same parts after a crash or a lost answer and reports the same blob.
        Raises ``PartInvalid`` for no parts, numbers out of order, or a part that is missing or has another ETag, and
        ``UploadMissing``.
        """
        ...

    async def abort_parts(self, key: BlobKey, upload: str) -> None:
        """Drop an upload and its parts; one that is not there is no error."""
        ...

    def handle_of(self, key: BlobKey) -> str:
        """The store's own name of a blob. Raises ``BlobMissing`` for a version that the service never made."""
        ...

    def scan(self) -> AsyncIterator[BlobEntry]:
        """All blobs there are, in no order, in bounded memory; blobs that come or go meanwhile may be in it or not."""
        ...

    async def delete_handles(self, handles: Sequence[str]) -> None:
        """Remove blobs by handle; one that is not there is no error."""
        ...

    def scan_uploads(self) -> AsyncIterator[UploadEntry]:
        """All uploads of parts that were neither finished nor aborted, in no order."""
        ...

    async def abort_uploads(self, entries: Sequence[UploadEntry]) -> None:
        """Drop uploads that ``scan_uploads`` found; one that is not there is no error."""
        ...

    async def presign_put(
        self, key: BlobKey, facts: BlobFacts, size_bytes: int, expires_in_s: int
    ) -> PresignedRequest | None:
        """A request by which a client stores exactly ``size_bytes`` of this type itself; None where there is none (disk).

        The request can be sent again until it expires: whoever relies on the bytes copies them to a key of his own first.
        """
        ...

    async def presign_get(
        self, key: BlobKey, expires_in_s: int, *, disposition: str | None = None
    ) -> PresignedRequest | None:
        """A request by which a client reads a blob itself; None where there is none. ``disposition`` is sent back."""
        ...

    async def close(self) -> None:
        """Give the store's own resources back."""
        ...
