"""The session: an httpx client whose calls end in time and are sent again where that is safe.

``request`` and ``stream`` hold the loop of attempts; ``send`` is one attempt. A session made by
``AsyncSession.of(client)`` sends through the client that the app gave (its hooks, proxies and authentication hold),
with deadlines and retries on top.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx

from isobase._acompat import asleep
from isobase._http.errors import DeadlineExceeded
from isobase._http.options import CallPolicy, current_options
from isobase._http.redirects import keeps_keys
from isobase._http.retry import Again, again_after_error, again_after_status, delay_s, is_read

__all__ = ["AsyncSession"]

logger = logging.getLogger("isobase.http")

KEEPALIVE_EXPIRY_S = 15.0
"""Idle connections are dropped before the usual proxies drop them (nginx 75 s, AWS load balancers 60 s, uvicorn 5 s is
found by looking).
"""
MAX_CONNECTIONS = 100
DEFAULT_LIMITS = httpx.Limits(
    max_connections=MAX_CONNECTIONS, max_keepalive_connections=20, keepalive_expiry=KEEPALIVE_EXPIRY_S
)

# [async]
Authorize = Callable[[str | None], Awaitable[str | None]]
# [/async]
# [sync] Authorize = Callable[[str | None], str | None]


class AsyncSession(httpx.AsyncClient):
    """An ``httpx.AsyncClient`` for the sub-clients; takes the same arguments.

    policy: what holds for every call unless ``call_options`` says else.
    authorize: is given a call's ``Authorization`` header and gives the one to send, or None to leave it as it is.
    inner: a client through which everything is sent.
    """

    def __init__(
        self,
        *,
        policy: CallPolicy | None = None,
        authorize: Authorize | None = None,
        inner: httpx.AsyncClient | None = None,
        follow_redirects: bool = True,
        limits: httpx.Limits = DEFAULT_LIMITS,
        **arguments: Any,
    ) -> None:
        super().__init__(follow_redirects=follow_redirects, limits=limits, **arguments)
        self._policy = policy or CallPolicy()
        self._authorize = authorize
        self._inner = inner
        self._shares = False

    @classmethod
    def of(cls, client: httpx.AsyncClient) -> AsyncSession:
        """Give ``client`` itself when it is a session, else a session that sends through it and shows its settings."""
        return client if isinstance(client, AsyncSession) else cls.over(client)

    @classmethod
    def over(
        cls, client: httpx.AsyncClient, *, policy: CallPolicy | None = None, authorize: Authorize | None = None
    ) -> AsyncSession:
        """Give a session that sends through ``client`` and shows its settings; closing it closes ``client``."""
        session = cls.__new__(cls)
        session.__dict__.update(client.__dict__)
        session._policy = policy or CallPolicy()
        session._authorize = authorize
        session._inner = client
        session._shares = False
        return session

    @classmethod
    def sharing(
        cls,
        other: AsyncSession,
        *,
        headers: Mapping[str, str],
        timeout: float | httpx.Timeout | None,
        policy: CallPolicy,
        authorize: Authorize | None,
    ) -> AsyncSession:
        """Give a session with settings of its own on the connections of ``other``, which stay when it is closed."""
        session = cls(headers=headers, timeout=timeout, policy=policy, authorize=authorize, transport=other._transport)
        session._mounts = other._mounts
        session._shares = True
        return session

    def build_request(self, method: str, url: httpx.URL | str, **arguments: Any) -> httpx.Request:
        """Build a request with the settings of the session, or of the client it sends through."""
        if self._inner is not None:
            return self._inner.build_request(method, url, **arguments)
        return super().build_request(method, url, **arguments)

    async def request(self, method: str, url: httpx.URL | str, **arguments: Any) -> httpx.Response:
        """Send a request and read its answer whole; arguments and errors are httpx's, and ``DeadlineExceeded``."""
        how: dict[str, Any] = {name: arguments.pop(name) for name in ("auth", "follow_redirects") if name in arguments}
        return await self._call(self.build_request(method, url, **arguments), how)

    @asynccontextmanager
    async def stream(self, method: str, url: httpx.URL | str, **arguments: Any) -> AsyncIterator[httpx.Response]:
        """Send a request and hand out its answer while it arrives; arguments and errors are httpx's, and
        ``DeadlineExceeded``.
        """
        how: dict[str, Any] = {name: arguments.pop(name) for name in ("auth", "follow_redirects") if name in arguments}
        how["stream"] = True
        response = await self._call(self.build_request(method, url, **arguments), how)
        try:
            yield response
        finally:
            await response.aclose()

    def _redirect_headers(self, request: httpx.Request, url: httpx.URL, method: str) -> httpx.Headers:
        """Leave the project's key behind where a redirect leaves the project, as httpx does with ``Authorization``."""
        headers = super()._redirect_headers(request, url, method)
        if not keeps_keys(request.url, url):
            headers.pop("apikey", None)
        return headers

    async def send(self, request: httpx.Request, **arguments: Any) -> httpx.Response:
        """Send a request once."""
        if self._inner is not None:
            return await self._inner.send(request, **arguments)
        return await super().send(request, **arguments)

    async def _call(self, request: httpx.Request, how: dict[str, Any]) -> httpx.Response:
        """Send a request as often as may be until it is answered or its time is over."""
        options = current_options()
        timeout = self._policy.timeout if options.timeout is None else options.timeout
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        retries = self._policy.retries if options.retries is None else options.retries
        if options.idempotency_key is not None and not is_read(request):
            request.headers["Idempotency-Key"] = options.idempotency_key
        if self._authorize is not None:
            authorization = await self._authorize(request.headers.get("Authorization"))
            if authorization is not None:
                request.headers["Authorization"] = authorization
        limits = request.extensions.get("timeout")
        attempt = 0
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise DeadlineExceeded(timeout or 0.0, request=request)
            if left < math.inf and limits is not None:
                request.extensions["timeout"] = {
                    step: left if limit is None else min(limit, left) for step, limit in limits.items()
                }
            retry_after = None
            try:
                response = await self.send(request, **how)
            except httpx.TransportError as error:
                if isinstance(error, httpx.TimeoutException) and time.monotonic() >= deadline:
                    raise DeadlineExceeded(timeout or 0.0, request=request) from error
                again = again_after_error(request, error) if attempt < retries else Again.NO
                if again is not Again.YES:
                    raise
                logger.info("%s %s: %s; sent again", request.method, request.url.path, type(error).__name__)
            else:
                again = again_after_status(request, response.status_code) if attempt < retries else Again.NO
                retry_after = response.headers.get("retry-after")
                if again is not Again.YES:
                    return response
                await response.aclose()
                logger.info("%s %s: status %d; sent again", request.method, request.url.path, response.status_code)
            attempt += 1
            wait = delay_s(attempt, retry_after)
            if time.monotonic() + wait >= deadline:
                raise DeadlineExceeded(timeout or 0.0, request=request)
            await asleep(wait)
            request.headers["X-Retry-Count"] = str(attempt)

    async def aclose(self) -> None:
        """Close the connections, also those of the client it sends through, but not those it shares."""
        if self._inner is not None:
            await self._inner.aclose()
        elif not self._shares:
            await super().aclose()

    async def __aenter__(self) -> Self:
        """Give the session itself."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close the session."""
        await self.aclose()
