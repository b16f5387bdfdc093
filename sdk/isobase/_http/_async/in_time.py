"""One attempt through httpx's own ways, ended when the time of the whole call is over."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx

from isobase._http.errors import DeadlineExceeded
from isobase._http.limits import DEADLINE_EXTENSION

__all__ = ["send_in_time"]


# [async]
Send = Callable[..., Awaitable[httpx.Response]]
# [/async]
# [sync] Send = Callable[..., httpx.Response]


async def send_in_time(send: Send, request: httpx.Request, **how: Any) -> httpx.Response:
    """Send with ``send``, whose steps get no more time than the call has left; raises ``DeadlineExceeded``."""
    deadline, whole_s = request.extensions.get(DEADLINE_EXTENSION, (math.inf, None))
    if deadline == math.inf:
        return await send(request, **how)
    left = deadline - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded(whole_s, request=request)
    steps = request.extensions.get("timeout") or {}
    request.extensions["timeout"] = {
        step: left if (limit := steps.get(step)) is None else min(limit, left)
        for step in ("connect", "read", "write", "pool")
    }
    try:
        # [async]
        async with asyncio.timeout(left):
            response = await send(request, **how)
        if how.get("stream"):
            _time_body(response, deadline, whole_s)
        # [/async]
        # [sync] response = send(request, **{**how, "stream": True})
        # [sync] _time_body(response, deadline, whole_s)
        # [sync] if not how.get("stream"):
        # [sync]     try:
        # [sync]         response.read()
        # [sync]     except BaseException:
        # [sync]         response.close()
        # [sync]         raise
        return response
    except (TimeoutError, httpx.TimeoutException) as error:
        if isinstance(error, httpx.TimeoutException) and time.monotonic() < deadline:
            raise
        raise DeadlineExceeded(whole_s, request=request) from error


def _time_body(response: httpx.Response, deadline: float, whole_s: float) -> None:
    """Let the reading of a body that is still to come end with the call's time."""
    if isinstance(response.stream, httpx.AsyncByteStream) and not response.is_stream_consumed:
        response.stream = AsyncTimedBody(response.stream, deadline, whole_s)


class AsyncTimedBody(httpx.AsyncByteStream):
    """A body whose parts come as slowly as its server likes, but not beyond a deadline: the last wait is that of a step."""

    def __init__(self, stream: httpx.AsyncByteStream, deadline: float, whole_s: float) -> None:
        self._stream = stream
        self._deadline = deadline
        self._whole_s = whole_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the parts as they arrive."""
        async for part in self._stream:
            yield part
            if time.monotonic() >= self._deadline:
                raise DeadlineExceeded(self._whole_s)

    async def aclose(self) -> None:
        """Give the rest up."""
        await self._stream.aclose()
