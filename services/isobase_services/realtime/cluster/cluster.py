"""One node among the realtime processes of a project: who else lives, and messages between them over the bus.

A node says ``hello`` when it starts and whenever its bus came back, ``beat`` every few seconds while it has peers, and
``bye`` when it ends. Who hears a hello answers with a beat. A node that is alone sends nothing but a rare beat, so one
process on its own PostgreSQL pays nothing for broadcasts. A peer that is silent for ``dead_after_s`` is taken as dead; while
the bus is known to be away nobody is, for ``OUTAGE_GRACE`` times that.

Delivery is at most once and in the order of each sender. A receiver learns of lost messages by their numbers. Neighbours:
``links`` (the bus), ``peers`` (who lives); ``broadcasts`` and ``presence`` (what is sent).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from isobase_platform.bus import Bus
from isobase_platform.config_realtime.cluster import ClusterSettings
from isobase_platform.errors import ConfigurationError, IsobaseError
from isobase_services.realtime.cluster.envelope import NODE_ID_BYTES
from isobase_services.realtime.cluster.figures import ClusterFigures
from isobase_services.realtime.cluster.links import ClusterIdentity, Links, Received
from isobase_services.realtime.cluster.peers import Arrival, Peers

__all__ = ["Cluster", "ClusterIdentity", "MessageHandler", "PeerHandler"]

CONTROL = "control"
START_TIMEOUT_S = 3.0
"""How long a start waits for the bus before the node serves alone and goes on trying."""
PROBE_INTERVAL_S = 1.0
"""How often a node whose bus is away tries it."""
ALONE_FACTOR = 12
"""A node that is alone beats by this much more seldom."""
OUTAGE_GRACE = 3
BYE_TIMEOUT_S = 1.0
MESSAGES_PER_TURN = 256
"""Messages of the bus that are handed on before sockets get their turn again."""

MessageHandler: TypeAlias = Callable[[str, bytes], None]
"""Gets the sender's node id and a message. Must not wait; what it raises is logged and ends nothing."""
PeerHandler: TypeAlias = Callable[[str], None]
"""Gets a node id."""

_log = logging.getLogger("isobase.realtime.cluster")


@dataclass(slots=True)
class _Channel:
    handler: MessageHandler
    on_gap: PeerHandler | None


