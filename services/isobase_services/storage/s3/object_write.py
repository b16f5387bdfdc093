"""PutObject, CopyObject, DeleteObject, DeleteObjects. Source: contracts/storage.md 1.5; upstream ``s3-handler.ts``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.responses import Response

from isobase_services.storage.core.object_metadata import DEFAULT_CACHE_CONTROL, DEFAULT_MIME_TYPE
from isobase_services.storage.core.remove import Removals
from isobase_services.storage.core.transfer import CopyRequest, Transfers
from isobase_services.storage.core.upload import UploadFacts, Uploads, UploadTarget
from isobase_services.storage.errors import StorageError, refuse
from isobase_services.storage.rules import EMPTY_FOLDER_PLACEHOLDER
from isobase_services.storage.s3.call import S3Call, empty_response, xml_response
from isobase_services.storage.s3.conditions import RequestConditions
from isobase_services.storage.s3.errors import s3_refuse
from isobase_services.storage.s3.listing import NO_VERSION
from isobase_services.storage.s3.payload import Payload
from isobase_services.storage.s3.xml import element, optional

__all__ = [
    "CopySource",
    "WriteOperations",
    "copy_source",
    "if_absent",
    "refuse_customer_keys",
    "taken_as_condition",
    "user_metadata_of",
]

MAX_KEYS_TO_DELETE = 1000
_META = "x-amz-meta-"
_CUSTOMER_KEY = "x-amz-server-side-encryption-customer-algorithm"


@dataclass(slots=True, frozen=True)
class CopySource:
    """Where the bytes of a copy come from."""

    bucket: str
    key: str


@dataclass(slots=True, frozen=True)
class _PutBody:
    """A PutObject's file."""

    payload: Payload
    facts: UploadFacts

    def chunks(self) -> AsyncIterator[bytes]:
        return self.payload.chunks()


def user_metadata_of(headers: Mapping[str, str]) -> dict[str, str] | None:
    """The ``x-amz-meta-`` headers without that prefix; None where there is none. NUL has no place in jsonb."""
    found = {
        name.removeprefix(_META): value.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\0", "")
        for name, value in headers.items()
        if name.startswith(_META)
    }
    return found or None


