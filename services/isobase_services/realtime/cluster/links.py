"""A node's connection with the bus: its subscriptions, a queue for each channel it sends on, and whether the bus is there.

Knows envelopes and numbers of its own, and nothing of peers. A channel has one name on the bus for everybody, and one for
each node that is written to alone. Neighbours: ``outlet`` (a queue), ``envelope`` (what travels), ``cluster`` (who decides).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from isobase_platform.bus import Bus, Subscription
from isobase_services.realtime.cluster.envelope import Header, Seals, Unreadable, read_header
from isobase_services.realtime.cluster.figures import ClusterFigures
from isobase_services.realtime.cluster.outlet import Outlet

__all__ = ["ClusterIdentity", "Links", "Received"]

_log = logging.getLogger("isobase.realtime.cluster")


@dataclass(slots=True, frozen=True)
class ClusterIdentity:
    """What the nodes of one project share. ``scope`` is asked for at start: it may need the database."""

    secret: str
    scope: Callable[[], Awaitable[str]]

    def __repr__(self) -> str:
        """Without the secret."""
        return "ClusterIdentity()"


@dataclass(slots=True, frozen=True)
class Received:
    """Messages of another node: ``channel`` as it was subscribed to, ``bus_channel`` as the bus knows it."""

    channel: str
    bus_channel: str
    header: Header
    payloads: tuple[bytes, ...]


Receiver: TypeAlias = Callable[[Received], Awaitable[None]]


class Links:
    """One per node. ``on_lost`` is called when the bus takes no more messages."""

    def __init__(
        self,
        bus: Bus,
        node_id: str,
        identity: ClusterIdentity,
        figures: ClusterFigures,
        *,
        max_queue_bytes: int,
        on_lost: Callable[[], None],
    ) -> None:
        self.is_up = False
        """False before the first contact, and while the bus does not take what is sent."""
        self.lost_at_s = 0.0
        self.echo = asyncio.Event()
        """Set when the bus has brought back something that this node sent: all others have it too, or soon."""
        self._bus = bus
        self._node_id = node_id
        self._identity = identity
        self._figures = figures
        self._max_queue_bytes = max_queue_bytes
        self._on_lost = on_lost
        self._seals: Seals | None = None
        self._prefix = ""
        self._outlets: dict[str, Outlet] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._wanted: set[str] = set()

    @property
    def is_ready(self) -> bool:
        """True once messages can be sealed."""
        return self._seals is not None

    @property
    def is_listening(self) -> bool:
        """True once every subscription lives."""
        return self.is_ready and self._wanted <= self._subscriptions.keys()

    async def open(self, channels: Sequence[str], receive: Receiver, on_return: Callable[[], Awaitable[None]]) -> None:
        """Subscribe to what is not yet; ``on_return`` is called when a lost connection lives again.

        Raises what the bus and the database raise; called again, it goes on where it failed.
        """
        names = {name: channel for channel in channels for name in (channel, f"{channel}@{self._node_id}")}
        self._wanted = set(names)
        if self._seals is None:
            scope = await self._identity.scope()
            self._prefix = f"realtime:{scope}:"
            self._seals = Seals(self._identity.secret, scope)
        for number, (name, channel) in enumerate(names.items()):
            if name not in self._subscriptions:
                # Every subscription of a bus comes back with it; the first tells.
                await self._listen(name, channel, receive, on_return if number == 0 else None)
        self.is_up = True
        self._figures.bus_is_up(True)

    async def _listen(
        self, name: str, channel: str, receive: Receiver, on_return: Callable[[], Awaitable[None]] | None
    ) -> None:
        bus_channel = self._prefix + name

        async def take(envelope: bytes) -> None:
            received = self._read(channel, bus_channel, envelope)
            if received is not None:
                await receive(received)

        self._subscriptions[name] = await self._bus.subscribe(bus_channel, take, on_reconnect=on_return)

    def _read(self, channel: str, bus_channel: str, envelope: bytes) -> Received | None:
        assert self._seals is not None
        try:
            header = read_header(envelope)
            if header.node_id == self._node_id:
                self.echo.set()
                return None
            return Received(channel, bus_channel, header, self._seals.open(header, bus_channel, envelope))
        except Unreadable as error:
            self._figures.unreadable()
            _log.debug("an envelope was put aside", extra={"reason": str(error)})
            return None

    def send(self, channel: str, payload: bytes, *, to: str | None = None, is_probe: bool = False) -> bool:
        """Queue a message; False when it is dropped. While the bus is away, only a probe is tried."""
        outlet = self._outlet(channel, to)
        if not self.is_up and not is_probe:
            outlet.skip()
        elif outlet.put(payload):
            return True
        self._figures.dropped(channel, 1)
        return False

    async def room(self, channel: str, to: str | None) -> None:
        """Wait until the queue is at most half full."""
        await self._outlet(channel, to).room()

    @property
    def sent(self) -> dict[str, int]:
        """How far this node has sent on each channel that everybody hears, by its name on the bus."""
        return {outlet.bus_channel: outlet.number for name, outlet in self._outlets.items() if "@" not in name}

    def channel_of(self, bus_channel: str) -> str:
        """The name of a channel that everybody hears."""
        return bus_channel.removeprefix(self._prefix)

    def forget(self, node_id: str) -> None:
        """Drop what waits for one node alone."""
        for name in [name for name in self._outlets if name.endswith(f"@{node_id}")]:
            self._outlets.pop(name).discard()

    async def flushed(self) -> None:
        """Wait until everything queued was handed to the bus, or dropped."""
        await asyncio.gather(*(outlet.flushed() for outlet in list(self._outlets.values())))

    async def close(self) -> None:
        """End subscriptions and drop what waits."""
        for subscription in self._subscriptions.values():
            await subscription.cancel()
        self._subscriptions.clear()
        for outlet in list(self._outlets.values()):
            await outlet.close()

    def _outlet(self, channel: str, to: str | None) -> Outlet:
        assert self._seals is not None
        name = channel if to is None else f"{channel}@{to}"
        outlet = self._outlets.get(name)
        if outlet is None:
            outlet = self._outlets[name] = Outlet(
                self._bus,
                self._seals,
                self._node_id,
                self._prefix + name,
                channel,
                max_bytes=self._max_queue_bytes,
                on_outcome=self._sent,
            )
        return outlet

    def _sent(self, channel: str, count: int, is_taken: bool) -> None:
        """What became of a call to the bus."""
        if is_taken:
            self._figures.sent(channel, count)
            if not self.is_up:
                self.is_up = True
                self._figures.bus_is_up(True)
                _log.info("the bus takes messages again")
            return
        self._figures.dropped(channel, count)
        if self.is_up:
            self.is_up = False
            self.lost_at_s = time.monotonic()
            self._figures.bus_is_up(False)
            _log.warning("the bus is away; messages reach this process's own sockets only")
            self._on_lost()
