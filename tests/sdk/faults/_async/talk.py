"""A user who talks in a room while the network goes wrong: every message is said once at most, and heard once, in order."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import AsyncExitStack

import httpx

from isobase._async.client import AsyncClient
from isobase._http import call_options
from isobase.rooms import AsyncLiveRoom, IsobaseAPIError, Message
from tests.sdk.faults.ledger import Tally

__all__ = ["AsyncTalk"]

WAIT_S = 60.0
PAGE = 200


class AsyncTalk:
    """A room of ``member``'s own, over the socket of its client, whose session changes its tokens meanwhile."""

    def __init__(
        self, member: AsyncClient, tally: Tally, *, messages: int, timeout_s: float, servers_die: bool
    ) -> None:
        self._member = member
        self._tally = tally
        self._messages = messages
        self._timeout_s = timeout_s
        self._servers_die = servers_die
        self._open = AsyncExitStack()
        self._asked: list[str] = []
        self._said: set[str] = set()
        self.room: AsyncLiveRoom | None = None

    async def begin(self) -> None:
        """Make the room and join it."""
        made = await self._member.rooms.create()
        socket = await self._open.enter_async_context(self._member.rooms.connect())
        self.room = await socket.join(made.room_id)

    async def talk(self) -> None:
        """Say something, again and again."""
        assert self.room is not None
        for number in range(self._messages):
            text = f"message {number}"
            self._asked.append(text)
            began = time.monotonic()
            error: BaseException | None = None
            try:
                with call_options(timeout=self._timeout_s):
                    await self.room.send(text)
                self._said.add(text)
            except (httpx.TransportError, IsobaseAPIError) as problem:
                error = problem
                if isinstance(problem, IsobaseAPIError) and not self._servers_die:
                    raise
            finally:
                self._tally.ended("message", began, self._timeout_s, error)

    async def check(self) -> None:
        """Compare, in good weather, what was heard with what the room holds."""
        assert self.room is not None
        with call_options(timeout=WAIT_S):
            last = await self.room.send("last")
        heard: list[Message] = []
        while not heard or heard[-1].seq < last.seq:
            event = await self.room.next_event(WAIT_S)
            assert event is not None, "the room was left"
            if isinstance(event, Message):
                heard.append(event)
        stored: list[Message] = []
        while len(stored) < last.seq:
            page = await self._member.rooms.history(
                self.room.room_id, after=stored[-1].seq if stored else 0, limit=PAGE
            )
            stored += page.messages
        assert [(one.seq, one.message) for one in heard] == [(one.seq, one.message) for one in stored]
        counts = Counter(str(one.message) for one in stored)
        assert set(counts.values()) == {1}, f"said twice: {counts.most_common(3)}"
        assert self._said <= set(counts), f"lost: {self._said - set(counts)}"

    async def close(self) -> None:
        """Close the socket."""
        await self._open.aclose()
