"""Connecting to one of a host's addresses, tried beside each other (RFC 8305), for ``streams``.

asyncio's own race (``happy_eyeballs_delay``) forgets to close the socket that won when it is cancelled in that moment, as
a call's end does; this one closes every socket that it does not give.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

__all__ = ["connected_socket", "is_address"]

NEXT_ADDRESS_DELAY_S = 0.25
"""When a second address is tried beside the first; RFC 8305's recommendation."""


def is_address(host: str) -> bool:
    """Whether a host is an address itself, so that there is nothing to choose from."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return True
    return False


async def connected_socket(host: str, port: int) -> socket.socket:
    """Give a socket that is connected to the first of a host's addresses that answers. Raises the last ``OSError``."""
    loop = asyncio.get_running_loop()
    sockets: list[socket.socket] = []
    trying: set[asyncio.Task[socket.socket]] = set()
    winner: socket.socket | None = None
    error: BaseException = OSError(f"no address of {host}")

    async def attempt(family: int, kind: int, protocol: int, address: tuple[str, int]) -> socket.socket:
        sock = socket.socket(family, kind, protocol)
        sockets.append(sock)
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
        return sock

    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    waiting = iter(addresses)
    try:
        while winner is None:
            following = next(waiting, None)
            if following is not None:
                family, kind, protocol, _, address = following
                trying.add(loop.create_task(attempt(family, kind, protocol, address)))  # type: ignore[arg-type]
            elif not trying:
                raise error
            delay_s = None if following is None else NEXT_ADDRESS_DELAY_S
            ended, trying = await asyncio.wait(trying, timeout=delay_s, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                problem = task.exception()
                if problem is None:
                    winner = winner or task.result()
                elif isinstance(problem, OSError):
                    error = problem
                else:
                    raise problem
        return winner
    finally:
        for task in trying:
            task.cancel()
        for task in trying:  # each ends at once; their sockets may be closed only then
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await task
        for sock in sockets:
            if sock is not winner:
                sock.close()
