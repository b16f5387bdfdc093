"""What the commands of a move say when they cannot go on."""

from __future__ import annotations

from isobase_adapter.sides import Side

__all__ = ["Refused", "SideAway"]


class Refused(Exception):
    """The state of things does not allow it. ``message`` says what, ``hint`` what to do."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SideAway(Exception):
    """The database of ``side`` cannot be used. ``is_login``: it answers, and refuses who asks."""

    def __init__(self, side: Side, reason: str, *, is_login: bool) -> None:
        super().__init__(f"{side}: {reason}")
        self.side = side
        self.reason = reason
        self.is_login = is_login
