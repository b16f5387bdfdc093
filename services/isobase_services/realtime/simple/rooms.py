"""Rooms in the database: made, listed, joined, written to and read, each in one round trip as the caller.

What a method returns as text is a JSON object, made by PostgreSQL and passed on as it is. Who may what is said by the
policies of schema.sql; a room that is not open to the caller is answered like one that does not exist.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from isobase_platform.caller import ANON_ROLE, Caller
from isobase_platform.config_realtime.rooms import RoomSettings
from isobase_platform.errors import (
    BadRequest,
    BodyTooLarge,
    Conflict,
    DatabaseError,
    Forbidden,
    IsobaseError,
    NotFound,
)
from isobase_platform.rls import RlsDoor
from isobase_platform.wire_messages import Row, Step
from isobase_services.realtime.simple import statements
from isobase_services.realtime.wire.messages import dump

__all__ = ["MAX_HISTORY", "MAX_MEMBERS", "NewRoom", "ReadMark", "RoomChange", "Rooms", "person"]

MAX_HISTORY = 200
USERS_PREFIX = "~"
"""How ids begin that no private channel of a project has; given ids begin so."""
MAX_MEMBERS = 1000
"""Members that one answer holds, and that a room may be made with."""


@dataclass(slots=True, frozen=True)
class NewRoom:
    """A room to be made. ``room_id`` None: a new id is given."""

    room_id: str | None
    name: str | None
    is_public: bool
    metadata: Mapping[str, object]
    members: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True)
class RoomChange:
    """What shall be changed of a room; None stays as it is."""

    name: str | None
    is_public: bool | None
    metadata: Mapping[str, object] | None


@dataclass(slots=True, frozen=True)
class ReadMark:
    """How far the caller has read; ``has_advanced`` where that was news."""

    seq: int
    has_advanced: bool


class Rooms:
    """The statements of all faces of rooms."""

    def __init__(self, door: RlsDoor, settings: RoomSettings) -> None:
        self._door = door
        self._settings = settings

    async def get(self, caller: Caller, room_id: str) -> str:
        """A room as the caller sees it. Raises ``NotFound`` ``room_not_found``."""
        _signed_in(caller)
        (rows,) = await self._run(caller, (statements.ROOM, (room_id,)))
        if not rows and room_id in self._settings.public:
            await self._make_public(room_id)
            (rows,) = await self._run(caller, (statements.ROOM, (room_id,)))
        return _texts(rows)[0] if rows else _raise_not_found()

    async def page(self, caller: Caller, *, before: str | None, limit: int | None) -> str:
        """``{"rooms": [...], "next": ...}``: the caller's rooms and the public ones, the latest first."""
        _signed_in(caller)
        count = limit or self._settings.history_limit
        (rows,) = await self._run(caller, (statements.LIST, (before, str(count + 1))))
        following = (rows[count - 1][1] or b"").decode() if len(rows) > count else None
        return f'{{"rooms":[{",".join(_texts(rows[:count]))}],"next":{dump(following)}}}'

    async def create(self, caller: Caller, room: NewRoom) -> str:
        """Make a room, owned by the caller, and return it.

        Raises ``Conflict`` ``room_exists``, and ``Forbidden`` ``room_id_reserved`` where ``room:ID`` may be a private channel
        of the project's own (``isobase.may_name_room``).
        """
        _signed_in(caller)
        room_id = room.room_id or f"{USERS_PREFIX}{uuid.uuid4()}"
        values = (room_id, room.name, str(room.is_public).lower(), dump(room.metadata))
        try:
            *_, rows = await self._run(
                caller,
                (statements.CREATE, values),
                (statements.ADD_MEMBERS, (room_id, dump(room.members))),
                (statements.ROOM, (room_id,)),
            )
        except NotFound as error:
            # The policy's refusal; nobody has to find a room that he is about to make.
            raise Forbidden(
                "Private channels called room:ID may be the project's own; this id cannot be chosen",
                code="room_id_reserved",
                hint=f"Begin the id with {USERS_PREFIX}, leave it out, or let the service_role make the room",
            ) from error
        return _texts(rows)[0]

    async def update(self, caller: Caller, room_id: str, change: RoomChange) -> str:
        """Change a room and return it. Raises ``NotFound``, and ``Forbidden`` for who does not own it."""
        _signed_in(caller)
        is_public = None if change.is_public is None else str(change.is_public).lower()
        metadata = None if change.metadata is None else dump(change.metadata)
        seen, done, rows = await self._run(
            caller,
            (statements.ROLE, (room_id,)),
            (statements.UPDATE, (room_id, change.name, is_public, metadata)),
            (statements.ROOM, (room_id,)),
        )
        _owned(seen, done)
        return _texts(rows)[0]

    async def delete(self, caller: Caller, room_id: str) -> None:
        """Delete a room with its messages. Errors as ``update``."""
        _signed_in(caller)
        seen, done = await self._run(caller, (statements.ROLE, (room_id,)), (statements.DELETE, (room_id,)))
        _owned(seen, done)

    async def members(self, caller: Caller, room_id: str) -> str:
        """``{"roomId", "members": [...], "more"}``, the oldest ``MAX_MEMBERS``. Raises ``NotFound``."""
        _signed_in(caller)
        seen, rows = await self._run(
            caller, (statements.ROLE, (room_id,)), (statements.MEMBERS, (room_id, str(MAX_MEMBERS + 1)))
        )
        if not seen:
            _raise_not_found()
        more = dump(len(rows) > MAX_MEMBERS)
        return f'{{"roomId":{dump(room_id)},"members":[{",".join(_texts(rows[:MAX_MEMBERS]))}],"more":{more}}}'

    async def add_member(self, caller: Caller, room_id: str, user: str | None, role: str) -> None:
        """Add a user, or give a member another role; ``user`` None: come to a public room. Errors as ``update``."""
        _signed_in(caller)
        if user is None:
            person(caller)
            step: Step = (statements.COME, (room_id,))
        else:
            step = (statements.ADD_MEMBER, (room_id, user, role))
        try:
            seen, _ = await self._run(caller, (statements.ROLE, (room_id,)), step)
        except NotFound:
            # The policy refused before anybody could look whether the room is open to the caller.
            await self.get(caller, room_id)
            raise _not_owner() from None
        if not seen:
            _raise_not_found()

    async def remove_member(self, caller: Caller, room_id: str, user: str | None) -> None:
        """Remove a member; ``user`` None: oneself. Raises as ``update``, and ``NotFound`` ``member_not_found``."""
        _signed_in(caller)
        wanted = user or person(caller)
        seen, done = await self._run(
            caller, (statements.ROLE, (room_id,)), (statements.REMOVE_MEMBER, (room_id, wanted))
        )
        if wanted != caller.user_id:
            _owned(seen, [[b""]])
        if not done:
            raise NotFound("There is no such member in this room", code="member_not_found")

    async def send(self, caller: Caller, room_id: str, body: str, client_id: str | None) -> str:
        """Store a message (``body`` is JSON text) and return it; the commit publishes it.

        What was sent with the same ``client_id`` before is returned as it is. Raises ``NotFound``, and ``BodyTooLarge``.
        """
        _signed_in(caller)
        size_bytes = len(body) if body.isascii() else len(body.encode())
        if size_bytes > self._settings.max_message_bytes:
            raise BodyTooLarge(
                f"The message is larger than {self._settings.max_message_bytes} bytes", code="message_too_large"
            )
        step = (statements.SEND, (room_id, body, client_id))
        try:
            (rows,) = await self._run(caller, step)
        except NotFound:
            if room_id not in self._settings.public or not await self._make_public(room_id):
                raise
            (rows,) = await self._run(caller, step)
        if not rows and client_id is not None:
            (rows,) = await self._run(caller, (statements.SENT_BEFORE, (room_id, client_id)))
        return _texts(rows)[0] if rows else _raise_not_found()

    async def history(
        self,
        caller: Caller,
        room_id: str,
        *,
        before: int | None = None,
        after: int | None = None,
        since: str | None = None,
        limit: int | None = None,
    ) -> str:
        """``{"roomId", "messages": [...], "more"}``, the oldest first; without a mark the newest.

        ``more``: there are messages beyond the page, in the direction that was asked for. Raises ``NotFound``, and
        ``BadRequest`` for two marks at once or a time that is none.
        """
        _signed_in(caller)
        if sum(mark is not None for mark in (before, after, since)) > 1:
            raise BadRequest("Give one of before, after and since", code="invalid_action")
        count = min(limit or self._settings.history_limit, MAX_HISTORY)
        if since is not None:
            step: Step = (statements.HISTORY_SINCE, (room_id, since, str(count + 1)))
        elif after is not None:
            step = (statements.HISTORY_AFTER, (room_id, str(after), str(count + 1)))
        else:
            mark = 2**63 - 1 if before is None else before
            step = (statements.HISTORY_BEFORE, (room_id, str(mark), str(count + 1)))
        seen, rows = await self._run(caller, (statements.ROLE, (room_id,)), step)
        if not seen:
            _raise_not_found()
        messages = _texts(rows[:count])
        if since is None and after is None:
            messages.reverse()
        more = dump(len(rows) > count)
        return f'{{"roomId":{dump(room_id)},"messages":[{",".join(messages)}],"more":{more}}}'

    async def read(self, caller: Caller, room_id: str, seq: int | None) -> ReadMark:
        """Note that the caller has read up to ``seq`` (None: all); it never goes back. Raises ``NotFound``."""
        _signed_in(caller)
        person(caller)
        seen, noted, rows = await self._run(
            caller,
            (statements.ROLE, (room_id,)),
            (statements.NOTE_READ, (room_id, None if seq is None else str(seq))),
            (statements.READ_MARK, (room_id,)),
        )
        if not seen or not rows:
            _raise_not_found()
        return ReadMark(int(_texts(rows)[0]), bool(noted))

    async def exists(self, room_id: str) -> bool:
        """Whether there is such a room, whoever asks."""
        (rows,) = await self._door.once(Caller.service(), [(statements.EXISTS, (room_id,))], read_only=True)
        return bool(rows)

    async def _make_public(self, room_id: str) -> bool:
        """Let a public room of the settings begin to exist; False where it did already."""
        if await self.exists(room_id):
            return False
        is_wanted = "public" in self._settings.model_fields_set
        await self._door.once(Caller.service(), [(statements.CREATE_PUBLIC, (room_id, str(is_wanted).lower()))])
        return True

    async def _run(self, caller: Caller, *steps: Step) -> list[list[Row]]:
        try:
            return await self._door.once(caller, steps)
        except DatabaseError as error:
            raise _translated(error) from error


