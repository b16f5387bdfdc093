"""A channel over both sides, with the official channel's face: what comes from both is told once.

It has a leg for each side that the stage asks for. A new leg is joined before an old one is left, and an old one stays
for a while, so that a change of stage neither misses nor repeats anything. What the app sends goes to every side that is
joined: listeners of one side alone hear it too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from realtime.types import (
    BroadcastPayload,
    ChannelEvents,
    ChannelStates,
    PostgresChangesPayload,
    PresenceOnJoinCallback,
    PresenceOnLeaveCallback,
    RealtimePostgresChangesListenEvent,
    RealtimePresenceState,
)

from isobase_adapter.realtime.legs import Leg
from isobase_adapter.realtime.matching import WINDOW_S, BroadcastMatcher, RowMatcher, row_change
from isobase_adapter.realtime.presence import changes, merged
from isobase_adapter.realtime.routes import RealtimeRoute
from isobase_adapter.sides import Side
from realtime import AsyncRealtimeChannel, RealtimeChannelOptions, RealtimeSubscribeStates

if TYPE_CHECKING:
    from isobase_adapter.realtime.client import AsyncMigrationRealtime

__all__ = ["AsyncMigrationChannel"]

logger = logging.getLogger("isobase.migration.realtime")

LEADER_GRACE_S = 3.0
"""How long a join waits for the leading side when the other has joined."""
LINGER_S = 2 * WINDOW_S
"""How long a side is still listened to after the others took over."""


class AsyncMigrationChannel(AsyncRealtimeChannel):
    """Made by ``AsyncMigrationRealtime.channel`` alone."""

    def __init__(self, socket: AsyncMigrationRealtime, topic: str, params: RealtimeChannelOptions) -> None:
        super().__init__(socket, topic, params)
        self._both = socket
        self._legs: dict[Side, Leg] = {}
        self._route: RealtimeRoute | None = None
        self._rows = RowMatcher(WINDOW_S)
        self._broadcasts = BroadcastMatcher()
        self._presences: dict[str, list[dict[str, Any]]] = {}
        self._tracked: dict[str, Any] | None = None
        self._began_at_s = 0.0
        self._settled = asyncio.Event()
        self._error: Exception | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._is_over = False
        self._leaving: set[asyncio.Task[None]] = set()

    # joining and leaving

    async def subscribe(
        self, callback: Callable[[RealtimeSubscribeStates, Exception | None], None] | None = None
    ) -> AsyncRealtimeChannel:
        """Join on every side that the stage asks for; returns when the leading one has answered, as the official does.

        callback: told every change of state; ``SUBSCRIBED`` as long as any side is joined. Raises ``Exception`` where it was
        subscribed before.
        """
        if self._joined_once:
            raise Exception(
                "Tried to subscribe multiple times. 'subscribe' can only be called a single time per channel instance"
            )
        self._joined_once = True
        self.subscribe_callback = callback
        self.state = ChannelStates.JOINING
        self._began_at_s = _now_s()
        self._both.follow_changes()
        self.follow()
        self._later(LEADER_GRACE_S, self._update_state)
        try:
            async with asyncio.timeout(self.timeout + 1):
                await self._settled.wait()
        except TimeoutError:
            self.state = ChannelStates.ERRORED
            self._notify_subscribe_state(RealtimeSubscribeStates.TIMED_OUT, None)
        return self

    async def unsubscribe(self) -> None:
        """Leave on every side."""
        if self._is_over:
            return
        self._is_over = True
        self.state = ChannelStates.LEAVING
        for timer in self._timers:
            timer.cancel()
        legs, self._legs = list(self._legs.values()), {}
        await asyncio.gather(*(leg.leave() for leg in legs))
        self.state = ChannelStates.CLOSED
        self._both._remove_channel(self)
        self._settled.set()
        self._notify_subscribe_state(RealtimeSubscribeStates.CLOSED, None)

    async def join(self) -> AsyncRealtimeChannel:
        """Subscribe, or wait for the join that is under way. Deprecated as upstream."""
        if not self._joined_once:
            return await self.subscribe()
        await self._settled.wait()
        return self

    def follow(self) -> None:
        """Listen where the stage says now: new sides are joined, old ones left when their time has come."""
        if self._is_over or not self._joined_once:
            return
        route, before = self._both.route(), self._route
        self._route = route
        for side in route.sides:
            if side not in self._legs:
                leg = self._legs[side] = self._new_leg(side)
                leg.start()
            self._legs[side].is_wanted = True
        if before is not None and before != route:
            self._later(LINGER_S, self._leave_old)
            self._update_state()

    def _new_leg(self, side: Side) -> Leg:
        topic = self.topic.removeprefix("realtime:")
        leg = Leg(side, self, lambda params: self._both.side_client(side).channel(topic, params))
        for number, broadcast in enumerate(self.broadcast_callbacks):
            leg.listen_broadcasts(number, broadcast.event)
        for number, rows in enumerate(self.postgres_changes_callbacks):
            leg.listen_rows(number, rows.event, rows.table, rows.schema, rows.filter, rows.select)
        if self.presence._has_callback_attached:
            leg.attach_presence()
        return leg

    def _leave_old(self) -> None:
        """Leave what the stage does not ask for, once what it asks for is joined; until then, look again later."""
        assert self._route is not None
        old = [leg for side, leg in self._legs.items() if side not in self._route.sides]
        if not old:
            return
        if not all(self._is_settled(self._legs[side]) for side in self._route.sides):
            self._later(1.0, self._leave_old)
            return
        for leg in old:
            del self._legs[leg.side]
            self._tell(self._rows.release(leg.side.other, _now_s()))
            task = asyncio.create_task(leg.leave())
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        self.presence_arrived()

    # state

    def leg_changed(self, leg: Leg, error: Exception | None) -> None:
        """See ``LegOwner``."""
        if self._is_over:
            return
        if error is not None:
            self._error = error
            self._both.lost(leg.side, self.topic, error)
            self._tell(self._rows.release(leg.side.other, _now_s()))
        elif self._tracked is not None:
            leg.tracked = self._tracked
            self._send_in_background(leg.inner.track(self._tracked))
        if leg.is_joined or leg.has_failed:
            self.presence_arrived()
        self._update_state()

    def _update_state(self) -> None:
        if self._is_over or self._route is None:
            return
        joined = [leg for leg in self._legs.values() if leg.is_joined]
        leader = self._legs.get(self._route.leader)
        is_patient = _now_s() - self._began_at_s < LEADER_GRACE_S
        waits = leader is not None and not leader.is_joined and not leader.has_failed and is_patient
        if joined and not (waits and self.state == ChannelStates.JOINING):
            if self.state != ChannelStates.JOINED:
                self.state = ChannelStates.JOINED
                if leader is not None and not leader.is_joined:
                    self._both.fell_back(joined[0].side, self.topic)
                self._said(RealtimeSubscribeStates.SUBSCRIBED, None)
            return
        is_lost = not joined and all(leg.has_failed for leg in self._legs.values())
        if is_lost and self.state != ChannelStates.ERRORED:
            self.state = ChannelStates.ERRORED
            self._said(RealtimeSubscribeStates.CHANNEL_ERROR, self._error)

    def _said(self, status: RealtimeSubscribeStates, error: Exception | None) -> None:
        self._settled.set()
        self._call(self._notify_subscribe_state, status, error)

    # what comes in

    def row_arrived(self, side: Side, listener: int, payload: Any) -> None:
        """See ``LegOwner``."""
        data = payload["data"]
        leads = side is self._row_leader(self._both.row_leader(data.get("schema"), data.get("table")))
        self._tell(self._rows.arrived(side, row_change(listener, payload), leads=leads, now_s=_now_s()))
        if not leads and self._rows.is_waiting:
            self._later(WINDOW_S + 0.05, lambda: self._tell(self._rows.due(_now_s())))

    def _row_leader(self, wanted: Side) -> Side:
        """Give the side whose changes are told as they come: ``wanted``, or the other while that one does not hear of rows
        or has only just begun to, so that it may have missed what is still on its way from the other.
        """
        leg, other = self._legs.get(wanted), self._legs.get(wanted.other)
        if other is None or not other.hears_rows:
            return wanted
        if leg is None or not leg.hears_rows:
            return wanted.other
        was_first = leg.hears_rows_from_s <= other.hears_rows_from_s
        return wanted if was_first or self._is_settled(leg) else wanted.other

    def _is_settled(self, leg: Leg) -> bool:
        """Whether a side has been heard long enough; where rows are listened to, it is the rows that count."""
        if self.postgres_changes_callbacks:
            return leg.hears_rows and _now_s() - leg.hears_rows_from_s >= WINDOW_S
        return leg.is_joined and _now_s() - leg.joined_at_s >= WINDOW_S

    def _tell(self, found: list[Any]) -> None:
        for change in found:
            self._call(self.postgres_changes_callbacks[change.key[0]].callback, change.payload)

    def broadcast_arrived(self, side: Side, listener: int, payload: Any) -> None:
        """See ``LegOwner``."""
        other = self._legs.get(side.other)
        other_hears = other is not None and other.is_joined
        if self._broadcasts.is_new(side, listener, payload, other_hears=other_hears, now_s=_now_s()):
            self._call(self.broadcast_callbacks[listener].callback, payload)

    def system_arrived(self, side: Side, payload: Any) -> None:
        """See ``LegOwner``."""
        if self._route is not None and side is self._route.leader:
            for callback in self.system_callbacks:
                self._call(callback, payload)

    def presence_arrived(self) -> None:
        """See ``LegOwner``."""
        before, after = self._presences, self._merged_presences()
        self._presences = after
        self.presence.state = cast(RealtimePresenceState, after)
        came, left = changes(before, after)
        presence = self.presence
        for key, presences in came.items():
            if presence.on_join_callback:
                self._call(presence.on_join_callback, key, before.get(key, []), presences)
        for key, presences in left.items():
            if presence.on_leave_callback:
                self._call(presence.on_leave_callback, key, after.get(key, []), presences)
        if (came or left) and presence.on_sync_callback:
            self._call(presence.on_sync_callback)

    def _merged_presences(self) -> dict[str, list[dict[str, Any]]]:
        order = [self._legs[side] for side in Side if side in self._legs]
        joined = [leg for leg in order if leg.is_joined]
        # Without any connection the last that was known stays, as on an official channel.
        return merged([leg.inner.presence_state() for leg in joined or order])

    def _call(self, callback: Callable[..., Any], *arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception:
            logger.exception("a callback of channel %s failed", self.topic)

    # listeners

    def on_broadcast(self, event: str, callback: Callable[[BroadcastPayload], None]) -> AsyncRealtimeChannel:
        """Hear broadcasts; see the official channel."""
        super().on_broadcast(event, callback)
        for leg in self._legs.values():
            leg.listen_broadcasts(len(self.broadcast_callbacks) - 1, event)
        return self

    def on_postgres_changes(
        self,
        event: RealtimePostgresChangesListenEvent,
        callback: Callable[[PostgresChangesPayload], None],
        table: str | None = None,
        schema: str | None = None,
        filter: str | None = None,
        select: list[str] | None = None,
    ) -> AsyncRealtimeChannel:
        """Hear of row changes; see the official channel."""
        super().on_postgres_changes(event, callback, table, schema, filter, select)
        added = self.postgres_changes_callbacks[-1]
        for leg in self._legs.values():
            number = len(self.postgres_changes_callbacks) - 1
            leg.listen_rows(number, added.event, added.table, added.schema, added.filter, added.select)
        return self

    def on_presence_sync(self, callback: Callable[[], None]) -> AsyncRealtimeChannel:
        """Hear of changes of who is present; see the official channel."""
        self.presence.on_sync(callback)
        return self._with_presence()

    def on_presence_join(self, callback: PresenceOnJoinCallback) -> AsyncRealtimeChannel:
        """Hear of who comes; see the official channel."""
        self.presence.on_join(callback)
        return self._with_presence()

    def on_presence_leave(self, callback: PresenceOnLeaveCallback) -> AsyncRealtimeChannel:
        """Hear of who leaves; see the official channel."""
        self.presence.on_leave(callback)
        return self._with_presence()

    def _with_presence(self) -> AsyncRealtimeChannel:
        for leg in self._legs.values():
            leg.attach_presence()
        return self

    def presence_state(self) -> RealtimePresenceState:
        """Who is present on either side."""
        return cast(RealtimePresenceState, self._merged_presences())

    # what goes out

    async def push(self, event: str, payload: dict[str, Any], timeout: int | None = None) -> Any:
        """Send to every side that is joined; gives the leading side's push. Raises before ``subscribe``."""
        if not self._joined_once or self._route is None:
            raise Exception(
                f"tried to push '{event}' to '{self.topic}' before joining."
                " Use channel.subscribe() before pushing events"
            )
        if event == ChannelEvents.presence:
            self._tracked = payload.get("payload") if payload.get("event") == "track" else None
        joined = [leg for leg in self._legs.values() if leg.is_joined]
        first = next((leg for leg in joined if leg.side is self._route.leader), joined[0] if joined else None)
        first = first or self._legs[self._route.leader]
        others = [leg for leg in joined if leg is not first]
        sent = await asyncio.gather(
            *(leg.inner.push(event, dict(payload), timeout) for leg in (first, *others)), return_exceptions=True
        )
        if isinstance(sent[0], BaseException):
            raise sent[0]
        for leg, outcome in zip(others, sent[1:], strict=True):
            if isinstance(outcome, BaseException):
                logger.warning("%s was not told on %s: %s", event, leg.side, type(outcome).__name__)
        return sent[0]

    async def http_send(self, event: str, payload: Any, *, timeout: float | None = None) -> None:
        """Send a broadcast over HTTP to every side that is listened to; raises where the leading side refuses."""
        route = self._route or self._both.route()
        topic = self.topic.removeprefix("realtime:")
        for side in route.sides:
            leg = self._legs.get(side)
            client = self._both.side_client(side)
            inner = leg.inner if leg is not None else client.channel(topic, self.params)
            try:
                await inner.http_send(event, payload, timeout=timeout)
            except Exception as error:
                if side is route.leader:
                    raise
                logger.warning("%s was not told on %s: %s", event, side, type(error).__name__)
            finally:
                if leg is None:
                    client._remove_channel(inner)

    def _send_in_background(self, work: Any) -> None:
        self._run_in_background(work)

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            if not self._is_over:
                work()

        timer = asyncio.get_running_loop().call_later(seconds, run)
        self._timers.add(timer)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
