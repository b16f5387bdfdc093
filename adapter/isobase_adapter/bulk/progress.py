"""How far long work is: what it tells, and whoever shows it."""

from __future__ import annotations

from typing import Protocol

__all__ = ["NO_PROGRESS", "Progress", "Silent"]


class Progress(Protocol):
    """Shows parts of a long work; the command line has one with bars and one with lines. Never fails."""

    def begin(self, part: str, total: int, unit: str) -> None:
        """Say that ``part`` begins. total: how much there is, 0 where unknown. unit: ``bytes``, ``users`` ..."""
        ...

    def advance(self, part: str, amount: int) -> None:
        """Say that ``amount`` more of it is done."""
        ...

    def end(self, part: str, text: str) -> None:
        """Say that it is over; text: what came of it."""
        ...

    def say(self, text: str) -> None:
        """Say something that stays to be read."""
        ...


class Silent:
    """Shows nothing."""

    def begin(self, part: str, total: int, unit: str) -> None:
        pass

    def advance(self, part: str, amount: int) -> None:
        pass

    def end(self, part: str, text: str) -> None:
        pass

    def say(self, text: str) -> None:
        pass


NO_PROGRESS: Progress = Silent()
