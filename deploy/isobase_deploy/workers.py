"""Several processes on the same listening sockets, kept by one that only watches.

The workers are copies (fork) of the process that holds the sockets: no event loop, thread or connection exists yet when they
are made. A worker that was killed is replaced; one that ends by itself with an error takes the others along, because what
stopped it (a refused login, a wrong setting) would stop its successor.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

__all__ = ["supervise"]

END_GRACE_S = 5
"""How long a worker may take to end beyond the drain timeout, before it is killed."""
MIN_LIFE_S = 1.0
"""A worker that was killed sooner is replaced only after this pause."""

_log = logging.getLogger("isobase.workers")


def supervise(
    count: int, run_worker: Callable[[int], int], *, drain_timeout_s: float, close_listeners: Callable[[], None]
) -> int:
    """Run ``count`` workers until a signal ends them all; returns the exit code.

    ``run_worker`` gets the worker's number from 0 on and returns its exit code. SIGTERM, SIGINT and SIGHUP end every worker,
    SIGUSR1 and SIGUSR2 are passed on. ``close_listeners`` closes this process's copies of the listening sockets: open ones
    would go on to take connections that no worker answers any more.
    """
    return _Supervisor(count, run_worker, drain_timeout_s, close_listeners).run()


class _Supervisor:
    def __init__(
        self,
        count: int,
        run_worker: Callable[[int], int],
        drain_timeout_s: float,
        close_listeners: Callable[[], None],
    ) -> None:
        self._count = count
        self._run_worker = run_worker
        self._close_listeners = close_listeners
        self._patience_s = int(drain_timeout_s) + END_GRACE_S
        self._workers: dict[int, tuple[int, float]] = {}  # process id -> (number, when it was made)
        self._is_ending = False
        self._code = 0

    def run(self) -> int:
        for ending in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(ending, self._end)
        for passed in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(passed, self._pass_on)
        signal.signal(signal.SIGALRM, self._kill)
        for number in range(self._count):
            self._fork(number)
        while self._workers:
            self._reap()
        signal.alarm(0)
        return self._code

    def _fork(self, number: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal between the fork and the worker's own handlers would run ours, in the worker.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        if self._is_ending:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return
        process_id = os.fork()
        if process_id:
            self._workers[process_id] = (number, time.monotonic())
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return
        code = 1
        try:
            for handled in _HANDLED:
                signal.signal(handled, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            code = self._run_worker(number)
        except BaseException:
            logging.getLogger("isobase.workers").exception("a worker failed")
        finally:
            # Not sys.exit: what this process was copied from must not be closed a second time.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        process_id, status = os.wait()
        number, made_s = self._workers.pop(process_id)
        code = os.waitstatus_to_exitcode(status)
        if self._is_ending:
            self._code = self._code or max(code, 0)
            return
        if code > 0:
            _log.error("a worker gave up", extra={"worker": number, "exit_code": code})
            self._code = code
            self._end(signal.SIGTERM, None)
            return
        _log.warning("a worker ended and is replaced", extra={"worker": number, "signal": -code})
        if time.monotonic() - made_s < MIN_LIFE_S:
            time.sleep(MIN_LIFE_S)
        self._fork(number)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        if not self._is_ending:
            self._is_ending = True
            self._close_listeners()
            signal.alarm(self._patience_s)
        self._send(signal.SIGTERM)

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        self._send(signal.Signals(number))

    def _kill(self, _number: int, _frame: FrameType | None) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for process_id in list(self._workers):
            os.kill(process_id, number)  # not reaped yet, so the id is still this worker's


_HANDLED = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM})
