"""What a process of the sample app hears: what its other processes say, and the changes of one user's orders.

Whatever stage realtime is in, a listener hears each acknowledged message and each acknowledged order once.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

from realtime.types import RealtimePostgresChangesListenEvent

from isobase_adapter import AsyncMigrationClient
from realtime import RealtimeSubscribeStates
from tests.adapter.app.journal import Journal

__all__ = ["Listener", "unheard"]

JOIN_TIMEOUT_S = 30.0
HEARS_UNTIL_S = 12.0
"""A change that one side alone has is told five seconds later."""
EVENT = "said"


class Listener:
    """One process's channel. user: whose orders it hears of (``User.id``)."""

    def __init__(self, client: AsyncMigrationClient, journal: Journal, user: str, access_token: str) -> None:
        self._client, self._journal = client, journal
        self._name = str(uuid.uuid4())
        self._user, self._access_token = user, access_token
        self._is_leaving = False

    async def join(self) -> None:
        """Listen, from now on."""
        await self._client.realtime.set_auth(self._access_token)
        joined = asyncio.Event()

        def told(state: RealtimeSubscribeStates, error: Exception | None) -> None:
            if state == RealtimeSubscribeStates.SUBSCRIBED:
                joined.set()
            elif not self._is_leaving:
                self._journal.note("channel lost", told=str(state), error=repr(error))

        self._channel: Any = self._client.channel("room")
        self._channel.on_broadcast(EVENT, lambda message: self._hear(message["payload"]["id"]))
        self._channel.on_postgres_changes(
            # Of a listener that asks for inserts alone a change that is carried as an insert has no double.
            RealtimePostgresChangesListenEvent.All,
            lambda change: self._hear_of(cast(Any, change)["data"]),
            table="orders",
            schema="public",
        )
        await self._channel.subscribe(told)
        async with asyncio.timeout(JOIN_TIMEOUT_S):
            await joined.wait()
        self._journal.note("listens", listener=self._name, user=self._user)

    async def say(self, message: str) -> None:
        """Tell every listener; returns when a side has taken it."""
        await self._channel.http_send(EVENT, {"id": message})

    async def leave(self) -> None:
        """Hear what is still to come, and end."""
        await asyncio.sleep(HEARS_UNTIL_S)
        self._is_leaving = True
        await self._client.remove_channel(self._channel)

    def _hear_of(self, change: Mapping[str, Any]) -> None:
        if change["type"] == "INSERT":
            self._hear(change["record"]["id"])

    def _hear(self, what: str) -> None:
        self._journal.note("heard", listener=self._name, what=what)


def unheard(
    notes: Mapping[str, Sequence[Mapping[str, Any]]], said: Mapping[str, float], orders: Mapping[str, tuple[str, float]]
) -> list[str]:
    """What listeners did not hear once.

    said: when each acknowledged message was said. orders: of each acknowledged order whose it is, and when it was placed.
    """
    heard = Counter((note["listener"], note["what"]) for note in notes.get("heard", ()))
    wrong = []
    for note in notes.get("listens", ()):
        mine = [key for key, at in said.items() if at > note["at"]]
        mine += [key for key, (user, at) in orders.items() if at > note["at"] and user == note["user"]]
        wrong += [
            f"{key} was heard {times} times by the listener of {note['user']}"
            for key in mine
            if (times := heard[note["listener"], key]) != 1
        ]
    return wrong
