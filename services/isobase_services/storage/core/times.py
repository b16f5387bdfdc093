"""Times as JavaScript prints them, which is how they leave this API and how they stand in an object's metadata."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["iso_milliseconds", "parse_iso"]


def iso_milliseconds(moment: datetime) -> str:
    """``2021-02-17T04:43:32.770Z`` for a moment with a time zone; microseconds are cut off, not rounded."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def parse_iso(text: str) -> datetime | None:
    """A moment from ISO text, UTC where it names no zone; None for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
