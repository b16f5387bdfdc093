"""``POST /api/broadcast`` and ``POST /api/broadcast/{topic}/events/{event}``: broadcasts without a socket.

Source: contracts/realtime.md 1.12. The first takes a batch, all or nothing but for what policies deny, which is skipped; the
second takes one message, JSON or raw bytes, and says when it is denied.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from isobase_platform.caller import Caller
from isobase_platform.errors import BadRequest, Forbidden, IsobaseError, NotFound, Unavailable
from isobase_platform.http.body import read_body
from isobase_platform.http.request import bearer_token, header, request_facts
from isobase_services.realtime.core.access import Access, AccessRefused, grant_access
from isobase_services.realtime.core.topics import TopicKey
from isobase_services.realtime.edge.broadcast_request import parse_batch
from isobase_services.realtime.edge.errors import (
    InvalidBroadcast,
    NotAsked,
    RateExceeded,
    Unauthorized,
    UnsupportedType,
    render_error,
)
from isobase_services.realtime.session.hub import Hub
from isobase_services.realtime.session.policies import Extension, Failure, PolicyFailed
from isobase_services.realtime.wire.messages import Outgoing, UserBroadcast, dump, parse_json

__all__ = ["BroadcastEndpoints"]

MAX_BATCH_BYTES = 8_000_000
"""Upstream's body parser reads 8 MB; a single payload has the limit of the settings."""
RAW_TYPE = "application/octet-stream"
JSON_TYPE = "application/json"


class BroadcastEndpoints:
    """The two routes. Errors leave as ``IsobaseError`` and are rendered by the mount's boundary."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def batch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send several messages: 202 with an empty body."""
        await self._answer(self._batch, scope, receive, send)

    async def single(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send one message, named by the path: 202 with an empty body, which is what clients compare with."""
        await self._answer(self._single, scope, receive, send)

    async def ping(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say that the service answers: 200 and upstream's body, for whoever asks."""
        await self._answer(_ping, scope, receive, send)

    async def _answer(
        self, handle: Callable[[Request], Awaitable[Response | None]], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Run ``handle`` unless there are too many requests. Every answer, also a refusal, says how many there are."""
        requests = self._hub.requests
        requests.add()
        average, limit = int(requests.average_per_s), int(requests.limit_per_s)
        response: Response
        try:
            if average >= limit:
                raise RateExceeded("Too many requests")
            response = await handle(Request(scope, receive)) or Response(status_code=202)
        except IsobaseError as error:
            if error.status >= 500:
                raise  # the boundary logs it
            response = render_error(error, scope)
        response.headers["x-rate-rolling"] = str(average)
        response.headers["x-rate-limit"] = str(limit)
        response.headers["x-rate-limit-remaining"] = str(limit - average)
        await response(scope, receive, send)

    async def _batch(self, request: Request) -> None:
        access = self._access(request)
        body = _json(await read_body(request.scope, request.receive, MAX_BATCH_BYTES), of_no_body={})
        messages = parse_batch(body, self._hub.settings.max_payload_bytes)
        self._check_rate(len(messages))
        allowed: dict[str, bool] = {}
        for item in messages:
            if item.key.is_private and item.key.name not in allowed:
                allowed[item.key.name] = await self._may_send(access, item.key)
        for item in messages:
            if not item.key.is_private or allowed[item.key.name]:
                await self._send(item.key, item.message, item.event, access.caller)

    async def _single(self, request: Request) -> None:
        # A request that does not say what it brings brings JSON, as clients once sent it.
        content_type = (header(request.scope, "content-type") or JSON_TYPE).partition(";")[0].strip().lower()
        if content_type not in (RAW_TYPE, JSON_TYPE):
            raise UnsupportedType
        access = self._access(request)
        limit_bytes = self._hub.settings.max_payload_bytes
        topic, event = _names(request.scope)
        content = await read_body(request.scope, request.receive, MAX_BATCH_BYTES)
        is_json = content_type == JSON_TYPE
        if is_json:
            body = _json(content, of_no_body={})
            # A payload is an object to every client; upstream's body parser wraps whatever else JSON can be.
            content = content or b"{}" if isinstance(body, dict) else dump({"_json": body}).encode()
        if len(content) > limit_bytes:
            raise InvalidBroadcast({"payload": ["Payload size exceeds tenant limit"]})
        if self._hub.events.is_exceeded:
            raise RateExceeded("You have exceeded your rate limit")
        is_private = request.query_params.get("private") == "true"
        key = TopicKey(topic, is_private=is_private)
        if is_private:
            try:
                may_send = await self._hub.policies.may_write(access.caller, key.name, Extension.BROADCAST)
            except PolicyFailed as error:
                raise NotAsked(error.failure) from error
            if not may_send:
                raise Forbidden("Unauthorized")
        await self._send(key, UserBroadcast(event, content, is_json=is_json), event, access.caller)

    def _access(self, request: Request) -> Access:
        """The caller by ``Authorization``, else by ``apikey``; opaque keys stand for their role's token."""
        given = bearer_token(request.scope) or header(request.scope, "apikey")
        if given is None:
            raise Unauthorized
        try:
            return grant_access(
                self._hub.verifier, self._hub.api_keys.token_for(given) or given, request_facts(request.scope)
            )
        except AccessRefused as error:
            raise Unauthorized from error

    def _check_rate(self, count: int) -> None:
        events = self._hub.events
        if events.is_exceeded:
            raise RateExceeded("You have exceeded your rate limit")
        if events.average_per_s + count > events.limit_per_s:
            raise RateExceeded("Too many messages to broadcast, please reduce the batch size")

    async def _may_send(self, access: Access, key: TopicKey) -> bool:
        try:
            return await self._hub.policies.may_write(access.caller, key.name, Extension.BROADCAST)
        except PolicyFailed as error:
            if error.failure is Failure.DATABASE_AWAY:
                # Upstream answers 202 and sends nothing: a message must not be lost without a word.
                raise Unavailable("The database is not available") from error
            return False

    async def _send(self, key: TopicKey, message: Outgoing, event: str, caller: Caller) -> None:
        rooms = self._hub.rooms
        if rooms is not None and rooms.takes(key, event) and await rooms.receive(key, message, caller) is not None:
            return
        self._hub.events.add()
        self._hub.publish(key, message)


async def _ping(_request: Request) -> Response:
    return JSONResponse({"message": "Success"})


def _names(scope: Scope) -> tuple[str, str]:
    """Topic and event from the path as it was sent: an encoded slash is part of a name, not a border."""
    parts = scope["raw_path"].decode("latin-1").split("/")
    if len(parts) < 3 or parts[-2] != "events" or parts[-4:-3] != ["broadcast"]:
        raise NotFound("There is no such route")
    topic, event = unquote(parts[-3]), unquote(parts[-1])
    if not topic or not event:
        raise NotFound("There is no such route")
    return topic, event


def _json(content: bytes, *, of_no_body: object) -> object:
    if not content:
        return of_no_body
    try:
        return parse_json(content)
    except ValueError as error:
        raise BadRequest("The body is not JSON") from error
