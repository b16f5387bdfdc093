"""Requests about one bucket's objects, and what both uploads and downloads ask about an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import httpx

from isobase.storage._url import StorageUrl, object_parts
from isobase.storage.exceptions import StorageApiError, error_of, is_absent
from isobase.storage.types import RequestMethod

__all__ = ["AsyncObjectRequests"]


class AsyncObjectRequests:
    """Sends requests below the storage API with the client's headers."""

    id: str
    _base_url: StorageUrl
    _client: httpx.AsyncClient
    _headers: httpx.Headers

    async def _request(
        self,
        method: RequestMethod,
        path: list[str],
        headers: Mapping[str, Any] | None = None,
        json: Mapping[str, Any] | None = None,
        files: Any | None = None,
        query_params: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> httpx.Response:
        url = self._base_url.joinpath(*path).with_query(query_params)
        try:
            response = await self._client.request(
                method, str(url), headers=self._all_headers(headers), json=json, files=files, **kwargs
            )
            response.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise error_of(error.response) from error
        return response

    def _all_headers(self, headers: Mapping[str, Any] | None) -> httpx.Headers:
        if not headers:
            return self._headers
        merged = httpx.Headers(self._headers)
        merged.update(headers)
        return merged

    async def info(self, path: str) -> dict[str, Any]:
        """Give what is known of an object: size, type, etag, times, and ``metadata`` of one's own.

        Raises ``StorageApiError`` (``not_found``) where it is not there or hidden.
        """
        response = await self._request("GET", ["object", "info", self.id, *object_parts(path)])
        return cast("dict[str, Any]", response.json())

    async def exists(self, path: str) -> bool:
        """Tell whether the caller can see an object; False only where the server says that it is not there.

        Anything else, such as a token that has expired or a missing bucket, raises ``StorageApiError``.
        """
        try:
            await self.info(path)
        except StorageApiError as error:
            if is_absent(error):
                return False
            raise
        return True
