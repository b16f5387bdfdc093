"""The two threads of a sync client: one runs its event loop, the other its callbacks.

Both are daemon threads, begin with the first use and end with ``stop``; none keeps the process alive, and at the
interpreter's exit what is still open is closed in short order.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextvars
import logging
import os
import queue
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

__all__ = ["Threads", "in_thread"]

logger = logging.getLogger("isobase.realtime")

T = TypeVar("T")
Callbacks: TypeAlias = "queue.SimpleQueue[tuple[Callable[..., object], tuple[object, ...]] | None]"
STOP_TIMEOUT_S = 5.0
EXIT_TIMEOUT_S = 1.0
LAST_TURN_S = 0.5
"""What runs for other threads while the loop is ended has so long to come to its own end."""
CLOSED_TEXT = "the realtime client was closed"
FORKED_TEXT = (
    "this realtime client was opened before a fork, and its connection is the other process's: make a new one here"
    " (a client's `channel` and `realtime` give a new one)"
)


class Threads:
    """Runs coroutines for callers of other threads, and callbacks one after another.

    ``end`` is run on the loop before it stops.
    """

    def __init__(self, end: Callable[[], Awaitable[None]]) -> None:
        self._end = end
        self._lock = threading.RLock()
        self._is_stopping = False
        self._is_left_behind = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread: threading.Thread | None = None
        self._callback_thread: threading.Thread | None = None
        self._callbacks: queue.SimpleQueue[tuple[Callable[..., object], tuple[object, ...]] | None] = (
            queue.SimpleQueue()
        )

    @property
    def is_running(self) -> bool:
        """Whether the threads are there."""
        return self._loop is not None

    @property
    def is_left_behind(self) -> bool:
        """Whether the threads ran in the process from which this one was forked."""
        return self._is_left_behind

    def leave_behind(self) -> None:
        """Take in that this process has been forked from the one in which the threads run. What is theirs is left as it is:
        the connection and what waits for it are shared with the other process.
        """
        self._is_left_behind, self._lock = True, threading.RLock()
        _of_other_process.append((self._loop, self._callbacks))
        self._loop = self._loop_thread = self._callback_thread = None

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is not None:
                return self._loop
            if self._is_left_behind:
                raise RuntimeError(FORKED_TEXT)
            if self._is_stopping:
                raise RuntimeError(CLOSED_TEXT)
            loop = self._loop = asyncio.new_event_loop()
            self._callbacks = queue.SimpleQueue()
            self._loop_thread = threading.Thread(
                target=_run_loop, args=(loop,), name="isobase-realtime-loop", daemon=True
            )
            self._callback_thread = threading.Thread(
                target=_run_callbacks, args=(self._callbacks,), name="isobase-realtime-callbacks", daemon=True
            )
            self._loop_thread.start()
            self._callback_thread.start()
            _running.add(self)
            return loop

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine on the loop, and wait for it; the context variables are the caller's.

        Raises what it raises, and ``RuntimeError`` on the loop's own thread, which would wait for itself, and when the
        client is closed meanwhile.
        """
        if threading.current_thread() is self._loop_thread:
            raise RuntimeError("the realtime client cannot be called from its own loop (a logger or websocket factory)")
        context = contextvars.copy_context()
        done: concurrent.futures.Future[T] = concurrent.futures.Future()
        started: list[asyncio.Task[T]] = []

        def begin() -> None:
            task = loop.create_task(work())
            started.append(task)
            task.add_done_callback(lambda ended: _hand_over(ended, done))

        with self._lock:  # so that it stands before the end of a `stop`
            loop = self._started()
            loop.call_soon_threadsafe(begin, context=context)
        try:
            return done.result()
        except concurrent.futures.CancelledError:
            raise RuntimeError(CLOSED_TEXT) from None
        except BaseException:
            if not done.done():  # Ctrl-C while waiting
                loop.call_soon_threadsafe(lambda: [task.cancel() for task in started])
            raise

    def call(self, work: Callable[[], T]) -> T:
        """Run a short function where the client's state is changed: on the loop, or here where none runs."""
        if not self.is_running or threading.current_thread() is self._loop_thread:
            return work()

        async def run() -> T:
            return work()

        return self.run(run)

    def dispatch(self, callback: Callable[..., object], *arguments: object) -> None:
        """Let a callback run after those before it."""
        self._callbacks.put((callback, arguments))

    def settle(self, timeout: float) -> None:
        """Wait until the callbacks that are due have run, at most ``timeout`` seconds.

        Not in a callback, which would wait for itself.
        """
        thread = self._callback_thread
        if thread is None or threading.current_thread() is thread:
            return
        over = threading.Event()
        self._callbacks.put((over.set, ()))
        over.wait(timeout)

    def stop(self, timeout: float = STOP_TIMEOUT_S) -> None:
        """End what runs on the loop, then both threads.

        Safe to call twice, and from a callback, whose thread ends after it.
        """
        with self._lock:
            loop, self._loop = self._loop, None
            loop_thread, callback_thread, callbacks = self._loop_thread, self._callback_thread, self._callbacks
            if loop is None or loop_thread is None or callback_thread is None:
                return
            _running.discard(self)
            self._is_stopping = True
        try:
            self._stop(loop, loop_thread, callback_thread, callbacks, timeout)
        finally:
            self._is_stopping = False

    def _stop(
        self,
        loop: asyncio.AbstractEventLoop,
        loop_thread: threading.Thread,
        callback_thread: threading.Thread,
        callbacks: Callbacks,
        timeout: float,
    ) -> None:
        current = threading.current_thread()
        ending = asyncio.run_coroutine_threadsafe(_ended(self._end), loop)
        if current is not loop_thread:
            try:
                ending.result(timeout)
            except (TimeoutError, concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
                logger.warning("the realtime client did not close within %.0f s", timeout)
        loop.call_soon_threadsafe(loop.stop)
        callbacks.put(None)
        for thread in (loop_thread, callback_thread):
            if thread is not current:
                thread.join(timeout)


async def _ended(end: Callable[[], Awaitable[None]]) -> None:
    await end()
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others, timeout=LAST_TURN_S)


