"""What carrying users may come to."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["AuthTablesDiffer", "TooManyRemovals", "UserConflict"]


class UserConflict(Exception):
    """Two different users, one on each side, have the same address, phone or identity: an operator has to choose.

    ``users``: their ids.
    """

    def __init__(self, users: Sequence[str], constraint: str) -> None:
        self.users, self.constraint = tuple(users), constraint
        super().__init__(f"users of both sides stand in each other's way ({constraint}): {', '.join(users)}")


class AuthTablesDiffer(Exception):
    """A side's schema ``auth`` lacks what the other's rows need."""


class TooManyRemovals(Exception):
    """A sweep would remove more users than looks like people leaving; an operator has to look first."""
