"""One attempt through httpx's own ways, ended when the time of the whole call is over."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
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
            return await send(request, **how)
        # [/async]
        # [sync] return send(request, **how)
    except (TimeoutError, httpx.TimeoutException) as error:
        if isinstance(error, httpx.TimeoutException) and time.monotonic() < deadline:
            raise
        raise DeadlineExceeded(whole_s, request=request) from error
