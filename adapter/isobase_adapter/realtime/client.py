"""The realtime client of a migration client: the official client's face over a connection to each side that is needed.

Supabase is reached with the official package, Isobase with our SDK. Neither is connected before a channel needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable
from typing import Any

import isobase.realtime
from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.contracts import Event
from isobase_adapter.http.addresses import claims_unverified
from isobase_adapter.realtime.channel import AsyncMigrationChannel
from isobase_adapter.realtime.routes import Following, RealtimeRoute, row_leader
from isobase_adapter.sides import Side
from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimeChannelOptions

__all__ = ["AsyncMigrationRealtime"]

logger = logging.getLogger("isobase.migration.realtime")

REALTIME = Capability(Kind.REALTIME)
LOOK_S = 1.0
"""How often stages are looked at that tell no change (a file of flags), and lost connections to Supabase opened again."""


class AsyncMigrationRealtime(AsyncRealtimeClient):
    """Listens and sends on both sides.

    url, token, options: as the official client's. isobase_url: Isobase's realtime URL. key_at_isobase: gives Isobase's
    key in place of one of Supabase's, and a user's token as it is. following: the flags.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        isobase_url: str,
        key_at_isobase: Callable[[str], str],
        following: Following,
        **options: Any,
    ) -> None:
        super().__init__(url, token=token, **options)
        self._given_url = url
        self._options = options
        self._isobase_url = isobase_url
        self._key_at_isobase = key_at_isobase
        self._following = following
        self._sides: dict[Side, Any] = {}
        self._ends_following: Callable[[], None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._connecting: set[asyncio.Task[None]] = set()

    # the sides

    def side_client(self, side: Side) -> Any:
        """Give the client of a side, with the token of now."""
        client = self._sides.get(side)
        if client is None:
            token = self._token_at(side, self.apikey)
            if side is Side.SUPABASE:
                client = AsyncRealtimeClient(self._given_url, token=token, **self._options)
            else:
                client = isobase.realtime.AsyncRealtimeClient(self._isobase_url, token=token, **self._options)
            client.access_token = self._token_at(side, self.access_token)
            self._sides[side] = client
        return client

    def _token_at(self, side: Side, token: str | None) -> str | None:
        return token if side is Side.SUPABASE or token is None else self._key_at_isobase(token)

    def route(self) -> RealtimeRoute:
        """Say where this client's user listens now."""
        subject = claims_unverified(self.access_token).get("sub") if self.access_token else None
        user = subject if isinstance(subject, str) else None
        return RealtimeRoute.of(self._following.acted(REALTIME, user))

    def row_leader(self, schema: str | None, table: str | None) -> Side:
        """Say which side sees every change of a table."""
        return row_leader(self._following, schema, table)

    def lost(self, side: Side, topic: str, error: Exception) -> None:
        """Tell operators that a channel is not joined at a side."""
        logger.warning("%s is not joined on %s: %s", topic, side, type(error).__name__)
        self._following.tell(Event("realtime_lost", str(REALTIME), {"side": side, "why": type(error).__name__}))

    def fell_back(self, side: Side, topic: str) -> None:
        """Tell operators that a channel goes by the other side alone."""
        self._following.tell(Event("realtime_fallback", str(REALTIME), {"side": side}))

    def follow_changes(self) -> None:
        """Take every change of flags to the channels, from now until ``close``."""
        if self._looking is not None and not self._looking.done():
            return
        loop = asyncio.get_running_loop()

        def changed() -> None:
            with contextlib.suppress(RuntimeError):  # the app's event loop has ended
                loop.call_soon_threadsafe(self._follow)

        self._ends_following = self._following.on_change(changed)
        self._looking = loop.create_task(self._look())

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self._follow()
            official = self._sides.get(Side.SUPABASE)
            if official is not None and official.channels and not official.is_connected and not self._connecting:
                task = asyncio.create_task(self._connect_again(official))
                self._connecting.add(task)
                task.add_done_callback(self._connecting.discard)

    def _follow(self) -> None:
        for channel in list(self.channels.values()):
            if isinstance(channel, AsyncMigrationChannel):
                channel.follow()

    @staticmethod
    async def _connect_again(official: AsyncRealtimeClient) -> None:
        """Open the connection again: the official client gives up after a few attempts."""
        with contextlib.suppress(Exception):  # the next look tries again
            await official.connect()

    # the official client's face

    @property
    def is_connected(self) -> bool:
        """Whether any side is connected."""
        return any(client.is_connected for client in self._sides.values())

    async def connect(self) -> None:
        """Connect the side that answers; raises what its client raises."""
        await self.side_client(self.route().leader).connect()

    async def close(self) -> None:
        """Close both connections and end what runs."""
        if self._ends_following is not None:
            self._ends_following()
            self._ends_following = None
        tasks = [task for task in (self._looking, *self._connecting) if task is not None]
        self._looking = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in self._sides.values():
            await client.close()

    def channel(self, topic: str, params: RealtimeChannelOptions | None = None) -> AsyncRealtimeChannel:
        """Give the channel of ``topic``: the one there is, or a new one with ``params``."""
        name = f"realtime:{topic}"
        existing = self.channels.get(name)
        if existing is not None and not existing.is_leaving:
            return existing
        made = self.channels[name] = AsyncMigrationChannel(self, name, _with_presence_key(params))
        return made

    async def remove_channel(self, channel: AsyncRealtimeChannel) -> None:
        """Leave a channel; without any, the connections are closed."""
        if self.channels.get(channel.topic) is channel:
            await channel.unsubscribe()
            self._remove_channel(channel)
        if not self.channels:
            await self.close()

    async def remove_all_channels(self) -> None:
        """Leave all channels and close the connections."""
        for channel in list(self.channels.values()):
            await channel.unsubscribe()
            self._remove_channel(channel)
        await self.close()

    async def set_auth(self, token: str | None) -> None:
        """Use a user's token on both sides from now on."""
        self.access_token = token
        outcomes = await asyncio.gather(
            *(client.set_auth(self._token_at(side, token)) for side, client in self._sides.items()),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                logger.warning("a side was not told the token: %s", type(outcome).__name__)
        self._follow()

    async def send(self, message: Any) -> None:
        """Send a message of the protocol to the side that answers."""
        await self.side_client(self.route().leader).send(message)


def _with_presence_key(params: RealtimeChannelOptions | None) -> RealtimeChannelOptions:
    """Give the options with a key of presence: servers make one up for each connection, and there are two here."""
    config: dict[str, Any] = dict((params or {}).get("config") or {})
    config.setdefault("broadcast", {"ack": False, "self": False})
    config.setdefault("private", False)
    presence = dict(config.get("presence") or {"key": "", "enabled": False})
    presence["key"] = presence.get("key") or uuid.uuid4().hex
    presence.setdefault("enabled", False)
    config["presence"] = presence
    return {**(params or {}), "config": config}  # type: ignore[typeddict-item]
