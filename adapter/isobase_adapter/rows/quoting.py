"""The one place of the adapter where names become SQL text. Values always travel as parameters."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["MAX_IDENTIFIER_BYTES", "columns_list", "qualified", "quote_identifier", "split_resource"]

MAX_IDENTIFIER_BYTES = 63
"""PostgreSQL cuts longer names silently, and then they could mean something else."""


def quote_identifier(name: str) -> str:
    """Give ``name`` as a quoted SQL identifier.

    Raises ``ValueError`` for what can be no identifier: empty, with NUL, or longer than ``MAX_IDENTIFIER_BYTES``.
    """
    if not name or "\x00" in name or len(name.encode("utf-8", "surrogatepass")) > MAX_IDENTIFIER_BYTES:
        raise ValueError(f"not a name in PostgreSQL: {name[:80]!r}")
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str, name: str) -> str:
    """Give ``"schema"."name"``; raises as ``quote_identifier``."""
    return f"{quote_identifier(schema)}.{quote_identifier(name)}"


def columns_list(names: Iterable[str], prefix: str = "") -> str:
    """Give quoted names with commas between, each behind ``prefix`` (an alias) where one is given."""
    dotted = f"{prefix}." if prefix else ""
    return ", ".join(dotted + quote_identifier(name) for name in names)


def split_resource(resource: str) -> tuple[str, str]:
    """Split a thing's resource ``schema.table``; the first dot divides. Raises ``ValueError`` without one."""
    schema, dot, table = resource.partition(".")
    if not dot or not schema or not table:
        raise ValueError(f"not schema.table: {resource!r}")
    return schema, table
