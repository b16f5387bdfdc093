"""What may go wrong with the control store.

ControlError
├── ChangeRefused    the change is not allowed now; the message says why and what to do first
├── ControlAway      the store cannot be reached
│   └── NothingKnown     nor was it ever: no flag is known, so no side may be chosen
├── LoginRefused     the store answers, and refuses role, password or database of the URL
└── NotInstalled     the database has no tables of the move
"""

from __future__ import annotations

__all__ = ["ChangeRefused", "ControlAway", "ControlError", "LoginRefused", "NotInstalled", "NothingKnown"]


class ControlError(Exception):
    """Any of them."""


class ChangeRefused(ControlError):
    """The change is not allowed as things are."""


class ControlAway(ControlError):
    """The control store does not answer."""


class NothingKnown(ControlAway):
    """The control store does not answer and this client has never heard of any flag."""


class LoginRefused(ControlError):
    """The control store refuses the login that its URL names."""


class NotInstalled(ControlError):
    """The database that was named as control store has no tables of the move."""
