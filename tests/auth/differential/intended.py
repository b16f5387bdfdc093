"""Where Isobase answers otherwise on purpose: what may differ, and why. Everything else must be the same."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.auth.differential.values import JsonValue

__all__ = ["INTENDED", "Intended", "is_intended"]


@dataclass(slots=True, frozen=True)
class Intended:
    """A difference that is meant: regular expressions for the request, the place in the result, and both values."""

    reason: str
    place: str
    request: str = ".*"
    upstream: str = ".*"
    ours: str = ".*"

    def covers(self, request: str, place: str, upstream: JsonValue, ours: JsonValue) -> bool:
        """Whether a difference is this one."""
        return all(
            re.fullmatch(pattern, value, re.DOTALL)
            for pattern, value in (
                (self.request, request),
                (self.place, place),
                (self.upstream, str(upstream)),
                (self.ours, str(ours)),
            )
        )


INTENDED: tuple[Intended, ...] = ()


def is_intended(request: str, place: str, upstream: JsonValue, ours: JsonValue) -> bool:
    """Whether some entry covers a difference."""
    return any(entry.covers(request, place, upstream, ours) for entry in INTENDED)
