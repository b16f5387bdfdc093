"""Analytics buckets: Iceberg tables in object storage, and the catalog that knows them."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from isobase.storage._async.iceberg import AsyncIcebergCatalog
from isobase.storage._async.request import AsyncRequestBuilder
from isobase.storage.exceptions import StorageException
from isobase.storage.types import (
    AnalyticsBucket,
    AnalyticsBucketDeleteResponse,
    AnalyticsBucketsParser,
    SortColumn,
    SortOrder,
)

if TYPE_CHECKING:
    from pyiceberg.catalog.rest import RestCatalog

__all__ = ["AsyncStorageAnalyticsClient"]


class AsyncStorageAnalyticsClient:
    """The analytics buckets of a project; the calls are for ``service_role``."""

    def __init__(self, request: AsyncRequestBuilder) -> None:
        self._request = request

    async def create(self, bucket_name: str) -> AnalyticsBucket:
        """Make an analytics bucket. Raises ``StorageApiError``."""
        data = await self._request.send(http_method="POST", path=["bucket"], body={"name": bucket_name})
        return AnalyticsBucket.model_validate_json(data.content)

    async def list(
        self,
        limit: int | None = None,
        offset: int | None = None,
        sort_column: SortColumn | None = None,
        sort_order: SortOrder | None = None,
        search: str | None = None,
    ) -> builtins.list[AnalyticsBucket]:
        """List analytics buckets; ``search`` is a part of the name."""
        values = {
            "limit": limit,
            "offset": offset,
            "sortColumn": sort_column,
            "sortOrder": sort_order,
            "search": search,
        }
        query = {name: str(value) for name, value in values.items() if value is not None}
        data = await self._request.send(http_method="GET", path=["bucket"], query_params=query)
        return AnalyticsBucketsParser.validate_json(data.content)

    async def delete(self, bucket_name: str) -> AnalyticsBucketDeleteResponse:
        """Remove an empty analytics bucket."""
        data = await self._request.send(http_method="DELETE", path=["bucket", bucket_name])
        return AnalyticsBucketDeleteResponse.model_validate_json(data.content)

    def from_(self, bucket_name: str) -> AsyncIcebergCatalog:
        """Give the calls on the namespaces and tables of a bucket, by its Iceberg REST catalog.

        Needs no further library. Source: storage-js's ``analytics.from``.
        """
        return AsyncIcebergCatalog(self._request, bucket_name)

    def catalog(self, catalog_name: str, access_key_id: str, secret_access_key: str) -> RestCatalog:
        """Give pyiceberg's catalog of a bucket, to read and write tables' rows.

        access_key_id, secret_access_key: of the S3 protocol. The library is no dependency of the client: ``pip install
        "pyiceberg[pyarrow]"``. Raises ``StorageException`` without it, or where the client has no API key.
        """
        try:
            from pyiceberg.catalog.rest import RestCatalog
        except ImportError as error:
            raise StorageException("pyiceberg is required for storage analytics catalog support") from error
        service_key = self._request.headers.get("apiKey")
        if not service_key:
            raise StorageException("apiKey must be passed in the headers.")
        return RestCatalog(
            catalog_name,
            warehouse=catalog_name,
            uri=str(self._request._base_url),
            token=service_key,
            **{
                "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
                "s3.endpoint": str(self._request._base_url.parent.joinpath("s3")),
                "s3.access-key-id": access_key_id,
                "s3.secret-access-key": secret_access_key,
                "s3.force-virtual-addressing": "False",
            },
        )
