"""Cookies: those that the app gave are sent, those of answers are not kept. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import httpx

__all__ = ["GivenCookies", "given_cookies", "use_given_cookies"]


class GivenCookies(httpx.Cookies):
    """The cookies that the app gave. Those of answers are not kept: no service needs them, and they would tie its
    users together.
    """

    def extract_cookies(self, response: httpx.Response) -> None:
        """Keep nothing."""


_given: WeakKeyDictionary[httpx.Client | httpx.AsyncClient, GivenCookies] = WeakKeyDictionary()


def given_cookies(client: httpx.Client | httpx.AsyncClient) -> GivenCookies:
    """Give the cookies that an app's client had when it was first seen: from then on it collects those of answers."""
    return _given.setdefault(client, GivenCookies(client.cookies))


def use_given_cookies(
    request: httpx.Request, client: httpx.Client | httpx.AsyncClient, arguments: Mapping[str, Any]
) -> None:
    """Leave out of a request what the app's client has collected, unless its cookies were set in so many words."""
    named = (
        arguments.get("cookies") or "cookie" in httpx.Headers(arguments.get("headers")) or "cookie" in client.headers
    )
    if not named and "cookie" in request.headers:
        del request.headers["cookie"]
        given_cookies(client).set_cookie_header(request)
