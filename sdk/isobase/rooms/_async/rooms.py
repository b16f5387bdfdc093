"""Rooms over HTTP, and the way to the socket."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import httpx

from isobase._face._async.face import AsyncFace
from isobase._face.wire import path
from isobase.rooms._async.socket import AsyncRoomSocket, Token
from isobase.rooms.models import History, MemberPage, Message, Role, Room, RoomPage, from_wire

__all__ = ["AsyncRooms"]


class AsyncRooms:
    """Chat rooms (``client.rooms``).

    url: the project's. headers: ``apikey`` and the user's ``Authorization``. token: gives the token that a socket signs
    in with; default: that of ``headers``. http_client: sends the requests.
    Every method raises ``IsobaseAPIError`` when the server refuses (``room_not_found`` also for a room that is not open
    to the caller), and httpx's exceptions when nothing answers. Source: docs/realtime-rooms.md.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        token: Token | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        self._face = AsyncFace(url, headers or {}, http_client)
        self._token = token or self._given_token

    async def aclose(self) -> None:
        """Close the connections, unless they are those of a client that was given. Sockets are closed by themselves."""
        await self._face.aclose()

    def connect(self) -> AsyncRoomSocket:
        """Give a socket that receives what happens in rooms; ``async with`` opens and closes it."""
        return AsyncRoomSocket(f"{self._face.url.replace('http', 'ws', 1)}/realtime", self._token)

    # Rooms.

    async def list(self, *, limit: int | None = None, before: str | None = None) -> RoomPage:
        """Give the caller's rooms and the public ones, the latest first.

        limit: at most 200. before: the ``next`` of the page before.
        """
        return from_wire(RoomPage, await self._ask("GET", params={"limit": limit, "before": before}))

    async def create(
        self,
        room_id: str | None = None,
        *,
        name: str | None = None,
        public: bool = False,
        metadata: Mapping[str, Any] | None = None,
        members: Sequence[str] = (),
    ) -> Room:
        """Make a room, which the caller owns.

        room_id: 1 to 128 of ``A-Z a-z 0-9 _ . : @ ~ -``; None: the server gives one. ``room_exists`` when it is taken.
        members: ids of further users.
        """
        body = {"name": name, "public": public, "metadata": dict(metadata or {}), "members": list(members)}
        if room_id is not None:
            body["roomId"] = room_id
        return from_wire(Room, await self._ask("POST", body=body))

    async def get(self, room_id: str) -> Room:
        """Give a room."""
        return from_wire(Room, await self._ask("GET", room_id))

    async def update(
        self,
        room_id: str,
        *,
        name: str | None = None,
        public: bool | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Room:
        """Change what is given of a room and give it; its owners may (``not_owner``)."""
        body = {"name": name, "public": public, "metadata": None if metadata is None else dict(metadata)}
        return from_wire(Room, await self._ask("PATCH", room_id, body=_without_none(body)))

    async def delete(self, room_id: str) -> None:
        """Delete a room with what was said in it; its owners may."""
        await self._ask("DELETE", room_id)

    # Messages.

    async def send(self, room_id: str, message: Any, *, client_id: str | None = None) -> Message:
        """Say something (any JSON) in a room, and give it with its number.

        client_id: what was sent with it before is given back and not said twice; default: one of its own, so that a
        lost answer does no harm.
        """
        body = {"message": message, "clientId": client_id or str(uuid.uuid4())}
        return from_wire(Message, await self._ask("POST", room_id, "messages", body=body, is_repeatable=True))

    async def history(
        self,
        room_id: str,
        *,
        before: int | None = None,
        after: int | None = None,
        since: datetime | str | None = None,
        limit: int | None = None,
    ) -> History:
        """Give messages, the oldest first; without a mark the newest.

        before, after: a message's number. since: a time. One of the three. limit: at most 200.
        """
        moment = since.isoformat() if isinstance(since, datetime) else since
        params = {"before": before, "after": after, "since": moment, "limit": limit}
        return from_wire(History, await self._ask("GET", room_id, "messages", params=params))

    async def read(self, room_id: str, seq: int | None = None) -> int:
        """Note that the caller has read up to a message (None: all); gives how far that is. It never goes back."""
        answer = await self._ask("POST", room_id, "read", body={} if seq is None else {"seq": seq}, is_repeatable=True)
        read_to: int = answer["seq"]
        return read_to

    # Members.

    async def members(self, room_id: str) -> MemberPage:
        """Give the members, the oldest first."""
        return from_wire(MemberPage, await self._ask("GET", room_id, "members"))

    async def add_member(self, room_id: str, user: str | None = None, *, role: Role = "member") -> None:
        """Add a user, or give a member another role. Without ``user``: come to a public room oneself."""
        body = {"role": role} if user is None else {"user": user, "role": role}
        await self._ask("POST", room_id, "members", body=body, is_repeatable=True)

    async def remove_member(self, room_id: str, user: str) -> None:
        """Remove a member; one may remove oneself. A room keeps an owner (``room_keeps_an_owner``)."""
        await self._ask("DELETE", room_id, "members", user)

    async def _ask(
        self,
        method: str,
        *below: str,
        params: Mapping[str, object] | None = None,
        body: Mapping[str, Any] | None = None,
        is_repeatable: bool = False,
    ) -> dict[str, Any]:
        query = [(name, str(value)) for name, value in (params or {}).items() if value is not None]
        where = path("realtime", "rooms", *below)
        answer = await self._face.ask(method, where, params=query, json=body, is_repeatable=is_repeatable)
        content: dict[str, Any] = answer.json() if answer.content else {}
        return content

    async def _given_token(self) -> str:
        headers = {name.lower(): value for name, value in self._face.headers.items()}
        return headers.get("authorization", "").removeprefix("Bearer ") or headers.get("apikey", "")


def _without_none(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}
