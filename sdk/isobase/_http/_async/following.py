"""Redirects of what goes through the app's own httpx client, followed here: that client would take the project's key
along to wherever they lead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from isobase._http._async.in_time import send_in_time

__all__ = ["send_following"]

Redirected = Callable[[httpx.Request, httpx.Response], httpx.Request]


async def send_following(
    client: httpx.AsyncClient, request: httpx.Request, redirected: Redirected, *, stream: bool, **how: Any
) -> httpx.Response:
    """Send through ``client``; arguments and errors are those of its ``send``.

    redirected: makes the request that an answer asks for.
    """
    wish = how.pop("follow_redirects", None)
    follows = wish if isinstance(wish, bool) else client.follow_redirects
    history: list[httpx.Response] = []
    while True:
        response = await send_in_time(client.send, request, stream=stream, follow_redirects=False, **how)
        response.history = [*history, *response.history]
        if not (follows and response.has_redirect_location):
            return response
        await response.aread()
        history.append(response)
        if len(history) > client.max_redirects:
            raise httpx.TooManyRedirects("Exceeded maximum allowed redirects.", request=request)
        request = redirected(request, response)
        how["auth"] = None  # what it made is in the headers, which go no further than they may