def copy_source(call: S3Call) -> CopySource:
    """The ``x-amz-copy-source`` header: ``[/]bucket/key``, percent-encoded. Raises InvalidArgument, NoSuchVersion."""
    path, _, version = call.headers["x-amz-copy-source"].partition("?versionId=")
    if version not in {"", "null"}:
        raise s3_refuse.no_such_version()
    bucket, _, key = unquote(path).removeprefix("/").partition("/")
    if not bucket or not key:
        raise s3_refuse.invalid_argument("Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
    return CopySource(bucket, key)


def if_absent(call: S3Call) -> bool:
    """True for ``If-None-Match: *``, the only such condition that a write may have."""
    condition = call.headers.get("if-none-match")
    if condition is None:
        return False
    if condition.strip() != "*":
        raise s3_refuse.not_implemented("If-None-Match with an ETag")
    return True


def refuse_customer_keys(headers: Mapping[str, str]) -> None:
    """Raise NotImplemented where a client wants its bytes encrypted by its own key: silence would be a lie."""
    if _CUSTOMER_KEY in headers:
        raise s3_refuse.not_implemented("Encryption with customer-provided keys")


class WriteOperations:
    """Writes objects; every write replaces what is there, unless the request says otherwise."""

    def __init__(self, uploads: Uploads, transfers: Transfers, removals: Removals) -> None:
        self._uploads = uploads
        self._transfers = transfers
        self._removals = removals

    async def put(self, call: S3Call) -> Response:
        """PutObject. A key with a slash at its end and no bytes is a folder, kept by a placeholder as the dashboard does."""
        refuse_customer_keys(call.headers)
        payload = call.payload()
        key = call.key
        if key.endswith("/") and payload.size_bytes == 0:
            key += EMPTY_FOLDER_PLACEHOLDER
        facts = UploadFacts(
            mime_type=call.headers.get("content-type") or DEFAULT_MIME_TYPE,
            cache_control=call.headers.get("cache-control") or DEFAULT_CACHE_CONTROL,
            user_metadata=user_metadata_of(call.headers),
            declared_length=payload.size_bytes,
            known_size=payload.size_bytes,
            robots_tag=None,
        )
        is_new = if_absent(call)
        target = UploadTarget(
            call.bucket,
            key,
            call.actor.owner_id,
            is_upsert=not is_new,
            if_match=None if is_new else call.headers.get("if-match"),
        )
        try:
            stored = await self._uploads.upload(call.actor, target, _PutBody(payload, facts))
        except StorageError as error:
            raise taken_as_condition(error) from error
        return empty_response(200, {"etag": stored.etag, **payload.checksums})

    async def copy(self, call: S3Call) -> Response:
        """CopyObject, with the source's metadata (directive COPY, the default) or the request's own (REPLACE)."""
        refuse_customer_keys(call.headers)
        source = copy_source(call)
        directive = call.headers.get("x-amz-metadata-directive", "COPY")
        if directive not in {"COPY", "REPLACE"}:
            raise s3_refuse.invalid_argument("Unknown metadata directive.")
        is_copied = directive == "COPY"
        metadata = {
            "cacheControl": call.headers.get("cache-control") or DEFAULT_CACHE_CONTROL,
            "mimetype": call.headers.get("content-type") or DEFAULT_MIME_TYPE,
        }
        request = CopyRequest(
            source_bucket=source.bucket,
            source_key=source.key,
            bucket=call.bucket,
            key=call.key,
            is_upsert=not if_absent(call),
            copies_metadata=is_copied,
            metadata={} if is_copied else metadata,
            user_metadata=None if is_copied else user_metadata_of(call.headers),
            check_source=RequestConditions.of(call.headers, "x-amz-copy-source-").check_copy,
        )
        try:
            written = await self._transfers.copy(call.actor, request)
        except StorageError as error:
            raise taken_as_condition(error) from error
        stored = json.loads(written.json)["metadata"]
        return xml_response(
            element(
                "CopyObjectResult",
                optional("LastModified", stored.get("lastModified")),
                optional("ETag", stored.get("eTag")),
            )
        )

    async def delete(self, call: S3Call) -> Response:
        """DeleteObject: 204 also where there is none. Raises AccessDenied where policies keep it, and NoSuchBucket."""
        if await self._removals.remove_reported(call.actor, call.bucket, [call.key]):
            raise refuse.access_denied("Access Denied")
        return empty_response(204)

    async def delete_many(self, call: S3Call) -> Response:
        """DeleteObjects: each key's outcome; with ``Quiet`` only what failed."""
        document = await call.document("Delete")
        listed = document.all("Object") if document is not None else []
        keys = [node.child_text("Key") or "" for node in listed]
        if document is None or not keys or len(keys) > MAX_KEYS_TO_DELETE or not all(keys):
            raise s3_refuse.malformed_xml()
        if any("\0" in key for key in keys):
            raise s3_refuse.malformed_xml()
        # No object has another version, and its only one is not what such an entry names.
        absent = {node.child_text("Key") or "" for node in listed if node.child_text("VersionId") not in NO_VERSION}
        keys = [key for key in keys if key not in absent]
        kept = await self._removals.remove_reported(call.actor, call.bucket, keys)
        is_quiet = (document.child_text("Quiet") or "").strip() == "true"
        deleted = [] if is_quiet else [element("Deleted", element("Key", key)) for key in keys if key not in kept]
        denied = [element("Code", "AccessDenied"), element("Message", "Access Denied")]
        errors = [element("Error", element("Key", key), denied) for key in keys if key in kept]
        refusal = s3_refuse.no_such_version()
        unknown = [element("Code", refusal.code), element("Message", refusal.message)]
        errors += [element("Error", element("Key", key), unknown) for key in sorted(absent)]
        return xml_response(element("DeleteResult", deleted, errors))


def taken_as_condition(error: StorageError) -> StorageError:
    """A taken key is what ``If-None-Match: *`` asked about."""
    return refuse.precondition_failed() if error.code == "KeyAlreadyExists" else error
