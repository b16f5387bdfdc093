"""What a ``broadcast`` of a client does: the right to write, limits, hand-off to the topic, acknowledgement.

Source: contracts/realtime.md 1.8 and 1.13.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isobase_services.realtime.session.policies import Extension
from isobase_services.realtime.wire.messages import EMPTY_OBJECT, ClientMessage, Outgoing, TextBroadcast, dump

if TYPE_CHECKING:
    from isobase_services.realtime.session.channel import Channel, Work
    from isobase_services.realtime.session.room_gate import RoomGate

__all__ = ["handle_broadcast"]


def handle_broadcast(channel: Channel, message: ClientMessage) -> Work | None:
    """Send a broadcast of ``channel``'s client; returns what is left to do when its right to must be asked for."""
    outgoing: Outgoing = message.broadcast or TextBroadcast(dump(message.payload))
    rooms = channel.connection.hub.rooms
    if rooms is not None and channel.key.is_private:
        event = message.broadcast.event if message.broadcast is not None else message.payload.get("event")
        if rooms.takes(channel.key, event):
            return _send_to_room(channel, message, outgoing, rooms)
    may_write = channel.may_write(Extension.BROADCAST)
    if may_write is None:
        return _send_after_check(channel, message, outgoing)
    if may_write:
        _send(channel, message, outgoing)
    # Denied: nothing is sent and nothing is answered, not even with ack (1.8).
    return None


async def _send_after_check(channel: Channel, message: ClientMessage, outgoing: Outgoing) -> None:
    if await channel.check_write(Extension.BROADCAST) and not channel.is_ended:
        _send(channel, message, outgoing)


async def _send_to_room(channel: Channel, message: ClientMessage, outgoing: Outgoing, rooms: RoomGate) -> None:
    """Events of rooms are stored or told by whom the token names; where there is no such room, broadcast as any other."""
    answer = await rooms.receive(channel.key, outgoing, channel.caller, channel)
    if channel.is_ended:
        return
    if answer is None:
        if channel.may_write(Extension.BROADCAST) or await channel.check_write(Extension.BROADCAST):
            _send(channel, message, outgoing)
    elif channel.request.ack:
        if answer.reason is None:
            channel.reply(message.ref, "ok", EMPTY_OBJECT)
        else:
            channel.reply(message.ref, "error", dump({"reason": answer.reason}))


def _send(channel: Channel, message: ClientMessage, outgoing: Outgoing) -> None:
    hub = channel.connection.hub
    hub.events.add()
    if hub.events.is_exceeded:
        channel.fail("Too many messages per second")
        return
    if hub.too_large(outgoing):
        if channel.request.ack:
            # Upstream's response is a bare string, which its own Python client refuses to read.
            channel.reply(message.ref, "error", '{"reason":"payload_size_exceeded"}')
        return
    hub.publish(channel.key, outgoing, exclude=None if channel.request.sees_own_broadcasts else channel)
    if channel.request.ack:
        channel.reply(message.ref, "ok", EMPTY_OBJECT)
