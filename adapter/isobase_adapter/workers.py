"""The worker threads of the runtime's event loop: what blocks (files, names of hosts) is done on them.

The standard library's refuse work once the main thread has ended, although other threads may still use a client then, and
although a client that was never closed signs off only after that. These go on until they are told to end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

__all__ = ["Workers"]

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Workers(ThreadPoolExecutor):
    """Up to ``most`` daemon threads; one is there from the beginning, as none can be started while an interpreter ends.

    A subclass only because an event loop takes no other kind of executor: nothing but the interface is the base's.
    """

    def __init__(self, most: int, name: str) -> None:
        """Start the first."""
        super().__init__(max_workers=most, thread_name_prefix=name)
        self._most, self._name = most, name
        self._guard = threading.Lock()
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._all: list[threading.Thread] = []
        self._free = 0
        self._has_ended = False
        self._start()
        self._free = 1

    def submit(self, fn: Callable[Given, Result], /, *args: Given.args, **kwargs: Given.kwargs) -> Future[Result]:
        """Have it called; see the base. Raises ``RuntimeError`` after ``shutdown`` alone."""
        future: Future[Result] = Future()
        with self._guard:
            if self._has_ended:
                raise RuntimeError("the workers have ended")
            self._tasks.put((future, partial(fn, *args, **kwargs)))
            if self._free > 0:
                self._free -= 1
            elif len(self._all) < self._most:
                try:
                    self._start()
                except RuntimeError:  # the interpreter ends: those that are there do it, one after the other
                    self._most = len(self._all)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Have the threads end after what was submitted; cancel_futures: after what they are at."""
        with self._guard:
            self._has_ended = True
            while cancel_futures and not self._tasks.empty():
                task = self._tasks.get_nowait()
                if task is not None:
                    task[0].cancel()
            for _ in self._all:
                self._tasks.put(None)
        for thread in self._all if wait else ():
            if thread is not threading.current_thread():
                thread.join()

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._all)}", daemon=True)
        thread.start()
        self._all.append(thread)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            future, call = task
            if future.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:  # noqa: BLE001  (its caller's, whatever it is)
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            del task, future, call  # nothing is kept alive while this waits for more
            with self._guard:
                self._free += 1
