"""What the realtime clients raise: the same classes from the async and from the sync client.

    Exception
    ├── NotConnectedError               something that needs a socket was asked for without one
    ├── AuthorizationError              a private channel was refused, or its token has ended
    ├── RealtimeHTTPError               a broadcast over HTTP was not accepted
    ├── RealtimeBufferFullError         too much waits to be sent, or to be read by an iterator
    └── RealtimeAckError                the server refused a broadcast, or did not confirm it in time

The first three are those of realtime-py's ``realtime.exceptions``; the others are ours.
"""

from __future__ import annotations

__all__ = [
    "AuthorizationError",
    "NotConnectedError",
    "RealtimeAckError",
    "RealtimeBufferFullError",
    "RealtimeHTTPError",
]


class NotConnectedError(Exception):
    """Something that needs an open socket was asked for while there is none."""

    def __init__(self, func_name: str) -> None:
        super().__init__(func_name)
        self.offending_func_name: str = func_name

    def __str__(self) -> str:
        return (
            "A WS connection has not been established. Ensure you call AsyncRealtimeClient.connect() before calling"
            f" AsyncRealtimeClient.{self.offending_func_name}()"
        )


class AuthorizationError(Exception):
    """A private channel was refused to this client, or its token has ended."""

    def __init__(self, message: str | None = None) -> None:
        self.message: str = message or "Authorization failed for private channel"
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message


class RealtimeHTTPError(Exception):
    """A broadcast over HTTP was not accepted. ``status`` is the HTTP status, None where no answer came."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.message: str = message
        self.status: int | None = status

    def __str__(self) -> str:
        return self.message


class RealtimeBufferFullError(Exception):
    """Too much waits: messages for a connection that is away, or events that an iterator has not been asked for."""


class RealtimeAckError(Exception):
    """The server refused a broadcast (``response`` is what it said) or did not confirm it in time (``is_timeout``)."""

    def __init__(self, message: str, *, response: dict[str, object] | None = None, is_timeout: bool = False) -> None:
        super().__init__(message)
        self.response: dict[str, object] = response or {}
        self.is_timeout = is_timeout
