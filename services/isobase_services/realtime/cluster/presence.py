"""Presence between nodes: each tells the others of changes among its own members, and of all of them when asked.

A node asks a peer when that joins, when messages of it were lost, and every peer when the bus came back. Differences go to
all; an answer goes to who asked, in parts, as fast as the bus takes it, while sockets are served. The rules by which the two
fit together are ``core.presence_elsewhere``'s. A peer that leaves takes its members along.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Iterable, Iterator

from isobase_services.realtime.cluster.cluster import Cluster
from isobase_services.realtime.core.presence import PresenceDiff, PresenceEntry
from isobase_services.realtime.core.rates import RollingRate
from isobase_services.realtime.core.topics import TopicKey, Topics
from isobase_services.realtime.wire.messages import dump

__all__ = ["SharedPresence"]

CHANNEL = "presence"
PART_BYTES = 64 * 1024
"""About the size of one part of an answer; a single larger member goes alone."""
MIN_INTERVAL_S = 1.0
"""How soon a peer may be asked again: losing messages again and again must not make it tell all for ever."""
ASK_AGAIN_S = 5.0
"""How long an answer may take to begin or go on before the question is asked again."""

_log = logging.getLogger("isobase.realtime.cluster")


class SharedPresence:
    """Keeps ``topics.elsewhere`` true, and tells members here of what changes there."""

    def __init__(self, cluster: Cluster, topics: Topics, events: RollingRate) -> None:
        self._cluster = cluster
        self._topics = topics
        self._events = events
        self._questions = itertools.count(1)
        self._answering: dict[str, asyncio.Task[None]] = {}
        self._asked_at_s: dict[str, float] = {}
        self._due: dict[str, asyncio.TimerHandle] = {}
        """Questions that wait because the peer was asked a moment ago."""
        self._awaiting: dict[str, asyncio.TimerHandle] = {}
        """What asks again where no whole answer comes."""
        self._has_warned = False
        topics.on_presence = self._tell
        cluster.subscribe(CHANNEL, self._receive, self._ask)
        cluster.on_peer_joined(self._ask)
        cluster.on_peer_left(self._left)
        cluster.on_recovered(self._ask_all)

    def close(self) -> None:
        """Stop asking and answering."""
        for timer in (*self._awaiting.values(), *self._due.values()):
            timer.cancel()
        for task in self._answering.values():
            task.cancel()
        self._awaiting.clear()
        self._due.clear()

    # -- this node's own members --------------------------------------------------------------------------------------

    def _tell(self, key: TopicKey, diff: PresenceDiff) -> None:
        if self._cluster.has_peers:
            self._publish(None, "diff", *_named(key), _written(diff.joins), _written(diff.leaves))

    def _answer(self, node_id: str, number: int) -> None:
        """Tell a peer of all members here; a later question of the same peer takes the place of an earlier one."""
        running = self._answering.pop(node_id, None)
        if running is not None:
            running.cancel()
        task = asyncio.get_running_loop().create_task(self._send_all(node_id, number), name="realtime presence answer")
        self._answering[node_id] = task
        task.add_done_callback(lambda done: self._answered(node_id, done))

    def _answered(self, node_id: str, task: asyncio.Task[None]) -> None:
        if self._answering.get(node_id) is task:
            del self._answering[node_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("presence could not be told to a peer", exc_info=error)

    async def _send_all(self, node_id: str, number: int) -> None:
        parts = 0
        # Who leaves while this goes on is told as a difference, and the asker remembers it until the end.
        for key, entries in self._topics.tracked():
            for chunk in _chunks(entries):
                await self._cluster.room(CHANNEL, to=node_id)
                self._publish(node_id, "part", number, *_named(key), _written(chunk))
                parts += 1
            await asyncio.sleep(0)
        await self._cluster.room(CHANNEL, to=node_id)
        self._publish(node_id, "end", number, parts)

    def _publish(self, to: str | None, kind: str, *content: object) -> None:
        self._cluster.publish(CHANNEL, dump([kind, *content]).encode(), to=to)

    # -- the members of others ----------------------------------------------------------------------------------------

    def _ask_all(self) -> None:
        for node_id in self._cluster.peers:
            self._ask(node_id)

    def _ask(self, node_id: str) -> None:
        """Ask a peer for all of its members; soon, where it was asked a moment ago."""
        if node_id in self._due:
            return
        loop = asyncio.get_running_loop()
        wait_s = self._asked_at_s.get(node_id, float("-inf")) + MIN_INTERVAL_S - loop.time()
        if wait_s > 0:
            self._due[node_id] = loop.call_later(wait_s, self._ask_now, node_id)
        else:
            self._ask_now(node_id)

    def _ask_now(self, node_id: str) -> None:
        self._due.pop(node_id, None)
        self._asked_at_s[node_id] = asyncio.get_running_loop().time()
        number = next(self._questions)
        self._topics.elsewhere.asked(node_id, number)
        self._publish(node_id, "ask", number)
        self._wait_for(node_id)

    def _wait_for(self, node_id: str) -> None:
        if (timer := self._awaiting.pop(node_id, None)) is not None:
            timer.cancel()
        if node_id in self._cluster.peers and self._topics.elsewhere.asks(node_id):
            loop = asyncio.get_running_loop()
            self._awaiting[node_id] = loop.call_later(ASK_AGAIN_S, self._ask, node_id)

    def _left(self, node_id: str) -> None:
        if (task := self._answering.pop(node_id, None)) is not None:
            task.cancel()
        for timers in (self._awaiting, self._due):
            if (timer := timers.pop(node_id, None)) is not None:
                timer.cancel()
        self._asked_at_s.pop(node_id, None)
        self._deliver(self._topics.elsewhere.dropped(node_id))

    def _receive(self, node_id: str, payload: bytes) -> None:
        match json.loads(payload):
            case ["diff", str(name), bool(is_private), list(joins), list(leaves)]:
                key = TopicKey(name, is_private)
                diff = PresenceDiff(_read(joins), _read(leaves))
                self._deliver([(key, self._topics.elsewhere.changed(node_id, key, diff))])
            case ["part", int(number), str(name), bool(is_private), list(entries)]:
                key = TopicKey(name, is_private)
                self._deliver([(key, self._topics.elsewhere.answered(node_id, number, key, _read(entries)))])
                self._wait_for(node_id)
            case ["end", int(number), int(parts)]:
                changes = self._topics.elsewhere.answer_ended(node_id, number, parts)
                if changes is None:
                    self._ask(node_id)
                    return
                self._deliver(changes)
                self._wait_for(node_id)
            case ["ask", int(number)]:
                self._answer(node_id, number)
            case _:
                _log.warning("a peer told of presence what cannot be understood", extra={"node": node_id})

    def _deliver(self, changes: Iterable[tuple[TopicKey, PresenceDiff | None]]) -> None:
        for key, diff in changes:
            if diff is not None:
                self._events.add(self._topics.deliver_presence(key, diff))
        elsewhere = self._topics.elsewhere
        if elsewhere.left_out and not self._has_warned:
            self._has_warned = True
            _log.warning(
                "more members are tracked elsewhere than realtime.cluster.max_presence_entries; some are not shown"
            )
        self._cluster.figures.elsewhere(len(elsewhere), elsewhere.left_out)


def _named(key: TopicKey) -> tuple[str, bool]:
    return key.name, key.is_private


def _chunks(entries: Iterable[PresenceEntry]) -> Iterator[list[PresenceEntry]]:
    chunk: list[PresenceEntry] = []
    left_bytes = PART_BYTES
    for entry in entries:
        size_bytes = len(entry.key) + len(entry.meta)
        if chunk and size_bytes > left_bytes:
            yield chunk
            chunk, left_bytes = [], PART_BYTES
        chunk.append(entry)
        left_bytes -= size_bytes
    if chunk:
        yield chunk


def _written(entries: Iterable[PresenceEntry]) -> list[list[str]]:
    return [[entry.key, entry.ref, entry.meta] for entry in entries]


def _read(entries: Iterable[list[str]]) -> tuple[PresenceEntry, ...]:
    return tuple(PresenceEntry(*entry) for entry in entries)
