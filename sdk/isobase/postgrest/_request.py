"""One request to the data API while it is built: method, path, parameters, headers and body, and how it is sent.

The builders (``_filters``, ``_modifiers``) write here; the async and the sync builders send it through an httpx
client. Headers and parameters are plain lists until somebody asks for them as httpx's ``Headers`` and
``QueryParams``: building a query costs little, and nothing is copied twice. Source of the names: postgrest-py 2.34.1
``base_request_builder.py``.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Mapping
from functools import lru_cache
from typing import Any, Generic, Self, TypeVar, overload
from urllib.parse import quote_plus

from httpx import AsyncClient, Auth, BasicAuth, Client, Headers, QueryParams, Response

from isobase.postgrest._bodies import encode_body
from isobase.postgrest.constants import ROWS, SINGLE_ROW

C = TypeVar("C", Client, AsyncClient)

MAX_RETRIES = 3
MAX_RETRY_DELAY_S = 30
RETRIED_STATUSES = frozenset({503, 520})
READS = frozenset({"GET", "HEAD"})

Pairs = list[tuple[str, str]]

_UNRESERVED = re.compile(r"[A-Za-z0-9_.~\-]*")
"""What ``quote_plus`` leaves as it is."""


@lru_cache(maxsize=256)
def _decoded(raw: tuple[tuple[bytes, bytes], ...]) -> dict[str, str]:
    """Give a client's headers by lower-case name; they are the same for most of its calls. Not to be changed."""
    return {name.decode().lower(): value.decode() for name, value in raw}


def _quoted(text: str) -> str:
    return text if _UNRESERVED.fullmatch(text) else quote_plus(text)


