"""A WebSocket below ASGI: an app takes it over after its handshake, gets messages by a call and writes frames as bytes.

ASGI's ``receive`` and ``send`` cost a task and a queue for each socket and a serialisation for each receiver. A server that
can do better offers ``EXTENSION`` in the scope's ``extensions``; the app accepts the socket as usual, calls ``adopt`` and
returns. From then on the server calls the handler. Where the extension is missing, an app uses ``receive`` and ``send``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from starlette.types import Scope

__all__ = ["EXTENSION", "Adopt", "RawSocket", "SocketHandler", "adopter"]

EXTENSION = "isobase.raw_socket"


class SocketHandler(Protocol):
    """What an app does with its socket. No method may wait, and none may raise."""

    def message_received(self, message: str | bytes) -> None:
        """A whole message of the client: text or binary."""
        ...

    def writing_paused(self) -> None:
        """The client reads slower than is written: what is written now fills memory."""
        ...

    def writing_resumed(self) -> None:
        """There is room again."""
        ...

    def socket_ended(self) -> None:
        """The client has closed or is gone, or the server has closed; called once, and nothing after it."""
        ...


class RawSocket(Protocol):
    """An adopted socket."""

    @property
    def write(self) -> Callable[[bytes], None]:
        """Write a whole frame, header and payload, without waiting."""
        ...

    def hold_reading(self) -> None:
        """Hand over no further message until ``resume_reading``."""
        ...

    def resume_reading(self) -> None:
        """Hand over messages again."""
        ...

    def close(self, code: int) -> None:
        """Send a close frame behind what was written, wait a little for the client's, then end the connection."""
        ...


Adopt: TypeAlias = Callable[[SocketHandler], RawSocket]


def adopter(scope: Scope) -> Adopt | None:
    """How to take over the socket of ``scope`` once it is accepted, or None where the server offers ASGI alone."""
    extensions: dict[str, dict[str, Any]] = scope.get("extensions") or {}
    offered = extensions.get(EXTENSION)
    return None if offered is None else offered["adopt"]
