"""Who listens to a channel, and what each gets of a message. No I/O; the channels build on it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Self, TypeAlias, cast

from pydantic import ValidationError

from isobase.realtime.filters import PostgresChangesFilter, filter_text
from isobase.realtime.joining import change_of
from isobase.realtime.message import ErrorSystemPayload, SuccessSystemPayload
from isobase.realtime.positions import Positions
from isobase.realtime.presence import PresenceTracker
from isobase.realtime.types import (
    BroadcastCallback,
    BroadcastPayload,
    PostgresChangesCallback,
    PostgresChangesPayload,
    RealtimeChannelOptions,
    RealtimeGap,
    RealtimePostgresChangesListenEvent,
)
from isobase.realtime.wire import Frame

__all__ = ["ChangeEvent", "ChangeFilter", "ChannelListeners"]

logger: logging.Logger = logging.getLogger("isobase.realtime")

ChangeEvent: TypeAlias = RealtimePostgresChangesListenEvent | Literal["*", "INSERT", "UPDATE", "DELETE"]
ChangeFilter: TypeAlias = str | PostgresChangesFilter | Sequence[str | PostgresChangesFilter] | None
REMEMBERED_BROADCASTS = 100


class ChannelListeners:
    """The listeners of one channel.

    A callback may be a coroutine function; what it raises is logged and reaches nobody else.
    """

    def __init__(self, topic: str, params: RealtimeChannelOptions, presence: PresenceTracker) -> None:
        self.topic = topic
        self.params: RealtimeChannelOptions = params
        self.presence = presence
        presence._call = self._call
        self.broadcast_callbacks: list[BroadcastCallback] = []
        self.system_callbacks: list[Callable[[SuccessSystemPayload], Awaitable[None] | None]] = []
        self.system_error_callbacks: list[Callable[[ErrorSystemPayload], Awaitable[None] | None]] = []
        self.postgres_changes_callbacks: list[PostgresChangesCallback] = []
        self.gap_callbacks: list[Callable[[RealtimeGap], Awaitable[None] | None]] = []
        options = params.get("config", {}).get("postgres_changes_options") or {}
        self._positions = Positions(options.get("since"))
        self._seen_broadcasts: dict[str, None] | None = None
        if (params.get("config", {}).get("broadcast") or {}).get("replay"):
            self._seen_broadcasts = {}

    def on_broadcast(self, event: str, callback: Callable[[BroadcastPayload], Awaitable[None] | None]) -> Self:
        """Call ``callback(payload)`` for broadcasts of ``event``, or of all events (``*``).

        ``payload`` has ``event`` and ``payload``.

        Gives the channel, so that calls can be chained. Source: realtime-py.
        """
        self.broadcast_callbacks.append(BroadcastCallback(callback, event))
        return self

    def on_postgres_changes(
        self,
        event: ChangeEvent,
        callback: Callable[[PostgresChangesPayload], Awaitable[None] | None],
        table: str | None = None,
        schema: str | None = None,
        filter: ChangeFilter = None,
        select: list[str] | None = None,
    ) -> Self:
        """Call ``callback(payload)`` for row changes.

        ``payload["data"]`` has ``type``, ``record``, ``old_record`` and more.

        event: INSERT, UPDATE, DELETE or ``*``.
        table: None is every published table of the schema.
        schema: None is ``public``.
        filter: conditions as text (``id=eq.1,status=in.(a,b)``), as a ``PostgresChangesFilter``, or a list of both;
            all must hold.
        select: columns to be sent; None is all.

        Gives the channel. Raises ``ValueError`` for another event. Listeners that are added to a joined channel hear
        from the next join on. Source: realtime-py.
        """
        self.postgres_changes_callbacks.append(
            PostgresChangesCallback(
                callback, RealtimePostgresChangesListenEvent(event), table, schema, filter_text(filter), select
            )
        )
        return self

    def on_system(self, callback: Callable[[SuccessSystemPayload], Awaitable[None] | None]) -> Self:
        """Call ``callback(payload)`` for the server's good news, such as ``Subscribed to PostgreSQL``. Gives the channel."""
        self.system_callbacks.append(callback)
        return self

    def on_system_error(self, callback: Callable[[ErrorSystemPayload], Awaitable[None] | None]) -> Self:
        """Call ``callback(payload)`` for the server's bad news about the channel, such as a filter that it refuses.

        Gives the channel. Ours.
        """
        self.system_error_callbacks.append(callback)
        return self

    def on_gap(self, callback: Callable[[RealtimeGap], Awaitable[None] | None]) -> Self:
        """Call ``callback(gap)`` when row changes may have been missed, so that tables should be read again.

        On servers with replay (Isobase) only when what was missed is not kept any more; on others after every
        reconnection. Gives the channel. Ours.
        """
        self.gap_callbacks.append(callback)
        return self

    def _call(self, callback: Callable[..., Any], *arguments: object) -> None:
        """Run a callback; what it raises is logged."""
        try:
            result = callback(*arguments)
            if inspect.isawaitable(result):
                self._run_awaitable(result)
        except Exception:  # it is the app's, and must not end the connection
            logger.exception("a callback of the channel %s failed", self.topic)

    def _run_awaitable(self, awaitable: Awaitable[object]) -> None:
        raise NotImplementedError

    def _deliver_broadcast(self, frame: Frame) -> None:
        body = frame.payload
        payload: dict[str, Any] = {"event": str(body.get("event", "")), "payload": body.get("payload")}
        meta = body.get("meta")
        if isinstance(meta, dict):
            payload["meta"] = meta
            if not self._is_new_broadcast(meta):
                return
        typed = cast("BroadcastPayload", payload)
        for listener in list(self.broadcast_callbacks):
            if listener.matches(typed):
                self._call(listener.callback, typed)

    def _is_new_broadcast(self, meta: dict[str, Any]) -> bool:
        """Tell whether a stored broadcast has not come yet.

        A channel with replay is sent some again when it joins again.
        """
        seen, identifier = self._seen_broadcasts, meta.get("id")
        if seen is None or not isinstance(identifier, str):
            return True
        if identifier in seen:
            return False
        seen[identifier] = None
        if len(seen) > REMEMBERED_BROADCASTS:
            del seen[next(iter(seen))]
        return True

    def _deliver_change(self, frame: Frame) -> None:
        payload = change_of(frame.payload)
        if not self._positions.is_new(cast("dict[str, Any]", payload["data"]), payload["ids"]):
            return
        for listener in list(self.postgres_changes_callbacks):
            if listener.matches(payload):
                self._call(listener.callback, payload)

    def _deliver_system(self, payload: dict[str, Any]) -> bool:
        """Tell listeners; False where it is bad news that nobody who listens to gaps could make use of."""
        body = {"channel": self.topic.removeprefix("realtime:"), "extension": "", "message": "", **payload}
        try:
            if payload.get("status") == "ok":
                good = SuccessSystemPayload.model_validate(body)
                if good.extension == "postgres_changes":
                    self._tell_gap(self._positions.subscribed(good.position))
                for callback in list(self.system_callbacks):
                    self._call(callback, good)
                return True
            bad = ErrorSystemPayload.model_validate({**body, "status": "error"})
        except ValidationError as error:
            logger.warning("a system message of %s that cannot be read: %s", self.topic, error)
            return True
        gap = self._positions.refused(bad.message)
        self._tell_gap(gap)
        for error_callback in list(self.system_error_callbacks):
            self._call(error_callback, bad)
        return gap is not None

    def _tell_gap(self, gap: RealtimeGap | None) -> None:
        if gap is None:
            return
        logger.info("%s: row changes may be missing: %s", self.topic, gap.message)
        for callback in list(self.gap_callbacks):
            self._call(callback, gap)
