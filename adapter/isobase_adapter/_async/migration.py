"""``client.migration``: what an app and its operator may ask a migration client about the move."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from isobase_adapter.answers import Answer, answered
from isobase_adapter.breaker import BreakerState
from isobase_adapter.capabilities import Capability, Kind, patterns_of
from isobase_adapter.contracts import Writer
from isobase_adapter.core import Core
from isobase_adapter.drainer import Drained
from isobase_adapter.stages import Stage

__all__ = ["AsyncMigration"]

# [async]
Closing = Callable[[], Awaitable[None]]
# [/async]
# [sync] Closing = Callable[[], None]


class AsyncMigration:
    """The move, as this client sees it."""

    def __init__(self, core: Core, close_http: Closing) -> None:
        self._core = core
        self._close_http = close_http
        self._is_closed = False

    @property
    def answered(self) -> Answer | None:
        """Which side gave the answer of this task's or thread's last call, and whether it stood in for the other."""
        return answered()

    def stage(self, capability: str | Capability, user: str | None = None) -> Stage:
        """Give a capability's stage (``orders``, ``table:shop.stock``, ``bucket:avatars``, ``auth``).

        user: a user's id, None: nobody signed in. Raises ``ValueError`` for what names no capability.
        """
        return self._core.decider.acted(_capability(capability), lambda: user).stage

    def writer(self, capability: str | Capability) -> Writer:
        """Give who is written first."""
        return self._core.decider.acted(_capability(capability), lambda: None).writer

    def metrics(self) -> dict[str, dict[str, int]]:
        """Give what this client counted since it was made, by name and capability: reads, writes, fallback_reads ..."""
        return self._core.metrics.counts()

    def breakers(self) -> dict[str, dict[str, dict[str, BreakerState]]]:
        """Give the breakers' states, by capability, side and kind of calls (``reads``, ``writes``)."""
        return self._core.breakers.states()

    async def drain(self, timeout_s: float = 30.0) -> Drained:
        """Carry what waits for its second side, everybody's, for at most ``timeout_s`` seconds; says what came of it.

        Raises ``OutboxAway``.
        """
        # [async]
        return await self._core.runtime.call(self._core.parts.drain(timeout_s))
        # [/async]
        # [sync] return self._core.runtime.run(self._core.parts.drain(timeout_s))

    async def pending(self) -> int:
        """How many writes wait for their second side, everybody's. Raises ``OutboxAway``."""
        # [async]
        return await self._core.runtime.call(self._core.parts.pending())
        # [/async]
        # [sync] return self._core.runtime.run(self._core.parts.pending())

    async def aclose(self) -> None:
        """End the client: its connections to both sides, what runs in the background, its thread. Writes that the second
        side does not have yet stay in the outbox. May be called again.
        """
        if self._is_closed:
            return
        self._is_closed = True
        await self._close_http()
        # [async]
        await self._core.aclose()
        # [/async]
        # [sync] self._core.close()

    # [async]
    async def close(self) -> None:
        """End the client; the same as ``aclose``."""
        await self.aclose()

    # [/async]


def _capability(given: str | Capability) -> Capability:
    if isinstance(given, Capability):
        return given
    kind, _, name = patterns_of(given)[0].partition(":")
    return Capability(Kind(kind), name)
