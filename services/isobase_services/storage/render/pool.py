"""The rendering processes: started when there is work, ended when there is none, replaced when a source breaks them.

A process serves one job at a time over a socket of its own, and gets source and result as open files. A job that takes too
long is ended with its process. Source: docs/decisions/0016.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

from isobase_services.storage.render.job import (
    LENGTH_BYTES,
    MAX_MESSAGE_BYTES,
    Job,
    Refusal,
    Rendered,
    framed,
    is_whole,
)

__all__ = ["PoolLimits", "RenderPool", "RendererUnavailable", "TooManyWaiting"]

START_TIMEOUT_S = 30.0
"""How long a process may take to say that it is ready."""
END_TIMEOUT_S = 5.0
JOBS_PER_PROCESS = 1000
"""Then it is replaced: decoders leave holes in their memory."""

_log = logging.getLogger("isobase.storage.render")


class TooManyWaiting(Exception):
    """More requests wait than may, or one waited for too long."""


class RendererUnavailable(Exception):
    """No process can be started, or libvips is not there; the text says why."""


@dataclass(slots=True, frozen=True)
class PoolLimits:
    """How many processes and waiting jobs there may be, and what a process may use."""

    processes: int
    max_waiting: int
    memory_bytes: int
    timeout_s: float
    idle_s: float


@dataclass(slots=True, eq=False)
class _Worker:
    process: asyncio.subprocess.Process
    socket: socket.socket
    jobs: int = 0


class RenderPool:
    """Gives jobs to processes. Use ``slot`` around whatever belongs to one rendering, and ``run`` inside of it."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.processes)
        self._waiting = 0
        self._idle: list[_Worker] = []
        self._retirement: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """The right to render, of which there are as many as processes.

        Raises ``TooManyWaiting`` at once, or where none comes free in the time that one rendering may take.
        """
        if self._slots.locked() and self._waiting >= self._limits.max_waiting:
            raise TooManyWaiting
        self._waiting += 1
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                await self._slots.acquire()
        except TimeoutError as error:
            raise TooManyWaiting from error
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()

    async def run(self, job: Job, source: int, result: int) -> Rendered:
        """Render the file ``source`` into the file ``result`` (descriptors; the result is written from where it stands).

        A process that dies answers ``UNSUPPORTED``: it was the source that broke it. Raises ``RendererUnavailable``. A
        cancelled job ends its process.
        """
        worker = self._living() or await self._start()
        is_reusable = False
        try:
            reply = await self._ask(worker, job, source, result)
            if reply is None:
                _log.warning("A rendering process died of a source (%s)", await _exit_text(worker))
                return Rendered(None, Refusal.UNSUPPORTED)
            is_reusable = worker.jobs < JOBS_PER_PROCESS
            return reply
        finally:
            if is_reusable:
                self._idle.append(worker)
                self._retire_later()
            else:
                self._end(worker)

    async def close(self) -> None:
        """End all processes, and wait until they are gone."""
        if self._retirement is not None:
            self._retirement.cancel()
            self._retirement = None
        self._retire()
        if self._ending:
            await asyncio.wait(self._ending, timeout=END_TIMEOUT_S)

    def _living(self) -> _Worker | None:
        """An idle process; one that ended by itself meanwhile is left out."""
        while self._idle:
            worker = self._idle.pop()
            try:
                worker.socket.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                return worker
            except OSError:
                pass
            self._end(worker)
        return None

    async def _ask(self, worker: _Worker, job: Job, source: int, result: int) -> Rendered | None:
        worker.jobs += 1
        try:
            socket.send_fds(worker.socket, [framed(job.to_json())], [source, result])
            answer = await _received(worker.socket)
        except OSError:
            return None
        return Rendered.from_json(answer) if answer else None

    async def _start(self) -> _Worker:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            ours.setblocking(False)
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-I",
                    "-c",
                    _PROGRAM,
                    os.pathsep.join(path for path in sys.path if path),
                    str(theirs.fileno()),
                    str(self._limits.memory_bytes),
                    str(self._limits.timeout_s),
                    pass_fds=(theirs.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL,
                    env=_ENVIRONMENT,
                    cwd="/",
                )
            except OSError as error:
                ours.close()
                raise RendererUnavailable(f"no process can be started: {error}") from error
        worker = _Worker(process, ours)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                greeting = await _received(ours)
        except BaseException as error:
            self._end(worker)
            if isinstance(error, TimeoutError):
                raise RendererUnavailable("a rendering process did not start in time") from error
            raise
        if greeting != b"ready":
            self._end(worker)
            raise RendererUnavailable(greeting.decode("utf-8", "replace") or "a rendering process ended at its start")
        return worker

    def _retire_later(self) -> None:
        if self._retirement is not None:
            self._retirement.cancel()
        self._retirement = asyncio.get_running_loop().call_later(self._limits.idle_s, self._retire)

    def _retire(self) -> None:
        idle, self._idle = self._idle, []
        for worker in idle:
            self._end(worker)

    def _end(self, worker: _Worker) -> None:
        worker.socket.close()
        with contextlib.suppress(ProcessLookupError):
            worker.process.kill()
        task = asyncio.get_running_loop().create_task(_reap(worker))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


async def _received(connection: socket.socket) -> bytes:
    """The next message; empty where the process is gone."""
    loop = asyncio.get_running_loop()
    received = b""
    while not is_whole(received):
        more = await loop.sock_recv(connection, MAX_MESSAGE_BYTES)
        if not more:
            return b""
        received += more
    return received[LENGTH_BYTES:]


async def _reap(worker: _Worker) -> None:
    await worker.process.wait()


async def _exit_text(worker: _Worker) -> str:
    try:
        async with asyncio.timeout(END_TIMEOUT_S):
            code = await worker.process.wait()
    except TimeoutError:
        return "it still runs"
    return f"signal {-code}" if code < 0 else f"exit code {code}"


_PROGRAM = f"""import sys
sys.path[:] = sys.argv.pop(1).split({os.pathsep!r})
from isobase_services.storage.render.worker import main
main(sys.argv[1:])
"""
"""The worker, found where this process found its modules: without its environment it would look in fewer places."""

_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PATH": os.defpath,
    "MALLOC_ARENA_MAX": "2",
    "VIPS_WARNING": "0",
    "G_MESSAGES_DEBUG": "",
}
"""What a process knows of its surroundings: nothing of the service's, where secrets are."""
