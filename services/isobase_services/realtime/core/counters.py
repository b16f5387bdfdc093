"""What one process has done, as plain numbers: counting a delivery must cost next to nothing. ``metrics`` shows them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Counters"]


@dataclass(slots=True)
class Counters:
    """Totals since the start of the process."""

    deliveries: int = 0
    """Messages of fan-out handed to sockets: broadcasts and presence, one for each receiver."""
    delivered_bytes: int = 0
    """Their size on the wire."""
    received: int = 0
    """Messages of clients."""
    joins: int = 0
    """Joins asked for, refused ones too."""
    sockets: int = 0
    """Sockets accepted."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Messages that a slow socket did not get, by what they were."""
    closed: Counter[int] = field(default_factory=Counter)
    """Sockets that the server closed, by code."""
