"""``/bucket``: make, list, get, change, empty, delete. Source: contracts/storage.md 1.1."""

from __future__ import annotations

import re
from typing import Any

from starlette.responses import Response

from isobase_services.storage.core.buckets import BucketChange, BucketPage, Buckets, NewBucket
from isobase_services.storage.errors import refuse
from isobase_services.storage.rest.call import Call
from isobase_services.storage.rest.render import json_response, json_text_response, message_response
from isobase_services.storage.rest.schema import AnyOf, Array, Boolean, Integer, Object, Text, validate

__all__ = ["BucketEndpoints"]

_SIZE_PATTERN = r"^[0-9]+(?:\.[0-9]+)?(?:[gG][bB]|[mM][bB]|[kK][bB]|[bB])$"
_SIZE = AnyOf((Integer(minimum=0, is_nullable=True, is_finite=True), Text(pattern=_SIZE_PATTERN, is_nullable=True)))
_MIME_TYPES = Array(Text(), is_nullable=True)
_CREATE = Object(
    {
        "name": Text(),
        "id": Text(),
        "public": Boolean(),
        "type": Text(choices=("STANDARD", "ANALYTICS")),
        "file_size_limit": _SIZE,
        "allowed_mime_types": _MIME_TYPES,
    },
    required=("name",),
)
_UPDATE = Object(
    {"public": Boolean(), "file_size_limit": _SIZE, "allowed_mime_types": _MIME_TYPES},
    requires_any_of=("public", "file_size_limit", "allowed_mime_types"),
)
_LIST = Object(
    {
        "limit": Integer(minimum=1),
        "offset": Integer(minimum=0),
        "sortColumn": Text(choices=("id", "name", "created_at", "updated_at")),
        "sortOrder": Text(choices=("asc", "desc")),
        "search": Text(),
    }
)
_SUPABASE_PY = re.compile(r"supabase-py/(\d+)\.(\d+)\.(\d+)", re.IGNORECASE)
_STORAGE3 = re.compile(r"supabase-py/storage3 v(\d+)\.(\d+)\.(\d+)", re.IGNORECASE)
_MAX_INT8 = 2**63 - 1


class BucketEndpoints:
    """The routes of buckets."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets

    async def create(self, call: Call) -> Response:
        """POST /bucket -> ``{"name"}``."""
        body = await call.json_body(_CREATE)
        actor = call.actor()
        if body.get("type") == "ANALYTICS":
            raise refuse.feature_not_enabled("Iceberg buckets are not enabled for this tenant")
        bucket = NewBucket(
            id=body.get("id") or body["name"],
            name=body["name"],
            public=body.get("public", False),
            file_size_limit=body.get("file_size_limit"),
            allowed_mime_types=_without_empty(body.get("allowed_mime_types")),
        )
        await self._buckets.create(actor, bucket)
        return json_response({"name": bucket.name})

    async def list(self, call: Call) -> Response:
        """GET /bucket -> array of buckets."""
        query = validate(_LIST, call.query(), "querystring")
        page = BucketPage(
            limit=min(query["limit"], _MAX_INT8) if "limit" in query else None,
            offset=min(query["offset"], _MAX_INT8) if "offset" in query else None,
            sort_column=query.get("sortColumn"),
            is_descending=query.get("sortOrder") == "desc",
            search=query.get("search"),
            with_type=not _wants_no_type(call),
        )
        return json_text_response(await self._buckets.list(call.actor(), page))

    async def get(self, call: Call) -> Response:
        """GET /bucket/ID -> the bucket, without ``type``."""
        return json_text_response(await self._buckets.get(call.actor(), call.bucket))

    async def update(self, call: Call) -> Response:
        """PUT /bucket/ID."""
        body = await call.json_body(_UPDATE)
        change = BucketChange(
            public=body.get("public"),
            sets_file_size_limit="file_size_limit" in body,
            file_size_limit=body.get("file_size_limit"),
            sets_allowed_mime_types="allowed_mime_types" in body,
            allowed_mime_types=_without_empty(body.get("allowed_mime_types")),
        )
        await self._buckets.update(call.actor(), call.bucket, change)
        return message_response("Successfully updated")

    async def empty(self, call: Call) -> Response:
        """POST /bucket/ID/empty; the message is upstream's, the bucket is empty already."""
        await call.skip_json_body()
        await self._buckets.empty(call.actor(), call.bucket)
        return message_response("Empty bucket has been queued. Completion may take up to an hour.")

    async def delete(self, call: Call) -> Response:
        """DELETE /bucket/ID."""
        await call.skip_json_body()
        await self._buckets.delete(call.actor(), call.bucket)
        return message_response("Successfully deleted")


def _without_empty(types: Any) -> list[str] | None:
    return None if types is None else [entry for entry in types if entry]


def _wants_no_type(call: Call) -> bool:
    """Old Python clients fail on a member that they do not know."""
    client = _SUPABASE_PY.search(call.header("x-client-info") or "")
    agent = _STORAGE3.search(call.header("user-agent") or "")
    return bool(
        (client and tuple(map(int, client.groups())) < (2, 18, 0))
        or (agent and tuple(map(int, agent.groups())) < (0, 12, 1))
    )
