"""One request to the auth server: address, headers and errors; the base of the auth client and of the admin API.

Source: supabase_auth's ``_async/gotrue_base_api.py`` for names and wire format.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Literal, Self

from httpx import AsyncClient, HTTPStatusError, QueryParams, RequestError, Response
from pydantic import BaseModel

from isobase._http import AsyncSession
from isobase.auth.constants import API_VERSION_HEADER_NAME, API_VERSIONS_2024_01_01_NAME
from isobase.auth.helpers import handle_exception

__all__ = ["AsyncGoTrueBaseAPI"]

CONTENT_TYPE = "application/json;charset=UTF-8"


class AsyncGoTrueBaseAPI:
    """Sends requests to one auth server.

    ``http_client`` is used when given, and stays the caller's: it is not closed here. Otherwise one is made with
    ``verify`` and ``proxy``.
    """

    def __init__(
        self,
        *,
        url: str,
        headers: dict[str, str],
        http_client: AsyncClient | None,
        verify: bool = True,
        proxy: str | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        # A copy: another holder of the dictionary may put a user's token into it later.
        self._headers = dict(headers)
        self._owns_http_client = http_client is None
        self._http_client = http_client or AsyncSession(verify=bool(verify), proxy=proxy)

    async def __aenter__(self) -> Self:
        """Give the client itself."""
        return self

    async def __aexit__(
        self, exc_t: type[BaseException] | None, exc_v: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()

    async def close(self) -> None:
        """Close the connections that this client opened."""
        if self._owns_http_client:
            await self._http_client.aclose()

    async def _request(
        self,
        method: Literal["GET", "OPTIONS", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        path: str,
        *,
        jwt: str | None = None,
        redirect_to: str | None = None,
        headers: dict[str, str] | None = None,
        query: QueryParams | None = None,
        body: Any | None = None,
    ) -> Response:
        """Send one request and give its successful answer.

        Parameters: ``path`` below the server's address; ``jwt`` the bearer of this request in the place of the client's
        own; ``redirect_to`` travels as a query parameter; ``body`` a JSON value or a pydantic model.

        Raises ``AuthApiError`` and its siblings for what the server refuses, ``AuthRetryableError`` when no answer came
        or a gateway answered for the server, ``AuthUnknownError`` for an answer that is no JSON.
        """
        sent = {**self._headers, **(headers or {})}
        sent.setdefault(API_VERSION_HEADER_NAME, API_VERSIONS_2024_01_01_NAME)
        sent.setdefault("Content-Type", CONTENT_TYPE)
        if jwt:
            sent["Authorization"] = f"Bearer {jwt}"
        params = query if query is not None else QueryParams()
        if redirect_to:
            params = params.set("redirect_to", redirect_to)
        try:
            response = await self._http_client.request(
                method,
                f"{self._url}/{path}",
                headers=sent,
                params=params,
                json=body.model_dump() if isinstance(body, BaseModel) else body,
            )
            response.raise_for_status()
        except (HTTPStatusError, RequestError, RuntimeError) as error:
            raise handle_exception(error) from error
        return response
