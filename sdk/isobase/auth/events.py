"""Who is told of sign-ins and sign-outs, and why a user was signed out.

A subscriber is called like supabase_auth's: ``callback(event, session)``. The event is the usual text; on
``"SIGNED_OUT"`` it also carries a reason, which ``sign_out_reason(event)`` reads. A subscriber that raises is logged
and breaks nothing.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Literal, cast
from uuid import uuid4

from isobase.auth.types import AuthChangeEvent, Session, Subscription

__all__ = ["SignOutReason", "SignedOut", "Subscribers", "sign_out_reason"]

SignOutReason = Literal["user_initiated", "session_expired", "session_missing"]
"""Why a user was signed out: the app asked for it; the server refused the refresh token; what was stored is no
session.
"""

logger: logging.Logger = logging.getLogger("isobase.auth")


class SignedOut(str):
    """The event ``"SIGNED_OUT"`` with its ``reason``."""

    __slots__ = ("reason",)
    reason: SignOutReason

    def __new__(cls, reason: SignOutReason) -> SignedOut:
        """Make the event."""
        event = super().__new__(cls, "SIGNED_OUT")
        event.reason = reason
        return event


def sign_out_reason(event: str) -> SignOutReason | None:
    """Give why the user was signed out, from the event that a subscriber was called with; None for every other event.

    Source: Supabase's SDK specification, ``auth.session.sign_out_reason``.
    """
    return event.reason if isinstance(event, SignedOut) else None


class Subscribers:
    """The callbacks by the id of their subscription, in the order they came. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_id: dict[str, Subscription] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, callback: Callable[..., object]) -> Subscription:
        """Tell ``callback`` from now on; ``unsubscribe()`` of the result ends that, as often as it is called."""
        key = str(uuid4())

        def unsubscribe() -> None:
            with self._lock:
                self._by_id.pop(key, None)

        told = cast(Callable[[AuthChangeEvent, Session | None], None], callback)
        subscription = Subscription(id=key, callback=told, unsubscribe=unsubscribe)
        with self._lock:
            self._by_id[key] = subscription
        return subscription

    def notify(self, event: AuthChangeEvent, session: Session | None) -> None:
        """Call them all. A coroutine function is run as a task of the loop that runs here."""
        with self._lock:
            subscriptions = list(self._by_id.values())
        for subscription in subscriptions:
            callback: Callable[..., object] = subscription.callback
            try:
                result = callback(event, session)
                if inspect.iscoroutine(result):
                    self._begin(result)
            except Exception:
                logger.exception("a subscriber of auth events raised on %s", event)

    def _begin(self, work: Coroutine[Any, Any, object]) -> None:
        try:
            task = asyncio.get_running_loop().create_task(_logged(work), name="isobase-auth-subscriber")
        except RuntimeError:
            work.close()
            raise TypeError("a coroutine function cannot be called without an event loop") from None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _logged(work: Coroutine[Any, Any, object]) -> None:
    try:
        await work
    except Exception:
        logger.exception("a subscriber of auth events raised")
