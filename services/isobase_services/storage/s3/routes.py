"""Which operation a method, a path and a query ask for: pure. Source: AWS's API reference; contracts/storage.md 1.5, 1.7."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from isobase_services.storage.errors import StorageError
from isobase_services.storage.s3.buckets import BucketOperations
from isobase_services.storage.s3.call import Operation
from isobase_services.storage.s3.errors import s3_refuse
from isobase_services.storage.s3.listing import ListOperations
from isobase_services.storage.s3.multipart import PartOperations
from isobase_services.storage.s3.object_read import ReadOperations
from isobase_services.storage.s3.object_write import WriteOperations

__all__ = ["Match", "RouteTable"]

SUB_RESOURCES = frozenset(
    {
        "accelerate",
        "acl",
        "analytics",
        "annotation",
        "attributes",
        "cors",
        "delete",
        "encryption",
        "intelligent-tiering",
        "inventory",
        "legal-hold",
        "lifecycle",
        "location",
        "logging",
        "metadataConfiguration",
        "metadataTable",
        "metrics",
        "notification",
        "object-lock",
        "ownershipControls",
        "policy",
        "policyStatus",
        "publicAccessBlock",
        "renameObject",
        "replication",
        "requestPayment",
        "restore",
        "retention",
        "select",
        "session",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versioning",
        "versions",
        "website",
    }
)
"""Query members that make another operation of a request; all other members are parameters."""


@dataclass(slots=True, frozen=True)
class Match:
    """``operation`` as policies know it; ``handle`` is None where it is not here, and then ``missing`` names it."""

    operation: str
    handle: Operation | None
    missing: str = ""


class RouteTable:
    """The operations by level (service, bucket, object), method and sub-resource."""

    def __init__(
        self,
        buckets: BucketOperations,
        lists: ListOperations,
        reads: ReadOperations,
        writes: WriteOperations,
        parts: PartOperations,
    ) -> None:
        self._service: dict[tuple[str, str], tuple[str, Operation]] = {("GET", ""): ("bucket.list", buckets.list)}
        self._bucket: dict[tuple[str, str], tuple[str, Operation]] = {
            ("PUT", ""): ("bucket.create", buckets.create),
            ("HEAD", ""): ("bucket.get", buckets.head),
            ("DELETE", ""): ("bucket.delete", buckets.delete),
            ("GET", ""): ("object.list", lists.list_v1),
            ("GET", "list-type"): ("object.list", lists.list_v2),
            ("GET", "versions"): ("object.list", lists.list_versions),
            ("GET", "location"): ("bucket.get_location", buckets.location),
            ("GET", "versioning"): ("bucket.get_versioning", buckets.versioning),
            ("GET", "uploads"): ("upload.list_multipart", parts.list_uploads),
            ("POST", "delete"): ("object.delete_many", writes.delete_many),
        }
        self._object: dict[tuple[str, str], tuple[str, Operation]] = {
            ("GET", ""): ("object.get", reads.get),
            ("HEAD", ""): ("object.info", reads.head),
            ("PUT", ""): ("upload", writes.put),
            ("PUT", "copy"): ("object.copy", writes.copy),
            ("DELETE", ""): ("object.delete", writes.delete),
            ("GET", "tagging"): ("object.get_tagging", reads.tagging),
            ("POST", "uploads"): ("upload.create_multipart", parts.create),
            ("PUT", "uploadId"): ("upload.part", parts.upload),
            ("PUT", "uploadId copy"): ("upload.part_copy", parts.copy),
            ("POST", "uploadId"): ("upload.complete_multipart", parts.complete),
            ("DELETE", "uploadId"): ("upload.abort_multipart", parts.abort),
            ("GET", "uploadId"): ("upload.list_parts", parts.list_parts),
        }

    def find(self, method: str, bucket: str, key: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Match:
        """The operation that is asked for. Raises NoSuchVersion for a version, as objects have none."""
        if query.get("versionId", "null") not in {"", "null"}:
            raise s3_refuse.no_such_version()
        table = self._object if key else self._bucket if bucket else self._service
        asked = sorted(SUB_RESOURCES & query.keys())
        if len(asked) > 1:
            raise StorageError("InvalidRequest", 400, f"Conflicting query string parameters: {', '.join(asked)}")
        name = asked[0] if asked else ""
        name = self._variant(name, method, key, query, headers)
        found = table.get((method, name))
        if found is None:
            what = f"{method} of this resource" if not asked else f"The sub-resource {name} with {method}"
            return Match("", None, what)
        return Match(f"storage.s3.{found[0]}", found[1])

    @staticmethod
    def _variant(name: str, method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
        """The sub-resource, with what a header or a parameter makes of it."""
        if method == "PUT" and key and name in {"", "uploadId"} and "x-amz-copy-source" in headers:
            return f"{name} copy".strip()
        return "list-type" if method == "GET" and not name and not key and "list-type" in query else name
