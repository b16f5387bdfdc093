"""The two sides of a move: the Supabase project that an app leaves, and the Isobase that it goes to."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Side"]


class Side(StrEnum):
    """One of the two sides."""

    SUPABASE = "supabase"
    ISOBASE = "isobase"

    @property
    def other(self) -> Side:
        """The side across."""
        return Side.ISOBASE if self is Side.SUPABASE else Side.SUPABASE
