"""The checksums that S3 clients send beside a body: CRC32, CRC32C, CRC64NVME, SHA-1, SHA-256, as base64 of big-endian bytes.

boto3 and the other AWS SDKs send one with every upload since January 2025. Source: AWS, "Checking object integrity".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from typing import Protocol

__all__ = ["CHECKSUM_HEADERS", "Checksum", "decode_checksum", "new_checksum"]

CHECKSUM_HEADERS = {
    "x-amz-checksum-crc32": 4,
    "x-amz-checksum-crc32c": 4,
    "x-amz-checksum-crc64nvme": 8,
    "x-amz-checksum-sha1": 20,
    "x-amz-checksum-sha256": 32,
}
"""The header of each algorithm, which is also its name as a trailer, and how many bytes its value has."""


class Checksum(Protocol):
    """A running checksum."""

    def update(self, data: bytes) -> object:
        """Take the next bytes."""
        ...

    def digest(self) -> bytes:
        """The checksum of what came so far."""
        ...


def new_checksum(header: str) -> Checksum:
    """The running checksum of a header of ``CHECKSUM_HEADERS``."""
    if header == "x-amz-checksum-sha1":
        return hashlib.sha1(usedforsecurity=False)
    if header == "x-amz-checksum-sha256":
        return hashlib.sha256()
    return _Crc32() if header == "x-amz-checksum-crc32" else _OtherCrc(header)


def decode_checksum(header: str, text: str) -> bytes | None:
    """The bytes of a checksum's text; None where it is none of this algorithm."""
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return value if len(value) == CHECKSUM_HEADERS[header] else None


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


class _OtherCrc:
    """The two that Python's library lacks; in Python itself they would be slower than the network."""

    def __init__(self, header: str) -> None:
        import anycrc  # loaded by the first client that sends one

        self._size_bytes = CHECKSUM_HEADERS[header]
        self._crc = anycrc.Model("CRC32C" if self._size_bytes == 4 else "CRC64-NVME")
        self._value: int | None = None

    def update(self, data: bytes) -> None:
        self._value = self._crc.calc(data) if self._value is None else self._crc.calc(data, self._value)

    def digest(self) -> bytes:
        value = self._crc.calc(b"") if self._value is None else self._value
        return int(value).to_bytes(self._size_bytes, "big")
