"""Segments of paths that are made of what an app was given: names of tables, buckets, topics. Pure."""

from __future__ import annotations

from urllib.parse import quote

__all__ = ["quoted_segment"]


def quoted_segment(name: str, *, safe: str = "") -> str:
    """Write a name as one segment of a path.

    safe: characters that stay as they are beside letters, digits and ``_.-~``. Raises ValueError for ``.`` and ``..``,
    which would lead elsewhere, with the client's own rights.
    """
    if name in (".", ".."):
        raise ValueError(f"{name!r} cannot be a name in a URL")
    return quote(name, safe=safe)
