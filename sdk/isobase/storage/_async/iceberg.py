"""Namespaces and tables of an analytics bucket, by its Iceberg REST catalog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from isobase.storage._async.request import AsyncRequestBuilder
from isobase.storage._iceberg import (
    CreateTable,
    Namespace,
    NamespaceProperties,
    PropertyChanges,
    TableName,
    namespace_of,
    path_of,
    prefix_of,
)
from isobase.storage.exceptions import StorageApiError

__all__ = ["AsyncIcebergCatalog"]

NOT_FOUND = 404
CONFLICT = 409


class AsyncIcebergCatalog:
    """The catalog of one analytics bucket. A namespace is a name, or the names of its levels; a table is named in one.

    Refusals raise ``StorageApiError`` with the catalog's type (``NoSuchTableException``) as ``code``.
    Source: iceberg-js's ``IcebergRestCatalog``, its method names in Python's style.
    """

    def __init__(self, request: AsyncRequestBuilder, bucket_name: str) -> None:
        self._request = request
        self._warehouse = bucket_name
        self._base: list[str] | None = None

    async def _root(self) -> list[str]:
        """Give the path of the catalog, which the server tells (the specification's ``GET /v1/config``), once."""
        if self._base is None:
            answer = await self._request.send("GET", ["v1", "config"], query_params={"warehouse": self._warehouse})
            self._base = ["v1", *prefix_of(answer.json())]
        return self._base

    async def _namespace(self, namespace: Namespace) -> list[str]:
        return [*(await self._root()), "namespaces", path_of(namespace)]

    async def _table(self, namespace: Namespace, name: str) -> list[str]:
        return [*(await self._namespace(namespace)), "tables", name]

    async def _exists(self, path: list[str]) -> bool:
        try:
            await self._request.send("HEAD", path)
        except StorageApiError as error:
            if error.http_status == NOT_FOUND:
                return False
            raise
        return True

    async def list_namespaces(self, parent: Namespace | None = None) -> list[list[str]]:
        """List namespaces, each as the names of its levels; ``parent``: those below it."""
        found: list[list[str]] = []
        query = {"parent": path_of(parent)} if parent is not None else {}
        while True:
            answer = (await self._request.send("GET", [*(await self._root()), "namespaces"], query_params=query)).json()
            found += answer["namespaces"]
            if not (token := answer.get("next-page-token")):
                return found
            query["pageToken"] = token

    async def create_namespace(
        self, namespace: Namespace, properties: Mapping[str, str] | None = None
    ) -> NamespaceProperties:
        """Make a namespace. Raises ``StorageApiError`` (409) where it exists."""
        body: dict[str, Any] = {"namespace": namespace_of(namespace)}
        if properties is not None:
            body["properties"] = dict(properties)
        response = await self._request.send("POST", [*(await self._root()), "namespaces"], body)
        return cast("NamespaceProperties", response.json())

    async def create_namespace_if_not_exists(
        self, namespace: Namespace, properties: Mapping[str, str] | None = None
    ) -> NamespaceProperties | None:
        """Make a namespace, or give None where it exists."""
        try:
            return await self.create_namespace(namespace, properties)
        except StorageApiError as error:
            if error.http_status == CONFLICT:
                return None
            raise

    async def drop_namespace(self, namespace: Namespace) -> None:
        """Remove an empty namespace."""
        await self._request.send("DELETE", await self._namespace(namespace))

    async def load_namespace_metadata(self, namespace: Namespace) -> NamespaceProperties:
        """Give a namespace with its properties."""
        return cast("NamespaceProperties", (await self._request.send("GET", await self._namespace(namespace))).json())

    async def namespace_exists(self, namespace: Namespace) -> bool:
        """Tell whether a namespace is there."""
        return await self._exists(await self._namespace(namespace))

    async def update_namespace_properties(
        self,
        namespace: Namespace,
        *,
        updates: Mapping[str, str] | None = None,
        removals: list[str] | None = None,
    ) -> PropertyChanges:
        """Set and remove properties of a namespace; tells which were updated, removed, and missing."""
        body: dict[str, Any] = {"updates": dict(updates or {}), "removals": removals or []}
        response = await self._request.send("POST", [*(await self._namespace(namespace)), "properties"], body)
        return cast("PropertyChanges", response.json())

    async def list_tables(self, namespace: Namespace) -> list[TableName]:
        """List the tables of a namespace."""
        found: list[TableName] = []
        query: dict[str, str] = {}
        while True:
            path = [*(await self._namespace(namespace)), "tables"]
            answer = (await self._request.send("GET", path, query_params=query)).json()
            found += answer["identifiers"]
            if not (token := answer.get("next-page-token")):
                return found
            query["pageToken"] = token

    async def create_table(self, namespace: Namespace, request: CreateTable) -> dict[str, Any]:
        """Make a table; gives its metadata.

        request: ``name``, ``schema`` and as wanted ``partition-spec``, ``write-order``, ``properties``, in Iceberg's JSON.
        """
        response = await self._request.send("POST", [*(await self._namespace(namespace)), "tables"], dict(request))
        return cast("dict[str, Any]", response.json()["metadata"])

    async def create_table_if_not_exists(self, namespace: Namespace, request: CreateTable) -> dict[str, Any]:
        """Make a table, or load the one that has its name; gives its metadata."""
        try:
            return await self.create_table(namespace, request)
        except StorageApiError as error:
            if error.http_status == CONFLICT:
                return await self.load_table(namespace, request["name"])
            raise

    async def load_table(self, namespace: Namespace, name: str) -> dict[str, Any]:
        """Give a table's metadata: schemas, partition specs, snapshots."""
        response = await self._request.send("GET", await self._table(namespace, name))
        return cast("dict[str, Any]", response.json()["metadata"])

    async def table_exists(self, namespace: Namespace, name: str) -> bool:
        """Tell whether a table is there, without loading it."""
        return await self._exists(await self._table(namespace, name))

    async def update_table(self, namespace: Namespace, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Commit changes to a table: ``requirements`` and ``updates`` in Iceberg's JSON.

        Gives ``metadata-location`` and ``metadata``. Raises ``StorageApiError`` (409) where a requirement does not hold.
        """
        response = await self._request.send("POST", await self._table(namespace, name), dict(request))
        return cast("dict[str, Any]", response.json())

    async def rename_table(self, namespace: Namespace, name: str, to_name: str) -> None:
        """Give a table another name in its namespace."""
        levels = namespace_of(namespace)
        body = {
            "source": {"namespace": levels, "name": name},
            "destination": {"namespace": levels, "name": to_name},
        }
        await self._request.send("POST", [*(await self._root()), "tables", "rename"], body)

    async def register_table(self, namespace: Namespace, name: str, metadata_location: str) -> dict[str, Any]:
        """Make a table known whose metadata file is there already; gives its metadata."""
        body = {"name": name, "metadata-location": metadata_location}
        response = await self._request.send("POST", [*(await self._namespace(namespace)), "register"], body)
        return cast("dict[str, Any]", response.json()["metadata"])

    async def drop_table(self, namespace: Namespace, name: str, *, purge: bool = False) -> None:
        """Remove a table; ``purge``: its files too."""
        query = {"purgeRequested": "true" if purge else "false"}
        await self._request.send("DELETE", await self._table(namespace, name), query_params=query)
