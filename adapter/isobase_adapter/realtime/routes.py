"""Where realtime listens: which sides, which of them leads, and for rows which side of a table does. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.contracts import Event
from isobase_adapter.http.families import Acted
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage, clamped

__all__ = ["Following", "RealtimeRoute", "row_leader"]


@dataclass(slots=True, frozen=True)
class RealtimeRoute:
    """The sides that are listened to, the one that leads first."""

    sides: tuple[Side, ...]

    @property
    def leader(self) -> Side:
        """The side that answers: its joins, replies and system messages are the app's."""
        return self.sides[0]

    @classmethod
    def of(cls, acted: Acted) -> RealtimeRoute:
        """Read it off a stage: one side in ``off`` and ``complete``, both in between."""
        side = acted.read_route.answers
        is_single = clamped(acted.stage, acted.writer.side) in (Stage.OFF, Stage.COMPLETE)
        return cls((side,) if is_single else (side, side.other))


class Following(Protocol):
    """What realtime asks of its client; any thread may ask."""

    def acted(self, capability: Capability, user: str | None) -> Acted:
        """Under what a capability is handled now."""
        ...

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener``, on some thread, after flags or writers changed; gives what ends it."""
        ...

    def tell(self, event: Event) -> None:
        """Keep an event for operators."""
        ...


def row_leader(following: Following, schema: str | None, table: str | None) -> Side:
    """Give the side that sees every change of a table: the one that is written first."""
    return following.acted(Capability(Kind.TABLE, f"{schema or 'public'}.{table}"), None).write_route.first
