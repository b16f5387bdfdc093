"""What uploads in parts are asked for, and what they answer. Neighbour: ``parts``, which does it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isobase_services.storage.blob import ByteRange

__all__ = ["CompletedObject", "Completion", "NewParts", "PartCopy", "PartTarget", "PartsTarget"]


@dataclass(slots=True, frozen=True)
class NewParts:
    """An object to come. ``mime_type`` and ``cache_control`` are None where the request names none."""

    bucket: str
    key: str
    mime_type: str | None = None
    cache_control: str | None = None
    user_metadata: Mapping[str, Any] | None = None


@dataclass(slots=True, frozen=True)
class PartsTarget:
    """An upload that was begun: its id is good for this bucket and key alone."""

    bucket: str
    key: str
    upload_id: str


@dataclass(slots=True, frozen=True)
class PartTarget:
    """One part of an upload; ``number`` from 1 to 10,000."""

    upload: PartsTarget
    number: int


@dataclass(slots=True, frozen=True)
class PartCopy:
    """Where a part's bytes come from. ``choose`` says which of that many bytes; ``check`` refuses by the metadata."""

    bucket: str
    key: str
    choose: Callable[[int], ByteRange | None]
    check: Callable[[Mapping[str, Any]], None]


@dataclass(slots=True, frozen=True)
class Completion:
    """How an upload ends. ``parts``: number and ETag of those that make the object, in order; None takes all.

    ``is_upsert`` False: only where the key is free; ``if_match``: see ``Draft``. ``size_bytes``: what the object must have.
    """

    parts: Sequence[tuple[int, str]] | None
    is_upsert: bool = True
    if_match: str | None = None
    size_bytes: int | None = None


@dataclass(slots=True, frozen=True)
class CompletedObject:
    """The object that an upload became."""

    id: uuid.UUID
    etag: str
