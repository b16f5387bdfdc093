"""A relay before a server that breaks connections on purpose: cut, frozen, half closed, slow, refused."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

__all__ = ["Cutter", "background_loop", "cutter"]

T = TypeVar("T")
COPY_BYTES = 64 * 1024


class Loop:
    """An event loop in a thread of its own, for servers that sync and async tests share."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="test-servers", daemon=True)
        self.thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float = 60.0) -> T:
        """Run a coroutine there and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout_s)

    def call(self, work: Callable[[], None]) -> None:
        """Run a function there and wait for it."""

        async def run() -> None:
            work()

        self.run(run())

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@contextlib.contextmanager
def background_loop() -> Iterator[Loop]:
    loop = Loop()
    try:
        yield loop
    finally:
        loop.stop()


class Cutter:
    """Relays to ``port``. Methods hold for the connections that are there, ``refuse`` and ``delay_s`` for new ones too."""

    def __init__(self, loop: Loop, port: int) -> None:
        self._loop = loop
        self._target = port
        self._pairs: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self._flows = asyncio.Event()
        self._flows.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refuses = False
        self.delay_s = 0.0
        self.port = 0
        self.accepted = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Reset every connection."""
        self._loop.call(self._cut)

    def _cut(self) -> None:
        for pair in self._pairs:
            for writer in pair:
                writer.transport.abort()
        self._pairs.clear()

    def refuse(self, refuses: bool = True) -> None:
        """Cut new connections as soon as they are there, and those that are there now."""
        self._refuses = refuses
        if refuses:
            self.cut()

    def freeze(self) -> None:
        """Pass nothing on, in either direction, and say nothing: as a network whose cable was pulled."""
        self._loop.call(self._flows.clear)

    def thaw(self) -> None:
        """Pass on again; what was frozen is passed on late."""
        self._loop.call(self._flows.set)

    def half_close(self) -> None:
        """End the direction to the client and leave the other one open."""

        def end() -> None:
            for client, _ in self._pairs:
                client.write_eof()

        self._loop.call(end)

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._refuses:
            writer.transport.abort()
            return
        await self._flows.wait()
        try:
            out_reader, out = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._pairs.append((writer, out))
        for source, target in ((reader, out), (out_reader, writer)):
            task = asyncio.get_running_loop().create_task(self._copy(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(COPY_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await self._flows.wait()
                target.write(chunk)
                await target.drain()
            if target.can_write_eof():
                target.write_eof()

    async def end(self) -> None:
        self._cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.contextmanager
def cutter(loop: Loop, port: int) -> Iterator[Cutter]:
    """A running relay before the server on ``port``."""
    relay = Cutter(loop, port)
    server = loop.run(relay.start())
    try:
        yield relay
    finally:
        loop.call(server.close)
        loop.run(relay.end())
