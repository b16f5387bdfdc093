"""The token of one channel: confirmed while it lives, replaced by ``access_token`` messages, and the end it brings.

Source: contracts/realtime.md 1.4, 1.7 and 1.13.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from isobase_services.realtime.core.access import Access, AccessRefused, grant_access
from isobase_services.realtime.session.joining import no_permission
from isobase_services.realtime.session.policies import PolicyFailed

if TYPE_CHECKING:
    from isobase_services.realtime.session.channel import Channel, Work

__all__ = ["TokenWatch"]

CONFIRM_TOKEN_INTERVAL_S = 300.0


class TokenWatch:
    """Whose rights a channel has, and until when."""

    __slots__ = ("_channel", "_timer", "access", "behind")

    def __init__(self, channel: Channel, access: Access) -> None:
        self.access = access
        self.behind: str | None = None
        """The message whose transaction changed what policies read, where the log told of one."""
        self._channel = channel
        self._timer: asyncio.TimerHandle | None = None

    def handle(self, token: object) -> Work | None:
        """Take a new token: the rights of the old one end at once, whatever the new one allows."""
        channel = self._channel
        if not isinstance(token, str) or token.startswith("sb_") or token == self.access.token:
            return None
        try:
            self.access = grant_access(channel.connection.hub.verifier, token, channel.connection.request)
        except AccessRefused as error:
            channel.fail(error.end_message)
            return None
        self.watch()
        if channel.changes is not None:
            channel.changes.replace_caller()
        return self.read_policies_again() if channel.key.is_private else None

    async def read_policies_again(self) -> None:
        """Deliver nothing until the policies have answered; end the channel where they now refuse what they allowed."""
        channel = self._channel
        previous = (channel.may_read_broadcasts, channel.may_read_presence)
        channel.withhold()
        behind, self.behind = self.behind, None
        try:
            if behind is not None:
                await channel.connection.hub.policies.wait_for(behind)
            grant = await channel.connection.hub.policies.may_read(
                self.access.caller, channel.key.name, with_presence=channel.tracking.is_enabled
            )
        except PolicyFailed as error:
            channel.fail(error.end_message or no_permission(channel.key.name))
            return
        if channel.is_ended:
            return
        if not (grant.broadcast or grant.presence):
            channel.fail(no_permission(channel.key.name))
            return
        if (previous[0] and not grant.broadcast) or (previous[1] and grant.presence is False):
            channel.fail(f"You no longer have permission to read from this Channel topic: {channel.key.name}")
            return
        channel.apply(grant)

    def watch(self) -> None:
        """Confirm the token again when it ends, or after five minutes."""
        self.stop()
        left_s = self.access.expires_at_s - self._channel.connection.wall_clock()
        # A millisecond late: a token is good until its very last second has passed.
        delay_s = min(CONFIRM_TOKEN_INTERVAL_S, max(left_s, 0.0) + 0.001)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self.confirm)

    def confirm(self) -> None:
        """Verify a member's token again: it may have expired, or its key may be gone."""
        channel = self._channel
        if self._timer is None or channel.is_ended:
            return
        try:
            grant_access(channel.connection.hub.verifier, self.access.token, channel.connection.request)
        except AccessRefused as error:
            channel.fail(error.end_message)
            return
        self.watch()

    def stop(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
