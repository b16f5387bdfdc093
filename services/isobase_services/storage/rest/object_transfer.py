"""``POST /object/copy`` and ``/object/move``. Source: contracts/storage.md 1.2."""

from __future__ import annotations

import json

from starlette.responses import Response

from isobase_services.storage.core.transfer import CopyRequest, MoveRequest, Transfers
from isobase_services.storage.rest.call import Call
from isobase_services.storage.rest.render import json_text_response, message_response
from isobase_services.storage.rest.schema import Boolean, Object, Text
from isobase_services.storage.rest.upload_body import header_metadata

__all__ = ["TransferEndpoints"]

_PLACES = {"bucketId": Text(), "sourceKey": Text(), "destinationBucket": Text(), "destinationKey": Text()}
_MOVE = Object(_PLACES, required=("bucketId", "sourceKey", "destinationKey"))
_COPY = Object(
    {
        **_PLACES,
        "metadata": Object({"cacheControl": Text(), "mimetype": Text()}),
        "copyMetadata": Boolean(),
    },
    required=("sourceKey", "bucketId", "destinationKey"),
)


class TransferEndpoints:
    """The routes that copy and move."""

    def __init__(self, transfers: Transfers) -> None:
        self._transfers = transfers

    async def copy(self, call: Call) -> Response:
        """Copy; answers the new row with ``Id`` and ``Key``, which older clients read."""
        body = await call.json_body(_COPY)
        request = CopyRequest(
            source_bucket=body["bucketId"],
            source_key=body["sourceKey"],
            bucket=body.get("destinationBucket") or body["bucketId"],
            key=body["destinationKey"],
            is_upsert=call.flag("x-upsert"),
            copies_metadata=body.get("copyMetadata", True),
            metadata=body.get("metadata", {}),
            user_metadata=header_metadata(call),
        )
        written = await self._transfers.copy(call.actor(), request)
        head = json.dumps({"Id": str(written.id), "Key": f"{request.bucket}/{request.key}"}, separators=(",", ":"))
        return json_text_response(f"{head[:-1]},{written.json.lstrip('{ ')}")

    async def move(self, call: Call) -> Response:
        """Move."""
        body = await call.json_body(_MOVE)
        request = MoveRequest(
            source_bucket=body["bucketId"],
            source_key=body["sourceKey"],
            bucket=body.get("destinationBucket") or body["bucketId"],
            key=body["destinationKey"],
        )
        await self._transfers.move(call.actor(), request)
        return message_response("Successfully moved")
