"""What a ``presence`` message of a client does: track, untrack, and the limits on them.

Source: contracts/realtime.md 1.9 and 1.13.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isobase_services.realtime.core.rates import CallWindow
from isobase_services.realtime.session.policies import Extension, PolicyFailed
from isobase_services.realtime.wire.messages import EMPTY_OBJECT, ClientMessage, dump

if TYPE_CHECKING:
    from isobase_services.realtime.core.topics import Topic
    from isobase_services.realtime.session.channel import Channel, Work

__all__ = ["Tracking"]


class Tracking:
    """Presence of one channel. ``is_enabled`` by its join, or from its first track on."""

    __slots__ = ("_calls", "_channel", "is_enabled")

    def __init__(self, channel: Channel, *, is_enabled: bool) -> None:
        self.is_enabled = is_enabled
        self._channel = channel
        settings = channel.connection.hub.settings
        self._calls = CallWindow(settings.max_presence_calls, settings.presence_window_s)

    def send_state(self, topic: Topic) -> None:
        """Send a new member who is there, if it asked for presence and may see it; sent even when nobody is."""
        channel = self._channel
        if self.is_enabled and channel.may_read_presence and self._take_from_rate():
            channel.push("presence_state", topic.presence.state)

    def _take_from_rate(self) -> bool:
        """Count an event of the project's presence; beyond its rate the channel ends."""
        rate = self._channel.connection.hub.presences
        if rate.average_per_s > rate.limit_per_s:
            self._channel.fail("Too many presence messages per second")
            return False
        rate.add()
        return True

    def handle(self, message: ClientMessage) -> Work | None:
        """Do what a presence message asks; returns what is left to do when its right to must be asked for."""
        channel = self._channel
        event = message.payload.get("event")
        if not isinstance(event, str):
            channel.reply(message.ref, "ok", EMPTY_OBJECT)
            return None
        if not self._calls.take():
            channel.fail("Client presence rate limit exceeded")
            return None
        event = event.lower()
        if event == "untrack":
            channel.reply(message.ref, "ok", EMPTY_OBJECT)
            self._untrack()
            return None
        if event != "track":
            channel.reply(message.ref, "error", EMPTY_OBJECT)
            return None
        may_write = channel.may_write(Extension.PRESENCE)
        if may_write is None:
            return self._track_after_check(message)
        self._track(message, is_allowed=may_write)
        return None

    async def _track_after_check(self, message: ClientMessage) -> None:
        """The first track of a private channel: writing is checked, and reading where the join did not ask for it."""
        channel = self._channel
        is_allowed = await channel.check_write(Extension.PRESENCE)
        if is_allowed and not self.is_enabled:
            try:
                grant = await channel.connection.hub.policies.may_read(
                    channel.caller, channel.key.name, with_presence=True
                )
            except PolicyFailed:
                is_allowed = None
            else:
                channel.may_read_presence = bool(grant.presence)
        if not channel.is_ended:
            self._track(message, is_allowed=bool(is_allowed))

    def _track(self, message: ClientMessage, *, is_allowed: bool) -> None:
        channel = self._channel
        topic = channel.topic
        assert topic is not None
        hub = channel.connection.hub
        if not is_allowed:
            channel.reply(message.ref, "error", EMPTY_OBJECT)
            return
        fields = message.payload.get("payload", {})
        if not isinstance(fields, dict):
            reason = dump({"reason": "Presence track payload must be a map"})
            channel.reply(message.ref, "error", reason)
            return
        if topic.presence.has(channel, fields):
            # What is tracked already costs nothing: clients that repeat themselves are common.
            channel.reply(message.ref, "ok", EMPTY_OBJECT)
            return
        if len(dump(fields)) > hub.settings.max_payload_bytes:
            channel.fail("Track message size exceeded")
            return
        if not self._take_from_rate():
            return
        self.is_enabled = True
        channel.reply(message.ref, "ok", EMPTY_OBJECT)
        diff = topic.presence.track(channel, channel.request.presence_key, fields)
        if diff is not None:
            hub.presences.add(hub.topics.publish_presence(topic, diff))

    def _untrack(self) -> None:
        topic, hub = self._channel.topic, self._channel.connection.hub
        assert topic is not None
        diff = topic.presence.untrack(self._channel)
        if diff is not None:
            hub.presences.add(hub.topics.publish_presence(topic, diff))
