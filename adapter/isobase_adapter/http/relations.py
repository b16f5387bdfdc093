"""What the names in a call of the data API stand for: tables, views over tables, embedded relations.

Answers come from what was read last of the sides' catalogs, without waiting; before anything was read a name stands for
the table of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.http.selects import embedded_names
from isobase_adapter.rows.catalog import CatalogView
from isobase_adapter.rows.tables import Table

__all__ = ["Relation", "Relations"]


@dataclass(slots=True, frozen=True)
class Relation:
    """What can be written under a name. ``tables``: itself, or the tables under a view; empty where nothing is known."""

    resource: str
    tables: tuple[Table, ...] = ()
    is_view: bool = False
    referring: tuple[str, ...] = ()
    """The tables whose rows change when rows of these go, by foreign keys, however far."""

    @property
    def table(self) -> Table | None:
        """The one table whose rows a write changes, where it is known."""
        return self.tables[0] if len(self.tables) == 1 else None

    @property
    def resources(self) -> tuple[str, ...]:
        """The tables that a write may change."""
        return tuple(table.resource for table in self.tables) or (self.resource,)


class Relations:
    """Looks names up. ``view``: gives the catalog as it was read last."""

    def __init__(self, view: Callable[[], CatalogView]) -> None:
        self._view = view

    def known(self, resource: str) -> Relation | None:
        """Give what ``schema.name`` is; None where the catalog does not know it."""
        view = self._view()
        table = view.tables.get(view.partitions.get(resource, resource))
        if table is not None:
            return Relation(resource, (table,), referring=_referring(view, [table]))
        if resource in view.views:
            tables = [view.tables[name] for name in view.views[resource] if name in view.tables]
            return Relation(resource, tuple(tables), is_view=True, referring=_referring(view, tables))
        return None

    def embedded(self, schema: str, name: str, select: str) -> tuple[Capability, ...]:
        """Give the capabilities of the relations that a ``select`` on ``schema.name`` embeds."""
        found: list[Capability] = []
        resources = {"": f"{schema}.{name}"}
        for parent, _hint, written in embedded_names(select):
            resource = self._resource(schema, resources.get(parent, f"{schema}.{parent}"), written)
            resources[written] = resource
            capability = Capability(Kind.TABLE, resource)
            if capability not in found:
                found.append(capability)
        return tuple(found)

    def _resource(self, schema: str, parent: str, written: str) -> str:
        """An embed is written as the relation's name, or as the column or the constraint that refers to it."""
        view = self._view()
        direct = f"{schema}.{written}"
        if direct in view.tables or direct in view.views or direct in view.partitions:
            return direct
        parents: Sequence[Table] = self._tables(parent)
        for table in parents:
            for foreign in table.foreign_keys:
                if foreign.name == written or foreign.columns == (written,):
                    return foreign.referenced
        for table in view.tables.values():
            for foreign in table.foreign_keys:
                if foreign.name == written:
                    return foreign.resource if foreign.resource != parent else foreign.referenced
        return direct

    def _tables(self, resource: str) -> tuple[Table, ...]:
        known = self.known(resource)
        return known.tables if known is not None else ()


def _referring(view: CatalogView, tables: Sequence[Table]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    waiting = [table.resource for table in tables]
    while waiting:
        for foreign in view.referring.get(waiting.pop(), ()):
            if foreign.resource not in found:
                found[foreign.resource] = None
                waiting.append(foreign.resource)
    return tuple(found)
