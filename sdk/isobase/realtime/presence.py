"""Who is present on a channel: the state that the server's messages make. No I/O.

Source: realtime-py's ``_async/presence.py`` for the shape that users see, Phoenix's ``presence.js`` for what a state
and a difference mean.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from isobase.realtime.types import (
    Presence,
    PresenceOnJoinCallback,
    PresenceOnLeaveCallback,
    RawPresenceDiff,
    RawPresenceState,
    RealtimePresenceState,
)

__all__ = ["PresenceTracker"]


def _references(presences: list[Presence]) -> set[str | None]:
    return {presence.get("presence_ref") for presence in presences}


def _without(presences: list[Presence], references: set[str | None]) -> list[Presence]:
    return [presence for presence in presences if presence.get("presence_ref") not in references]


class PresenceTracker:
    """The presences of a channel and the callbacks that hear of changes.

    ``call`` runs a callback with its arguments; channels give their own, which keeps what a callback raises from
    other messages.
    """

    def __init__(self) -> None:
        self.state: RealtimePresenceState = {}
        self.on_join_callback: PresenceOnJoinCallback | None = None
        self.on_leave_callback: PresenceOnLeaveCallback | None = None
        self.on_sync_callback: Callable[[], Awaitable[None] | None] | None = None
        self._call: Callable[..., object] = lambda callback, *arguments: callback(*arguments)

    @property
    def _has_callback_attached(self) -> bool:
        callbacks = (self.on_join_callback, self.on_leave_callback, self.on_sync_callback)
        return any(callback is not None for callback in callbacks)

    def on_join(self, callback: PresenceOnJoinCallback) -> None:
        """Call ``callback(key, presences there before, presences that came)`` when somebody comes."""
        self.on_join_callback = callback

    def on_leave(self, callback: PresenceOnLeaveCallback) -> None:
        """Call ``callback(key, presences still there, presences that left)`` when somebody leaves."""
        self.on_leave_callback = callback

    def on_sync(self, callback: Callable[[], Awaitable[None] | None]) -> None:
        """Call ``callback()`` after every change of the state."""
        self.on_sync_callback = callback

    def _on_state_event(self, payload: RawPresenceState) -> None:
        """Take in a whole state."""
        new = self._transform_state(payload)
        joins, leaves = {}, {key: gone for key, gone in self.state.items() if key not in new}
        for key, presences in new.items():
            before = self.state.get(key, [])
            if came := _without(presences, _references(before)):
                joins[key] = came
            if left := _without(before, _references(presences)):
                leaves[key] = left
        self._apply(joins, leaves)

    def _on_diff_event(self, payload: RawPresenceDiff) -> None:
        """Take in a difference."""
        self._apply(self._transform_state(payload["joins"]), self._transform_state(payload["leaves"]))

    def _apply(self, joins: RealtimePresenceState, leaves: RealtimePresenceState) -> None:
        for key, came in joins.items():
            before = self.state.get(key, [])
            self.state[key] = _without(before, _references(came)) + came
            if self.on_join_callback is not None:
                self._call(self.on_join_callback, key, before, came)
        for key, left in leaves.items():
            before = self.state.get(key, [])
            if not before:
                continue
            stay = _without(before, _references(left))
            if stay:
                self.state[key] = stay
            else:
                del self.state[key]
            if self.on_leave_callback is not None:
                self._call(self.on_leave_callback, key, stay, left)
        if self.on_sync_callback is not None:
            self._call(self.on_sync_callback)

    @staticmethod
    def _transform_state(state: RawPresenceState) -> RealtimePresenceState:
        """Give the server's ``{key: {"metas": […]}}`` as ``{key: […]}``: ``phx_ref`` is ``presence_ref``, ``phx_ref_prev``
        is left out.
        """

        def presence(meta: dict[str, Any]) -> Presence:
            kept = {name: value for name, value in meta.items() if name not in ("phx_ref", "phx_ref_prev")}
            return cast("Presence", {"presence_ref": meta.get("phx_ref"), **kept})

        return {key: [presence(dict(meta)) for meta in entry["metas"]] for key, entry in state.items()}
