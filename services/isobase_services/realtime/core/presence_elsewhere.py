"""Whom the other processes track: a full copy, so that a join is answered with everybody at once.

Each process is the authority for its own members. What it says comes as differences, in order, and as a whole answer when it
was asked for (at first, and when something was lost). While an answer is awaited both are mixed, on ways that may overtake
each other; a ref is given once and never again, which makes that safe:

- whoever was heard of since the question, by a difference or in the answer, is there; who was not by the end of it, left;
- whoever left since the question is not brought back by a part of the answer that was written before.

No I/O. Neighbours: ``presence`` (a topic's own members), ``cluster.presence`` (the messages).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from isobase_services.realtime.core.presence import PresenceDiff, PresenceEntry

if TYPE_CHECKING:
    from collections.abc import Hashable

    from isobase_services.realtime.core.topics import TopicKey

__all__ = ["PresenceElsewhere", "TopicDiff"]

MAX_LEFT_WHILE_ASKING = 100_000
"""Members of one process that may leave while its answer is awaited; beyond it the oldest could come back as ghosts, so that
question is given up and asked anew."""

TopicDiff: TypeAlias = tuple["TopicKey", PresenceDiff]


@dataclass(slots=True)
class _Answer:
    """What is known of a question under way."""

    number: int
    parts: int = 0
    left: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Node:
    round: int = 0
    """Counts the questions; a member that was heard of since the last one carries its number."""
    heard: dict[tuple[TopicKey, str], int] = field(default_factory=dict)
    """By topic and ref: the round in which a member was last heard of."""
    answer: _Answer | None = None


class PresenceElsewhere:
    """The copy. At most ``max_entries`` members; those beyond are not taken, and ``left_out`` counts them."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._size = 0
        self._topics: dict[TopicKey, dict[str, PresenceEntry]] = {}
        self._nodes: dict[str, _Node] = {}
        self.left_out = 0
        """Members that were not taken, counted each time."""

    def __len__(self) -> int:
        return self._size

    def entries(self, topic: Hashable) -> Iterable[PresenceEntry]:
        """The members of a topic that other processes track."""
        return self._topics.get(topic, {}).values()  # type: ignore[call-overload, no-any-return]

    def asked(self, node_id: str, number: int) -> None:
        """Question ``number`` is about to be sent to a process: everything that is heard from now on is fresh."""
        node = self._nodes.setdefault(node_id, _Node())
        node.round += 1
        # Who left since an earlier question that was not answered must not come back by a late part either.
        left = node.answer.left if node.answer is not None else set()
        node.answer = _Answer(number, left=left)

    def asks(self, node_id: str) -> bool:
        """True while an answer is awaited."""
        node = self._nodes.get(node_id)
        return node is not None and node.answer is not None

    def changed(self, node_id: str, key: TopicKey, diff: PresenceDiff) -> PresenceDiff | None:
        """Take a difference from a process; returns what it changes here, None for nothing."""
        node = self._nodes.setdefault(node_id, _Node())
        if node.answer is not None and len(node.answer.left) < MAX_LEFT_WHILE_ASKING:
            node.answer.left.update(entry.ref for entry in diff.leaves)
        joins = self._add(node, key, diff.joins)
        leaves = [entry for entry in diff.leaves if self._remove(node, key, entry.ref)]
        return PresenceDiff(tuple(joins), tuple(leaves)) if joins or leaves else None

    def answered(
        self, node_id: str, number: int, key: TopicKey, entries: Iterable[PresenceEntry]
    ) -> PresenceDiff | None:
        """Take a part of the answer to question ``number``; returns what it changes here."""
        node = self._nodes.get(node_id)
        if node is None or node.answer is None or node.answer.number != number:
            return None
        node.answer.parts += 1
        left = node.answer.left
        joins = self._add(node, key, [entry for entry in entries if entry.ref not in left])
        return PresenceDiff(joins=tuple(joins)) if joins else None

    def answer_ended(self, node_id: str, number: int, parts: int) -> list[TopicDiff] | None:
        """The answer to question ``number`` had so many parts: who was not heard of has left.

        Returns what that changes; None when parts are missing, or too much happened meanwhile: ask again.
        """
        node = self._nodes.get(node_id)
        if node is None or node.answer is None or node.answer.number != number:
            return []
        is_whole = node.answer.parts == parts and len(node.answer.left) < MAX_LEFT_WHILE_ASKING
        if not is_whole:
            return None
        node.answer = None
        return self._remove_all(node, [place for place, heard in node.heard.items() if heard != node.round])

    def dropped(self, node_id: str) -> list[TopicDiff]:
        """A process is gone, and everybody whom it tracked; returns what that changes."""
        node = self._nodes.pop(node_id, None)
        return [] if node is None else self._remove_all(node, list(node.heard))

    def _add(self, node: _Node, key: TopicKey, entries: Iterable[PresenceEntry]) -> list[PresenceEntry]:
        added: list[PresenceEntry] = []
        for entry in entries:
            place = (key, entry.ref)
            if place not in node.heard:
                if self._size >= self._max_entries:
                    self.left_out += 1
                    continue
                self._size += 1
                self._topics.setdefault(key, {})[entry.ref] = entry
                added.append(entry)
            node.heard[place] = node.round
        return added

    def _remove(self, node: _Node, key: TopicKey, ref: str) -> PresenceEntry | None:
        if node.heard.pop((key, ref), None) is None:
            return None
        self._size -= 1
        members = self._topics[key]
        entry = members.pop(ref)
        if not members:
            del self._topics[key]
        return entry

    def _remove_all(self, node: _Node, places: Iterable[tuple[TopicKey, str]]) -> list[TopicDiff]:
        leaves: dict[TopicKey, list[PresenceEntry]] = {}
        for key, ref in places:
            if (entry := self._remove(node, key, ref)) is not None:
                leaves.setdefault(key, []).append(entry)
        return [(key, PresenceDiff(leaves=tuple(entries))) for key, entries in leaves.items()]
