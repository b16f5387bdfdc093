"""What the vector API takes, checked before anything is sent; and what its refusals mean."""

from __future__ import annotations

from typing import Final

from isobase.storage.exceptions import StorageApiError, VectorBucketException
from isobase.storage.types import JSON

__all__ = ["check_keys", "check_segments", "check_vectors", "given", "is_absent_vector"]

MAX_BATCH: Final = 500
MAX_SEGMENTS: Final = 16
ABSENT: Final = frozenset({"NotFoundException", "S3VectorNotFoundException", "NoSuchBucket", "NoSuchKey"})


def given(**values: JSON) -> dict[str, JSON]:
    """Leave out what is None: the API takes no nulls."""
    return {name: value for name, value in values.items() if value is not None}


def check_keys(count: int) -> None:
    """Raise unless so many keys may go in one call."""
    if not 1 <= count <= MAX_BATCH:
        raise VectorBucketException(f"Keys batch size must be between 1 and {MAX_BATCH}.")


def check_vectors(count: int) -> None:
    """Raise unless so many vectors may go in one call."""
    if not 1 <= count <= MAX_BATCH:
        raise VectorBucketException(f"Vector batch size must be between 1 and {MAX_BATCH}.")


def check_segments(count: int | None, index: int | None) -> None:
    """Raise unless a scan can be divided so."""
    if count is None:
        return
    if not 1 <= count <= MAX_SEGMENTS:
        raise VectorBucketException(f"segment_count must be between 1 and {MAX_SEGMENTS}.")
    if index is not None and not 0 <= index < count:
        raise VectorBucketException(f"segment_index must be between 0 and {count - 1}.")


def is_absent_vector(error: StorageApiError) -> bool:
    """Whether the refusal says that the bucket or index is not there."""
    return error.error_code in ABSENT or str(error.status) == "404"
