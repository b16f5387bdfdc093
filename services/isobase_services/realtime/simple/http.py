"""Rooms by plain HTTP: for servers, scripts and who wants no socket. The same statements, rights and limits as the actions.

A body or query is read by the model of the action it stands for (``actions``), with the room taken from the path.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from isobase_platform.caller import Caller
from isobase_platform.errors import BadRequest, TokenError, TokenRefusal
from isobase_platform.http.body import read_body
from isobase_platform.http.request import bearer_token, header, request_facts
from isobase_services.realtime.core.access import AccessRefused, grant_access
from isobase_services.realtime.session.hub import Hub
from isobase_services.realtime.simple import actions
from isobase_services.realtime.simple.actions import Action, checked
from isobase_services.realtime.simple.asyncapi import asyncapi_document
from isobase_services.realtime.simple.desk import RoomDesk
from isobase_services.realtime.simple.rooms import NewRoom, RoomChange
from isobase_services.realtime.wire.messages import dump, parse_json

__all__ = ["RoomEndpoints"]

Handler: TypeAlias = Callable[[Request, Caller], Awaitable[Response]]
_Action = TypeVar("_Action", bound=Action)


class RoomEndpoints:
    """The routes below ``/realtime/rooms``, and the description of the socket."""

    def __init__(self, hub: Hub, desk: RoomDesk) -> None:
        self._hub = hub
        self._desk = desk
        self._asyncapi = asyncapi_document()

    @property
    def routes(self) -> list[Route]:
        """The routes, below the mount."""
        room = "/rooms/{room_id}"
        return [
            Route("/asyncapi.json", self._describe, methods=["GET"]),
            Route("/rooms", self._as_caller(self._list), methods=["GET"]),
            Route("/rooms", self._as_caller(self._create), methods=["POST"]),
            Route(room, self._as_caller(self._get), methods=["GET"]),
            Route(room, self._as_caller(self._update), methods=["PATCH"]),
            Route(room, self._as_caller(self._delete), methods=["DELETE"]),
            Route(f"{room}/messages", self._as_caller(self._history), methods=["GET"]),
            Route(f"{room}/messages", self._as_caller(self._send), methods=["POST"]),
            Route(f"{room}/read", self._as_caller(self._read), methods=["POST"]),
            Route(f"{room}/members", self._as_caller(self._members), methods=["GET"]),
            Route(f"{room}/members", self._as_caller(self._add_member), methods=["POST"]),
            Route(f"{room}/members/{{user}}", self._as_caller(self._remove_member), methods=["DELETE"]),
        ]

    def _as_caller(self, handle: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return await handle(request, self._caller(request))

        return endpoint

    def _caller(self, request: Request) -> Caller:
        """By ``Authorization``, else by ``apikey``. Raises ``TokenError``."""
        given = bearer_token(request.scope) or header(request.scope, "apikey")
        if given is None:
            raise TokenError("Sign in first: no token was sent", TokenRefusal.MALFORMED)
        token = self._hub.api_keys.token_for(given) or given
        try:
            return grant_access(self._hub.verifier, token, request_facts(request.scope)).caller
        except AccessRefused as error:
            raise TokenError(error.message, TokenRefusal.CLAIMS) from error

    async def _describe(self, _request: Request) -> Response:
        return JSONResponse(self._asyncapi)

    # -- rooms --------------------------------------------------------------------------------------------------------

    async def _list(self, request: Request, caller: Caller) -> Response:
        wanted = _from_query(actions.ListRooms, request)
        return _json(await self._desk.rooms.page(caller, before=wanted.before, limit=wanted.limit))

    async def _create(self, request: Request, caller: Caller) -> Response:
        wanted = await self._from_body(actions.CreateRoom, request)
        room = NewRoom(wanted.room_id, wanted.name, wanted.public, wanted.metadata, wanted.members)
        return _json(await self._desk.rooms.create(caller, room), status=201)

    async def _get(self, request: Request, caller: Caller) -> Response:
        wanted = _from_query(actions.RoomAction, request)
        return _json(await self._desk.rooms.get(caller, wanted.room_id))

    async def _update(self, request: Request, caller: Caller) -> Response:
        wanted = await self._from_body(actions.UpdateRoom, request)
        change = RoomChange(wanted.name, wanted.public, wanted.metadata)
        return _json(await self._desk.rooms.update(caller, wanted.room_id, change))

    async def _delete(self, request: Request, caller: Caller) -> Response:
        wanted = _from_query(actions.RoomAction, request)
        await self._desk.rooms.delete(caller, wanted.room_id)
        return Response(status_code=204)

    # -- messages -----------------------------------------------------------------------------------------------------

    async def _history(self, request: Request, caller: Caller) -> Response:
        wanted = _from_query(actions.History, request)
        return _json(
            await self._desk.rooms.history(
                caller,
                wanted.room_id,
                before=wanted.before,
                after=wanted.after,
                since=wanted.since,
                limit=wanted.limit,
            )
        )

    async def _send(self, request: Request, caller: Caller) -> Response:
        wanted = await self._from_body(actions.SendMessage, request)
        message = await self._desk.send(caller, wanted.room_id, dump(wanted.message), wanted.client_id)
        return _json(message, status=201)

    async def _read(self, request: Request, caller: Caller) -> Response:
        wanted = await self._from_body(actions.Read, request)
        mark = await self._desk.read(caller, wanted.room_id, wanted.seq)
        return _json(dump({"roomId": wanted.room_id, "seq": mark.seq}))

    # -- members ------------------------------------------------------------------------------------------------------

    async def _members(self, request: Request, caller: Caller) -> Response:
        wanted = _from_query(actions.Members, request)
        return _json(await self._desk.rooms.members(caller, wanted.room_id))

    async def _add_member(self, request: Request, caller: Caller) -> Response:
        wanted = await self._from_body(actions.AddMember, request)
        await self._desk.rooms.add_member(caller, wanted.room_id, wanted.user, wanted.role)
        return _json(dump({"roomId": wanted.room_id, "user": wanted.user or caller.user_id}))

    async def _remove_member(self, request: Request, caller: Caller) -> Response:
        wanted = _from_query(actions.RemoveMember, request, user=request.path_params["user"])
        await self._desk.rooms.remove_member(caller, wanted.room_id, wanted.user)
        return Response(status_code=204)

    async def _from_body(self, model: type[_Action], request: Request) -> _Action:
        """The body, a JSON object or nothing at all, as the action's members. Raises 400 naming what is wrong, and 413."""
        content = await read_body(request.scope, request.receive, self._hub.settings.rooms.max_frame_bytes)
        try:
            value = parse_json(content or b"{}")
        except ValueError as error:
            raise BadRequest("The body must be a JSON object", code="invalid_json") from error
        if not isinstance(value, dict):
            raise BadRequest("The body must be a JSON object", code="invalid_json")
        return checked(model, {**value, **_room(request)}, code="invalid_body")


def _from_query(model: type[_Action], request: Request, **members: str) -> _Action:
    query: Mapping[str, str] = {**request.query_params, **members, **_room(request)}
    return checked(model, query, code="invalid_parameter", is_text=True)


def _room(request: Request) -> Mapping[str, str]:
    room_id = request.path_params.get("room_id")
    return {} if room_id is None else {"roomId": room_id}


def _json(text: str, status: int = 200) -> Response:
    return Response(text, status_code=status, media_type="application/json")
