"""What a ``broadcast`` of a client does: the right to write, limits, hand-off to the topic, acknowledgement.

Source: contracts/realtime.md 1.8 and 1.13.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isobase_services.realtime.session.policies import Extension
from isobase_services.realtime.wire.messages import EMPTY_OBJECT, ClientMessage, Outgoing, TextBroadcast, dump

if TYPE_CHECKING:
    from isobase_services.realtime.session.channel import Channel, Work

__all__ = ["handle_broadcast"]


def handle_broadcast(channel: Channel, message: ClientMessage) -> Work | None:
    """Send a broadcast of ``channel``'s client; returns what is left to do when its right to must be asked for."""
    outgoing: Outgoing
    try:
        outgoing = message.broadcast or TextBroadcast(dump(message.payload))
    except RecursionError:
        return None
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
