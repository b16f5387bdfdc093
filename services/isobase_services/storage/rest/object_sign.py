"""``POST /object/sign/...`` and ``/object/upload/sign/...``: URLs that carry their own right.

The URLs are relative and decoded: clients put their base before them and encode them. Image transformations are not
served, and so, as upstream does where they are switched off, a ``transform`` is checked and left out.
Source: contracts/storage.md 1.2.
"""

from __future__ import annotations

from starlette.responses import Response

from isobase_services.storage.body import content_length
from isobase_services.storage.core.sign import Signing
from isobase_services.storage.core.upload import UploadFacts, UploadTarget
from isobase_services.storage.rest.call import Call
from isobase_services.storage.rest.render import json_response
from isobase_services.storage.rest.schema import Array, Integer, Number, Object, Text
from isobase_services.storage.rest.upload_body import header_metadata

__all__ = ["SignEndpoints"]

MAX_PATHS = 1000
_NOT_FOUND = "Either the object does not exist or you do not have access to it"
_TRANSFORM = Object(
    {
        "height": Integer(minimum=0),
        "width": Integer(minimum=0),
        "resize": Text(choices=("cover", "contain", "fill")),
        "format": Text(choices=("origin", "avif", "webp")),
        "quality": Integer(minimum=20, maximum=100),
        "gravity": Text(choices=("no", "so", "ea", "we", "noea", "nowe", "soea", "sowe", "ce", "sm", "fp")),
        "x_offset": Number(),
        "y_offset": Number(),
    }
)
_ONE = Object({"expiresIn": Integer(minimum=1), "transform": _TRANSFORM}, required=("expiresIn",))
_MANY = Object(
    {"expiresIn": Integer(minimum=1), "paths": Array(Text(), min_items=1, max_items=MAX_PATHS)},
    required=("expiresIn", "paths"),
)


class SignEndpoints:
    """The routes that sign."""

    def __init__(self, signing: Signing) -> None:
        self._signing = signing

    async def sign(self, call: Call) -> Response:
        """A URL to read one object."""
        body = await call.json_body(_ONE)
        token = await self._signing.sign(call.actor(), call.bucket, call.key, body["expiresIn"])
        return json_response({"signedURL": f"/object/sign/{call.bucket}/{call.key}?token={token}"})

    async def sign_many(self, call: Call) -> Response:
        """URLs to read several objects, in the order of the request; an error text for what cannot be read."""
        body = await call.json_body(_MANY)
        tokens = await self._signing.sign_many(call.actor(), call.bucket, body["paths"], body["expiresIn"])
        return json_response(
            [
                {
                    "error": None if path in tokens else _NOT_FOUND,
                    "path": path,
                    "signedURL": f"/object/sign/{call.bucket}/{path}?token={tokens[path]}" if path in tokens else None,
                }
                for path in body["paths"]
            ]
        )

    async def sign_upload(self, call: Call) -> Response:
        """A URL to write one object."""
        await call.skip_json_body()
        actor = call.actor()
        facts = UploadFacts(
            mime_type=call.header("content-type") or "",
            cache_control="",
            user_metadata=header_metadata(call),
            declared_length=content_length(call.scope),
            known_size=None,
            robots_tag=None,
        )
        target = UploadTarget(call.bucket, call.key, actor.owner_id, call.flag("x-upsert"))
        token = await self._signing.sign_upload(actor, facts.draft(target))
        return json_response({"url": f"/object/upload/sign/{call.bucket}/{call.key}?token={token}", "token": token})