class RequestConfig(Generic[C]):
    """A request being built; ``builder.request`` of every builder.

    ``session``: the httpx client that sends; ``path``: the URL, absolute or relative to the session's; ``json``: the
    body, None for reads; ``auth``: basic authentication; ``retry_enabled``: whether a read may be sent again;
    ``model`` and ``table``: what a row becomes, and the name that an error calls it by.
    """

    __slots__ = (
        "_headers",
        "_own",
        "_pairs",
        "_raw",
        "auth",
        "http_method",
        "json",
        "model",
        "path",
        "retry_enabled",
        "session",
        "strip_nulls",
        "table",
    )

    def __init__(
        self,
        session: C,
        path: object,
        http_method: str,
        headers: Headers,
        params: QueryParams | Pairs,
        auth: BasicAuth | None,
        json: Any,
        retry_enabled: bool = True,
        *,
        prefer: str = "",
        model: Any = None,
        table: str = "",
    ) -> None:
        self.session: C = session
        self.path: object = path
        self.http_method: str = http_method
        self.auth: BasicAuth | None = auth
        self.json: Any = None if http_method in READS else json
        self.retry_enabled: bool = retry_enabled
        self.strip_nulls: bool = False
        self.model: Any = model
        self.table: str = table
        self._pairs: Pairs = params if isinstance(params, list) else params.multi_items()
        self._raw = headers.raw
        self._own: dict[str, str] = {}  # headers of this request alone
        self._headers: Headers | None = None
        # The client's own word wins, as upstream.
        if prefer and not any(name.lower() == b"prefer" for name, _ in self._raw):
            self._own["Prefer"] = prefer

    @property
    def headers(self) -> Headers:
        """The headers that will be sent; may be changed."""
        if self._headers is None:
            self._headers = Headers(self._raw)
            self._headers.update(self._own)
        return self._headers

    @headers.setter
    def headers(self, headers: Headers) -> None:
        self._headers = headers

    @property
    def params(self) -> QueryParams:
        """The parameters of the query string; set anew to change them."""
        return QueryParams(self._pairs)  # type: ignore[arg-type]

    @params.setter
    def params(self, params: QueryParams) -> None:
        self._pairs = params.multi_items()

    def copy(self) -> Self:
        """Give a request of its own with the same content."""
        twin = object.__new__(type(self))
        for name in self.__slots__:
            setattr(twin, name, getattr(self, name))
        twin._pairs = self._pairs.copy()
        twin._own = self._own.copy()
        twin._headers = None if self._headers is None else self._headers.copy()
        return twin

    def add(self, key: str, value: str) -> None:
        """Add one parameter beside those of the same name."""
        self._pairs.append((key, value))

    def put(self, key: str, value: str) -> None:
        """Set one parameter in the place of those of the same name."""
        for at, (name, _) in enumerate(self._pairs):
            if name == key:
                self._pairs[at] = (key, value)
                return
        self._pairs.append((key, value))

    def param(self, key: str) -> str | None:
        """Give the first value of a parameter."""
        return next((value for name, value in self._pairs if name == key), None)

    def header(self, name: str) -> str | None:
        """Give one header's value."""
        if self._headers is not None:
            held: str | None = self._headers.get(name)
            return held
        if name in self._own:
            return self._own[name]
        wanted = name.lower().encode()
        return next((value.decode() for key, value in self._raw if key.lower() == wanted), None)

    def set_header(self, name: str, value: str) -> None:
        """Set one header of this request."""
        if self._headers is not None:
            self._headers[name] = value
        else:
            self._own[name] = value

    def prefer(self, *preferences: str) -> None:
        """Add preferences; one of the same name takes the place of an earlier one."""
        names = {preference.split("=", 1)[0] for preference in preferences}
        held = [part.strip() for part in (self.header("Prefer") or "").split(",")]
        kept: list[str] = [part for part in held if part and part.split("=", 1)[0] not in names]
        self.set_header("Prefer", ",".join([*kept, *preferences]))

    def _reject_strip_nulls(self, method: str) -> None:
        if self.strip_nulls:
            raise ValueError(f"strip_nulls() cannot be used with {method}()")

    def url(self) -> str:
        """Give the URL with its query string."""
        if not self._pairs:
            return str(self.path)
        query = "&".join([f"{_quoted(key)}={_quoted(value)}" for key, value in self._pairs])
        return f"{self.path}?{query}"

    def _sent_headers(self, additional: Mapping[str, str]) -> dict[str, str]:
        """What goes out, by lower-case name: the client's headers, this request's own, then what the attempt adds."""
        if self._headers is None:
            sent = _decoded(tuple(self._raw)).copy()
            for name, value in self._own.items():
                sent[name.lower()] = value
        else:
            sent = dict(self._headers)
        for name, value in additional.items():
            sent.setdefault(name.lower(), value)
        if self.strip_nulls:
            accept = sent.get("accept")
            if accept == SINGLE_ROW:
                sent["accept"] = f"{SINGLE_ROW};nulls=stripped"
            elif accept in (None, "application/json"):
                sent["accept"] = f"{ROWS};nulls=stripped"
        if self.json is not None:
            sent.setdefault("content-type", "application/json")
        return sent

    @overload
    def send(self: RequestConfig[Client], additional_headers: Mapping[str, str]) -> Response: ...
    @overload
    def send(self: RequestConfig[AsyncClient], additional_headers: Mapping[str, str]) -> Awaitable[Response]: ...

    def send(self, additional_headers: Mapping[str, str]) -> Response | Awaitable[Response]:
        """Send it once; an awaitable where the session is an async client.

        ``additional_headers``: sent too where the request has none of that name. Raises what httpx raises.
        """
        url, arguments = self.arguments(additional_headers)
        return self.session.request(self.http_method, url, **arguments)

    def arguments(self, additional_headers: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        """Give the URL and what else an httpx client's ``request`` or ``stream`` takes."""
        headers = self._sent_headers(additional_headers)
        auth: Auth | None = self.auth
        if auth is None and "authorization" not in headers:
            auth = self.session.auth
        content = None if self.json is None else encode_body(self.json)
        arguments: dict[str, Any] = {"content": content, "headers": headers, "auth": auth}
        if self.session.params:  # httpx puts a client's parameters in the place of a URL's own
            return str(self.path), {**arguments, "params": self.params}
        return self.url(), arguments

    def _can_retry(self, attempt_count: int) -> bool:
        return self.retry_enabled and attempt_count < MAX_RETRIES and self.http_method in READS

    def should_retry(self, response: Response, attempt_count: int) -> bool:
        """Tell whether an answer is worth another attempt: of a read, 503 or 520, and not too many yet."""
        return response.status_code in RETRIED_STATUSES and self._can_retry(attempt_count)
