"""Walks a bucket on both sides at once, in the order of keys, and tells what differs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum

from isobase_adapter.storage.facts import ObjectFacts, differing_columns, have_equal_bytes
from isobase_adapter.storage.store import Store

__all__ = ["Difference", "difference_of", "differing_keys", "walked"]


class Difference(StrEnum):
    """In which way an object differs."""

    MISSING = "missing"
    """The source has it, the target does not."""
    EXTRA = "extra"
    """The target has it, the source does not."""
    BYTES = "bytes"
    FACTS = "facts"
    """Its bytes are equal; type, cache control, metadata, owner or times are not."""
    UNREADABLE = "unreadable"
    """A side does not give it, so nobody knows."""


async def walked(
    source: Store, target: Store, bucket: str, after: str = ""
) -> AsyncIterator[tuple[ObjectFacts | None, ObjectFacts | None]]:
    """Every object of both sides, once, beside its other self or None."""
    ours, theirs = _each(source, bucket, after), _each(target, bucket, after)
    one, other = await anext(ours, None), await anext(theirs, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one.key.encode() < other.key.encode()):
            yield one, None
            one = await anext(ours, None)
        elif one is None or other.key.encode() < one.key.encode():
            yield None, other
            other = await anext(theirs, None)
        else:
            yield one, other
            one, other = await anext(ours, None), await anext(theirs, None)


async def differing_keys(
    source: Store, target: Store, bucket: str, after: str = ""
) -> AsyncIterator[tuple[str, Difference]]:
    """The keys that differ, and how."""
    async for one, other in walked(source, target, bucket, after):
        found = difference_of(one, other)
        if found is not None:
            named = one or other
            assert named is not None
            yield named.key, found


def difference_of(source: ObjectFacts | None, target: ObjectFacts | None) -> Difference | None:
    """How an object differs, or None where it does not."""
    if source is None:
        return None if target is None else Difference.EXTRA
    if target is None:
        return Difference.MISSING
    if not have_equal_bytes(source, target):
        return Difference.BYTES
    return Difference.FACTS if differing_columns(source, target) else None


async def _each(store: Store, bucket: str, after: str) -> AsyncIterator[ObjectFacts]:
    async for page in store.objects(bucket, after):
        for facts in page:
            yield facts
