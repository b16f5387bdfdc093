"""Where a change stands in the history of its database: comparable here, opaque to clients.

A ``Point`` orders changes within one history of the log; a ``Position`` also names that history (its epoch), because the
numbers of another database, another slot or another timeline mean something else. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["START", "Point", "Position", "PositionInvalid", "parse_position"]

MAX_POSITION_LENGTH_CHARS = 80

_TEXT = re.compile(r"([0-9a-z]{1,40})\.([0-9a-f]{1,16})\.([0-9a-f]{1,8})")


class Point(NamedTuple):
    """``lsn``: where the transaction's commit stands in the log; ``number``: the change's number in it, from 1.

    A point with number 0 lies before every change of the transaction that commits at ``lsn``.
    """

    lsn: int
    number: int


START = Point(0, 0)
"""Before every change."""


class PositionInvalid(ValueError):
    """A text that is no position."""


@dataclass(slots=True, frozen=True)
class Position:
    """A point of one history. Points of different epochs cannot be compared."""

    epoch: str
    point: Point

    def __str__(self) -> str:
        return f"{self.epoch}.{self.point.lsn:x}.{self.point.number:x}"


def parse_position(text: object) -> Position:
    """The position that a client gives back. Raises ``PositionInvalid``."""
    match = _TEXT.fullmatch(text) if isinstance(text, str) and len(text) <= MAX_POSITION_LENGTH_CHARS else None
    if match is None:
        raise PositionInvalid("not a position of this server")
    return Position(match[1], Point(int(match[2], 16), int(match[3], 16)))
