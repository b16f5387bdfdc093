"""What ``isobase migrate status`` says of the two sides' equality: definitions as they are now, the rest as last verified."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import asyncpg

from isobase_adapter.failures import DATABASE_FAILURES
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.pairs import Pairs
from isobase_adapter.sides import Side
from isobase_adapter.verify.keeping import Verified, of_definitions, read_verified
from isobase_adapter.verify.schema import compare_schemas

__all__ = ["Standing", "StandingReader"]

DEFINITIONS_EVERY_S = 20.0


@dataclass(slots=True, frozen=True)
class Standing:
    """``parts``: what was found last, part by part; ``note``: why definitions could not be compared now, or empty."""

    parts: tuple[Verified, ...] = ()
    note: str = ""

    @property
    def differing(self) -> tuple[Verified, ...]:
        """The parts that are not equal."""
        return tuple(part for part in self.parts if not part.is_equal)


class StandingReader:
    """Reads it again and again; definitions are compared at most every ``DEFINITIONS_EVERY_S``."""

    def __init__(self, dsns: Mapping[Side, str], pool: asyncpg.Pool) -> None:
        """dsns: both databases, or Isobase's alone. pool: of Isobase's."""
        self._pool = pool
        self._pairs: Pairs | None = None
        self._databases: list[SideDatabase] = []
        if len(dsns) == len(Side):
            self._databases = [SideDatabase(side, dsns[side], pool_size=1) for side in (Side.SUPABASE, Side.ISOBASE)]
            self._pairs = Pairs(*self._databases)
        self._definitions: Verified | None = None
        self._looked_at_s = float("-inf")
        self._note = "" if self._pairs is not None else "definitions are compared where both databases' URLs are set"

    async def read(self) -> Standing:
        """Look. Raises the errors of Isobase's database alone."""
        if self._pairs is not None and time.monotonic() - self._looked_at_s >= DEFINITIONS_EVERY_S:
            await self._compare(self._pairs)
        parts = {part.part: part for part in await read_verified(self._pool)}
        if self._definitions is not None:
            parts["definitions"] = self._definitions
        return Standing(tuple(parts.values()), self._note)

    async def close(self) -> None:
        """Disconnect."""
        for database in self._databases:
            await database.close()

    async def _compare(self, pairs: Pairs) -> None:
        self._looked_at_s = time.monotonic()
        try:
            found = of_definitions(await compare_schemas(pairs))
        except DATABASE_FAILURES as error:
            self._note = f"definitions could not be compared: {type(error).__name__}"
            return
        self._note = ""
        self._definitions = replace(found, at=datetime.now(UTC))
