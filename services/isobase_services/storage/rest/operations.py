"""Routes for whoever runs the project: ``/health``, ``/status``, ``/version``, ``DELETE /cdn/...``.

Source: contracts/storage.md 1.6; upstream ``src/http/routes/{health,cdn}``.
"""

from __future__ import annotations

from starlette.responses import Response

from isobase_platform import __version__
from isobase_services.storage.core.cdn import Cdn, Purge
from isobase_services.storage.core.health import Health
from isobase_services.storage.errors import refuse
from isobase_services.storage.rest.call import Call
from isobase_services.storage.rest.render import json_response, message_response
from isobase_services.storage.rest.schema import Boolean, Object, validate

__all__ = ["OperationsEndpoints", "status", "version"]

_PURGE = Object({"transformations": Boolean()})


async def status(call: Call) -> Response:
    """GET /status: the process serves."""
    return Response(status_code=200)


async def version(call: Call) -> Response:
    """GET /version: this distribution's version as text."""
    return Response(__version__, media_type="text/plain")


class OperationsEndpoints:
    """The routes that look at and look after the service."""

    def __init__(self, health: Health, cdn: Cdn) -> None:
        self._health = health
        self._cdn = cdn

    async def health(self, call: Call) -> Response:
        """GET /health -> ``{"healthy": bool}``, 200 in both cases."""
        return json_response({"healthy": await self._health.is_healthy(call.actor())})

    async def purge_all(self, call: Call) -> Response:
        """DELETE /cdn."""
        return await self._purge(call)

    async def purge_bucket(self, call: Call) -> Response:
        """DELETE /cdn/BUCKET; the bucket need not exist."""
        return await self._purge(call, call.bucket)

    async def purge_object(self, call: Call) -> Response:
        """DELETE /cdn/BUCKET/KEY; the object need not exist."""
        if not call.key:
            raise refuse.invalid_request("params/* must NOT have fewer than 1 characters", label="Error")
        return await self._purge(call, call.bucket, call.key)

    async def _purge(self, call: Call, bucket: str | None = None, key: str | None = None) -> Response:
        await call.skip_json_body()
        only_transformations = validate(_PURGE, call.query(), "querystring").get("transformations", False)
        call.actor()  # for the service alone; what there is to drop is in no table that policies guard
        await self._cdn.purge(Purge(bucket, key, only_transformations=only_transformations))
        return message_response("success")
