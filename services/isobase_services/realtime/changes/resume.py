"""Going on where a client was: what it missed is delivered first, then what comes, each change once and in order.

Beyond upstream, and only for who asks: ``config.postgres_changes_options`` of a join with ``position`` (tell where each
change stands) or ``since`` (send what came after). Between replay and live the subscriber is held: what arrives for it waits
behind a ``Gate`` until the replay is through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from isobase_services.realtime.changes.catalog import Catalog
from isobase_services.realtime.changes.changelog import PositionTooOld, Slice
from isobase_services.realtime.changes.delivery import Delivery
from isobase_services.realtime.changes.figures import ChangeFigures
from isobase_services.realtime.changes.groups import Subscriber, Subscriptions
from isobase_services.realtime.changes.history import History
from isobase_services.realtime.changes.pipeline import WantedChange, rows_of, wanted_changes
from isobase_services.realtime.changes.position import Position, PositionInvalid, parse_position
from isobase_services.realtime.wire.frames import Frame, FrameRun
from isobase_services.realtime.wire.messages import Codec

__all__ = ["ChangeOptions", "Gate", "Joined", "Resumer", "parse_change_options"]

MAX_HELD_BYTES = 4 * 1024 * 1024
"""What may wait behind a gate; beyond it the gate's subscriber catches up in one more round of replay."""
REPLAY_BATCH_CHANGES = 200
MAX_QUEUED_BYTES = 1024 * 1024
"""A replay waits while more than this is queued for the client's socket."""
QUEUE_CHECK_INTERVAL_S = 0.05
CATCH_UP_TIMEOUT_S = 5.0
"""A position may be ahead of this process, when it was given by another; how long to wait for the log to get there."""
CATCH_UP_INTERVAL_S = 0.02


@dataclass(slots=True, frozen=True)
class ChangeOptions:
    """What a join asks for beyond upstream. ``problem``: why ``since`` could not be read."""

    with_position: bool = False
    since: Position | None = None
    problem: str | None = None


def parse_change_options(options: Mapping[str, object]) -> ChangeOptions:
    """Read ``postgres_changes_options``. Unknown members are passed over; ``since`` implies ``position``."""
    since = options.get("since")
    if since is None:
        return ChangeOptions(with_position=options.get("position") in (True, "true"))
    try:
        return ChangeOptions(with_position=True, since=parse_position(since))
    except PositionInvalid as error:
        return ChangeOptions(with_position=True, problem=str(error))


class Gate:
    """Stands for a channel in the registry of subscriptions. While it is closed, frames wait in it."""

    def __init__(self, channel: Subscriber) -> None:
        self.has_overflowed = False
        self._channel = channel
        self._held: list[Frame] | None = []
        self._held_bytes = 0

    @property
    def codec(self) -> Codec:
        """The channel's."""
        return self._channel.codec

    @property
    def wire_topic(self) -> str:
        """The channel's."""
        return self._channel.wire_topic

    def put(self, frame: Frame) -> None:
        """Send, or keep until the gate opens."""
        if self._held is None:
            self._channel.put(frame)
        elif not self.has_overflowed:
            self._held_bytes += len(frame.wire)
            if self._held_bytes > MAX_HELD_BYTES:
                self.has_overflowed = True
                self._held.clear()
            else:
                self._held.append(frame)

    def put_run(self, run: FrameRun) -> None:
        """As ``put``, for several frames."""
        if self._held is None:
            self._channel.put_run(run)
        else:
            for frame in run.frames:
                self.put(frame)

    def open(self) -> None:
        """Send what waits, and from now on what comes."""
        held, self._held = self._held, None
        for frame in held or ():
            self._channel.put(frame)


@dataclass(slots=True, frozen=True)
class Joined:
    """How a subscription began: live behind ``position``. ``missed``: the slices up to there, to be replayed first."""

    position: Position
    missed: Sequence[Slice]
    is_too_old: bool


class Resumer:
    """Lets subscribers join the live stream at a known position, and replays what came before it. One per process."""

    def __init__(self, history: History, delivery: Delivery, catalog: Catalog, figures: ChangeFigures) -> None:
        self.figures = figures
        self._history = history
        self._delivery = delivery
        self._catalog = catalog

    async def join(self, register: Callable[[], None], since: Position | None) -> Joined:
        """Call ``register`` between two batches, so that exactly what is behind ``Joined.position`` arrives live."""
        if since is not None:
            await self._reach(since)
        joined: asyncio.Future[Joined] = asyncio.get_running_loop().create_future()

        def enter(position: Position) -> None:
            if joined.cancelled():
                return
            missed: list[Slice] = []
            is_too_old = False
            if since is not None:
                try:
                    self._history.log.check(since)
                    missed = list(self._history.log.between(since.point, position.point))
                except PositionTooOld:
                    is_too_old = True
            register()
            joined.set_result(Joined(position, missed, is_too_old))

        self._history.between(enter)
        return await joined

    async def _reach(self, since: Position) -> None:
        log = self._history.log
        try:
            async with asyncio.timeout(CATCH_UP_TIMEOUT_S):
                while True:
                    is_ahead = log.epoch == since.epoch and log.head < since.point
                    if not is_ahead and self._history.is_complete:
                        return
                    await asyncio.sleep(CATCH_UP_INTERVAL_S)
        except TimeoutError:
            return  # the position is of a future that never came; or nothing was to come

    async def replay(
        self,
        joined: Joined,
        subscriptions: Subscriptions,
        *,
        queued_bytes: Callable[[], int],
        on_progress: Callable[[Position], None],
    ) -> int:
        """Deliver ``joined.missed`` to ``subscriptions``; returns the number of messages.

        ``queued_bytes``: what waits for the socket; a slow one is waited for. ``on_progress`` gets the position that is
        through. Raises ``Unavailable`` and ``DatabaseError``.
        """
        sent = 0
        batch: list[WantedChange] = []
        for number, item in enumerate(joined.missed):
            wanted = wanted_changes(item, joined.position.epoch, subscriptions.wants)
            batch.extend(change for change in wanted if change.position.point <= joined.position.point)
            if len(batch) < REPLAY_BATCH_CHANGES and number + 1 < len(joined.missed):
                continue
            if batch:
                sent += await self._delivery.replay(await rows_of(batch, self._catalog), subscriptions)
                on_progress(batch[-1].position)
                batch = []
            while True:
                if queued_bytes() <= MAX_QUEUED_BYTES:
                    break
                await asyncio.sleep(QUEUE_CHECK_INTERVAL_S)
        return sent
