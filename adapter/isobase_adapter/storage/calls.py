"""What a call of storage changes: which bucket it is about, and which objects. Pure.

Most calls say it in their path (``http.classify``); moves, copies, removals of many and new buckets say it in their
JSON body, which their callers hold whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.contracts import CallRecord
from isobase_adapter.http.classify import ALL, Call
from isobase_adapter.things import Thing, ThingKind

__all__ = ["Change", "change_of", "gives_urls", "named_call", "needs_body", "record_of"]

MANY_THINGS = 25
"""More objects than these in one call are carried in the background."""


@dataclass(slots=True, frozen=True)
class Change:
    """What a write may change. ``is_large``: its caller does not wait for the other side."""

    things: tuple[Thing, ...]
    is_large: bool = False
    buckets: tuple[str, ...] = ()
    """The buckets that it touches."""


def needs_body(call: Call) -> bool:
    """Whether the bucket of a call stands in its body alone."""
    is_new_bucket = call.operation == "bucket" and call.method == "POST" and call.capability.name == ALL
    return is_new_bucket or call.operation in ("move", "copy")


def gives_urls(call: Call) -> bool:
    """Whether the answer holds URLs, which have to be those of the side that gives it."""
    return call.operation in ("sign", "upload_sign") and call.method == "POST"


def named_call(call: Call, content: bytes) -> Call:
    """Give the call with the bucket that its body names; as it was where the body names none."""
    if not needs_body(call):
        return call
    body = _json(content)
    bucket = body.get("bucketId") if call.operation in ("move", "copy") else body.get("id") or body.get("name")
    if not isinstance(bucket, str) or not bucket:
        return call
    return replace(call, capability=Capability(Kind.BUCKET, bucket))


def change_of(call: Call, content: bytes | None, length: int | None, large_bytes: int) -> Change | None:
    """Say what a write changes; None for one that changes nothing that is carried.

    content: its body where it is JSON. length: its body's length in bytes where known. large_bytes: from which size on
    an upload is large.
    """
    bucket = call.capability.name
    body = _json(content or b"")
    match call.operation:
        case "object" if call.method == "DELETE" and not call.object_name:
            given = body.get("prefixes")
            names = [name for name in given if isinstance(name, str)] if isinstance(given, list) else []
            things = tuple(_object(bucket, name) for name in dict.fromkeys(names))
            return Change(things, len(things) > MANY_THINGS, (bucket,))
        case "object" | "upload_sign":
            is_large = call.method != "DELETE" and (length is None or length > large_bytes)
            return Change((_object(bucket, call.object_name),), is_large, (bucket,))
        case "resumable" if bucket != ALL and call.object_name:
            return Change((_object(bucket, call.object_name),), True, (bucket,))
        case "move" | "copy":
            to = str(body.get("destinationBucket") or bucket)
            target = _object(to, str(body.get("destinationKey", "")))
            moved = (_object(bucket, str(body.get("sourceKey", ""))),) if call.operation == "move" else ()
            return Change((*moved, target), False, tuple(dict.fromkeys((bucket, to))))
        case "bucket" if call.path.endswith("/empty"):
            return Change((Thing(ThingKind.OBJECTS, bucket),), True, (bucket,))
        case "bucket" if bucket != ALL:
            return Change((Thing(ThingKind.BUCKET, bucket),), False, (bucket,))
    return None


def record_of(call: Call, change: Change) -> CallRecord:
    """Give what the outbox keeps of a call for operators: no body and no token."""
    path = quote("/".join(call.path.split("/")[:4]), safe="/") if call.operation == "upload_sign" else call.path
    return CallRecord(call.method, path, {"objects": len(change.things), "operation": call.operation})


def _object(bucket: str, name: str) -> Thing:
    return Thing(ThingKind.OBJECT, bucket, (name,))


def _json(content: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