def _hand_over(task: asyncio.Task[T], done: concurrent.futures.Future[T]) -> None:
    if task.cancelled():
        done.cancel()
    elif (error := task.exception()) is not None:
        done.set_exception(error)
    else:
        done.set_result(task.result())


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _run_callbacks(callbacks: Callbacks) -> None:
    while (due := callbacks.get()) is not None:
        callback, arguments = due
        try:
            callback(*arguments)
        except Exception:  # it is the app's, and must not keep the next from running
            logger.exception("a callback of the realtime client failed")


async def in_thread(work: Callable[[], T]) -> T:
    """Run a function that may block in a daemon thread of its own (an executor's would keep the process alive)."""
    loop = asyncio.get_running_loop()
    done: concurrent.futures.Future[T] = concurrent.futures.Future()
    done.set_running_or_notify_cancel()  # who waits may give up; the function comes to its end all the same

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - handed over to who waits
            done.set_exception(error)
        else:
            done.set_result(result)

    threading.Thread(target=run, name="isobase-realtime-call", daemon=True).start()
    return await asyncio.wrap_future(done, loop=loop)


_running: weakref.WeakSet[Threads] = weakref.WeakSet()
_of_other_process: list[object] = []
"""Kept, so that nobody closes what belongs to the process from which this one was forked."""


def _leave_all_behind() -> None:
    for threads in list(_running):
        threads.leave_behind()
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all_behind)


@atexit.register
def _stop_all() -> None:
    """Close what is still open when the interpreter ends: its threads would be cut in the middle of something."""
    for threads in list(_running):
        threads.stop(EXIT_TIMEOUT_S)
