"""The transport's own errors. Everything else that a network does wrong stays the httpx error that users of supabase-py
catch.

httpx.TimeoutException
    DeadlineExceeded      the whole time of a call is over
CallCancelled             its Cancellation was cancelled
"""

from __future__ import annotations

import httpx

__all__ = ["CallCancelled", "DeadlineExceeded"]


class DeadlineExceeded(httpx.TimeoutException):
    """The whole time of a call (``timeout`` of ``call_options`` or of the client's options) is over.

    ``timeout`` is that time in seconds. Nothing is known about whether a write was carried out.
    """

    def __init__(self, timeout: float, *, request: httpx.Request | None = None) -> None:
        super().__init__(f"the call did not end within {timeout:g} s", request=request)
        self.timeout = timeout

    def __reduce__(self) -> tuple[type[DeadlineExceeded], tuple[float]]:
        """Survive ``pickle`` and ``copy``, without the request, whose headers hold keys."""
        return type(self), (self.timeout,)


class CallCancelled(Exception):
    """The call was ended by its ``Cancellation``. Nothing is known about whether a write was carried out."""

    def __init__(self) -> None:
        super().__init__("the call was cancelled")

    def __reduce__(self) -> tuple[type[CallCancelled], tuple[()]]:
        """Survive ``pickle`` and ``copy``: the constructor takes nothing."""
        return type(self), ()
