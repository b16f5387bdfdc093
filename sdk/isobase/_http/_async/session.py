"""The session: an httpx client whose calls end in time, are sent again where that is safe, and take short ways.

``request`` and ``stream`` hold the loop of attempts; ``send`` is one attempt. What needs nothing of httpx's client
(hooks, authentication, cookies, redirects, proxies, HTTP/2) goes straight to the pool of connections; everything else
goes through httpx. A session made by ``AsyncSession.of(client)`` sends through the client that the app gave, with
deadlines and retries on top.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Self, TypedDict
from urllib.request import getproxies

import httpx

from isobase._acompat import asleep
from isobase._http._async.features import AsyncFeatures
from isobase._http._async.following import send_following
from isobase._http._async.in_time import send_in_time
from isobase._http._async.patched import handed_on, is_call_patched, is_handed_on, is_send_patched
from isobase._http._async.pool import MAX_CONNECTIONS, AsyncPool
from isobase._http.cookies import GivenCookies, given_cookies, use_given_cookies
from isobase._http.errors import CallCancelled, DeadlineExceeded
from isobase._http.headers import headers_of
from isobase._http.limits import DEADLINE_EXTENSION
from isobase._http.options import CallOptions, CallPolicy, call_options, current_options
from isobase._http.prepare import ShortRequest, short_arguments, short_request
from isobase._http.redirects import keeps_keys
from isobase._http.retry import Again, again_after_answer, again_after_error, delay_s, is_read
from isobase._http.tracing import TRACE_HEADERS, Tracing, finish

__all__ = ["AsyncSession"]

logger = logging.getLogger("isobase.http")

HTTP2_LIMITS = httpx.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=15.0)
# [async]
Authorize = Callable[[str | None], Awaitable[str | None]]
# [/async]
# [sync] Authorize = Callable[[str | None], str | None]


class SessionParts(TypedDict):
    """What a composed client gives each of its sessions."""

    policy: CallPolicy
    authorize: Authorize | None
    may_wait: Callable[[], bool] | None
    features: AsyncFeatures | None
    tracing: Tracing | None


class AsyncSession(httpx.AsyncClient):
    """An ``httpx.AsyncClient`` for the sub-clients; takes the same arguments.

    policy: what holds for every call unless ``call_options`` says else.
    authorize: is given a call's ``Authorization`` header and gives the one to send, or None to leave it as it is.
    Connections are HTTP/1.1's and the session's own, unless ``transport``, ``mounts``, ``proxy``, ``cert``,
    ``limits``, ``http2`` or a proxy of the environment asks for httpx's.
    """

    def __init__(
        self,
        *,
        policy: CallPolicy | None = None,
        authorize: Authorize | None = None,
        follow_redirects: bool = True,
        verify: Any = True,
        http2: bool = False,
        trust_env: bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
        **arguments: Any,
    ) -> None:
        is_special = http2 or any(arguments.get(name) for name in ("mounts", "proxy", "cert", "limits"))
        if transport is None and not is_special and not (trust_env and _has_proxy()):
            transport = AsyncPool(lambda: httpx.create_ssl_context(verify, trust_env=trust_env))
        elif http2:
            arguments.setdefault("limits", HTTP2_LIMITS)
        super().__init__(
            follow_redirects=follow_redirects,
            verify=verify if transport is None else False,  # else nobody looks at it, and True reads all certificates
            http2=http2,
            trust_env=trust_env,
            transport=transport,
            **arguments,
        )
        self._cookies = GivenCookies(self._cookies)
        self._begin(policy, authorize)

    def _begin(
        self,
        policy: CallPolicy | None,
        authorize: Authorize | None,
        features: AsyncFeatures | None = None,
        tracing: Tracing | None = None,
        may_wait: Callable[[], bool] | None = None,
    ) -> None:
        self._policy = policy or CallPolicy()
        self._authorize = authorize
        self._may_wait = may_wait
        self._features = features
        self._tracing = tracing
        self._inner: httpx.AsyncClient | None = None
        self._shares = False

    @classmethod
    def of(cls, client: httpx.AsyncClient) -> AsyncSession:
        """Give ``client`` itself when it is a session, else a session that sends through it and shows its settings."""
        return client if isinstance(client, AsyncSession) else cls.over(client)

    @classmethod
    def over(
        cls,
        client: httpx.AsyncClient,
        *,
        policy: CallPolicy | None = None,
        authorize: Authorize | None = None,
        may_wait: Callable[[], bool] | None = None,
        features: AsyncFeatures | None = None,
        tracing: Tracing | None = None,
    ) -> AsyncSession:
        """Give a session that sends through ``client`` and shows its settings; closing it closes ``client``."""
        session = cls.__new__(cls)
        session.__dict__.update(client.__dict__)
        session._begin(policy, authorize, features, tracing, may_wait)
        session._inner = client
        session._cookies = given_cookies(client)
        return session

    @classmethod
    def sharing(
        cls,
        other: AsyncSession,
        *,
        headers: Mapping[str, str],
        timeout: float | httpx.Timeout | None,
        policy: CallPolicy,
        authorize: Authorize | None = None,
        may_wait: Callable[[], bool] | None = None,
        features: AsyncFeatures | None = None,
        tracing: Tracing | None = None,
    ) -> AsyncSession:
        """Give a session with settings of its own on the connections of ``other``, which stay when it is closed."""
        session = cls(headers=headers, timeout=timeout, transport=other._transport)
        session._begin(policy, authorize, features, tracing, may_wait)
        session._mounts = other._mounts
        session._shares = True
        return session

    # Requests.

    def build_request(self, method: str, url: httpx.URL | str, **arguments: Any) -> httpx.Request:
        """Build a request with the settings of the session, or of the client it sends through."""
        if self._inner is not None:
            request = self._inner.build_request(method, url, **arguments)
            use_given_cookies(request, self._inner, arguments)
            return request
        return super().build_request(method, url, **arguments)

    def _request(self, method: str, url: httpx.URL | str, arguments: dict[str, Any]) -> httpx.Request:
        """Build a request, the short way where httpx would give the same."""
        if (
            isinstance(self._transport, AsyncPool)
            and self._inner is None
            and not self._params
            and not self._cookies
            and (short := short_arguments(arguments)) is not None
        ):
            steps = self._timeout.as_dict()
            request = short_request(method.upper(), str(url), self._headers, steps, **short)
            if request is not None:
                return request
        return self.build_request(method, url, **arguments)

    async def request(self, method: str, url: httpx.URL | str, **arguments: Any) -> httpx.Response:
        """Send a request and read its answer whole; arguments and errors are httpx's, and ``DeadlineExceeded``."""
        if is_call_patched():
            with handed_on():
                return await super().request(method, url, **arguments)
        how: dict[str, Any] = {name: arguments.pop(name) for name in ("auth", "follow_redirects") if name in arguments}
        return await self._call(self._request(method, url, arguments), how)

    @asynccontextmanager
    async def stream(self, method: str, url: httpx.URL | str, **arguments: Any) -> AsyncIterator[httpx.Response]:
        """Send a request and hand out its answer while it arrives; arguments and errors are those of ``request``."""
        if is_call_patched():
            opened = super().stream(method, url, **arguments)
            with handed_on():
                response = await opened.__aenter__()
            try:
                yield response
            finally:
                await opened.__aexit__(None, None, None)
            return
        how: dict[str, Any] = {name: arguments.pop(name) for name in ("auth", "follow_redirects") if name in arguments}
        response = await self._call(self._request(method, url, arguments), {**how, "stream": True})
        try:
            yield response
        finally:
            await response.aclose()

    async def forward(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        """Send a request that was built elsewhere, as often as may be; redirects are not followed.

        stream: whether the body may still be arriving when this returns. Errors are those of ``request``.
        """
        return await self._call(request, {"stream": stream, "follow_redirects": False})

    def _redirect_headers(self, request: httpx.Request, url: httpx.URL, method: str) -> httpx.Headers:
        """Leave the project's key behind where a redirect leaves the project, as httpx does with ``Authorization``."""
        headers = super()._redirect_headers(request, url, method)
        if not keeps_keys(request.url, url):
            for name in ("apikey", *TRACE_HEADERS):
                headers.pop(name, None)
        return headers

    # Attempts.

    async def _call(self, request: httpx.Request, how: dict[str, Any]) -> httpx.Response:
        """Send a request as often as may be, until it is answered or its time is over."""
        timeout = self._whole_timeout(is_streamed=bool(how.get("stream")))
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        if deadline != math.inf:
            request.extensions[DEADLINE_EXTENSION] = (deadline, timeout)
        if self._authorize is not None:
            authorization = await self._authorization(self._authorize, request, timeout)
            if authorization is not None:
                request.headers["Authorization"] = authorization
        if self._tracing is None:
            response, _ = await self._attempts(request, how, deadline)
            return response
        with self._tracing.call(request) as span:
            response, repeated = await self._attempts(request, how, deadline)
            finish(span, response.status_code, repeated)
            return response

    def _whole_timeout(self, *, is_streamed: bool) -> float | None:
        said = current_options().timeout
        timeout = self._policy.timeout if said is None else said
        return self._policy.unsaid_timeout if timeout is None and not is_streamed else timeout

    async def _authorization(self, authorize: Authorize, request: httpx.Request, timeout: float | None) -> str | None:
        """Ask for the header to send, which may take a refresh of the session; it costs the call's own time."""
        present = request.headers.get("Authorization")
        if timeout is None or timeout == math.inf or not (self._may_wait is None or self._may_wait()):
            return await authorize(present)
        with call_options(timeout=timeout):
            # [async]
            ending = asyncio.timeout(timeout)
            try:
                async with ending:
                    return await authorize(present)
            except TimeoutError as error:
                if not ending.expired():
                    raise
                raise DeadlineExceeded(timeout, request=request) from error
            # [/async]
            # [sync] return authorize(present)

    async def _attempts(
        self, request: httpx.Request, how: dict[str, Any], deadline: float
    ) -> tuple[httpx.Response, int]:
        """Give the answer, and how often the request was sent again for it."""
        options = current_options()
        retries = self._policy.retries if options.retries is None else options.retries
        if self._features is not None and not is_read(request):
            await self._add_key(request, options.idempotency_key, deadline)
        is_logged = logger.isEnabledFor(logging.DEBUG)
        repeated = 0
        while True:
            if options.cancel is not None and options.cancel.cancelled:
                raise CallCancelled
            retry_after = None
            began = time.perf_counter() if is_logged else 0.0
            try:
                response = await self.send(request, **how)
            except httpx.TransportError as error:
                if is_logged:
                    log_attempt(request, type(error).__name__, began, repeated)
                again = again_after_error(request, error) if repeated < retries else Again.NO
                if again is Again.NO or not await self._may_repeat(again, deadline):
                    raise
                reason = type(error).__name__
            else:
                if is_logged:
                    log_attempt(request, response.status_code, began, repeated)
                again = again_after_answer(request, response) if repeated < retries else Again.NO
                if again is Again.NO or not await self._may_repeat(again, deadline):
                    return response, repeated
                await response.aclose()
                retry_after = response.headers.get("retry-after")
                reason = f"status {response.status_code}"
            repeated += 1
            wait_s = delay_s(repeated, retry_after)
            logger.info("%s %s: %s; sent again in %.2f s", request.method, request.url.path, reason, wait_s)
            await self._pause(wait_s, deadline, options, request)
            request.headers["X-Retry-Count"] = str(repeated)

    async def _add_key(self, request: httpx.Request, key: str | None, deadline: float) -> None:
        """Give a write its idempotency key: the one of ``call_options``, or one of its own where the options say so."""
        if key is None and self._policy.automatic_keys and await self._keeps_keys(deadline):
            key = str(uuid.uuid4())
        if key is not None:
            await self._keeps_keys(deadline)  # asked now, because after a lost connection nobody may answer
            request.headers.setdefault("Idempotency-Key", key)

    async def _keeps_keys(self, deadline: float) -> bool:
        left_s = deadline - time.monotonic()
        return self._features is not None and await self._features.has("idempotency-key", left_s)

    async def _may_repeat(self, again: Again, deadline: float) -> bool:
        return again is Again.YES or await self._keeps_keys(deadline)

    async def _pause(self, wait_s: float, deadline: float, options: CallOptions, request: httpx.Request) -> None:
        """Wait before the next attempt; raises when the call's time would be over then, or it is cancelled."""
        if time.monotonic() + wait_s >= deadline:
            raise DeadlineExceeded(request.extensions[DEADLINE_EXTENSION][1], request=request)
        cancel = options.cancel
        if cancel is None:
            await asleep(wait_s)
            return
        # [async]
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()
        forget = cancel.on_cancel(lambda: (loop.call_soon_threadsafe(woken.set), None)[1])
        try:
            async with asyncio.timeout(wait_s):
                await woken.wait()
        except TimeoutError:
            return
        finally:
            forget()
        # [/async]
        # [sync] if not cancel.wait(wait_s):
        # [sync]     return
        raise CallCancelled

    async def send(self, request: httpx.Request, *, stream: bool = False, **how: Any) -> httpx.Response:
        """Send a request once; arguments and errors are httpx's."""
        if is_handed_on.get():
            with handed_on(False):
                return await self._call(request, {**how, "stream": stream})
        if self._inner is not None:
            return await send_following(self._inner, request, self._build_redirect_request, stream=stream, **how)
        transport = self._transport
        if (
            isinstance(transport, AsyncPool)
            and (not how or how.get("auth") is None)
            and self._auth is None
            and not self._mounts
            and not self._event_hooks["request"]
            and not self._event_hooks["response"]
            and (isinstance(request, ShortRequest) or not request.url.userinfo)
            and not is_send_patched(transport)
        ):
            follows = how.get("follow_redirects", self.follow_redirects)
            history: list[httpx.Response] = []
            while True:
                response = await self._exchange(transport, request, is_streamed=stream)
                response.history = history[:]
                if not (follows and response.has_redirect_location):
                    return response
                await response.aread()
                history.append(response)
                if len(history) > self.max_redirects:
                    raise httpx.TooManyRedirects("Exceeded maximum allowed redirects.", request=request)
                request = self._build_redirect_request(request, response)
        return await send_in_time(super().send, request, stream=stream, **how)

    async def _exchange(self, pool: AsyncPool, request: httpx.Request, *, is_streamed: bool) -> httpx.Response:
        """Send a request straight on a connection of the pool."""
        began = time.perf_counter()
        try:
            head, body = await pool.exchange(request, is_streamed=is_streamed, cancel=current_options().cancel)
        except httpx.RequestError as error:
            error.request = request
            raise
        response = httpx.Response(
            head.status,
            headers=headers_of(head.headers),
            stream=httpx.ByteStream(body) if isinstance(body, bytes) else body,
            request=request,
            extensions={"http_version": head.version, "reason_phrase": head.reason},
            default_encoding=self._default_encoding,
        )
        response.elapsed = timedelta(seconds=time.perf_counter() - began)
        if isinstance(body, bytes):
            if head.is_encoded:
                response.read()
            else:
                # What reading would end with; reading goes through decoders that have nothing to decode.
                response._content = body
                response.is_closed = response.is_stream_consumed = True
                response._num_bytes_downloaded = len(body)
        return response

    # The end.

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


def log_attempt(request: httpx.Request, outcome: object, began: float, repeated: int) -> None:
    """Tell what came of an attempt: the path alone, as a query may hold what no log should."""
    elapsed_ms = 1000 * (time.perf_counter() - began)
    logger.debug("%s %s: %s, %.1f ms, attempt %d", request.method, request.url.path, outcome, elapsed_ms, repeated + 1)


def _has_proxy() -> bool:
    """Whether the environment names a proxy for HTTP."""
    return any(getproxies().get(name) for name in ("http", "https", "all"))
