"""From judged rows to sockets: render once for all who see the same, serialise once per codec, write once per socket.

What a socket gets of several rows of a batch leaves in one write: the kernel's part is by far the largest of a small message.
Sockets that get the same share the bytes. Nothing in here waits for a socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TypeAlias

from isobase_services.realtime.changes.groups import Subscriber
from isobase_services.realtime.changes.judging import Hit, Planned
from isobase_services.realtime.changes.render import ExoticJson, render_change, render_refusal
from isobase_services.realtime.wire.frames import Frame, FrameRun
from isobase_services.realtime.wire.messages import Codec

__all__ = ["send_all"]

MESSAGES_PER_TURN = 10_000
"""Messages after which what is prepared is written and others get a turn, so that heartbeats and reads stay prompt."""
BYTES_PER_TURN = 256 * 1024
"""The same for the frames that are prepared: about the most that one write to a socket holds."""
WRITES_BETWEEN_YIELDS = 500

_Members: TypeAlias = "Iterable[tuple[Subscriber, Sequence[int]]]"


async def send_all(planned: Sequence[Planned], exotic: ExoticJson) -> int:
    """Send the rows to everybody who sees them, in order; returns the number of messages."""
    sent = writes = 0
    parcels = _Parcels()
    for item in planned:
        sent += _prepare(item, exotic, parcels)
        if parcels.messages >= MESSAGES_PER_TURN or parcels.size_bytes >= BYTES_PER_TURN:
            writes += parcels.send()
            parcels = _Parcels()
            if writes >= WRITES_BETWEEN_YIELDS:
                writes = 0
                await asyncio.sleep(0)
    parcels.send()
    return sent


class _Run:
    """The frames that some sockets get, as the last of them and the run before it."""

    __slots__ = ("_together", "after", "before", "frame")

    def __init__(self, before: _Run | None, frame: Frame | None) -> None:
        self.before = before
        self.frame = frame
        self.after: dict[Frame, _Run] = {}
        self._together: FrameRun | None = None

    @property
    def together(self) -> FrameRun:
        """All frames of the run, joined once."""
        if self._together is None:
            frames: list[Frame] = []
            run: _Run | None = self
            while run is not None and run.frame is not None:
                frames.append(run.frame)
                run = run.before
            self._together = FrameRun.of(frames[::-1])
        return self._together


class _Parcels:
    """What is to be written to each socket. Sockets that got the same frames so far stand at the same run."""

    __slots__ = ("_nothing", "_runs", "messages", "size_bytes")

    def __init__(self) -> None:
        self._nothing = _Run(None, None)
        self._runs: dict[Subscriber, _Run] = {}
        self.messages = 0
        self.size_bytes = 0

    def add(self, members: _Members, data: str) -> int:
        """Add one message with the JSON text ``data`` for each of ``members``, who get it under their ids."""
        frames: dict[tuple[Codec, str, tuple[int, ...]], Frame] = {}
        runs, nothing = self._runs, self._nothing
        count = 0
        for subscriber, identifiers in members:
            ids = tuple(identifiers) if len(identifiers) == 1 else tuple(dict.fromkeys(identifiers))
            key = (subscriber.codec, subscriber.wire_topic, ids)
            frame = frames.get(key)
            if frame is None:
                payload = f'{{"ids":[{",".join(map(str, ids))}],"data":{data}}}'
                frame = frames[key] = subscriber.codec.fan_out(
                    topic=subscriber.wire_topic, event="postgres_changes", payload=payload
                )
                self.size_bytes += len(frame)
            run = runs.get(subscriber, nothing)
            after = run.after.get(frame)
            if after is None:
                after = run.after[frame] = _Run(run, frame)
            runs[subscriber] = after
            count += 1
        self.messages += count
        return count

    def send(self) -> int:
        """Write everything; returns the number of writes."""
        nothing = self._nothing
        for subscriber, run in self._runs.items():
            if run.before is nothing and run.frame is not None:
                subscriber.put(run.frame)
            else:
                subscriber.put_run(run.together)
        return len(self._runs)


def _prepare(item: Planned, exotic: ExoticJson, parcels: _Parcels) -> int:
    """Add one row for everybody who sees it; returns the number of receivers."""
    # What is shown depends on the role, the selection and the position; whoever shares them shares the text.
    variants: dict[tuple[str, tuple[str, ...] | None, bool], list[Hit]] = {}
    for hit in item.hits:
        section = hit.section
        if any(True for _ in hit.seen_by):
            variants.setdefault((section.role, section.request.columns, section.with_position), []).append(hit)
    count = 0
    for hits in variants.values():
        hit = hits[0]
        section = hit.section
        data = (
            render_change(item.row, hit.rights, section.request.columns, exotic, with_position=section.with_position)
            if hit.refusal is None
            else render_refusal(item.row, hit.refusal, with_position=section.with_position)
        )
        members = _members(hit) if len(hits) == 1 else _merged(hits).items()
        count += parcels.add(members, data)
    return count


def _members(hit: Hit) -> _Members:
    """Who sees a hit; nobody is in two audiences of one section."""
    return chain.from_iterable([audience.members.items() for audience in hit.seen_by])


def _merged(hits: Sequence[Hit]) -> Mapping[Subscriber, Sequence[int]]:
    """Who sees any of the hits, with the ids of all."""
    members: dict[Subscriber, list[int]] = {}
    for hit in hits:
        for subscriber, identifiers in _members(hit):
            members.setdefault(subscriber, []).extend(identifiers)
    return members
