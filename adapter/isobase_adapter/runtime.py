"""The one event loop, in a thread of its own, on which everything of a client lives that needs databases.

Sync and async clients use it alike: an async caller waits for ``call``, a sync one for ``run``, and ``spawn`` begins
what nobody waits for. The thread is a daemon and ends with ``close``; after a fork the child has none and must make a
runtime of its own (``is_of_this_process``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

from isobase_adapter.workers import Workers

__all__ = ["Runtime", "RuntimeClosed"]

logger = logging.getLogger("isobase.migration.runtime")

CLOSE_TIMEOUT_S = 10.0
"""How long ``close`` waits for what still runs before it is left to itself."""
MAX_WORKERS = 8
"""Threads for what blocks: files, names of hosts."""
Result = TypeVar("Result")


class RuntimeClosed(RuntimeError):
    """The client was closed, or the process forked: nothing can be run here any more."""


class Runtime:
    """An event loop in a daemon thread, started when it is first needed."""

    def __init__(self, name: str = "isobase-migration") -> None:
        self._name = name
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._background: set[Future[Any]] = set()

    @property
    def is_of_this_process(self) -> bool:
        """False in a forked child of the process that made it."""
        return self._pid == os.getpid()

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._is_closed

    @property
    def is_here(self) -> bool:
        """Whether the caller runs on the runtime's own thread."""
        return self._thread is threading.current_thread()

    async def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the runtime and wait for it from any event loop; cancelled with the caller.

        Raises what it raises, and ``RuntimeClosed``.
        """
        if self.is_here:
            return await work
        return await asyncio.wrap_future(self.submit(work))

    def run(self, work: Coroutine[Any, Any, Result], timeout_s: float | None = None) -> Result:
        """Run a coroutine on the runtime and block this thread until it has ended.

        timeout_s: the most seconds to wait, None: no limit. Raises what it raises, ``TimeoutError`` (it is cancelled then),
        and ``RuntimeClosed``. Never from the runtime's own thread.
        """
        if self.is_here:
            work.close()
            raise RuntimeError("Runtime.run would wait for itself: use `await`")
        future = self.submit(work)
        try:
            return future.result(timeout_s)
        except FutureTimeoutError:
            if future.done():
                raise  # the work's own
            future.cancel()
            raise TimeoutError(f"it took longer than {timeout_s} s") from None
        except BaseException:
            future.cancel()
            raise

    def spawn(self, work: Coroutine[Any, Any, Any], name: str = "background work") -> None:
        """Begin a coroutine that nobody waits for; its error is logged by its class. Does nothing once closed."""
        try:
            future = self.submit(work)
        except RuntimeClosed:
            return
        self._background.add(future)

        def ended(done: Future[Any]) -> None:
            self._background.discard(done)
            if not done.cancelled() and (error := done.exception()) is not None:
                logger.warning("%s failed: %s", name, type(error).__name__)

        future.add_done_callback(ended)

    def call_soon(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a plain function on the loop soon; never waits. Raises ``RuntimeClosed``."""
        self._running().call_soon_threadsafe(function, *arguments)

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Cancel what runs, end the loop and its thread. May be called again, and from any thread but its own.

        timeout_s: the most seconds to wait for it.
        """
        with self._lock:
            self._is_closed = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None or not self.is_of_this_process:
            return
        with contextlib.suppress(RuntimeError):  # it ended by itself
            loop.call_soon_threadsafe(loop.stop)
        if thread is not threading.current_thread():
            thread.join(timeout_s)

    def submit(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Begin a coroutine and give its future. Raises ``RuntimeClosed``."""
        try:
            loop = self._running()
            return asyncio.run_coroutine_threadsafe(work, loop)
        except BaseException:
            work.close()
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        loop = self._loop
        if loop is not None and self._pid == os.getpid():
            return loop
        with self._lock:
            if self._is_closed or not self.is_of_this_process:
                raise RuntimeClosed("the migration client is closed, or was made before this process forked")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                workers = Workers(MAX_WORKERS, f"{self._name}-worker")
                self._loop.set_default_executor(workers)
                self._thread = threading.Thread(target=_turn, args=(self._loop, workers), name=self._name, daemon=True)
                self._thread.start()
            return self._loop


def _turn(loop: asyncio.AbstractEventLoop, workers: Workers) -> None:
    """Be the thread: turn the loop until it is stopped, then end what is left on it."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=CLOSE_TIMEOUT_S))
        loop.run_until_complete(loop.shutdown_asyncgens())
        workers.shutdown()
        asyncio.set_event_loop(None)
        loop.close()
