"""The official client of the data API, whose answers say which side gave them."""

from __future__ import annotations

from typing import Any

from postgrest import AsyncPostgrestClient
from postgrest._async.request_builder import (
    AsyncMaybeSingleRequestBuilder,
    AsyncRequestBuilder,
    AsyncRPCFilterRequestBuilder,
    AsyncSelectRequestBuilder,
    AsyncSingleRequestBuilder,
)

from isobase_adapter.answers import answered
from isobase_adapter.told import told

__all__ = ["AsyncMigrationPostgrestClient"]


class AsyncToldSingle(AsyncSingleRequestBuilder):
    """Asks for one row, or for a text."""

    async def execute(self) -> Any:
        """Do it; see the official builder."""
        return told(await super().execute(), answered())


class AsyncToldMaybeSingle(AsyncMaybeSingleRequestBuilder):
    """Asks for a row that may not be there."""

    async def execute(self) -> Any:
        """Do it; see the official builder."""
        return told(await super().execute(), answered())


class AsyncToldSelect(AsyncSelectRequestBuilder):
    """Asks for rows, or writes them."""

    async def execute(self) -> Any:
        """Do it; see the official builder."""
        return told(await super().execute(), answered())

    def single(self) -> AsyncSingleRequestBuilder:
        """Ask for one row; see the official builder."""
        return AsyncToldSingle(super().single().request)

    def maybe_single(self) -> AsyncMaybeSingleRequestBuilder:
        """Ask for a row that may not be there; see the official builder."""
        return AsyncToldMaybeSingle(super().maybe_single().request)

    def csv(self) -> AsyncSingleRequestBuilder:
        """Ask for CSV; see the official builder."""
        return AsyncToldSingle(super().csv().request)


class AsyncToldCall(AsyncRPCFilterRequestBuilder):
    """Calls a function."""

    async def execute(self) -> Any:
        """Do it; see the official builder."""
        return told(await super().execute(), answered())

    def maybe_single(self) -> AsyncMaybeSingleRequestBuilder:
        """Ask for a row that may not be there; see the official builder."""
        return AsyncToldMaybeSingle(super().maybe_single().request)


class AsyncToldTable(AsyncRequestBuilder):
    """Begins what can be done with a table; each takes what the official builder's takes."""

    def select(self, *columns: Any, **how: Any) -> AsyncSelectRequestBuilder:
        """Read rows."""
        return AsyncToldSelect(super().select(*columns, **how).request)

    def insert(self, *rows: Any, **how: Any) -> AsyncSelectRequestBuilder:
        """Insert rows."""
        return AsyncToldSelect(super().insert(*rows, **how).request)

    def upsert(self, *rows: Any, **how: Any) -> AsyncSelectRequestBuilder:
        """Insert rows, or change those that are there."""
        return AsyncToldSelect(super().upsert(*rows, **how).request)

    def update(self, *changes: Any, **how: Any) -> AsyncSelectRequestBuilder:
        """Change rows."""
        return AsyncToldSelect(super().update(*changes, **how).request)

    def delete(self, *nothing: Any, **how: Any) -> AsyncSelectRequestBuilder:
        """Delete rows."""
        return AsyncToldSelect(super().delete(*nothing, **how).request)


class AsyncMigrationPostgrestClient(AsyncPostgrestClient):
    """The official client, which begins everything with builders of this module."""

    @classmethod
    def like(cls, official: AsyncPostgrestClient) -> AsyncMigrationPostgrestClient:
        """Give one with an official client's settings, on its connections."""
        made = cls.__new__(cls)
        made.__dict__.update(official.__dict__)
        return made

    def schema(self, schema: str) -> AsyncPostgrestClient:
        """Switch to another schema; see the official client."""
        return self.like(super().schema(schema))

    def from_(self, table: str) -> AsyncRequestBuilder:
        """Begin with a table; see the official client."""
        begun = super().from_(table)
        return AsyncToldTable(begun.session, begun.path, begun.headers, begun.auth, retry_enabled=begun.retry_enabled)

    def rpc(self, *call: Any, **how: Any) -> AsyncRPCFilterRequestBuilder:
        """Call a function; see the official client."""
        return AsyncToldCall(super().rpc(*call, **how).request)
