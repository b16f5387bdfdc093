"""Where Isobase answers otherwise on purpose: what may differ, and why. Everything else must be the same."""

from __future__ import annotations

from tests.auth.differential.intended import Intended
from tests.storage.differential.values import JsonValue

__all__ = ["INTENDED", "is_intended"]

INTENDED: tuple[Intended, ...] = ()


def is_intended(request: str, place: str, upstream: JsonValue, ours: JsonValue) -> bool:
    """Whether a difference stands in the list."""
    return any(intended.covers(request, place, upstream, ours) for intended in INTENDED)
