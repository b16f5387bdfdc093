"""What shapes an answer: order, limits, and the forms in which it comes. Source: PostgREST "Resource representation",
postgrest-py 2.34.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from isobase.postgrest._filters import BaseFilterRequestBuilder
from isobase.postgrest._request import C
from isobase.postgrest.constants import CSV, SINGLE_ROW


def cleaned_columns(columns: Sequence[str]) -> str:
    """Join what is selected, without white space outside of quotes; nothing means every column."""
    if not columns:
        return "*"
    joined = ",".join(columns)
    if '"' not in joined:
        return "".join(joined.split())
    return '"'.join(part if at % 2 else "".join(part.split()) for at, part in enumerate(joined.split('"')))


class BaseSelectRequestBuilder(BaseFilterRequestBuilder[C]):
    """The modifiers of rows that are read, or that a write gives back."""

    def order(
        self: Self, column: str, *, desc: bool = False, nullsfirst: bool | None = None, foreign_table: str | None = None
    ) -> Self:
        """Sort the rows; called again it sorts further.

        ``desc``: from large to small; ``nullsfirst``: where null columns stand (None: as PostgreSQL has it, last when
        ascending); ``foreign_table``: sort the rows of an embedded table.
        """
        key = f"{foreign_table}.order" if foreign_table else "order"
        before = self.request.param(key)
        direction = "desc" if desc else "asc"
        nulls = "" if nullsfirst is None else ".nullsfirst" if nullsfirst else ".nullslast"
        self.request.put(key, f"{before + ',' if before else ''}{column}.{direction}{nulls}")
        return self

    def limit(self: Self, size: int, *, foreign_table: str | None = None) -> Self:
        """Give at most ``size`` rows, or so many of an embedded table."""
        self.request.put(f"{foreign_table}.limit" if foreign_table else "limit", str(size))
        return self

    def offset(self: Self, size: int) -> Self:
        """Leave out the first ``size`` rows."""
        self.request.put("offset", str(size))
        return self

    def range(self: Self, start: int, end: int, foreign_table: str | None = None) -> Self:
        """Give the rows from place ``start`` to place ``end``, both counted from 0 and both among them."""
        prefix = f"{foreign_table}." if foreign_table else ""
        self.request.put(f"{prefix}offset", str(start))
        self.request.put(f"{prefix}limit", str(end - start + 1))
        return self

    def strip_nulls(self: Self) -> Self:
        """Leave null columns out of the rows.

        Raises ValueError after ``csv()``.
        """
        if self.request.header("Accept") == CSV:
            raise ValueError("strip_nulls() cannot be used with csv()")
        self.request.strip_nulls = True
        return self


class BaseRPCRequestBuilder(BaseSelectRequestBuilder[C]):
    """The modifiers of what a function gives back."""

    def select(self, *columns: str) -> Self:
        """Choose columns of the rows that the function gives."""
        self.request.put("select", cleaned_columns(columns))
        self.request.prefer("return=representation")
        return self

    def single(self) -> Self:
        """Ask for one row; the call raises APIError (PGRST116) for none and for several."""
        self.request.set_header("Accept", SINGLE_ROW)
        return self

    def csv(self) -> Self:
        """Ask for CSV; ``data`` is its text.

        Raises ValueError after ``strip_nulls()``.
        """
        self.request._reject_strip_nulls("csv")
        self.request.set_header("Accept", CSV)
        return self
