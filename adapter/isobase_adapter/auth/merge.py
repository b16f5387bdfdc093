"""Which side's state of a row holds, when both have been at work: a merge of three, with what both last agreed on. No I/O.

One side is written first for everybody, but auth has callers that no flag reaches: a browser that follows a mail's link
or comes back from an OAuth provider arrives at the side whose address was in the link. So rows of auth are compared
with what both sides had when they were last made equal: what changed on one side alone is carried from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from isobase_adapter.sides import Side

__all__ = ["Agreed", "Row", "Winner", "counter_of", "merged_token", "winner"]


class Winner(Enum):
    """Whose state holds."""

    NEITHER = "neither"
    """Both are the same."""
    SOURCE = "source"
    TARGET = "target"


@dataclass(slots=True, frozen=True)
class Agreed:
    """What both sides had, as digests; None for a row that was absent.

    ``pending``: what Isobase had, and Supabase was being made from ``digest``, when this was written. A crash may have
    ended that before or after it was done, so Supabase has not moved by itself with either.
    """

    digest: str | None
    pending: str | None = None
    is_pending: bool = False

    def covers(self, digest: str | None, side: Side) -> bool:
        """Whether a side in this state has not been changed by anybody else since."""
        if not self.is_pending:
            return digest == self.digest
        return digest == self.pending or (side is Side.SUPABASE and digest == self.digest)


@dataclass(slots=True, frozen=True)
class Row:
    """A row as its columns' texts, in the order of their names, with the digest that its database made of them."""

    values: tuple[str | None, ...]
    digest: str
    owner: str


def winner(source: str | None, target: str | None, agreed: Agreed | None, target_side: Side) -> Winner:
    """Say whose state of a row holds; the source is the side that is written first.

    source, target: digests, None where the row is absent. A row that was never agreed on was made by the side that
    has it; where both have it, the source's holds. A row that was changed on one side and removed on the other is
    removed: who signs out must be out.
    """
    if source == target:
        return Winner.NEITHER
    if agreed is None:
        return Winner.TARGET if source is None else Winner.SOURCE
    source_moved = not agreed.covers(source, target_side.other)
    target_moved = not agreed.covers(target, target_side)
    if not source_moved and not target_moved:
        # Supabase was not made what Isobase had: a crash came first.
        return Winner.TARGET if target_side is Side.ISOBASE else Winner.SOURCE
    if not target_moved:
        return Winner.SOURCE
    if not source_moved or target is None:
        return Winner.TARGET
    return Winner.SOURCE


def merged_token(source: Mapping[str, str | None], target: Mapping[str, str | None]) -> dict[str, str | None]:
    """Give what a refresh token is on both sides: revoked where it is revoked on either.

    Tokens are made, revoked once, and cleaned up long after, so two sides' rows need no third to be merged. A token
    keeps the time of its first revocation, because reuse must not prolong the interval in which it is forgiven.
    """
    if source.get("revoked") == target.get("revoked"):
        keeps_source = source.get("revoked") != "true" or _time(source) <= _time(target)
        return dict(source if keeps_source else target)
    return dict(source if source.get("revoked") == "true" else target)


def counter_of(row: Mapping[str, str | None]) -> int:
    """Give how often a session that counts its refresh tokens was refreshed; -1 for any other row."""
    return int(row.get("refresh_token_counter") or -1)


def _time(token: Mapping[str, str | None]) -> datetime:
    return datetime.fromisoformat(token.get("updated_at") or "9999-12-31 00:00:00+00")
