"""Row changes as channels see them: subscribe, be told when it is live, change the caller, cancel.

Neighbours: ``intake`` keeps the stream alive and the pipeline fed; this module holds who asked for what.
Source: contracts/realtime.md 1.6 and 1.11: what is wrong with a subscription is told by ``system``, the join succeeds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from isobase_platform.caller import Caller
from isobase_platform.errors import DatabaseError, Unavailable
from isobase_services.realtime.changes.groups import Subscriber, Subscriptions
from isobase_services.realtime.changes.intake import Intake
from isobase_services.realtime.changes.position import Position
from isobase_services.realtime.changes.request import ChangeRequest, RequestRefused, change_id, parse_change_request
from isobase_services.realtime.changes.resume import ChangeOptions, Gate, Joined, Resumer, parse_change_options
from isobase_services.realtime.changes.stream import StreamRefused
from isobase_services.realtime.changes.validation import Validator
from isobase_services.realtime.core.undisturbed import undisturbed
from isobase_services.realtime.wire.messages import dump

__all__ = ["ChangeChannel", "ChangeHandle", "RowChanges"]

SUBSCRIBED = "Subscribed to PostgreSQL"
EXTENSION = "postgres_changes"
TOO_OLD = "PositionTooOld: some changes after this position are not kept any more, read the tables again"
RETRY_DELAY_S = 5.0

_log = logging.getLogger("isobase.realtime")


class ChangeChannel(Subscriber, Protocol):
    """A channel as this module sees it."""

    @property
    def caller(self) -> Caller:
        """Whose rights decide what it gets, now."""
        ...

    @property
    def queued_bytes(self) -> int:
        """What waits for its socket."""
        ...

    def system(self, extension: str, status: str, message: str, extra: Mapping[str, object] | None = None) -> None:
        """Send a ``system`` message; ``extra``: members beyond upstream's."""
        ...


@dataclass(slots=True, frozen=True)
class _Registration:
    request: ChangeRequest
    caller: Caller
    identifier: int


