"""Rows of both sides through their data APIs, for a client or a command that knows no database: carrier and tables."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import httpx

from isobase_adapter.rows.catalog import CatalogView, UnknownTable
from isobase_adapter.rows.rest_carrier import RestRowCarrier
from isobase_adapter.rows.rest_side import RestRefused, RestSide
from isobase_adapter.sides import Side

__all__ = ["RestRows"]

STEP_TIMEOUT_S = 30.0


class RestRows:
    """Both data APIs. urls: of the projects; keys: service-role or secret ones. Connects when it is first used."""

    def __init__(self, urls: Mapping[Side, str], keys: Mapping[Side, str]) -> None:
        """Take where the sides are."""
        self._http = httpx.AsyncClient(timeout=STEP_TIMEOUT_S)
        self.sides = {side: RestSide(side, self._http, urls[side], keys[side]) for side in Side}
        self.carrier = RestRowCarrier(self.sides[Side.SUPABASE], self.sides[Side.ISOBASE])

    def known_tables(self) -> CatalogView:
        """Supabase's tables as they were read last; their foreign keys and triggers are not known."""
        return CatalogView(tables=self.sides[Side.SUPABASE].known)

    async def load_table(self, resource: str) -> None:
        """Read a table that is not known yet; nothing where there is none, or nobody answers."""
        with contextlib.suppress(UnknownTable, RestRefused, httpx.TransportError):
            await self.sides[Side.SUPABASE].table(resource)

    async def close(self) -> None:
        """End all connections."""
        await self._http.aclose()
