"""What both data clients are: an address, headers, and who is asking. Source: postgrest-py 2.34.1 ``base_client.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from httpx import URL, BasicAuth, Headers, Timeout

from isobase._segments import quoted_segment
from isobase.postgrest._request import Pairs
from isobase.postgrest.constants import DEFAULT_POSTGREST_CLIENT_TIMEOUT
from isobase.postgrest.utils import filter_value, is_http_url, rpc_query_param


class BasePostgrestClient:
    """The settings of a data client.

    ``base_url``: the address of the data API; ``schema``: the schema of tables and functions; ``headers``: sent with
    every request; ``timeout``: seconds. Raises ValueError for an address that is none of HTTP.
    """

    def __init__(
        self,
        base_url: URL | str,
        *,
        schema: str,
        headers: Mapping[str, str],
        timeout: int | float | Timeout,
        verify: bool = True,
        proxy: str | None = None,
    ) -> None:
        self.base_url: URL = base_url if isinstance(base_url, URL) else URL(str(base_url))
        if not is_http_url(self.base_url):
            raise ValueError("base_url must be a valid HTTP URL string")
        self.headers: Headers = Headers(headers)
        self.headers["Accept-Profile"] = schema
        self.headers["Content-Profile"] = schema
        self.timeout = timeout
        self.verify = verify
        self.proxy = proxy
        self.basic_auth: BasicAuth | None = None
        self._root = str(self.base_url).rstrip("/")

    def auth(self, token: str | None, *, username: str | bytes | None = None, password: str | bytes = "") -> Self:
        """Say who is asking from now on: by a bearer token, else by name and password (basic authentication).

        Raises ValueError when neither is given.
        """
        if token:
            self.basic_auth = None
            self.headers["Authorization"] = f"Bearer {token}"
        elif username:
            self.basic_auth = BasicAuth(username, password)
        else:
            raise ValueError("Neither bearer token or basic authentication scheme is provided")
        return self

    def _url_of(self, name: str, below: str = "") -> str:
        """Give the address of a table or function: a name is one segment, whatever it holds.

        Raises ValueError for ``.`` and ``..``, which would lead elsewhere.
        """
        return f"{self._root}/{below}{quoted_segment(name)}"


class SyncNames:
    """What the sync client has under an old name."""

    def close(self) -> None:
        """Close the connections."""
        raise NotImplementedError

    def aclose(self) -> None:
        """Do as ``close``."""
        self.close()


def timeout_of(given: float | Timeout | None) -> float | Timeout:
    """Give the timeout that holds: what was given, else the default."""
    if given is None:
        return DEFAULT_POSTGREST_CLIENT_TIMEOUT
    return given if isinstance(given, Timeout) else abs(given)


def rpc_pairs(params: Mapping[str, Any]) -> Pairs:
    """Write a function's arguments into the query string."""
    return [(name, filter_value(rpc_query_param(value))) for name, value in params.items()]
