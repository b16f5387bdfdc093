"""The client that calls functions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx

from isobase._deprecation import warn_of_http_settings
from isobase._http import AsyncSession, call_options
from isobase.functions.calls import FunctionCall, FunctionInvokeOptions, call_of, client_headers, refusal
from isobase.functions.events import EventReader, ServerSentEvent
from isobase.functions.utils import FunctionRegion, is_http_url

__all__ = ["AsyncFunctionStream", "AsyncFunctionsClient"]

DEFAULT_TIMEOUT_S = 60


class AsyncFunctionStream:
    """A function's answer while it arrives. ``response`` is httpx's, with status and headers."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the body in pieces, as they arrive."""
        async for piece in self.response.aiter_bytes():
            yield piece

    async def lines(self) -> AsyncIterator[str]:
        """Give the body's lines without their ends."""
        async for line in self.response.aiter_lines():
            yield line

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        """Give the events of a ``text/event-stream``."""
        reader = EventReader()
        async for piece in self.response.aiter_bytes():
            for event in reader.feed(piece):
                yield event


class AsyncFunctionsClient:
    """Calls the functions below ``url``.

    url: as ``https://PROJECT/functions/v1``; ``ValueError`` when it is no HTTP URL.
    headers: sent with every call.
    timeout, verify, proxy: seconds of one wait (default 60), whether TLS certificates are checked, and an HTTP proxy;
    as upstream they warn that an HTTP client should be given instead.
    http_client: sends the requests. Default: a client of its own, which ``aclose`` closes.
    region: where functions run that are called without a region of their own.
    Source: supabase_functions ``AsyncFunctionsClient``.
    """

    def __init__(
        self,
        url: str,
        headers: dict[str, str],
        timeout: int | None = None,
        verify: bool | None = None,
        proxy: str | None = None,
        http_client: httpx.AsyncClient | None = None,
        *,
        region: FunctionRegion | None = None,
    ) -> None:
        if not is_http_url(url):
            raise ValueError("url must be a valid HTTP URL string")
        self.url: httpx.URL = httpx.URL(url)
        self.headers: httpx.Headers = client_headers(headers)
        warn_of_http_settings(stacklevel=2, timeout=timeout, verify=verify, proxy=proxy)
        self.verify: bool = True if verify is None else bool(verify)
        self.timeout: int = DEFAULT_TIMEOUT_S if timeout is None else int(abs(timeout))
        self._region = region
        self._client = http_client or AsyncSession(
            verify=self.verify, timeout=self.timeout, proxy=proxy, follow_redirects=True
        )
        self._owns_client = http_client is None

    def set_auth(self, token: str) -> None:
        """Send ``token`` as the bearer token of every call from now on."""
        self.headers["Authorization"] = f"Bearer {token}"

    async def invoke(
        self, function_name: str, invoke_options: dict[str, Any] | FunctionInvokeOptions | None = None
    ) -> dict[str, Any] | bytes:
        """Call a function and read its answer whole.

        function_name: may have a query, as ``hello?name=bob``. ``ValueError`` when it is empty or leads out of the
        functions.
        invoke_options: see ``FunctionInvokeOptions``.
        Gives the answer's bytes, or with ``responseType: "json"`` what its JSON says.
        Raises ``FunctionsHttpError`` for a status that is no success, ``FunctionsRelayError`` when the function was not
        reached, and httpx's exceptions when nothing answered (``httpx.TimeoutException`` beyond ``timeout``).
        Source: supabase_functions ``invoke``.
        """
        call = call_of(function_name, invoke_options, self.headers, self._region)
        response = await self._send(call)
        refused = refusal(response)
        if refused is not None:
            raise refused
        answer: dict[str, Any] | bytes = response.json() if call.gives_json else response.content
        return answer

    @asynccontextmanager
    async def stream(
        self, function_name: str, invoke_options: dict[str, Any] | FunctionInvokeOptions | None = None
    ) -> AsyncIterator[AsyncFunctionStream]:
        """Call a function and hand out its answer while it arrives; leaving the block ends the call.

        Arguments and errors are those of ``invoke``; an error is raised before the block begins. ``timeout`` holds to
        the end of the block.
        Source: functions-js, which gives the raw response of a ``text/event-stream``.
        """
        call = call_of(function_name, invoke_options, self.headers, self._region)
        client = AsyncSession.of(self._client) if call.has_options else self._client
        async with AsyncExitStack() as stack:
            sending = client.stream(
                call.method, call.url(self.url), headers=call.headers, params=call.params, **_body(call)
            )
            # not around the caller's block, whose own calls have their own options
            with call_options(timeout=call.timeout, cancel=call.cancel):
                response = await stack.enter_async_context(sending)
            if not response.is_success or "x-relay-error" in response.headers:
                await response.aread()
                refused = refusal(response)
                if refused is not None:
                    raise refused
            yield AsyncFunctionStream(response)

    async def aclose(self) -> None:
        """Close the connections, unless they are those of a client that was given."""
        if self._owns_client:
            await self._client.aclose()

    async def _send(self, call: FunctionCall) -> httpx.Response:
        url = call.url(self.url)
        if not call.has_options:
            return await self._client.request(call.method, url, headers=call.headers, params=call.params, **_body(call))
        with call_options(timeout=call.timeout, cancel=call.cancel):
            return await AsyncSession.of(self._client).request(
                call.method, url, headers=call.headers, params=call.params, **_body(call)
            )


def _body(call: FunctionCall) -> dict[str, Any]:
    return {"json" if call.is_json else "content": call.body}
