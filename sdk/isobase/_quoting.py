"""Values in double quotes, as PostgREST's filters, PostgreSQL's array literals and row keys have them alike."""

from __future__ import annotations

__all__ = ["quoted"]


def quoted(value: object) -> str:
    """Give the text of ``value`` between double quotes, with a backslash before each quote and backslash in it."""
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
