"""The log between processes: the leader shares what it reads, the others ask for what they miss.

A follower never needs to know whether a message was lost: slices are tied to each other by their points, the leader's beats
say where the end is, and whatever is missing is asked for by position, a page at a time. So a bus that loses messages, or is
away for a while, delays changes and loses none, as long as the leader keeps them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from isobase_services.realtime.changes.changelog import GapFound, Slice
from isobase_services.realtime.changes.history import History
from isobase_services.realtime.changes.position import Position
from isobase_services.realtime.changes.relay_format import (
    Beat,
    Bye,
    Fresh,
    Page,
    RelayCodec,
    RelayMessage,
    Standing,
    Want,
    encode,
)

__all__ = ["Nodes", "Relay"]

CHANNEL = "changes"
BEAT_INTERVAL_S = 1.0
LEADER_SILENT_S = 4.0
"""After this long without a beat a follower does not know any more whether it is up to date."""
WANT_INTERVAL_S = 5.0
WANT_LIFE_S = 16.0
"""How long a process counts as a listener after it last said so."""
ASK_TIMEOUT_S = 1.0
PAGE_BYTES = 1024 * 1024
MAX_AHEAD_BYTES = 4 * 1024 * 1024
"""Slices that wait for one that is missing before them; beyond it they are dropped and asked for again."""

_log = logging.getLogger("isobase.realtime")


class Nodes(Protocol):
    """The other processes, as the relay needs them (``realtime.cluster``)."""

    @property
    def has_peers(self) -> bool:
        """True while at least one other node lives."""
        ...

    @property
    def is_bus_up(self) -> bool:
        """False while the bus does not take what is sent."""
        ...

    def publish(self, channel: str, payload: bytes, *, to: str | None = None) -> bool:
        """Send without waiting; False when nothing was sent."""
        ...

    def subscribe(self, channel: str, handler: Callable[[str, bytes], None]) -> None:
        """Hand every message of a channel to ``handler`` with its sender."""
        ...

    def on_peer_joined(self, handler: Callable[[str], None]) -> None:
        """A node appeared."""
        ...

    def on_peer_left(self, handler: Callable[[str], None]) -> None:
        """A node is gone."""
        ...

    def on_recovered(self, handler: Callable[[], None]) -> None:
        """The bus came back."""
        ...


class Relay:
    """The part of one process. ``vacant`` is set when the leader said goodbye or died: somebody should take over."""

    def __init__(self, nodes: Nodes, history: History) -> None:
        self.vacant = asyncio.Event()
        self._nodes = nodes
        self._history = history
        self._codec = RelayCodec()
        self._standing: Callable[[], Standing] | None = None
        self._wants: dict[str, float] = {}
        self._is_following = False
        self._leader: str | None = None
        self._term = 0
        self._heard_at_s = 0.0
        self._asked_at_s: float | None = None
        self._said_at_s = 0.0
        self._ahead: list[Slice] = []
        self._ahead_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        nodes.subscribe(CHANNEL, self._receive)
        nodes.on_peer_joined(self._joined)
        nodes.on_peer_left(self._left)
        nodes.on_recovered(self._recovered)

    # -- leading ------------------------------------------------------------------------------------------------------

    def lead(self, standing: Callable[[], Standing]) -> None:
        """This process reads the log from now on; ``standing`` tells how far it is."""
        self._is_following = False
        self._drop_ahead()
        self._standing = standing
        self._tick()

    def share(self, item: Slice) -> None:
        """Pass a slice on to the processes that listen."""
        standing = self._standing
        if standing is not None and self.is_wanted_elsewhere:
            now = standing()
            self._send(Fresh(now.term, now.epoch, item))

    def beat(self) -> None:
        """Tell the others how far this process is."""
        if self._standing is not None and self._nodes.has_peers:
            self._send(Beat(self._standing()))

    def resign(self) -> None:
        """This process does not read the log any more: another may at once."""
        if self._standing is not None:
            self._standing = None
            self._send(Bye())

    @property
    def is_wanted_elsewhere(self) -> bool:
        """True while another process listens."""
        return bool(self._wants)

    @property
    def hears_others(self) -> bool:
        """False while another process may listen that cannot say so."""
        return self._nodes.is_bus_up

    # -- following ----------------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Another process reads the log: take it from there."""
        if not self._is_following:
            self._is_following = True
            self._asked_at_s = None
            self._tick()

    def stop(self) -> None:
        """Nobody listens here any more."""
        self.resign()
        self._is_following = False
        self._drop_ahead()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._nodes.has_peers:
            self._send(Want(is_wanted=False, asks=False, after=None))

    def has_room(self) -> None:
        """The pipeline takes slices again."""
        if self._is_following:
            self._ask()

    # -- regular work -------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        now_s = time.monotonic()
        if self._standing is not None:
            for node_id in [node for node, said_at_s in self._wants.items() if now_s - said_at_s > WANT_LIFE_S]:
                del self._wants[node_id]
            self.beat()
        elif self._is_following:
            if self._history.is_live and now_s - self._heard_at_s > LEADER_SILENT_S:
                self._history.stand_still()
            if not self._history.is_live:
                self._ask()
            elif now_s - self._said_at_s > WANT_INTERVAL_S:
                self._say_want(asks=False)
        else:
            self._timer = None
            return
        self._timer = asyncio.get_running_loop().call_later(BEAT_INTERVAL_S, self._tick)

    def _ask(self) -> None:
        """Ask for what comes after the end of the ring, unless an answer is awaited already."""
        now_s = time.monotonic()
        if self._history.pipeline.is_full:
            return
        if self._asked_at_s is not None and now_s - self._asked_at_s < ASK_TIMEOUT_S:
            return
        self._asked_at_s = now_s if self._say_want(asks=True) else None

    def _say_want(self, *, asks: bool) -> bool:
        log = self._history.log
        after = None if log.epoch is None else Position(log.epoch, log.head)
        self._said_at_s = time.monotonic()
        return self._send(Want(is_wanted=True, asks=asks, after=after))

    def _send(self, message: RelayMessage, *, to: str | None = None) -> bool:
        return self._nodes.publish(CHANNEL, encode(message), to=to)

    # -- what the cluster tells ---------------------------------------------------------------------------------------

    def _joined(self, _node_id: str) -> None:
        self.beat()

    def _left(self, node_id: str) -> None:
        self._wants.pop(node_id, None)
        if node_id == self._leader:
            self._vacate()

    def _recovered(self) -> None:
        self.beat()
        if self._is_following:
            self._asked_at_s = None
            self._ask()

    def _vacate(self) -> None:
        self._leader = None
        if self._is_following:
            self._history.stand_still()
        self.vacant.set()

    def _receive(self, node_id: str, data: bytes) -> None:
        try:
            message = self._codec.decode(data)
        except ValueError:
            _log.warning("a message of another process cannot be read; is it of another version?")
            return
        match message:
            case Want():
                self._wanted(node_id, message)
            case Bye():
                if node_id == self._leader:
                    self._vacate()
            case Beat(standing=standing):
                if self._heeds(node_id, standing.term):
                    self._heed_beat(standing)
            case Fresh(term=term, epoch=epoch, item=item):
                if self._heeds(node_id, term):
                    self._heed_fresh(epoch, item)
            case Page(standing=standing):
                if self._heeds(node_id, standing.term):
                    self._heed_page(message)

    def _wanted(self, node_id: str, want: Want) -> None:
        if not want.is_wanted:
            self._wants.pop(node_id, None)
            return
        self._wants[node_id] = time.monotonic()
        if not want.asks or self._standing is None:
            return
        standing = self._standing()
        log = self._history.log
        since = standing.floor
        if want.after is not None and want.after.epoch == standing.epoch:
            since = max(since, want.after.point)
        items = tuple(log.page(since, PAGE_BYTES))
        is_all = not items or items[-1].last >= standing.last
        self._send(Page(standing, since, is_all, items), to=node_id)

    # -- what the leader tells ----------------------------------------------------------------------------------------

    def _heeds(self, node_id: str, term: int) -> bool:
        """True for the newest leader. One that was replaced may still have something to say."""
        now_s = time.monotonic()
        is_silent = now_s - self._heard_at_s > LEADER_SILENT_S
        if self._standing is not None or not (node_id == self._leader or term >= self._term or is_silent):
            return False
        self._leader, self._term, self._heard_at_s = node_id, term, now_s
        return self._is_following

    def _heed_beat(self, standing: Standing) -> None:
        log = self._history.log
        if log.epoch == standing.epoch and log.head >= standing.last and log.head >= standing.floor:
            self._history.advance(standing.head)
            if standing.is_live:
                self._history.go_live()
        else:
            self._ask()

    def _heed_fresh(self, epoch: str, item: Slice) -> None:
        if self._history.log.epoch != epoch or not self._take(item):
            self._ask()

    def _take(self, item: Slice) -> bool:
        """Accept a slice, and those that waited for it. False when one before it is missing."""
        if self._history.pipeline.is_full:
            return False
        try:
            self._history.accept(item)
        except GapFound:
            if self._ahead_bytes + item.size_bytes > MAX_AHEAD_BYTES:
                self._drop_ahead()
            self._ahead.append(item)
            self._ahead_bytes += item.size_bytes
            return False
        if self._ahead:
            self._take_ahead()
        return True

    def _take_ahead(self) -> None:
        waiting, self._ahead = self._ahead, []
        self._ahead_bytes = 0
        for item in waiting:
            try:
                self._history.accept(item)
            except GapFound:
                self._ahead.append(item)
                self._ahead_bytes += item.size_bytes

    def _drop_ahead(self) -> None:
        self._ahead.clear()
        self._ahead_bytes = 0

    def _heed_page(self, page: Page) -> None:
        self._asked_at_s = None
        standing, history = page.standing, self._history
        if not history.is_begun:
            # What was committed before this process listened concerns nobody here.
            history.begin(standing.epoch, page.since, standing.now)
        elif history.log.epoch != standing.epoch or history.log.head < standing.floor:
            history.begin(standing.epoch, page.since, page.since)
        if page.since > history.log.head:
            self._ask()
            return
        for item in page.items:
            history.advance(item.after)  # the page is whole: between its slices there is nothing
            if not self._take(item):
                return
        if not page.is_all:
            self._ask()
            return
        history.advance(standing.head)
        self._take_ahead()
        if standing.is_live:
            history.go_live()
