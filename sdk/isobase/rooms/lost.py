"""The exceptions that mean that a connection was lost or could not be made."""

from __future__ import annotations

from websockets.exceptions import ConnectionClosed, WebSocketException

__all__ = ["LOST"]

LOST = (ConnectionClosed, WebSocketException, OSError, TimeoutError)
