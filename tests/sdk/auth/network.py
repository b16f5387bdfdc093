"""A breakable network before the auth server, in a thread of its own, so that async and sync clients meet the same
faults.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

from tests.plugins.fault_proxy import Break, FaultProxy, fault_proxy

__all__ = ["Network", "broken_network"]

START_TIMEOUT_S = 60.0


class Network:
    """The way to the server: ``url`` in its place, ``refreshes`` that have gone by, and what breaks."""

    def __init__(self, proxy: FaultProxy, path: str, loop: asyncio.AbstractEventLoop) -> None:
        self._proxy = proxy
        self._loop = loop
        self.url = proxy.url + path

    @property
    def refreshes(self) -> int:
        """How often a refresh token was sent."""
        return sum("grant_type=refresh_token" in line for line in self._proxy.seen)

    @property
    def hanging(self) -> int:
        """How many refreshes hang now."""
        return self._proxy.hanging

    def cut_hanging(self) -> None:
        """Cut these."""
        self._loop.call_soon_threadsafe(self._proxy.cut_hanging)

    def breaks(self, fault: Break = Break.REFUSE, *, times: int = 10**9) -> None:
        """From now on refreshes go wrong so."""
        self._proxy.breaks(fault, lambda _, target: "grant_type=refresh_token" in target, times=times)

    def heals(self) -> None:
        """Nothing goes wrong any more."""
        self._proxy.heals()


@contextmanager
def broken_network(url: str) -> Iterator[Network]:
    """A network before the server at ``url``, whole until it is told to break."""
    parts = urlsplit(url)
    loop = asyncio.new_event_loop()
    ending = asyncio.Event()
    started = threading.Event()
    found: list[Network] = []

    async def serve() -> None:
        async with fault_proxy(urlunsplit((parts.scheme, parts.netloc, "", "", ""))) as proxy:
            found.append(Network(proxy, parts.path, loop))
            started.set()
            await ending.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="network")
    thread.start()
    try:
        assert started.wait(START_TIMEOUT_S)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join()
        loop.close()
