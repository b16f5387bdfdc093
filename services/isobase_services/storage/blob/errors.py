"""What a blob store may refuse.

```
BlobMissing                  there is no such blob
BlobRangeInvalid             the range begins behind the blob's end
UploadMissing                there is no such upload of parts
PartInvalid                  parts that cannot be made one blob
StorageError
└── BlobUnavailable          the store failed: no fault of the request, nothing was changed
    └── BlobStoreFull        it has no room left
```

The first four belong to the protocol between core and store, and core turns each into what it means there. The last two mean
the same everywhere, so they are refusals of storage already, and every face renders them. Source: upstream
``src/internal/errors/storage-error.ts``: what its S3 backend raises becomes ``S3Error``, anything else ``InternalError``.
"""

from __future__ import annotations

from isobase_services.storage.errors import StorageError

__all__ = [
    "BlobMissing",
    "BlobRangeInvalid",
    "BlobStoreFull",
    "BlobUnavailable",
    "PartInvalid",
    "UploadMissing",
]


class BlobMissing(Exception):
    """There is no blob of this key."""


class BlobRangeInvalid(Exception):
    """A range that begins behind the end of the blob. ``size_bytes`` is the blob's size, or None where unknown."""

    def __init__(self, size_bytes: int | None) -> None:
        super().__init__("The range begins behind the end of the blob")
        self.size_bytes = size_bytes


class UploadMissing(Exception):
    """There is no upload of parts with this reference for this key: finished, aborted, or never begun."""


class PartInvalid(Exception):
    """These parts cannot be made one blob. ``number`` is the first part in question, 0 where there are none.

    ``is_too_small``: the part is there and right, but only the last may be of its size.
    """

    def __init__(self, number: int, *, is_too_small: bool = False) -> None:
        super().__init__(f"Part {number} is missing, out of order, too small or not the one that was named")
        self.number = number
        self.is_too_small = is_too_small


class BlobUnavailable(StorageError):
    """The store failed.

    ``is_temporary``: it asked to be left alone for a while, or did not answer, so the same request may do later: 503; else
    500. (Upstream sends 400 with the store's status in the body for all but 500, which tells proxies and clients that the
    request was wrong.) ``code`` is ``S3Error`` for an S3 server, ``InternalError`` for a disk.
    """

    def __init__(self, message: str, *, code: str = "InternalError", is_temporary: bool = False) -> None:
        status = 503 if is_temporary else 500
        super().__init__(code, status, message, wire_status=status)


class BlobStoreFull(BlobUnavailable):
    """The store has no room left."""

    def __init__(self, *, code: str = "InternalError") -> None:
        super().__init__("The storage has no space left", code=code)
