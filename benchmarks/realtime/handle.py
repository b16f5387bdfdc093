"""The load generator from the benchmark's side: a process of its own that takes orders."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from benchmarks.realtime.orders import Close, Collect, Counted, Failed, Hold, Open, Opened, Order, Publish, Track
from benchmarks.realtime.swarm import run

__all__ = ["Load", "LoadFailedError", "load"]

ANSWER_TIMEOUT_S = 180.0
END_TIMEOUT_S = 10.0


class LoadFailedError(Exception):
    """The load generator could not do what it was asked; the text says why."""


class Load:
    """Gives orders and waits for their outcome. Raises ``LoadFailedError``."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def open(self, order: Open) -> Opened:
        """Open sockets and wait until they are ready."""
        answer = self._do(order)
        assert isinstance(answer, Opened)
        return answer

    def publish(self, order: Publish) -> Counted:
        """Broadcast and count."""
        answer = self._do(order)
        assert isinstance(answer, Counted)
        return answer

    def track(self, order: Track) -> Counted:
        """Track presences and count."""
        answer = self._do(order)
        assert isinstance(answer, Counted)
        return answer

    def begin(self, order: Collect) -> None:
        """Begin to count; ``counted`` gives the outcome."""
        self._pipe.send(order)

    def counted(self) -> Counted:
        """The outcome of ``begin``."""
        answer = self._answer()
        assert isinstance(answer, Counted)
        return answer

    def hold(self, seconds: float) -> None:
        """Keep the sockets alive."""
        self._do(Hold(seconds))

    def close(self) -> None:
        """Close every socket."""
        self._do(Close())

    def _do(self, order: Order) -> Opened | Counted | None:
        self._pipe.send(order)
        return self._answer()

    def _answer(self) -> Opened | Counted | None:
        if not self._pipe.poll(ANSWER_TIMEOUT_S):
            raise LoadFailedError("the load generator does not answer")
        answer: Opened | Counted | Failed | None = self._pipe.recv()
        if isinstance(answer, Failed):
            raise LoadFailedError(answer.reason)
        return answer


@contextmanager
def load(core: int | None) -> Iterator[Load]:
    """A load generator, on one ``core`` where that is given, until the block ends."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=run, args=(theirs, core), name="load generator")
    process.start()
    theirs.close()
    try:
        yield Load(ours)
    finally:
        ours.close()
        process.join(END_TIMEOUT_S)
        if process.is_alive():
            process.terminate()
            process.join()
