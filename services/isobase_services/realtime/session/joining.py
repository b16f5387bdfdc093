"""Joining a channel: what its policies allow, membership, the reply, and what a new member is sent, in upstream's order.

Source: contracts/realtime.md 1.5, 1.6, 1.8 and 1.13.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from isobase_services.realtime.core.replay import ReplayRefused, ReplayWindow, StoredMessage, plan_replay
from isobase_services.realtime.session.policies import PolicyFailed
from isobase_services.realtime.wire.messages import Outgoing, Ref

if TYPE_CHECKING:
    from isobase_services.realtime.session.channel import Channel

__all__ = ["JoinRefused", "begin_join", "no_permission"]

REPLICATION_READY_TIMEOUT_S = 60.0
STREAM_TIMEOUT_S = 3.0
"""How long a join with a replay waits for the stream that brings what is sent later; then it goes on without."""

_log = logging.getLogger("isobase.realtime")


class JoinRefused(Exception):
    """A join that is answered with an error reply; the text is the reply's ``reason``."""


def no_permission(topic: str) -> str:
    """Upstream's words for a private channel that its policies keep closed."""
    return f"You do not have permissions to read from this Channel topic: {topic}"


def begin_join(channel: Channel, ref: Ref) -> None:
    """Join now, or for a private channel once its policies have answered. ``ref`` is that of the ``phx_join``."""
    if channel.key.is_private:
        channel.occupy(_join_private(channel, ref))
        return
    try:
        _enter(channel, ref)
    except Exception:  # noqa: BLE001  whatever it is: the client waits for an answer
        _refuse_unknown(channel, ref)


async def _join_private(channel: Channel, ref: Ref) -> None:
    try:
        await _ask_policies(channel)
        params = None if channel.request.replay is None else channel.request.replay.params
        if params is None:
            _enter(channel, ref)
        else:
            await _enter_with_replay(channel, ref, plan_replay(params))
    except (JoinRefused, ReplayRefused) as error:
        _refuse(channel, ref, str(error))
    except Exception:  # noqa: BLE001  as above
        _refuse_unknown(channel, ref)


def _refuse_unknown(channel: Channel, ref: Ref) -> None:
    _log.exception("a join failed unexpectedly", extra={"topic": channel.key.name})
    _refuse(channel, ref, "Unknown Error on Channel")


def _refuse(channel: Channel, ref: Ref, reason: str) -> None:
    if not channel.is_ended:
        channel.end()
        channel.connection.forget(channel)
        channel.connection.refuse_join(channel.join_ref, ref, channel.wire_topic, reason)


async def _ask_policies(channel: Channel) -> None:
    """Give the channel what its policies allow. Raises ``JoinRefused``."""
    name = channel.key.name
    try:
        grant = await channel.connection.hub.policies.may_read(
            channel.caller, name, with_presence=channel.tracking.is_enabled
        )
    except PolicyFailed as error:
        raise JoinRefused(error.join_reason or f"Unauthorized: {no_permission(name)}") from error
    # Who reads presence alone joins, but has no broadcasts to be sent again.
    is_enough = grant.broadcast if channel.request.replay is not None else grant.broadcast or grant.presence
    if not is_enough:
        raise JoinRefused(f"Unauthorized: {no_permission(name)}")
    channel.apply(grant)


async def _enter_with_replay(channel: Channel, ref: Ref, window: ReplayWindow) -> None:
    """Join with the messages of ``window``. Those that are sent while the table is read follow them, each once."""
    if channel.is_ended:
        return
    hub = channel.connection.hub
    # The log first: what is stored before the stream runs is read from the table, what comes later arrives by the stream.
    channel.changes = hub.changes.subscribe(channel, channel.request.changes, channel.request.change_options)
    await hub.changes.settle(STREAM_TIMEOUT_S)
    with hub.hold(channel.key) as held:
        messages = await hub.history.replay(channel.key.name, window)
        channel.replayed_ids = frozenset(message.identifier for message in messages)
    # Nothing awaits from here on: what is sent now finds a member.
    _enter(channel, ref, messages, held)


def _enter(channel: Channel, ref: Ref, replayed: Sequence[StoredMessage] = (), held: Iterable[Outgoing] = ()) -> None:
    """Become a member, answer the join, then push what a new member gets, in upstream's order (1.6)."""
    if channel.is_ended:
        return
    hub = channel.connection.hub
    topic = channel.topic = hub.topics.join(channel.key, channel)
    hub.count_user(channel.connection)
    channel.token.watch()
    changes = channel.changes = channel.changes or hub.changes.subscribe(
        channel, channel.request.changes, channel.request.change_options
    )
    channel.reply(ref, "ok", f'{{"postgres_changes":{changes.echo}}}')
    for message in replayed:
        channel.push_broadcast(message.replayed)
    for outgoing in held:
        if outgoing.identifier not in channel.replayed_ids:
            channel.push_broadcast(outgoing)
    changes.start()
    if channel.request.wants_replication_ready:
        channel.connection.spawn(_announce_replication(channel))
    channel.tracking.send_state(topic)


async def _announce_replication(channel: Channel) -> None:
    is_ready = await channel.connection.hub.changes.wait_until_live(REPLICATION_READY_TIMEOUT_S)
    if channel.is_ended:
        return
    if is_ready:
        channel.system("system", "ok", "Replication connection established")
    else:
        channel.fail("Replication connection was not established in time")
