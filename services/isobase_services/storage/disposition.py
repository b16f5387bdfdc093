"""The Content-Disposition header of a download, as upstream writes it. Source: contracts/storage.md 1.2 "Read rules"."""

from __future__ import annotations

from urllib.parse import quote

__all__ = ["attachment"]

_URI_COMPONENT_SAFE = "!~*'()"
"""What JavaScript's encodeURIComponent leaves as it is, beside letters, digits and ``-_.``."""


def attachment(name: str) -> str:
    """The header by which a browser saves a file under ``name``; under the URL's last part for an empty one."""
    if not name:
        return "attachment;"
    encoded = quote(name, safe=_URI_COMPONENT_SAFE, errors="replace")
    return f"attachment; filename={encoded}; filename*=UTF-8''{encoded}"
