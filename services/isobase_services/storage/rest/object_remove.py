"""``DELETE /object/BUCKET[/KEY]``. Source: contracts/storage.md 1.2."""

from __future__ import annotations

from starlette.responses import Response

from isobase_services.storage.core.remove import Removals
from isobase_services.storage.rest.call import Call
from isobase_services.storage.rest.render import json_text_response, message_response
from isobase_services.storage.rest.schema import Array, Object, Text

__all__ = ["RemoveEndpoints"]

_NOTHING = Object({})
_MANY = Object({"prefixes": Array(Text(), min_items=1)}, required=("prefixes",))


class RemoveEndpoints:
    """The routes that remove objects."""

    def __init__(self, removals: Removals) -> None:
        self._removals = removals

    async def remove(self, call: Call) -> Response:
        """One object. Unlike the routes of buckets this one refuses an empty body that calls itself JSON."""
        if (call.header("content-type") or "").startswith("application/json"):
            await call.json_body(_NOTHING)
        await self._removals.remove(call.actor(), call.bucket, call.key)
        return message_response("Successfully deleted")

    async def remove_many(self, call: Call) -> Response:
        """Those of the keys in ``prefixes`` that exist and may go; answers their rows."""
        body = await call.json_body(_MANY)
        return json_text_response(await self._removals.remove_many(call.actor(), call.bucket, body["prefixes"]))
