"""Chat rooms (``client.rooms``): Isobase's simple realtime face, over HTTP and over a socket that comes back by itself.

``models`` holds what is answered, ``room_state`` decides which messages a room has yet to give, ``mailbox`` is what
readers wait at;
``_async`` talks.
"""

from __future__ import annotations

from isobase._face.errors import IsobaseAPIError
from isobase.rooms._async.live import AsyncLiveRoom
from isobase.rooms._async.rooms import AsyncRooms
from isobase.rooms._async.socket import AsyncRoomSocket
from isobase.rooms._sync.live import SyncLiveRoom
from isobase.rooms._sync.rooms import SyncRooms
from isobase.rooms._sync.socket import SyncRoomSocket
from isobase.rooms.models import (
    History,
    Left,
    Live,
    Member,
    MemberChange,
    MemberPage,
    Message,
    Person,
    Presence,
    ReadMark,
    Room,
    RoomChange,
    RoomEvent,
    RoomPage,
    Typing,
)

__all__ = [
    "AsyncLiveRoom",
    "AsyncRoomSocket",
    "AsyncRooms",
    "History",
    "IsobaseAPIError",
    "Left",
    "Live",
    "Member",
    "MemberChange",
    "MemberPage",
    "Message",
    "Person",
    "Presence",
    "ReadMark",
    "Room",
    "RoomChange",
    "RoomEvent",
    "RoomPage",
    "SyncLiveRoom",
    "SyncRoomSocket",
    "SyncRooms",
    "Typing",
]
