"""What the storage client assumes where a call says nothing else."""

from __future__ import annotations

from typing import Final

__all__ = [
    "DEFAULT_FILE_OPTIONS",
    "DEFAULT_SEARCH_OPTIONS",
    "DEFAULT_SORT_BY",
    "DEFAULT_TIMEOUT",
    "RESUMABLE_ABOVE_BYTES",
    "RESUMABLE_CHUNK_BYTES",
    "TRANSFER_CHUNK_BYTES",
]

DEFAULT_SORT_BY: Final[dict[str, str]] = {"column": "name", "order": "asc"}
DEFAULT_SEARCH_OPTIONS: Final[dict[str, object]] = {"limit": 100, "offset": 0, "sortBy": DEFAULT_SORT_BY}
DEFAULT_FILE_OPTIONS: Final[dict[str, str]] = {
    "cache-control": "3600",
    "content-type": "text/plain;charset=UTF-8",
    "x-upsert": "false",
}
DEFAULT_TIMEOUT: Final = 20
"""Seconds that a connection may be silent before a call fails, where no client of one's own is given."""

RESUMABLE_CHUNK_BYTES: Final = 6 * 1024 * 1024
"""How much one request of a resumable upload carries; Supabase takes no other size (but for the last)."""
RESUMABLE_ABOVE_BYTES: Final = RESUMABLE_CHUNK_BYTES
"""Files larger than this go up by the resumable protocol unless a call says otherwise."""
TRANSFER_CHUNK_BYTES: Final = 256 * 1024
"""How much of a file is in memory at a time."""
