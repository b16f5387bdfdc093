"""Names and messages of the Iceberg REST catalog, as far as the client speaks them: pure.

Source: Apache Iceberg's REST catalog specification; the calls are those of iceberg-js.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

__all__ = ["CreateTable", "Namespace", "NamespaceProperties", "PropertyChanges", "TableName", "namespace_of", "path_of"]

Namespace: TypeAlias = str | Sequence[str]
"""A namespace: its name, or its names from the outermost in."""

SEPARATOR = "\x1f"
"""Between the levels of a namespace in a path (the specification's unit separator)."""


class TableName(TypedDict):
    """A table, as the catalog names it."""

    namespace: list[str]
    name: str


class NamespaceProperties(TypedDict):
    """A namespace and what is noted about it."""

    namespace: list[str]
    properties: dict[str, str]


class PropertyChanges(TypedDict):
    """Which of a namespace's properties a call changed."""

    updated: list[str]
    removed: list[str]
    missing: list[str] | None


CreateTable: TypeAlias = Mapping[str, Any]
"""``name`` and ``schema``, and as wanted ``partition-spec``, ``write-order``, ``location``, ``properties``."""


def namespace_of(namespace: Namespace) -> list[str]:
    """Give a namespace's levels."""
    return [namespace] if isinstance(namespace, str) else list(namespace)


def path_of(namespace: Namespace) -> str:
    """Give a namespace as part of a path."""
    return SEPARATOR.join(namespace_of(namespace))


def prefix_of(config: Mapping[str, Any]) -> list[str]:
    """Give the path of a catalog from its configuration: what overrides says, else what is the default, else none."""
    prefix = config.get("overrides", {}).get("prefix") or config.get("defaults", {}).get("prefix")
    return [prefix] if prefix else []
