"""``POST /object/list/BUCKET`` and ``/object/list-v2/BUCKET``. Source: contracts/storage.md 1.2 "List"."""

from __future__ import annotations

from starlette.responses import Response

from isobase_services.storage.core.listing import Listings, ListPage, TreePage
from isobase_services.storage.rest.call import Call
from isobase_services.storage.rest.render import json_text_response
from isobase_services.storage.rest.schema import Boolean, Integer, Object, Text

__all__ = ["ListEndpoints"]

_ORDER = Text(choices=("asc", "desc"))
_LEVEL = Object(
    {
        "prefix": Text(),
        "limit": Integer(minimum=1),
        "offset": Integer(minimum=0),
        "sortBy": Object(
            {"column": Text(choices=("name", "updated_at", "created_at", "last_accessed_at")), "order": _ORDER},
            required=("column",),
        ),
        "search": Text(),
    },
    required=("prefix",),
)
_TREE = Object(
    {
        "prefix": Text(),
        "limit": Integer(minimum=1),
        "cursor": Text(),
        "with_delimiter": Boolean(),
        "sortBy": Object(
            {"column": Text(choices=("name", "updated_at", "created_at")), "order": _ORDER}, required=("column",)
        ),
    }
)


class ListEndpoints:
    """The routes that list objects."""

    def __init__(self, listings: Listings) -> None:
        self._listings = listings

    async def list_level(self, call: Call) -> Response:
        """One level of folders and objects."""
        body = await call.json_body(_LEVEL)
        sort = body.get("sortBy", {})
        page = ListPage(
            prefix=body["prefix"],
            limit=body.get("limit"),
            offset=body.get("offset"),
            search=body.get("search"),
            sort_column=sort.get("column"),
            sort_order=sort.get("order"),
        )
        return json_text_response(await self._listings.list_level(call.actor(), call.bucket, page))

    async def list_tree(self, call: Call) -> Response:
        """Full keys, page by page."""
        body = await call.json_body(_TREE)
        sort = body.get("sortBy", {})
        page = TreePage(
            prefix=body.get("prefix", ""),
            limit=body.get("limit"),
            cursor=body.get("cursor"),
            with_delimiter=body.get("with_delimiter", False),
            sort_column=sort.get("column"),
            sort_order=sort.get("order"),
        )
        return json_text_response(await self._listings.list_tree(call.actor(), call.bucket, page))
