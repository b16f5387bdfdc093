"""Values of HTTP headers that several faces read and write: dates, and what may stand in a header at all. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from isobase_services.storage.core.times import parse_iso

__all__ = ["http_date", "is_header_text", "last_modified", "parse_http_date"]


def http_date(moment: datetime) -> str:
    """``Sat, 21 Nov 2026 13:56:24 GMT`` for a moment with a time zone."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def parse_http_date(text: str | None) -> datetime | None:
    """A moment as HTTP writes it, or in ISO 8601 as upstream reads it too (JavaScript does); None for anything else."""
    if text is None:
        return None
    moment: datetime | None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        moment = parse_iso(text)
    if moment is None:
        return None
    try:
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).astimezone(UTC)
    except OverflowError:  # before the year 1 or behind 9999, once it is UTC
        return None


def is_header_text(value: str) -> bool:
    """A header must not be able to become two: metadata may have been written by SQL."""
    return value.isascii() and value.isprintable()


def last_modified(metadata: Mapping[str, Any], fallback: datetime | None) -> datetime | None:
    """When an object's bytes were stored, to the second as HTTP tells it; by its row's metadata, else ``fallback``."""
    text = metadata.get("lastModified")
    # Rows of older servers hold the date as HTTP writes it.
    moment = (parse_http_date(text) if isinstance(text, str) else None) or fallback
    return moment.astimezone(UTC).replace(microsecond=0) if moment else None
