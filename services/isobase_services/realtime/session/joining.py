"""Joining a channel: what its policies allow, membership, the reply, and what a new member is sent, in upstream's order.

Lives as long as the join is under way. Source: contracts/realtime.md 1.5, 1.6 and 1.13.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isobase_services.realtime.session.policies import PolicyFailed
from isobase_services.realtime.wire.messages import Ref

if TYPE_CHECKING:
    from isobase_services.realtime.session.channel import Channel

__all__ = ["JoinRefused", "begin_join", "no_permission"]

REPLICATION_READY_TIMEOUT_S = 15.0


class JoinRefused(Exception):
    """A join that is answered with an error reply; the text is the reply's ``reason``."""


def no_permission(topic: str) -> str:
    """Upstream's words for a private channel that its policies keep closed."""
    return f"You do not have permissions to read from this Channel topic: {topic}"


def begin_join(channel: Channel, ref: Ref) -> None:
    """Join now, or for a private channel once its policies have answered. ``ref`` is that of the ``phx_join``."""
    if channel.key.is_private:
        channel.occupy(_join_private(channel, ref))
    else:
        _enter(channel, ref)


async def _join_private(channel: Channel, ref: Ref) -> None:
    try:
        grant = await channel.connection.hub.policies.may_read(
            channel.caller, channel.key.name, with_presence=channel.tracking.is_enabled
        )
    except PolicyFailed as error:
        _refuse(
            channel,
            ref,
            "UnableToConnectToProject: Realtime was unable to connect to the project database"
            if error.is_database_away
            else f"Unauthorized: {no_permission(channel.key.name)}",
        )
        return
    if channel.is_ended:
        return
    if not (grant.broadcast or grant.presence):
        _refuse(channel, ref, f"Unauthorized: {no_permission(channel.key.name)}")
        return
    channel.apply(grant)
    _enter(channel, ref)


def _refuse(channel: Channel, ref: Ref, reason: str) -> None:
    if channel.is_ended:
        return
    channel.end()
    channel.connection.forget(channel)
    channel.connection.refuse_join(channel.join_ref, ref, channel.wire_topic, reason)


def _enter(channel: Channel, ref: Ref) -> None:
    """Become a member, answer the join, then push what a new member gets, in this order (1.6)."""
    hub = channel.connection.hub
    topic = channel.topic = hub.topics.join(channel.key, channel)
    channel.token.watch()
    changes = hub.changes.subscribe(channel, channel.request.changes)
    channel.reply(ref, "ok", f'{{"postgres_changes":{changes.echo}}}')
    if channel.tracking.is_enabled and channel.may_read_presence:
        channel.push("presence_state", topic.presence.state)
    channel.changes = changes
    changes.start()
    if channel.request.wants_replication_ready:
        channel.connection.spawn(_announce_replication(channel))


async def _announce_replication(channel: Channel) -> None:
    is_ready = await channel.connection.hub.changes.wait_until_live(REPLICATION_READY_TIMEOUT_S)
    if channel.is_ended:
        return
    if is_ready:
        channel.system("system", "ok", "Replication connection established")
    else:
        channel.fail("Replication connection was not established in time")
