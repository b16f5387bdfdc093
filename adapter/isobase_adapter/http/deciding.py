"""Under which stage and writer a call is handled: the flag that fits its capability, for its user. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from isobase_adapter.capabilities import Capability
from isobase_adapter.contracts import Snapshot
from isobase_adapter.flags.stages import Stages
from isobase_adapter.http.families import Acted
from isobase_adapter.writing import writer_for

__all__ = ["Decider", "UserOf"]

UserOf = Callable[[], str | None]
"""Gives the call's user; asked only where a flag is not for all."""


class Decider:
    """Says what holds for a call. stages: the flags; is_always_for_all: whether they are the control store's alone."""

    def __init__(self, stages: Stages, *, has_source: bool = False) -> None:
        self._stages = stages
        self._has_source = has_source

    def acted(self, capability: Capability, user_of: UserOf) -> Acted:
        """Say under what a call of ``capability`` is handled now. Raises ``NothingKnown``."""
        stages = self._stages
        user = user_of() if self._has_source or not stages.holds_for_all(capability) else None
        decision = stages.decide(capability, user)
        return Acted(decision.stage, decision.writer, user)

    def act(self, capability: Capability, user: str | None, snapshot: Snapshot | None = None) -> Acted:
        """Say under what it is handled for a user, now or with the writer of another snapshot."""
        return (
            self.acted(capability, lambda: user)
            if snapshot is None
            else self.decided(snapshot, capability, lambda: user)
        )

    def decided(self, snapshot: Snapshot, capability: Capability, user_of: UserOf) -> Acted:
        """The same, with the writer of another snapshot: one that was loaded since."""
        now = self.acted(capability, user_of)
        return Acted(now.stage, writer_for(snapshot, capability), now.user)
