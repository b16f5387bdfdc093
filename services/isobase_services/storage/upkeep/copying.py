"""Copies one object between two stores and compares what arrived.

The checksums of the bytes are computed while they stream. The target reports an ETag: where that is the MD5 of the bytes it
is compared. Where it is something else (parts, encryption) only the size can be, and ``deep`` reads the object back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum

from isobase_services.storage.blob import BlobFacts, BlobKey, BlobMissing, BlobReader, BlobStat, BlobStore
from isobase_services.storage.upkeep.move_report import ProblemKind
from isobase_services.storage.upkeep.rows import StoredRow

__all__ = ["Comparison", "ObjectCopier", "Verify"]

_MD5_ETAG = re.compile(r'"?([0-9a-f]{32})"?')


class Verify(StrEnum):
    """How objects at the target are compared with the source's."""

    CHECKSUM = "checksum"
    """By the ETag that the target reports where it is a checksum of the bytes, else by size."""
    DEEP = "deep"
    """By reading both sides and comparing SHA-256."""


@dataclass(slots=True, frozen=True)
class Comparison:
    """What a comparison found. ``problem`` None: nothing wrong. ``is_by_checksum`` False: only the sizes were compared."""

    size_bytes: int
    is_by_checksum: bool
    was_read_back: bool = False
    problem: ProblemKind | None = None
    reason: str = ""


class _Digests:
    """The size and checksums of bytes that pass by."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()

    def update(self, chunk: bytes) -> None:
        """Take some bytes."""
        self.size_bytes += len(chunk)
        self._md5.update(chunk)
        self._sha256.update(chunk)

    @property
    def md5(self) -> str:
        """In hex."""
        return self._md5.hexdigest()

    @property
    def sha256(self) -> str:
        """In hex."""
        return self._sha256.hexdigest()


class ObjectCopier:
    """Copies and compares single objects. Every method raises ``BlobMissing`` (source) and ``BlobUnavailable``."""

    def __init__(
        self, source: BlobStore, target: BlobStore, verify: Verify, told: Callable[[int], None] | None = None
    ) -> None:
        """``told`` hears of bytes that were read from the source."""
        self._source = source
        self._target = target
        self._verify = verify
        self._told = told or (lambda count: None)

    async def copy(self, row: StoredRow) -> Comparison:
        """Store the row's blob at the target and compare what arrived."""
        reader = await self._source.open(row.key)
        digests = _Digests()
        try:
            facts = BlobFacts(content_type=row.mime_type, cache_control=row.cache_control)
            stored = await self._target.put(row.key, self._digested(reader, digests), facts=facts)
        finally:
            await reader.close()
        if stored.size_bytes != digests.size_bytes:
            reason = f"{digests.size_bytes} bytes were sent, {stored.size_bytes} are there"
            return Comparison(digests.size_bytes, is_by_checksum=False, problem=ProblemKind.MISMATCH, reason=reason)
        reported = BlobStat(stored.size_bytes, stored.etag, stored.stored_at)
        compared = await self._compare_with_target(row.key, digests, reported)
        return compared if compared.problem is not None else await self._compare_with_row(row, digests, compared)

    async def compare(self, row: StoredRow) -> Comparison:
        """Compare an object that is at the target already.

        With ``CHECKSUM`` the source is not read: the row's checksum, or the source's own, stands for its bytes.
        """
        stat = await self._target.stat(row.key)
        if self._verify is Verify.DEEP:
            reader = await self._source.open(row.key)
            digests = _Digests()
            try:
                async for _ in self._digested(reader, digests):
                    continue
            finally:
                await reader.close()
            return await self._compare_with_target(row.key, digests, stat)
        if row.size_bytes is not None and row.size_bytes != stat.size_bytes:
            reason = f"{stat.size_bytes} bytes instead of {row.size_bytes}"
            return Comparison(stat.size_bytes, is_by_checksum=False, problem=ProblemKind.MISMATCH, reason=reason)
        expected, reported = _md5_of(row.etag), _md5_of(stat.etag)
        if expected is not None and reported is not None:
            if expected == reported:
                return Comparison(stat.size_bytes, is_by_checksum=True)
            # One of the two may be no MD5 after all (an encrypted bucket's): then only the bytes tell.
            return await ObjectCopier(self._source, self._target, Verify.DEEP, self._told).compare(row)
        return Comparison(stat.size_bytes, is_by_checksum=False)

    async def _digested(self, reader: BlobReader, digests: _Digests) -> AsyncIterator[bytes]:
        async for chunk in reader.chunks():
            digests.update(chunk)
            self._told(len(chunk))
            yield chunk

    async def _compare_with_target(self, key: BlobKey, digests: _Digests, stat: BlobStat) -> Comparison:
        if stat.size_bytes != digests.size_bytes:
            reason = f"{stat.size_bytes} bytes instead of {digests.size_bytes}"
            return Comparison(digests.size_bytes, is_by_checksum=False, problem=ProblemKind.MISMATCH, reason=reason)
        reported = _md5_of(stat.etag)
        is_same = reported == digests.md5
        if self._verify is not Verify.DEEP and (reported is None or is_same):
            return Comparison(digests.size_bytes, is_by_checksum=is_same)
        found = _Digests()
        reader = await self._target.open(key)
        try:
            async for chunk in reader.chunks():
                found.update(chunk)
        finally:
            await reader.close()
        if found.sha256 != digests.sha256:
            reason = f"SHA-256 is {found.sha256} instead of {digests.sha256}"
            problem = ProblemKind.MISMATCH
            return Comparison(
                digests.size_bytes, is_by_checksum=True, was_read_back=True, problem=problem, reason=reason
            )
        return Comparison(digests.size_bytes, is_by_checksum=True, was_read_back=True)

    async def _compare_with_row(self, row: StoredRow, digests: _Digests, compared: Comparison) -> Comparison:
        """Whether the source's bytes are those that were uploaded once, as far as the row tells."""
        expected = _md5_of(row.etag)
        if row.size_bytes is not None and row.size_bytes != digests.size_bytes:
            reason = f"the source has {digests.size_bytes} bytes, the row says {row.size_bytes}"
        elif expected is not None and expected != digests.md5 and not await self._is_etag_of_source(row):
            reason = f"the source's MD5 is {digests.md5}, the row says {expected}"
        else:
            return compared
        problem = ProblemKind.SOURCE_CHANGED
        return Comparison(compared.size_bytes, compared.is_by_checksum, compared.was_read_back, problem, reason)

    async def _is_etag_of_source(self, row: StoredRow) -> bool:
        """Whether the row's ETag is what the source answers: then it is the store's own word and no MD5."""
        try:
            return _md5_of((await self._source.stat(row.key)).etag) == _md5_of(row.etag)
        except BlobMissing:
            return True


def _md5_of(etag: str | None) -> str | None:
    """The hex digits of an ETag that looks like the MD5 of the bytes; None for parts and anything else."""
    match = _MD5_ETAG.fullmatch(etag) if etag is not None else None
    return match[1] if match else None