class Cluster:
    """This node. Made once per process; nothing here waits in the caller's way but ``start`` and ``close``."""

    def __init__(
        self, bus: Bus, settings: ClusterSettings, identity: ClusterIdentity, figures: ClusterFigures | None = None
    ) -> None:
        self.node_id = os.urandom(NODE_ID_BYTES).hex()
        """New with every start, so that what an earlier life of the process left behind is never taken for this one's."""
        self.figures = figures or ClusterFigures()
        """What is counted, for ``/metrics``."""
        self._settings = settings
        self._wakeup = asyncio.Event()
        self._links = Links(
            bus,
            self.node_id,
            identity,
            self.figures,
            max_queue_bytes=settings.max_queue_bytes,
            on_lost=self._wakeup.set,
        )
        self._peers = Peers()
        self._channels: dict[str, _Channel] = {}
        self._joined: list[PeerHandler] = []
        self._left: list[PeerHandler] = []
        self._recovered: list[Callable[[], None]] = []
        self._ticked_at_s = 0.0
        self._answers_now = False
        self._pulse: asyncio.Task[None] | None = None

    # -- what others use ----------------------------------------------------------------------------------------------

    @property
    def has_peers(self) -> bool:
        """True while at least one other node lives."""
        return len(self._peers) > 0

    @property
    def peers(self) -> frozenset[str]:
        """The ids of the other nodes that live."""
        return self._peers.ids

    @property
    def is_bus_up(self) -> bool:
        """False while the bus does not take what is sent."""
        return self._links.is_up

    def subscribe(self, channel: str, handler: MessageHandler, on_gap: PeerHandler | None = None) -> None:
        """Hand every message for ``channel`` to ``handler``, those sent to this node alone included.

        ``channel``: at most 100 ASCII characters, one subscriber each. ``on_gap`` gets a sender of whom messages were lost.
        Channels are named before ``start``. Raises ``ValueError`` for one that is taken, or too late.
        """
        if channel in self._channels or self._pulse is not None:
            raise ValueError(f"the channel {channel} is taken, or the cluster has started")
        self._channels[channel] = _Channel(handler, on_gap)

    def on_peer_joined(self, handler: PeerHandler) -> None:
        """Call ``handler`` for each node that appears, before its first message is handed on."""
        self._joined.append(handler)

    def on_peer_left(self, handler: PeerHandler) -> None:
        """Call ``handler`` for each node that said goodbye or fell silent."""
        self._left.append(handler)

    def on_recovered(self, handler: Callable[[], None]) -> None:
        """Call ``handler`` when the bus came back: messages of that time are lost."""
        self._recovered.append(handler)

    def publish(self, channel: str, payload: bytes, *, to: str | None = None) -> bool:
        """Send to every peer, or to the node ``to`` alone. Never raises and never waits.

        False when nothing was sent: no peer (or no such one), the bus is away, or too much waits already. Messages to one
        node and messages to all may overtake each other; each kind keeps its order.
        """
        if not self._links.is_ready or not self._peers or (to is not None and to not in self._peers):
            return False
        return self._links.send(channel, payload, to=to)

    async def room(self, channel: str, *, to: str | None = None) -> None:
        """Wait until the queue of ``channel`` is at most half full: for senders of much that can wait."""
        if self._links.is_ready and (to is None or to in self._peers):
            await self._links.room(channel, to)

    async def start(self) -> None:
        """Subscribe and announce this node, so that no peer leaves it out once this returned.

        Where the bus does not answer within ``START_TIMEOUT_S`` the node serves alone, and goes on trying.
        """
        if not self._settings.enabled:
            return
        self._ticked_at_s = time.monotonic()
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._open()
                await self._links.echo.wait()
        except ConfigurationError as error:
            _log.warning("realtime processes do not know of each other", extra={"reason": error.message})
            return
        except (IsobaseError, TimeoutError):
            _log.warning("the bus does not answer; this process serves alone until it does")
        self._pulse = asyncio.create_task(self._keep_pulse(), name="realtime cluster")

    async def close(self) -> None:
        """Say goodbye, so that peers drop this node's presence at once, and stop."""
        if self._pulse is not None:
            self._pulse.cancel()
            await asyncio.gather(self._pulse, return_exceptions=True)
        if self._links.is_up and self._peers:
            try:
                async with asyncio.timeout(BYE_TIMEOUT_S):
                    await self._links.flushed()
                    self._say("bye")
                    await self._links.flushed()
            except TimeoutError:
                _log.info("the bus was away while this process ended")
        await self._links.close()

    async def _open(self) -> None:
        """Subscribe to every channel, then say hello. Raises what the bus and the database raise."""
        await self._links.open((CONTROL, *self._channels), self._receive, self._bus_returned)
        self._say("hello")

    async def _bus_returned(self) -> None:
        """The subscriptions live again: what was said meanwhile is lost on us."""
        self._peers.grant_time(time.monotonic())
        self._say("hello")
        for handler in self._recovered:
            handler()

    # -- what comes in ------------------------------------------------------------------------------------------------

    async def _receive(self, received: Received) -> None:
        node_id, name = received.header.node_id, received.channel
        if not self._is_known(node_id):
            return
        arrival = self._peers.arrived(node_id, received.bus_channel, received.header.number)
        if arrival is Arrival.KNOWN:
            return
        if name == CONTROL:
            for payload in received.payloads:
                self._control(node_id, payload)
            return
        channel = self._channels[name]
        self.figures.received(name, len(received.payloads))
        if arrival is Arrival.AFTER_GAP:
            self._gap(node_id, channel)
        for count, payload in enumerate(received.payloads, 1):
            try:
                channel.handler(node_id, payload)
            except Exception:  # noqa: BLE001  one message of a peer must not end what the others say
                _log.exception("a message of a peer could not be handled", extra={"channel": name})
            if count % MESSAGES_PER_TURN == 0:
                await asyncio.sleep(0)
        # A bus that has much to say must not keep the sockets waiting.
        await asyncio.sleep(0)

    def _is_known(self, node_id: str) -> bool:
        """Note a sign of life, and welcome a node that was not known. False for one that is gone."""
        if self._peers.heard(node_id, time.monotonic()):
            self.figures.peers(len(self._peers))
            _log.info("a realtime process joined", extra={"node": node_id, "peers": len(self._peers)})
            self._wakeup.set()
            for handler in self._joined:
                handler(node_id)
        return node_id in self._peers

    def _gap(self, node_id: str, channel: _Channel) -> None:
        self.figures.gap()
        if channel.on_gap is not None:
            channel.on_gap(node_id)

    def _control(self, node_id: str, payload: bytes) -> None:
        try:
            said = json.loads(payload)
            kind, sent = str(said["kind"]), {str(name): int(number) for name, number in said["sent"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            _log.warning("a peer said what cannot be understood", extra={"node": node_id})
            return
        if kind == "bye":
            self._forget(node_id, is_final=True)
            return
        for bus_channel in self._peers.beat(node_id, sent):
            channel = self._channels.get(self._links.channel_of(bus_channel))
            if channel is not None:
                self._gap(node_id, channel)
        if kind == "hello":
            self._answers_now = True
            self._wakeup.set()

    # -- life ---------------------------------------------------------------------------------------------------------

    def _say(self, kind: str) -> None:
        """Tell all nodes that this one lives, and how far it has sent."""
        self._links.send(CONTROL, json.dumps({"kind": kind, "sent": self._links.sent}).encode(), is_probe=True)

    def _forget(self, node_id: str, *, is_final: bool) -> None:
        if not self._peers.forget(node_id, is_final=is_final):
            return
        self.figures.peers(len(self._peers))
        reason = "said goodbye" if is_final else "fell silent"
        _log.info("a realtime process left", extra={"node": node_id, "reason": reason, "peers": len(self._peers)})
        self._links.forget(node_id)
        for handler in self._left:
            handler(node_id)

    @property
    def _interval_s(self) -> float:
        if not self._links.is_up:
            return min(PROBE_INTERVAL_S, self._settings.heartbeat_interval_s)
        return self._settings.heartbeat_interval_s * (1 if self._peers else ALONE_FACTOR)

    async def _keep_pulse(self) -> None:
        """Beat, answer hellos, try a bus that is away, and bury the dead."""
        beat_at_s = time.monotonic()
        while True:
            wait_s = max(0.0, min(beat_at_s + self._interval_s - time.monotonic(), self._settings.heartbeat_interval_s))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wakeup.wait()
            self._wakeup.clear()
            self._bury_silent()
            if not (self._answers_now or time.monotonic() >= beat_at_s + self._interval_s):
                continue
            self._answers_now = False
            beat_at_s = time.monotonic()
            if self._links.is_listening:
                self._say("beat")
            else:
                await self._try_open()

    async def _try_open(self) -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._open()
        except (IsobaseError, TimeoutError):
            return  # the next round tries again
        _log.info("the bus answers; this process knows of others from now on")

    def _bury_silent(self) -> None:
        now_s = time.monotonic()
        dead_after_s = self._settings.dead_after_s
        stood_still_s = now_s - self._ticked_at_s - self._settings.heartbeat_interval_s
        self._ticked_at_s = now_s
        if stood_still_s > dead_after_s / 2:
            # This process itself stood still (a suspended machine): what the others said meanwhile waits to be read.
            self._peers.grant_time(now_s)
            return
        if not self._links.is_up and now_s - self._links.lost_at_s < OUTAGE_GRACE * dead_after_s:
            return
        for node_id in self._peers.silent_since(now_s - dead_after_s):
            self._forget(node_id, is_final=False)
