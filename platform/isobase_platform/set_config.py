"""Settings of a transaction as SQL: calls of ``set_config`` whose effect ends with it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from isobase_platform.sql import quote_identifier, quote_literal

__all__ = ["path_text", "set_configs", "set_configs_statement"]


def _set_config(name: str, value: str) -> str:
    return f"pg_catalog.set_config({quote_literal(name)}, {quote_literal(value)}, true)"


def set_configs(items: Sequence[tuple[str, str]]) -> str:
    """One SELECT that sets all ``items`` (name, value), in their order."""
    return f"SELECT {', '.join([_set_config(*item) for item in items])}"


@lru_cache(maxsize=512)
def set_configs_statement(names: tuple[str, ...]) -> str:
    """The same with the values as parameters, and with a number to answer instead of all of them once more."""
    calls = [f"pg_catalog.set_config({quote_literal(name)}, ${n}, true)" for n, name in enumerate(names, 1)]
    return f"SELECT pg_catalog.num_nonnulls({', '.join(calls)})"


@lru_cache(maxsize=512)
def path_text(schemas: tuple[str, ...]) -> str:
    """The value of ``search_path`` for ``schemas`` in order."""
    return ", ".join([quote_identifier(schema) for schema in schemas])
