"""What a call of a function sends, and what is made of its answer. No I/O.

Source: supabase_functions ``AsyncFunctionsClient.invoke``; ``timeout``, ``cancel`` and a region of the client:
functions-js.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from dataclasses import dataclass
from typing import IO, Any, Literal, TypedDict
from urllib.parse import quote
from warnings import warn

import httpx

from isobase._http import Cancellation
from isobase._identity import client_info
from isobase.functions.errors import FunctionsHttpError, FunctionsRelayError, _error_message_from
from isobase.functions.utils import FunctionRegion, is_valid_str_arg
from isobase.functions.version import __version__

__all__ = ["FunctionCall", "FunctionInvokeOptions", "HTTPMethod", "call_of", "client_headers", "refusal"]

HTTPMethod = Literal["GET", "OPTIONS", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
_INVALID_NAME = "function_name must a valid string value."  # upstream's words
_KEPT_IN_PATHS = "/:@!$&'()*+,;=~"


class FunctionInvokeOptions(TypedDict, total=False):
    """Options of one call.

    headers: sent beside the client's own, and instead of those of the same name.
    method: default ``POST``.
    body: a dict or list is sent as JSON, a text as text/plain, bytes, files and iterators as application/octet-stream
    (iterators are sent as they come); ``Content-Type`` among the headers says else.
    responseType: ``json`` gives what the answer's JSON says, everything else its bytes.
    region: where it is to run.
    timeout: seconds that the whole call may take, beyond which ``DeadlineExceeded`` (an ``httpx.TimeoutException``) is
    raised.
    cancel: ends the call from another thread, which then raises ``CallCancelled``.
    """

    headers: Mapping[str, str]
    method: HTTPMethod
    body: object
    responseType: str
    region: FunctionRegion
    timeout: float
    cancel: Cancellation


@dataclass(slots=True, frozen=True)
class FunctionCall:
    """One request: what httpx's ``request`` is given."""

    method: HTTPMethod
    path: str
    headers: httpx.Headers
    params: httpx.QueryParams
    body: Any
    is_json: bool
    gives_json: bool
    timeout: float | None
    cancel: Cancellation | None

    @property
    def has_options(self) -> bool:
        """Whether the call has a time limit or a cancellation of its own."""
        return self.timeout is not None or self.cancel is not None

    def url(self, base: httpx.URL) -> str:
        """Give the address below ``base``."""
        return f"{str(base).rstrip('/')}/{self.path}"


def client_headers(headers: Mapping[str, str]) -> httpx.Headers:
    """Give the headers of every call: who calls, and what the app says."""
    # The name is upstream's, which its own tests ask for.
    made = httpx.Headers({"X-Client-Info": client_info(f"supabase-py/supabase_functions v{__version__}")})
    made.update(headers)
    return made


def call_of(
    function_name: str,
    options: Mapping[str, Any] | None,
    headers: httpx.Headers,
    region: FunctionRegion | None = None,
) -> FunctionCall:
    """Say what a call sends.

    function_name: may have a query (``hello?name=bob``); a fragment is dropped. ``ValueError`` when it is empty or a
    path that leaves the functions (``..``).
    region: the client's own, for calls that name none.
    """
    if not is_valid_str_arg(function_name):
        raise ValueError(_INVALID_NAME)
    path, _, query = function_name.partition("#")[0].partition("?")
    segments = path.split("/")
    if not is_valid_str_arg(path) or not segments[0] or not {".", ".."}.isdisjoint(segments):
        raise ValueError(_INVALID_NAME)
    given = options or {}
    sent = httpx.Headers(headers)
    sent.update(given.get("headers") or {})
    params = httpx.QueryParams(query)
    chosen = given.get("region") or region
    if chosen is not None:
        if not isinstance(chosen, FunctionRegion):
            warn(f"Use FunctionRegion({chosen})", stacklevel=4)
            chosen = FunctionRegion(chosen)
        if chosen is not FunctionRegion.Any:
            sent["x-region"] = chosen.value
            # a proxy on the way may drop the header
            params = params.set("forceFunctionRegion", chosen.value)
    body, is_json, content_type = _body_of(given.get("body"))
    if content_type is not None and "content-type" not in sent:
        sent["Content-Type"] = content_type
    return FunctionCall(
        method=given.get("method", "POST"),
        path=quote(path, safe=_KEPT_IN_PATHS),
        headers=sent,
        params=params,
        body=body,
        is_json=is_json,
        gives_json=given.get("responseType") == "json",
        timeout=given.get("timeout"),
        cancel=given.get("cancel"),
    )


def _body_of(body: object) -> tuple[Any, bool, str | None]:
    """Give a body as httpx takes it, whether as JSON, and its content type."""
    if body is None:
        return None, True, None
    if isinstance(body, str):
        return body, False, "text/plain"
    if isinstance(body, bytes):
        return body, False, "application/octet-stream"
    if isinstance(body, bytearray | memoryview):
        return bytes(body), False, "application/octet-stream"
    if isinstance(body, dict | list | tuple | int | float):
        return body, True, "application/json"
    if isinstance(body, AsyncIterable | Iterable | IO):
        return body, False, "application/octet-stream"
    return body, True, "application/json"


def refusal(response: httpx.Response) -> FunctionsHttpError | FunctionsRelayError | None:
    """Give the error that an answer (read whole) stands for, or None."""
    # What stands before the function may say so with any status.
    if response.headers.get("x-relay-error") == "true":
        unreached = FunctionsRelayError(response.text, response.status_code)
        unreached.response = response
        return unreached
    try:
        response.raise_for_status()
    except httpx.HTTPError as error:
        message = _error_message_from(response)
        if not message:
            message = f"An error occurred while requesting your edge function at {response.url!r}."
        refused = FunctionsHttpError(message, getattr(response, "status_code", None))
        refused.response = response
        refused.__cause__ = error
        return refused
    return None
