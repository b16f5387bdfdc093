"""The other nodes as this one knows them: when each was heard last, and which of its envelopes came.

Pure: time is an argument, in seconds of any steady clock. Neighbour: ``cluster`` feeds it and acts on what it says.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

__all__ = ["Arrival", "Peers"]

MAX_GONE = 1_000
"""Nodes that said goodbye and are remembered, so that a late envelope brings none of them back."""
MAX_PEERS = 1_000
"""Nodes of one project at a time; beyond it a new one is not known, and its messages are not handed on."""


class Arrival(Enum):
    """What an envelope's number says."""

    NEXT = "next"
    AFTER_GAP = "after_gap"
    """At least one envelope before it did not come."""
    KNOWN = "known"
    """It, or a later one, came before: it must not be handed on."""


@dataclass(slots=True)
class _Peer:
    heard_at_s: float
    came: dict[str, int] = field(default_factory=dict)
    """By channel of the bus: the number of the last envelope that came."""
    floor: dict[str, int] = field(default_factory=dict)
    """By channel of the bus: up to which number nothing is missed, because it was sent before we listened or given up."""
    told: dict[str, int] = field(default_factory=dict)
    """By channel of the bus: the number that the peer's last beat named."""


class Peers:
    """Every other node that lives, by its id."""

    def __init__(self) -> None:
        self._peers: dict[str, _Peer] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._peers)

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._peers

    @property
    def ids(self) -> frozenset[str]:
        """The ids of all living peers."""
        return frozenset(self._peers)

    def is_gone(self, node_id: str) -> bool:
        """True for a node that said goodbye: an id is never used again."""
        return node_id in self._gone

    def heard(self, node_id: str, now_s: float) -> bool:
        """Note a sign of life; True when the node was not known and is a peer from now on."""
        peer = self._peers.get(node_id)
        if peer is not None:
            peer.heard_at_s = now_s
            return False
        if node_id in self._gone or len(self._peers) >= MAX_PEERS:
            return False
        self._peers[node_id] = _Peer(now_s)
        return True

    def arrived(self, node_id: str, bus_channel: str, number: int) -> Arrival:
        """Judge an envelope of a known peer by its number, and note it."""
        peer = self._peers[node_id]
        last, floor = peer.came.get(bus_channel), peer.floor.get(bus_channel)
        if last is not None and number <= last:
            return Arrival.KNOWN
        peer.came[bus_channel] = number
        is_first_heard = last is None and floor is None
        return Arrival.NEXT if is_first_heard or number <= max(last or 0, floor or 0) + 1 else Arrival.AFTER_GAP

    def beat(self, node_id: str, sent: Mapping[str, int]) -> list[str]:
        """Note how far a peer says it has sent; returns the channels where the beat before named what has not come.

        One beat is waited for, because the channels of a bus may overtake each other.
        """
        peer = self._peers[node_id]
        missed: list[str] = []
        for bus_channel, number in sent.items():
            has = max(peer.came.get(bus_channel, 0), peer.floor.get(bus_channel, 0))
            expected = peer.told.get(bus_channel)
            if expected is None:
                if bus_channel not in peer.came:
                    peer.floor[bus_channel] = number
            elif has < expected:
                missed.append(bus_channel)
                peer.floor[bus_channel] = expected
            peer.told[bus_channel] = number
        return missed

    def silent_since(self, before_s: float) -> list[str]:
        """The peers that were not heard since ``before_s``."""
        return [node_id for node_id, peer in self._peers.items() if peer.heard_at_s < before_s]

    def grant_time(self, now_s: float) -> None:
        """Take every peer as heard now: the silence was ours (a lost bus, a process that stood still)."""
        for peer in self._peers.values():
            peer.heard_at_s = now_s

    def forget(self, node_id: str, *, is_final: bool) -> bool:
        """Drop a peer; ``is_final`` when it said goodbye, else it may come back. True when it was known."""
        if is_final:
            self._gone[node_id] = None
            if len(self._gone) > MAX_GONE:
                self._gone.popitem(last=False)
        return self._peers.pop(node_id, None) is not None
