"""What a request of a Supabase client is: its family, the capability that it belongs to, and whether it only reads.

Pure: method, path and a few headers in, a frozen ``Call`` out. What only the body tells (the bucket of a move, of an
S3 multi-delete) is left to the family's own handler.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from urllib.parse import unquote

from isobase_adapter.capabilities import DEFAULT_SCHEMA, Capability, Kind

__all__ = ["Call", "FamilyName", "classify", "classify_path"]

READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ALL = "*"
"""Stands for the whole of a kind in a capability's name, where a request names none: only patterns with ``*`` fit."""


class FamilyName(StrEnum):
    """The services behind one URL."""

    REST = "rest"
    AUTH = "auth"
    STORAGE = "storage"
    FUNCTIONS = "functions"
    REALTIME = "realtime"
    GRAPHQL = "graphql"
    OTHER = "other"


@dataclass(slots=True, frozen=True)
class Call:
    """What a request is. ``path`` is below the project's URL, decoded, without a leading slash."""

    family: FamilyName
    capability: Capability
    is_read: bool
    method: str
    path: str
    schema: str = DEFAULT_SCHEMA
    operation: str = ""
    """What it asks of its family: storage's route (``object``, ``sign``, ``list``, ``render``, ``upload``, ``info``,
    ``move``, ``copy``, ``bucket``, ``resumable``, ``s3``, ``cdn``, ``vector``, ``iceberg``), ``rows`` or ``rpc`` of rest.
    """
    object_name: str = ""
    """The object's name within its bucket, where the path holds one."""


def classify(method: str, path: str, headers: Mapping[str, str]) -> Call:
    """Say what a request is.

    path: below the project's URL, as it stands in the request (still encoded), without its query. headers: found without
    regard to case, as httpx's are.
    """
    schema = None
    if path.startswith("rest/"):
        schema = headers.get("accept-profile" if method in ("GET", "HEAD") else "content-profile")
    elif path.startswith("storage/v1/upload/resumable") and method == "POST":
        return _creation_of_upload(method, path, headers.get("upload-metadata", ""))
    return classify_path(method, path, schema)


@lru_cache(maxsize=4096)
def classify_path(method: str, path: str, schema: str | None = None) -> Call:
    """Say what a request is by method, path and schema alone; remembered, as apps ask the same paths again."""
    family, _, rest = path.partition("/")
    _, _, rest = rest.partition("/")  # the version
    is_read = method in READ_METHODS
    match family:
        case "rest":
            return _rest(method, path, rest, schema or DEFAULT_SCHEMA)
        case "auth":
            return Call(FamilyName.AUTH, Capability(Kind.AUTH), is_read, method, path, operation=unquote(rest))
        case "storage":
            return _storage(method, path, [unquote(part) for part in rest.split("/")])
        case "functions":
            name = unquote(rest)
            return Call(FamilyName.FUNCTIONS, Capability(Kind.FUNCTIONS), is_read, method, path, operation=name)
        case "realtime":
            return Call(FamilyName.REALTIME, Capability(Kind.REALTIME), is_read, method, path, operation=unquote(rest))
        case "graphql":
            return Call(FamilyName.GRAPHQL, Capability(Kind.TABLE, ALL), False, method, path)
    return Call(FamilyName.OTHER, Capability(Kind.TABLE, ALL), is_read, method, path)


def _rest(method: str, path: str, rest: str, schema: str) -> Call:
    name = unquote(rest).strip("/")
    if name.startswith("rpc/"):
        capability = Capability(Kind.RPC, f"{schema}.{name.removeprefix('rpc/')}")
        return Call(FamilyName.REST, capability, method in READ_METHODS, method, path, schema, "rpc")
    capability = Capability(Kind.TABLE, f"{schema}.{name or ALL}")
    return Call(FamilyName.REST, capability, method in READ_METHODS, method, path, schema, "rows" if name else "root")


ACCESSES = frozenset({"public", "authenticated", "sign"})


def _storage(method: str, path: str, parts: list[str]) -> Call:
    def call(operation: str, bucket: str, name: list[str] | None = None, *, is_read: bool | None = None) -> Call:
        reads = method in READ_METHODS if is_read is None else is_read
        capability = Capability(Kind.BUCKET, bucket or ALL)
        return Call(
            FamilyName.STORAGE,
            capability,
            reads,
            method,
            path,
            operation=operation,
            object_name="/".join(name or []),
        )

    match parts:
        case ["bucket", *rest]:
            return call("bucket", rest[0] if rest else "")
        case ["object", ("move" | "copy") as operation]:
            return call(operation, "")
        case ["object", ("list" | "list-v2"), bucket, *_]:
            return call("list", bucket, is_read=True)
        case ["object", "info", access, bucket, *name] if access in ACCESSES:
            return call("info", bucket, name)
        case ["object", "info", bucket, *name]:
            return call("info", bucket, name)
        case ["object", "upload", "sign", bucket, *name]:
            # POST makes a signed URL (nothing is stored), PUT uploads with it.
            return call("upload_sign", bucket, name, is_read=method != "PUT")
        case ["object", "sign", bucket, *name]:
            return call("sign", bucket, name, is_read=True)
        case ["object", ("public" | "authenticated"), bucket, *name]:
            return call("object", bucket, name)
        case ["object", bucket, *name] if bucket:
            return call("object", bucket, name)
        case ["render", "image", access, bucket, *name] if access in ACCESSES:
            return call("render", bucket, name)
        case ["upload", "resumable", "sign", upload] | ["upload", "resumable", upload]:
            bucket, name = _of_upload_id(upload)
            return call("resumable", bucket, name)
        case ["upload", "resumable", *_]:
            return call("resumable", "")
        case ["s3", *rest]:
            bucket = rest[0] if rest else ""
            return call("s3", bucket, rest[1:])
        case ["cdn", bucket, *name]:
            return call("cdn", bucket, name)
        case [("vector" | "iceberg") as operation, *_]:
            return call(operation, "")
    return call("other", "")


def _of_upload_id(upload: str) -> tuple[str, list[str]]:
    """Read the bucket and the object's name out of a resumable upload's id: base64 of ``bucket/name.../version``, as
    both servers make it; nothing where it is another form.
    """
    try:
        text = base64.urlsafe_b64decode(upload + "=" * (-len(upload) % 4)).decode()
    except (binascii.Error, ValueError):
        return "", []
    parts = text.split("/")
    return (parts[0], parts[1:-1]) if len(parts) > 2 else ("", [])


def _creation_of_upload(method: str, path: str, metadata: str) -> Call:
    """A new resumable upload: its bucket and name stand in the ``Upload-Metadata`` header (TUS, pairs of a key and
    base64).
    """
    found: dict[str, str] = {}
    for pair in metadata.split(","):
        key, _, value = pair.strip().partition(" ")
        try:
            found[key] = base64.b64decode(value).decode()
        except (binascii.Error, ValueError):
            continue
    capability = Capability(Kind.BUCKET, found.get("bucketName") or ALL)
    return Call(
        FamilyName.STORAGE,
        capability,
        False,
        method,
        path,
        operation="resumable",
        object_name=found.get("objectName", ""),
    )
