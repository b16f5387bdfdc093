"""Messages that leave in the background: a bounded number at once, a few tries each, an end at shutdown.

Public endpoints must not tell by their time whether an address is known, so they do not wait for mail servers. What is
waiting lives in this process alone: a process that is killed loses it, and its users ask for another code.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, TypeAlias

from isobase_platform.errors import IsobaseError
from isobase_services.auth.messages.model import SendFailed

if TYPE_CHECKING:
    from prometheus_client import Counter

__all__ = ["OnFailure", "Outbox"]

RETRY_DELAYS_S = (0.5, 2.0)
"""Waits before the second and the third try; a fifth more or less, so that messages that failed together spread out."""
MAX_WAITING = 1000
"""Messages that may wait or be on their way at once; more are dropped, as if they had failed."""
MAX_AT_ONCE = 8
"""Messages that are on their way at once: what one mail server takes from one client without complaint."""

Send: TypeAlias = Callable[[], Awaitable[object]]
OnFailure: TypeAlias = Callable[[], Coroutine[None, None, None]]

_log = logging.getLogger("isobase.auth.messages")


class Outbox:
    """Sends in tasks of its own. ``counter`` has the labels channel, kind, outcome; ``retry_delays_s`` are for tests."""

    def __init__(self, counter: Counter, *, retry_delays_s: tuple[float, ...] = RETRY_DELAYS_S) -> None:
        self._counter = counter
        self._retry_delays_s = retry_delays_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._at_once = asyncio.Semaphore(MAX_AT_ONCE)

    def post(self, channel: str, kind: str, send: Send, on_failure: OnFailure | None) -> None:
        """Have ``send`` tried until it works or is given up; then ``on_failure`` is called once, if given.

        Returns at once and never raises. ``send`` raises ``SendFailed`` when it did not work.
        """
        if len(self._tasks) >= MAX_WAITING:
            self._counter.labels(channel, kind, "dropped").inc()
            _log.error("too many messages are waiting: one was dropped", extra={"channel": channel, "kind": kind})
            if on_failure is None:
                return
            work = on_failure()
        else:
            work = self._send(channel, kind, send, on_failure)
        task = asyncio.get_running_loop().create_task(work, name=f"send {kind}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def close(self, timeout_s: float) -> None:
        """Let what waits leave within ``timeout_s`` seconds; the rest is dropped, with one line in the log."""
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=timeout_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.gather(*late, return_exceptions=True)
                _log.error("messages were not sent before the end", extra={"count": len(late)})
        self._is_closed = True

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        # Nobody waits for these tasks: what they did not expect must not pass unseen.
        if task.cancelled():
            if self._is_closed:  # it was posted by a request that ended after ``close``
                _log.error("a message was not sent before the end", extra={"task": task.get_name()})
        elif (error := task.exception()) is not None:
            _log.error("sending a message broke off", exc_info=error)

    async def _send(self, channel: str, kind: str, send: Send, on_failure: OnFailure | None) -> None:
        about = {"channel": channel, "kind": kind}
        for delay_s in (*self._retry_delays_s, None):
            try:
                async with self._at_once:
                    await send()
            except SendFailed as failure:
                reason, is_known = str(failure), failure.is_known
                if not failure.is_permanent and delay_s is not None:
                    self._counter.labels(channel, kind, "retried").inc()
                    await asyncio.sleep(delay_s * random.uniform(0.8, 1.2))  # noqa: S311  spread, not secrecy
                    continue
            except IsobaseError as error:  # a hook's refusal, or no provider: another try would end the same
                reason, is_known = error.message, False
            else:
                self._counter.labels(channel, kind, "sent").inc()
                return
            self._counter.labels(channel, kind, "failed").inc()
            if not is_known:
                _log.error("a message could not be sent", extra={**about, "reason": reason})
            break
        if on_failure is not None:
            await on_failure()
