"""A proxy before an HTTP server that breaks what a test names: it answers errors, hangs, and cuts in both directions."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["Break", "FaultProxy", "fault_proxy"]

HEAD_LIMIT_BYTES = 64 * 1024
COPY_BYTES = 64 * 1024


class Break(enum.Enum):
    """What happens to a request."""

    ERROR_500 = "500"
    ERROR_503 = "503 Slow Down"
    HANG = "no answer, until the client or the test gives up"
    REFUSE = "cut at once"
    CUT_REQUEST = "cut in the middle of the request's body"
    LOSE_ANSWER = "cut instead of the answer"
    CUT_ANSWER = "cut in the middle of the answer's body"
    DAMAGE = "another byte in the middle of the request's body"
    HANG_ANSWER = "no more bytes in the middle of the answer's body"


_ERRORS = {
    Break.ERROR_500: ("500 Internal Server Error", "InternalError"),
    Break.ERROR_503: ("503 Slow Down", "SlowDown"),
}


@dataclass(slots=True)
class _Rule:
    fault: Break
    matches: Callable[[str, str], bool]
    times: int


class FaultProxy:
    """Forwards to ``target``; one request for each connection. ``breaks`` says which requests go wrong."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._rules: list[_Rule] = []
        self._hanging: set[asyncio.StreamWriter] = set()
        self.url = ""
        self.seen: list[str] = []
        self.open_answers = 0
        """Answers that are on their way now."""

    def breaks(self, fault: Break, matches: Callable[[str, str], bool], *, times: int = 10**9) -> None:
        """From now on the next ``times`` requests whose method and target fit ``matches`` go wrong so."""
        self._rules.append(_Rule(fault, matches, times))

    def heals(self) -> None:
        """Nothing goes wrong any more."""
        self._rules.clear()

    @property
    def hanging(self) -> int:
        """How many requests ``HANG`` keeps waiting now."""
        return len(self._hanging)

    def cut_hanging(self) -> None:
        """Cut these requests."""
        for writer in self._hanging:
            writer.transport.abort()

    def _fault(self, method: str, target: str) -> Break | None:
        for rule in self._rules:
            if rule.times > 0 and rule.matches(method, target):
                rule.times -= 1
                return rule.fault
        return None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._forward(reader, writer)
        finally:
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip().split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = [tuple(line.split(": ", 1)) for line in lines]
        length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
        self.seen.append(f"{method} {target}")
        fault = self._fault(method, target)
        if fault is Break.REFUSE:
            return
        if any(name.lower() == "expect" for name, _ in headers):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if fault is Break.CUT_REQUEST:
            await reader.readexactly(length // 2)
            return
        body = await reader.readexactly(length)
        if fault is Break.DAMAGE:
            middle = length // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        if fault is Break.HANG:
            self._hanging.add(writer)
            try:
                await reader.read()
            finally:
                self._hanging.discard(writer)
            return
        if fault in _ERRORS:
            status, code = _ERRORS[fault]
            answer = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(answer)}\r\nConnection: close\r\n\r\n".encode())
            writer.write(b"" if method == "HEAD" else answer)
            await writer.drain()
            return
        kept = [f"{name}: {value}" for name, value in headers if name.lower() not in {"expect", "connection"}]
        out_reader, out = await asyncio.open_connection(self._host, self._port)
        try:
            out.write("\r\n".join([first, *kept, "Connection: close", "", ""]).encode("latin-1") + body)
            await out.drain()
            self.open_answers += 1
            await self._answer(fault, out_reader, reader, writer)
        finally:
            self.open_answers -= 1
            out.transport.abort()

    async def _answer(
        self,
        fault: Break | None,
        source: asyncio.StreamReader,
        client: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        head = await source.readuntil(b"\r\n\r\n")
        if fault is Break.LOSE_ANSWER:
            return
        writer.write(head)
        if fault in {Break.CUT_ANSWER, Break.HANG_ANSWER}:
            length = next(
                int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
            )
            writer.write(await source.readexactly(length // 2))
            await writer.drain()
            if fault is Break.HANG_ANSWER:
                await client.read()
            return
        while chunk := await source.read(COPY_BYTES):
            writer.write(chunk)
            await writer.drain()


@contextlib.asynccontextmanager
async def fault_proxy(target: str) -> AsyncIterator[FaultProxy]:
    """A running proxy before the server at ``target``."""
    proxy = FaultProxy(target)
    running: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.serve(reader, writer))
        running.add(task)
        task.add_done_callback(running.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=HEAD_LIMIT_BYTES)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
