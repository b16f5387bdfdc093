"""Which representation the client gets: ``Accept`` against what the data API can write.

Source: PostgREST v14 ``MediaType.hs`` and ``Plan.hs`` negotiateContent. Representations by custom handler functions, plans
and GeoJSON are not offered.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

from isobase_services.database.query.errors import RequestError

__all__ = ["Media", "accepted", "negotiate"]


class Media(Enum):
    """A representation; the value is its Content-Type."""

    ARRAY = "application/json; charset=utf-8"
    ARRAY_STRIPPED = "application/vnd.pgrst.array+json;nulls=stripped; charset=utf-8"
    OBJECT = "application/vnd.pgrst.object+json; charset=utf-8"
    OBJECT_STRIPPED = "application/vnd.pgrst.object+json;nulls=stripped; charset=utf-8"
    CSV = "text/csv; charset=utf-8"

    @property
    def is_singular(self) -> bool:
        """Whether exactly one row is asked for."""
        return self in {Media.OBJECT, Media.OBJECT_STRIPPED}


_PART = re.compile(r'\s*([^;,\s]+)((?:\s*;\s*[\w-]+\s*=\s*(?:"[^"]*"|[^;,\s]*))*)\s*')
_PARAMETER = re.compile(r';\s*([\w-]+)\s*=\s*("[^"]*"|[^;,\s]*)')


def accepted(header: str | None) -> tuple[str, ...]:
    """The media types of an Accept header by quality, then place; ``*/*`` without a header. Parameters but ``q`` stay."""
    if not header:
        return ("*/*",)
    weighted: list[tuple[float, int, str]] = []
    for place, text in enumerate(header.split(",")):
        found = _PART.fullmatch(text)
        if found is None:
            weighted.append((-1.0, place, text.strip()))
            continue
        quality = 1.0
        kept = found.group(1)
        for name, value in _PARAMETER.findall(found.group(2)):
            if name.lower() == "q":
                quality = _quality(value)
            else:
                kept += f";{name}={value}"
        weighted.append((-quality, place, kept))
    return tuple(text for _, _, text in sorted(weighted))


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def negotiate(accept: Sequence[str]) -> Media:
    """The first acceptable representation that we write. Raises PGRST107 (406) where there is none."""
    for text in accept:
        kind, _, parameters = text.partition(";")
        is_stripped = ("nulls", "stripped") in [
            (name, value.strip('"')) for name, value in _PARAMETER.findall(f";{parameters}")
        ]
        match kind.lower():
            case "application/json" | "*/*":
                return Media.ARRAY
            case "application/vnd.pgrst.array+json" | "application/vnd.pgrst.array":
                return Media.ARRAY_STRIPPED if is_stripped else Media.ARRAY
            case "application/vnd.pgrst.object+json" | "application/vnd.pgrst.object":
                return Media.OBJECT_STRIPPED if is_stripped else Media.OBJECT
            case "text/csv":
                return Media.CSV
            case _:
                continue
    raise RequestError(f"None of these media types are available: {', '.join(accept)}", code="PGRST107", status=406)
