"""``POST|PUT /object/BUCKET/KEY`` and ``PUT /object/upload/sign/BUCKET/KEY``. Source: contracts/storage.md 1.2."""

from __future__ import annotations

import base64
import binascii

from starlette.responses import Response

from isobase_services.storage.body import body_chunks
from isobase_services.storage.core.carry import CarriedRow, Carries
from isobase_services.storage.core.direct import DirectUploads
from isobase_services.storage.core.upload import StoredObject, Uploads, UploadTarget
from isobase_services.storage.errors import refuse
from isobase_services.storage.rest.call import Call
from isobase_services.storage.rest.render import json_response
from isobase_services.storage.rest.schema import Object, Text, validate
from isobase_services.storage.rest.upload_body import open_upload_body
from isobase_services.storage.signer import Scope, Signer

__all__ = ["UploadEndpoints"]

_TOKEN = Object({"token": Text()}, required=("token",))


class UploadEndpoints:
    """The routes that store an object."""

    def __init__(self, uploads: Uploads, direct: DirectUploads, signer: Signer, carries: Carries) -> None:
        self._uploads = uploads
        self._carries = carries
        self._direct = direct
        self._signer = signer

    async def create(self, call: Call) -> Response:
        """POST: a new object, or with ``x-upsert: true`` also over an old one; with ``x-isobase-carry`` another server's."""
        carried = call.header("x-isobase-carry")
        if carried is not None:
            row = CarriedRow.parse(_base64_text(carried))
            await self._carries.store(call.actor(), call.bucket, call.key, row, body_chunks(call.receive))
            return json_response({"Key": f"{call.bucket}/{call.key}"})
        return await self._upload(call, is_upsert=call.flag("x-upsert"))

    async def update(self, call: Call) -> Response:
        """PUT: the object at this key, whether there was one or not."""
        return await self._upload(call, is_upsert=True)

    async def _upload(self, call: Call, *, is_upsert: bool) -> Response:
        actor = call.actor()
        target = UploadTarget(call.bucket, call.key, actor.owner_id, is_upsert)
        stored = await self._uploads.upload(actor, target, await open_upload_body(call))
        return json_response({"Id": str(stored.id), "Key": _path(stored)})

    async def signed(self, call: Call) -> Response:
        """PUT with a token: owner and upsert are the token's. Bytes of an announced upload wait for its completion."""
        token = validate(_TOKEN, call.query(), "querystring")["token"]
        signed = self._signer.verify(token, call.bucket, call.key, Scope.UPLOAD, Scope.STAGE)
        if signed.upload_id is not None:
            body = await open_upload_body(call)
            await self._direct.stage(call.actor(), signed.upload_id, call.bucket, call.key, body)
            return json_response({"Key": f"{call.bucket}/{call.key}"})
        target = UploadTarget(call.bucket, call.key, signed.owner, signed.is_upsert, is_signed=True)
        stored = await self._uploads.upload(call.actor(), target, await open_upload_body(call))
        return json_response({"Key": _path(stored)})


def _base64_text(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise refuse.invalid_parameter("x-isobase-carry") from error


def _path(stored: StoredObject) -> str:
    return f"{stored.bucket}/{stored.key}"
