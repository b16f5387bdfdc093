"""The transport under the official client: asks the router where a request goes, and does the I/O of its protocol."""

from __future__ import annotations

# [async]
import asyncio

# [/async]
import os
import time
from collections.abc import Callable
from typing import Any

import httpx

from isobase._http import AsyncSession
from isobase_adapter.answers import mark
from isobase_adapter.core import Core
from isobase_adapter.http.limits import hurried
from isobase_adapter.http.routing import Straight
from isobase_adapter.sides import Side
from isobase_adapter.steps import ELAPSED_EXTENSION, Flow, OnRuntime, Send, Step

__all__ = ["AsyncMigrationTransport", "AsyncSides"]


class AsyncSides:
    """What sends to each side: Supabase through an httpx client's transports, Isobase through our SDK's session."""

    def __init__(
        self, core: Core, supabase: Callable[[], httpx.AsyncClient], *, is_own: bool, isobase: AsyncSession
    ) -> None:
        """Take the clients.

        supabase: gives the client whose transports, proxies and certificates serve the Supabase side. is_own: whether it
        is closed with this.
        """
        self._core = core
        self._make = supabase
        self._supabase: httpx.AsyncClient | None = None
        self._is_own = is_own
        self._pid = os.getpid()
        self._isobase = isobase

    async def straight(self, request: httpx.Request, side: Side) -> httpx.Response:
        """Send to one side and hand its answer out while it arrives."""
        if side is Side.SUPABASE:
            supabase = self._supabase
            if supabase is None or (self._is_own and self._pid != os.getpid()):
                # A forked child must not speak on its parent's connections.
                supabase, self._pid = self._make(), os.getpid()
                self._supabase = supabase
            if supabase.is_closed:
                raise RuntimeError("Cannot send a request, as the client has been closed.")
            return await supabase._transport_for_url(request.url).handle_async_request(request)
        answer = await self._isobase.forward(self._core.addresses.addressed(request, side), stream=True)
        return httpx.Response(
            answer.status_code, headers=answer.headers.raw, stream=answer.stream, extensions=answer.extensions
        )

    async def send(self, step: Send) -> httpx.Response:
        """Do what a step asks; its answer is read whole unless it says otherwise."""
        request = step.request
        if step.most_step_s is not None:
            request = hurried(request, step.most_step_s)
        began = time.perf_counter()
        response = await self.straight(request, step.side)
        if not step.is_streamed:
            response = await self.read_whole(response)
        response.extensions[ELAPSED_EXTENSION] = time.perf_counter() - began
        return response

    @staticmethod
    async def read_whole(response: httpx.Response) -> httpx.Response:
        """Read the body to its end and give the answer anew, its body as it came and ready to be handed on."""
        # [async]
        assert isinstance(response.stream, httpx.AsyncByteStream)
        # [/async]
        # [sync] assert isinstance(response.stream, httpx.SyncByteStream)
        try:
            body = b"".join([part async for part in response.stream])
        finally:
            await response.stream.aclose()
        whole = httpx.Response(
            response.status_code,
            headers=response.headers.raw,
            stream=httpx.ByteStream(body),
            extensions=response.extensions,
        )
        whole.read()
        return whole

    async def aclose(self) -> None:
        """Close the connections to both sides, but not a client that the app gave."""
        await self._isobase.aclose()
        if self._is_own and self._supabase is not None:
            await self._supabase.aclose()


class AsyncMigrationTransport(httpx.AsyncBaseTransport):
    """Sees every request of a client and sends it where it belongs."""

    def __init__(self, core: Core, sides: AsyncSides) -> None:
        self._core = core
        self._sides = sides

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request as httpx's transports do. Errors are httpx's, and the router's."""
        core = self._core
        if not core.is_ready:
            # [async]
            await core.ready()
            # [/async]
            # [sync] core.ready_now()
        way = core.router.way(request)
        if isinstance(way, Straight):
            try:
                response = await self._sides.straight(request, way.side)
            finally:
                if way.done is not None:
                    way.done()
            return mark(response, way.answer) if way.answer is not None else response
        return await self.drive(way)

    async def drive(self, flow: Flow[httpx.Response]) -> httpx.Response:
        """Do what a protocol asks for, step by step, and give its answer."""
        result: Any = None
        error: BaseException | None = None
        try:
            while True:
                step = flow.send(result) if error is None else flow.throw(error)
                result = error = None
                try:
                    result = await self._do(step)
                except Exception as caught:  # noqa: BLE001  (the protocol says what becomes of it)
                    error = caught
        except StopIteration as ended:
            response: httpx.Response = ended.value
            return response
        finally:
            flow.close()

    async def _do(self, step: Step) -> Any:
        if isinstance(step, Send):
            return await self._sides.send(step)
        if isinstance(step, OnRuntime):
            # [async]
            return await self._core.runtime.call(step.work())
            # [/async]
            # [sync] return self._core.runtime.run(step.work())
        # [async]
        await asyncio.sleep(step.seconds)
        # [/async]
        # [sync] time.sleep(step.seconds)
        return None

    async def aclose(self) -> None:
        """Nothing: the connections are the migration client's, not one part's."""
