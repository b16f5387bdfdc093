"""Publish / subscribe between the processes of one project: Redis, or PostgreSQL where no Redis is configured.

Delivery is at most once and in order per publisher; a subscriber that was away missed what was said. What must not be
missed is a row. Payloads are bytes. ``open_bus`` chooses; both implementations reconnect by themselves and call
``on_reconnect`` so that a subscriber can read again what it may have missed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from isobase_platform.config import Settings
    from isobase_platform.pool import Pools

__all__ = ["MAX_CHANNEL_LENGTH_CHARS", "Bus", "Handler", "Subscription", "open_bus"]

MAX_CHANNEL_LENGTH_CHARS = 200

Handler: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Called once per message, one after the other for one subscription."""


class Subscription(Protocol):
    """A live subscription."""

    async def cancel(self) -> None:
        """Stop; no handler call begins after this returns."""
        ...


class Bus(Protocol):
    """What both implementations offer."""

    @property
    def kind(self) -> str:
        """``redis`` or ``postgresql``."""
        ...

    @property
    def batch_bytes(self) -> int:
        """The size of payload that travels best: who has many small messages puts as many into one payload."""
        ...

    async def publish(self, channel: str, payload: bytes) -> None:
        """Send ``payload`` to every subscriber of ``channel``. Raises ``Unavailable`` when the server is out of reach."""
        ...

    async def publish_many(self, channel: str, payloads: Sequence[bytes]) -> None:
        """Send several payloads in their order, in one exchange with the server. Raises as ``publish``: some may be sent."""
        ...

    async def subscribe(
        self, channel: str, handler: Handler, *, on_reconnect: Callable[[], Awaitable[None]] | None = None
    ) -> Subscription:
        """Call ``handler`` for each message of ``channel`` from now on; returns when the subscription is live."""
        ...

    async def ping(self) -> bool:
        """True when the bus answers."""
        ...

    async def close(self) -> None:
        """End every subscription and give back connections."""
        ...


def open_bus(settings: Settings, pools: Pools) -> Bus:
    """The bus that the settings ask for: Redis when ``redis_url`` is set. Connects on first use."""
    if settings.redis_url is not None:
        from isobase_platform.bus.redis import RedisBus

        return RedisBus(settings.redis_url.get_secret_value())
    from isobase_platform.bus.postgres import PostgresBus

    return PostgresBus(settings, pools)
