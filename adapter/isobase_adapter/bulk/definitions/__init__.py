"""What a project defined in its database, as statements that make it: read from both sides and compared by name.

Each definition has a name (``table public.orders``) and the SQL that makes it. What the source has and the target has
not is made; what both have otherwise is named. So making them twice changes nothing, and a move can be taken up again.
``tables``, ``code`` and ``access`` hold the questions to the catalog; nothing else of the adapter writes definitions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import asyncpg

from isobase_adapter.bulk.definitions import access, code, tables
from isobase_adapter.bulk.managed import MANAGED_SCHEMAS, OPEN_TABLES, PLATFORM_ROLES

__all__ = ["Definition", "Phase", "read_definitions"]


class Phase(StrEnum):
    """When a definition is made: before data comes, or after it."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(slots=True, frozen=True)
class Definition:
    """One object that a project defined. ``sql``: what makes it, without side effects where it is there already."""

    kind: str
    name: str
    sql: str
    phase: Phase

    @property
    def key(self) -> str:
        """The same on both sides for the same object."""
        return f"{self.kind} {self.name}"

    @property
    def compared(self) -> str:
        """What is compared between the sides: the SQL without white space that versions print otherwise."""
        return re.sub(r"\s+", " ", self.sql).strip()


_QUESTIONS: tuple[tuple[str, Phase, str], ...] = (
    ("extension", Phase.BEFORE, tables.EXTENSIONS),
    ("role", Phase.BEFORE, access.ROLES),
    ("schema", Phase.BEFORE, tables.SCHEMAS),
    ("type", Phase.BEFORE, tables.TYPES),
    ("sequence", Phase.BEFORE, tables.SEQUENCES),
    ("table", Phase.BEFORE, tables.TABLES),
    ("sequence owner", Phase.BEFORE, tables.SEQUENCE_OWNERS),
    ("function", Phase.BEFORE, code.FUNCTIONS),
    ("view", Phase.BEFORE, code.VIEWS),
    ("constraint", Phase.BEFORE, tables.KEYS),
    ("row security", Phase.BEFORE, access.ROW_SECURITY),
    ("policy", Phase.BEFORE, access.POLICIES),
    ("grants", Phase.BEFORE, access.GRANTS),
    ("column grants", Phase.BEFORE, access.COLUMN_GRANTS),
    ("default grants", Phase.BEFORE, access.DEFAULT_GRANTS),
    ("index", Phase.AFTER, tables.INDEXES),
    ("constraint", Phase.AFTER, tables.REFERENCES),
    ("trigger", Phase.AFTER, code.TRIGGERS),
    ("trigger state", Phase.AFTER, code.TRIGGER_STATES),
    ("replica identity", Phase.AFTER, tables.REPLICA_IDENTITIES),
    ("rule", Phase.AFTER, code.RULES),
    ("comment", Phase.AFTER, code.COMMENTS),
    ("publication", Phase.AFTER, code.PUBLICATIONS),
)


async def read_definitions(connection: asyncpg.Connection[asyncpg.Record]) -> list[Definition]:
    """Read everything that the project defined, in the order in which it is made."""
    found: list[Definition] = []
    parameters: Sequence[object] = (list(MANAGED_SCHEMAS), list(OPEN_TABLES), list(PLATFORM_ROLES))
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        # Nothing on the path: the catalog's functions then write every name with its schema.
        await connection.execute("set local search_path to ''")
        for kind, phase, question in _QUESTIONS:
            used = [value for number, value in enumerate(parameters, 1) if f"${number}" in question]
            text = question
            for new, number in enumerate([n for n in (1, 2, 3) if f"${n}" in question], 1):
                text = text.replace(f"${number}", f"${new}")
            records = await connection.fetch(text, *used)
            found.extend(Definition(kind, record["name"], record["sql"], phase) for record in records)
    return found