class ChangeHandle:
    """The subscriptions of one channel. ``echo`` is the JSON array for the join's reply."""

    def __init__(
        self,
        changes: RowChanges,
        channel: ChangeChannel,
        entries: Sequence[Mapping[str, object]],
        options: ChangeOptions,
    ) -> None:
        self.echo = dump([{**entry, "id": change_id(entry)} for entry in entries])
        self._changes = changes
        self._channel = channel
        self._entries = entries
        self._registered: list[_Registration] = []
        self._task: asyncio.Task[None] | None = None
        self._is_cancelled = False
        self._with_position = options.with_position
        self._since = options.since
        self._problem = options.problem
        self._subscriber: Subscriber = channel
        self._is_resuming = False

    @property
    def is_live(self) -> bool:
        """True when it is registered for at least one entry."""
        return bool(self._registered)

    @property
    def _caller(self) -> Caller:
        """Role and claims alone, as upstream checks row changes: sockets that share a check differ in their headers."""
        caller = self._channel.caller
        return Caller(role=caller.role, claims=caller.claims)

    def start(self) -> None:
        """Subscribe in the background; the channel is told how it went."""
        if self._entries:
            self._run()

    def replace_caller(self) -> None:
        """The channel's token changed: what comes from now on is judged by the new one."""
        if not self._entries:
            return
        if self._is_resuming:
            # It goes on from where it is, under the new caller.
            self._unregister()
            self._run()
            return
        # A change that is being judged for the old caller must still find it; whatever comes later meets the new one.
        self._changes.subscriptions.between_batches(self._swap_caller)
        self._run()

    def _swap_caller(self) -> None:
        """First under the new caller, then no longer under the old one: for who is the same to policies nothing changes."""
        if not self._is_cancelled:
            caller, old = self._caller, self._registered
            self._register([_Registration(item.request, caller, item.identifier) for item in old])
            self._remove(old)

    def announce(self, position: Position | None = None, replayed: int | None = None) -> None:
        """Tell the channel that its subscriptions are live (again), behind ``position``."""
        extra: dict[str, object] = {}
        if self._with_position and position is not None:
            extra["position"] = str(position)
        if replayed is not None:
            extra["replayed"] = replayed
        self._channel.system(EXTENSION, "ok", SUBSCRIBED, extra)

    def announce_loss(self, position: Position) -> None:
        """Tell the channel that something may be missing, and that its subscriptions are live behind ``position``."""
        if self._with_position:
            self._channel.system(EXTENSION, "error", TOO_OLD)
        self.announce(position)

    def cancel(self) -> None:
        """End the subscriptions. Calling it again does nothing."""
        if self._is_cancelled:
            return
        self._is_cancelled = True
        if self._task is not None:
            self._task.cancel()
        self._unregister()
        self._changes.release(self)

    def _run(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.create_task(self._subscribe(), name="row change subscription")
        self._task.add_done_callback(_log_failure)

    async def _subscribe(self) -> None:
        """Validate, register, wait for the stream; again after a while where only the database was away."""
        while True:
            try:
                await self._subscribe_once()
            except RequestRefused as error:
                # Wrong parameters stay wrong: the client is told and nothing is tried again.
                self._unregister()
                self._channel.system(EXTENSION, "error", str(error))
            except StreamRefused as error:
                self._channel.system(EXTENSION, "error", f"Unable to subscribe to PostgreSQL changes: {error.message}")
                await asyncio.sleep(RETRY_DELAY_S)
                continue
            except (Unavailable, DatabaseError) as error:
                _log.warning("a subscription to row changes has to wait", extra={"reason": error.message})
                if self._is_resuming:
                    self._unregister()  # the replay goes on from where it was
                self._channel.system(EXTENSION, "error", "Realtime was unable to connect to the project database")
                await asyncio.sleep(RETRY_DELAY_S)
                continue
            return

    async def _subscribe_once(self) -> None:
        requests = [(parse_change_request(entry), change_id(entry)) for entry in self._entries]
        caller = self._caller
        for request, _identifier in requests:
            await undisturbed(self._changes.validator.validate(request, caller))
        await self._changes.intake.live()
        if self._registered:
            await self._announce_again()
        elif self._with_position:
            await self._resume([_Registration(request, caller, identifier) for request, identifier in requests])
        else:
            # Once the stream is live and before anything else happens: nothing that is committed from now on is missed, and
            # nothing that was committed long before is told.
            self._register([_Registration(request, caller, identifier) for request, identifier in requests])
            self.announce()

    async def _announce_again(self) -> None:
        if not self._with_position:
            self.announce()
            return
        joined = await self._changes.resumer.join(lambda: None, None)
        self.announce(joined.position)

    async def _resume(self, registrations: list[_Registration]) -> None:
        """Become live at a known position; where the client said what it saw last, send first what came after that."""
        resumer = self._changes.resumer
        self._is_resuming = True
        if self._problem is not None:
            self._channel.system(EXTENSION, "error", f"PositionInvalid: {self._problem}")
            self._problem = None
            resumer.figures.replay("invalid")
        sent: int | None = None
        while True:
            gate = Gate(self._channel)

            def register(gate: Gate = gate) -> None:
                self._subscriber = gate
                self._register(registrations)

            joined = await resumer.join(register, self._since)
            if joined.is_too_old:
                self._channel.system(EXTENSION, "error", TOO_OLD)
                resumer.figures.replay("too_old")
            elif self._since is not None:
                sent = (sent or 0) + await self._replay(joined, registrations)
            if not gate.has_overflowed:
                break
            self._unregister()
            self._since = joined.position
        if sent is not None:
            resumer.figures.replay("replayed")
        self._since = None
        self._is_resuming = False
        self.announce(joined.position, sent)
        gate.open()

    async def _replay(self, joined: Joined, registrations: Sequence[_Registration]) -> int:
        own = Subscriptions()
        for item in registrations:
            own.add(self._channel, item.request, item.caller, item.identifier, with_position=True)
        return await self._changes.resumer.replay(
            joined, own, queued_bytes=lambda: self._channel.queued_bytes, on_progress=self._got
        )

    def _got(self, position: Position) -> None:
        self._since = position

    def _register(self, items: list[_Registration]) -> None:
        self._registered = items
        for item in items:
            self._changes.subscriptions.add(
                self._subscriber, item.request, item.caller, item.identifier, with_position=self._with_position
            )

    def _unregister(self) -> None:
        registered, self._registered = self._registered, []
        self._remove(registered)

    def _remove(self, items: Sequence[_Registration]) -> None:
        for item in items:
            self._changes.subscriptions.remove(
                self._subscriber, item.request, item.caller, item.identifier, with_position=self._with_position
            )


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("a subscription to row changes failed", exc_info=task.exception())


class RowChanges:
    """All subscriptions of one process, and the demand that keeps the stream running."""

    def __init__(self, subscriptions: Subscriptions, validator: Validator, intake: Intake, resumer: Resumer) -> None:
        self.subscriptions = subscriptions
        self.validator = validator
        self.intake = intake
        self.resumer = resumer
        self._handles: set[ChangeHandle] = set()
        intake.history.on_lost = self._lost

    def subscribe(
        self,
        channel: ChangeChannel,
        entries: Sequence[Mapping[str, object]],
        options: Mapping[str, object] | None = None,
    ) -> ChangeHandle:
        """A handle for the entries of a join; with none it only holds the stream up, for messages sent from SQL.

        ``options``: the join's ``postgres_changes_options``.
        """
        handle = ChangeHandle(self, channel, entries, parse_change_options(options or {}))
        self._handles.add(handle)
        self.intake.demand()
        return handle

    @property
    def listeners(self) -> int:
        """How many channels hold the stream up."""
        return len(self._handles)

    def release(self, handle: ChangeHandle) -> None:
        """A handle was cancelled; with the last one the stream may stop."""
        self._handles.discard(handle)
        if not self._handles:
            self.intake.release()

    async def wait_until_live(self, timeout_s: float) -> bool:
        """True once the stream runs.

        False when it does not within ``timeout_s`` seconds, and at once where the server refuses it for a lasting
        reason (no logical log): waiting would only make every caller slow.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self.intake.live()
        except (StreamRefused, TimeoutError):
            return False
        return True

    async def settle(self, timeout_s: float) -> None:
        """Wait until the stream runs or is refused, at most ``timeout_s`` seconds."""
        with contextlib.suppress(StreamRefused, TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.intake.live()

    def _lost(self) -> None:
        """The stream is live again, but something may be missing: clients learn from when on nothing is missed any more."""
        self.intake.history.between(self._announce_loss)

    def _announce_loss(self, position: Position) -> None:
        for handle in list(self._handles):
            if handle.is_live:
                handle.announce_loss(position)

    async def close(self) -> None:
        """Stop the stream and whatever is being delivered."""
        for handle in list(self._handles):
            handle.cancel()
        await self.intake.close()
