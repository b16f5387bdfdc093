"""One address before several servers, by the path's beginning, as Kong stands before Supabase's.

    python -m tests.sdk.upstream.gateway 54321 /auth/v1=http://127.0.0.1:9999 /rest/v1=http://127.0.0.1:3000 ...

Every request gets a connection of its own, so a head is read once and everything behind it is passed on as it comes,
sockets of realtime included. No header is added but those that tell a server where it stands. Where ``keys`` are given, a
request has to carry one of them as a project's does; started alone it checks nothing.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs, urlsplit

__all__ = ["running_gateway"]

MAX_HEAD_BYTES = 256 * 1024
START_TIMEOUT_S = 10.0
NOWHERE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
AWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
NO_KEY = b'{"message":"No API key found in request"}'
WRONG_KEY = b'{"message":"Invalid authentication credentials"}'
ASKS_FOR_NO_KEY = ("/auth/v1/verify", "/auth/v1/callback", "/auth/v1/authorize", "/auth/v1/.well-known/")
"""What a browser opens by itself."""


class _Gateway:
    def __init__(
        self, routes: Mapping[str, str], keys: Collection[str] = (), asks_for_key: Collection[str] = ()
    ) -> None:
        self._routes = dict(routes)
        self._keys = frozenset(keys)
        self._asks_for_key = frozenset(asks_for_key)
        self._serving: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection, and hold its task: a loop alone would let it be collected."""
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        method, target, version = line.split(" ")
        prefix = next((one for one in self._routes if target.startswith((f"{one}/", f"{one}?"))), None)
        if prefix is None:
            writer.write(NOWHERE)
        elif (refusal := self._refusal(method, target, fields, prefix)) is not None:
            head_lines = (
                f"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: {len(refusal)}"
            )
            writer.write(f"{head_lines}\r\nConnection: close\r\n\r\n".encode() + refusal)
        else:
            place = urlsplit(self._routes[prefix])
            rest = target.removeprefix(prefix)
            first = f"{method} {place.path}{rest if rest.startswith('/') else '/' + rest} {version}"
            await self._pass_on(reader, writer, (place.hostname or "", place.port or 80), first, fields, prefix)
        await writer.drain()

    def _refusal(self, method: str, target: str, fields: list[str], prefix: str) -> bytes | None:
        """What is answered to who brings no key, or a wrong one."""
        if prefix not in self._asks_for_key or method == "OPTIONS" or target.startswith(ASKS_FOR_NO_KEY):
            return None
        names = {field.partition(":")[0].lower(): field.partition(":")[2].strip() for field in fields}
        given = names.get("apikey") or next(iter(parse_qs(urlsplit(target).query).get("apikey", [])), "")
        if not given:
            return NO_KEY
        return None if given in self._keys else WRONG_KEY

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        place: tuple[str, int],
        first: str,
        fields: list[str],
        prefix: str,
    ) -> None:
        names = {field.partition(":")[0].lower(): field.partition(":")[2].strip() for field in fields}
        is_socket = names.get("connection", "").lower() == "upgrade"
        kept = [field for field in fields if is_socket or not field.lower().startswith("connection:")]
        kept = [field for field in kept if not field.lower().startswith("host:")]
        host = names.get("host", "")
        told = [f"Host: {place[0]}:{place[1]}", f"X-Forwarded-Host: {host}", "X-Forwarded-Proto: http"]
        told += [f"X-Forwarded-Prefix: {prefix}", *([] if is_socket else ["Connection: close"])]
        try:
            inner_reader, inner_writer = await asyncio.open_connection(*place)
        except OSError:
            writer.write(AWAY)
            return
        inner_writer.write(("\r\n".join([first, *told, *kept]) + "\r\n\r\n").encode("latin-1"))
        sending = asyncio.create_task(_copy(reader, inner_writer))
        try:
            if not is_socket:  # else the caller would send its next request on a connection that ends
                writer.write(await inner_reader.readuntil(b"\r\n") + b"Connection: close\r\n")
            await _copy(inner_reader, writer)
        finally:
            sending.cancel()
            inner_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def _listen(gateway: _Gateway, port: int) -> asyncio.Server:
    return await asyncio.start_server(gateway.accept, "127.0.0.1", port, limit=MAX_HEAD_BYTES)


@contextmanager
def running_gateway(
    routes: Mapping[str, str], port: int = 0, *, keys: Collection[str] = (), asks_for_key: Collection[str] = ()
) -> Iterator[str]:
    """Serve in a thread; gives the address.

    routes: the beginning of a path, and the URL that takes its place; the first that fits is taken. keys, asks_for_key: the
    api keys, and the beginnings of ``routes`` that are refused to who brings none of them.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="gateway", daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(_listen(_Gateway(routes, keys, asks_for_key), port), loop).result(
        START_TIMEOUT_S
    )
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(START_TIMEOUT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _serve_for_ever(routes: Mapping[str, str], port: int) -> None:
    await (await _listen(_Gateway(routes), port)).serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve_for_ever(dict(argument.split("=", 1) for argument in sys.argv[2:]), int(sys.argv[1])))
