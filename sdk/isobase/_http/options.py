"""What one call may be told beside its arguments: its whole time, its retries, its idempotency key, its cancellation.

``call_options`` is a context variable, so it works around any method of any sub-client, sync and async, and reaches
neither other tasks nor other threads. The sessions in ``_async`` and ``_sync`` read it once at the begin of a call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Context, ContextVar, Token, copy_context
from dataclasses import dataclass, replace
from types import TracebackType

import httpx

__all__ = [
    "DEFAULT_RETRIES",
    "CallOptions",
    "CallPolicy",
    "Cancellation",
    "call_options",
    "current_options",
    "shared_context",
]

DEFAULT_RETRIES = 3
LEAST_WHOLE_TIMEOUT_S = 60.0


class Cancellation:
    """Ends a call from another thread: ``cancel()`` lets the call raise ``CallCancelled`` at once, whatever it
    waits for.

    One object may serve several calls, one after the other or at the same time; once cancelled it stays so, and a
    later call that is given it raises without sending anything.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._callbacks: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        """Whether ``cancel`` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """End every call that carries this object; may be called from any thread, and again."""
        with self._lock:
            self._cancelled = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def wait(self, seconds: float) -> bool:
        """Wait until cancelled, at most ``seconds``; gives whether it was."""
        woken = threading.Event()
        forget = self.on_cancel(woken.set)
        try:
            return woken.wait(seconds)
        finally:
            forget()

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` called when (or at once, if already) cancelled; gives what takes it back."""
        with self._lock:
            cancelled = self._cancelled
            if not cancelled:
                self._callbacks.append(callback)
        if cancelled:
            callback()

        def forget() -> None:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)

        return forget


@dataclass(slots=True, frozen=True)
class CallOptions:
    """What ``call_options`` was given; None is "not given"."""

    timeout: float | None = None
    """The whole time of a call in seconds, retries and waits included; ``math.inf``: no limit."""
    retries: int | None = None
    """How often a call may be sent again; 0: never."""
    idempotency_key: str | None = None
    """Sent as ``Idempotency-Key`` with a write, so that a server that keeps keys does it once."""
    cancel: Cancellation | None = None
    """What ends the call from another thread."""


NO_OPTIONS = CallOptions()
_current: ContextVar[CallOptions] = ContextVar("isobase_call_options", default=NO_OPTIONS)


def current_options() -> CallOptions:
    """Give the options that surround the caller."""
    return _current.get()


def shared_context(*, is_limited: bool, timeout: float | None = None) -> Context:
    """Give a copy of the context for work that is done once for several callers, such as the refresh of a session.

    The options of the one who happened to ask first do not hold in it; with ``is_limited`` its time limit and its
    cancellation do, but never the idempotency key, which names another write. timeout: the seconds that are left of
    that limit, where some have passed.
    """
    options = current_options()
    left = options.timeout if timeout is None else timeout
    held = CallOptions(timeout=left, cancel=options.cancel) if is_limited else NO_OPTIONS
    context = copy_context()
    context.run(_current.set, held)
    return context


class call_options:  # noqa: N801  (it is used as a function: `with call_options(...):`)
    """Set options for the calls made inside a ``with`` block, in this task or thread.

    timeout: whole seconds a call may take, retries and waits included (``math.inf``: no limit).
    retries: how often a call may be sent again, default 3; 0: never.
    idempotency_key: names one write, so that a server that keeps keys (Isobase does) carries it out once and it may
    be sent again.
    cancel: a ``Cancellation``, by which another thread ends the call.
    What is not given is taken from the block around it, or from the client's options. Raises ``ValueError`` for a
    negative number. Errors of a call inside: ``DeadlineExceeded`` when its time is over, ``CallCancelled`` when it
    was cancelled.
    """

    def __init__(
        self,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        idempotency_key: str | None = None,
        cancel: Cancellation | None = None,
    ) -> None:
        if timeout is not None and timeout < 0:
            raise ValueError("timeout must not be negative")
        if retries is not None and retries < 0:
            raise ValueError("retries must not be negative")
        self._given = {
            name: value
            for name, value in (
                ("timeout", timeout),
                ("retries", retries),
                ("idempotency_key", idempotency_key),
                ("cancel", cancel),
            )
            if value is not None
        }
        self._tokens: list[Token[CallOptions]] = []

    def __enter__(self) -> CallOptions:
        """Begin the block; gives the options that hold in it."""
        options: CallOptions = replace(_current.get(), **self._given)  # type: ignore[arg-type]
        self._tokens.append(_current.set(options))
        return options

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the block: what held before holds again."""
        _current.reset(self._tokens.pop())


def whole_timeout_s(step: float | httpx.Timeout | None) -> float | None:
    """Give the whole time of a call for which only the time of a step is known: as long, and a minute at least.

    None where the wait for an answer may take for ever.
    """
    longest = step.read if isinstance(step, httpx.Timeout) else step
    return None if longest is None else max(LEAST_WHOLE_TIMEOUT_S, longest)


@dataclass(slots=True, frozen=True)
class CallPolicy:
    """What holds for every call of a session unless ``call_options`` says else."""

    timeout: float | None = None
    """The whole time of a call in seconds, None: no limit beside httpx's own (for each step of it)."""
    unsaid_timeout: float | None = None
    """The whole time, in seconds, of a call for which nobody said one; not of an answer that is read while it arrives.
    """
    retries: int = DEFAULT_RETRIES
    automatic_keys: bool = False
    """Whether every write gets an idempotency key of its own, where the server keeps them."""
