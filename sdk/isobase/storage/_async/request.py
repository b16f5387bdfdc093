"""One request to the vector or the Iceberg API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from isobase._http import READ
from isobase.storage._url import StorageUrl
from isobase.storage.exceptions import _parse_storage_api_error
from isobase.storage.types import JSON, RequestMethod

__all__ = ["AsyncRequestBuilder"]


class AsyncRequestBuilder:
    """Sends requests below one URL with the same headers, and turns refusals into ``StorageApiError``."""

    def __init__(self, session: httpx.AsyncClient, base_url: StorageUrl, headers: httpx.Headers) -> None:
        self._session = session
        self._base_url = base_url
        self.headers = headers

    async def send(
        self,
        http_method: RequestMethod,
        path: list[str],
        body: JSON = None,
        query_params: httpx.QueryParams | Mapping[str, str] | None = None,
        *,
        is_read: bool = False,
    ) -> httpx.Response:
        """Send one request. ``is_read``: a POST that changes nothing, so that it may be sent again.

        Raises ``StorageApiError`` for a refusal and httpx's errors for what the network does.
        """
        more: dict[str, Any] = {"extensions": READ} if is_read else {}
        response = await self._session.request(
            method=http_method,
            json=body,
            url=str(self._base_url.joinpath(*path)),
            headers=self.headers,
            params=query_params or None,
            **more,
        )
        try:
            response.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise _parse_storage_api_error(response) from error
        return response
