"""What every backend asks of a list of parts before it makes a blob of them. Source: S3's CompleteMultipartUpload."""

from __future__ import annotations

from collections.abc import Sequence

from isobase_services.storage.blob import PartInvalid, StoredPart

__all__ = ["MAX_PART_NUMBER", "check_part_number", "check_part_order"]

MAX_PART_NUMBER = 10_000


def check_part_number(number: int) -> None:
    """Raise ``PartInvalid`` for a number that no part can have."""
    if not 1 <= number <= MAX_PART_NUMBER:
        raise PartInvalid(number)


def check_part_order(parts: Sequence[StoredPart]) -> None:
    """Raise ``PartInvalid`` for no parts (0), or for the first whose number is not above the one before."""
    if not parts:
        raise PartInvalid(0)
    last = 0
    for part in parts:
        if part.number <= last:
            raise PartInvalid(part.number)
        last = part.number
