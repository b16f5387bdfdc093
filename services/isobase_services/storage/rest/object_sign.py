"""``POST /object/sign/...`` and ``/object/upload/sign/...``: URLs that carry their own right.

The URLs are relative and decoded: clients put their base before them and encode them. A ``transform`` is kept in the token
and makes it the URL of a rendered image; where images are not rendered it is checked and left out, as upstream does.
Source: contracts/storage.md 1.2.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from isobase_services.storage.body import content_length
from isobase_services.storage.core.images import Images
from isobase_services.storage.core.sign import Signing
from isobase_services.storage.core.upload import UploadFacts, UploadTarget
from isobase_services.storage.render.transform import Transform
from isobase_services.storage.rest.call import Call
from isobase_services.storage.rest.image import token_text
from isobase_services.storage.rest.render import json_response
from isobase_services.storage.rest.schema import Array, Integer, Object, Text
from isobase_services.storage.rest.transform import TRANSFORM
from isobase_services.storage.rest.upload_body import header_metadata
from isobase_services.storage.signer import TransformClaims

__all__ = ["SignEndpoints"]

MAX_PATHS = 1000
_NOT_FOUND = "Either the object does not exist or you do not have access to it"
_ONE = Object({"expiresIn": Integer(minimum=1), "transform": TRANSFORM}, required=("expiresIn",))
_MANY = Object(
    {"expiresIn": Integer(minimum=1), "paths": Array(Text(), min_items=1, max_items=MAX_PATHS)},
    required=("expiresIn", "paths"),
)


class SignEndpoints:
    """The routes that sign."""

    def __init__(self, signing: Signing, images: Images) -> None:
        self._signing = signing
        self._images = images

    async def sign(self, call: Call) -> Response:
        """A URL to read one object."""
        body = await call.json_body(_ONE)
        wish = self._transform_claims(body.get("transform", {}))
        token = await self._signing.sign(call.actor(), call.bucket, call.key, body["expiresIn"], wish)
        kind = "render/image" if wish is not None else "object"
        return json_response({"signedURL": f"/{kind}/sign/{call.bucket}/{call.key}?token={token}"})

    def _transform_claims(self, values: Mapping[str, object]) -> TransformClaims | None:
        """None where nothing is asked for, or images are not rendered."""
        if not self._images.is_enabled:
            return None
        transform = Transform.from_values(values, max_dimension=self._images.max_dimension)
        text = token_text(transform)
        return TransformClaims(text, transform.format) if text else None

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