def person(caller: Caller) -> str:
    """The user's id. Raises ``Forbidden`` ``user_required`` for a token without one, such as the service's."""
    if not caller.user_id:
        raise Forbidden("Only a signed-in user can do this", code="user_required")
    return caller.user_id


def _signed_in(caller: Caller) -> None:
    if caller.role == ANON_ROLE or not (caller.user_id or caller.is_service):
        raise Forbidden("Sign in first: rooms are open to signed-in users", code="sign_in_required")


def _texts(rows: list[Row]) -> list[str]:
    return [(row[0] or b"null").decode() for row in rows]


def _owned(seen: list[Row], done: list[Row]) -> None:
    """Raise for who may not have changed a room: ``seen`` is the answer to ``ROLE``, ``done`` to the change."""
    if not seen:
        _raise_not_found()
    role = seen[0][0]
    if not done or role not in (None, b"owner"):
        raise _not_owner()


def _not_owner() -> Forbidden:
    return Forbidden("Only an owner of the room may do this", code="not_owner")


def _not_found() -> NotFound:
    return NotFound("There is no such room, or it is not open to you", code="room_not_found")


def _raise_not_found() -> NoReturn:
    raise _not_found()


def _translated(error: DatabaseError) -> IsobaseError:
    """PostgreSQL's refusals in the face's words; what a client cannot have caused stays what it is."""
    if error.is_unique_violation:
        return Conflict("There is a room with this id already", code="room_exists")
    # A missing grant says "permission denied for ...": that is no matter of rooms.
    if error.sqlstate == "23503" or (error.is_insufficient_privilege and not error.message.startswith("permission")):
        return _not_found()
    if error.constraint == "room_keeps_an_owner":
        return Conflict(
            "A room keeps at least one owner", code="room_keeps_an_owner", hint="Make another member an owner first"
        )
    if error.sqlstate[:2] in ("22", "23"):
        return BadRequest("A value cannot be stored", code="invalid_value", details=error.message)
    return error
