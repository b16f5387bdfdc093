"""The exceptions that mean that a connection was lost, could not be made, or stayed silent (``TimeoutError`` is an
``OSError``).
"""

from __future__ import annotations

from websockets.exceptions import WebSocketException

__all__ = ["LOST"]

LOST: tuple[type[Exception], ...] = (WebSocketException, OSError)
