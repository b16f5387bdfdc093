"""The storage client: buckets, and the way to their objects."""

from __future__ import annotations

from types import TracebackType

import httpx

from isobase._deprecation import warn_of_http_settings
from isobase._http import AsyncSession
from isobase._identity import client_info
from isobase.storage._async.analytics import AsyncStorageAnalyticsClient
from isobase.storage._async.bucket import AsyncStorageBucketAPI
from isobase.storage._async.file_api import AsyncBucketProxy
from isobase.storage._async.request import AsyncRequestBuilder
from isobase.storage._async.vectors import AsyncStorageVectorsClient
from isobase.storage.constants import DEFAULT_TIMEOUT
from isobase.storage.version import __version__

__all__ = ["AsyncStorageClient"]


class AsyncStorageClient(AsyncStorageBucketAPI):
    """Buckets and their objects at one server.

    url: of the storage API (``.../storage/v1/``). headers: sent with every request: ``apiKey`` and ``Authorization``.
    http_client: the client to send through; default one of the storage client's own, with 20 s for each step of a request.
    timeout (seconds), verify, proxy: deprecated, for that client of its own.
    """

    def __init__(
        self,
        url: str,
        headers: dict[str, str],
        timeout: int | None = None,
        verify: bool | None = None,
        proxy: str | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        warn_of_http_settings(stacklevel=2, timeout=timeout, verify=verify, proxy=proxy)
        all_headers = {"X-Client-Info": client_info(f"isobase-py/storage v{__version__}"), **headers}
        self.verify: bool = bool(verify) if verify is not None else True
        self.timeout: int = int(abs(timeout)) if timeout is not None else DEFAULT_TIMEOUT
        self.session: httpx.AsyncClient = (
            AsyncSession.of(http_client)
            if http_client is not None
            else AsyncSession(headers=all_headers, timeout=self.timeout, proxy=proxy, verify=self.verify)
        )
        super().__init__(self.session, url, httpx.Headers(all_headers))

    async def __aenter__(self) -> AsyncStorageClient:
        """Give the client itself."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self.session.aclose()

    def from_(self, id: str) -> AsyncBucketProxy:
        """Give the calls on the objects of a bucket; nothing is asked of the server."""
        return AsyncBucketProxy(id, self._base_url, self._headers, self._client)

    def vectors(self) -> AsyncStorageVectorsClient:
        """Give the calls on vector buckets."""
        return AsyncStorageVectorsClient(
            url=self._base_url.joinpath("vector"), headers=self._headers, session=self.session
        )

    def analytics(self) -> AsyncStorageAnalyticsClient:
        """Give the calls on analytics buckets."""
        request = AsyncRequestBuilder(
            session=self.session, headers=self._headers, base_url=self._base_url.joinpath("iceberg")
        )
        return AsyncStorageAnalyticsClient(request=request)
