"""The composed client's own error, and one place to import every error of the SDK from.

Each class is defined once, for the sync and the async client alike, so one ``except`` catches either.
"""

from __future__ import annotations

from isobase._face.errors import IsobaseAPIError
from isobase._http.errors import CallCancelled, DeadlineExceeded

__all__ = ["CallCancelled", "DeadlineExceeded", "IsobaseAPIError", "SupabaseException"]


class SupabaseException(Exception):
    """A client cannot be made: its URL or key is missing or of the wrong form. ``message`` says which."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(self.message)
