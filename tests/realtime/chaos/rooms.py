"""Members of one room of the simple face, one on each process, who talk and hear while parts die."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from dataclasses import dataclass, field

import asyncpg
import websockets

from tests.realtime.chaos.followers import USERS, World
from tests.realtime.chaos.nodes import NodeProcess
from tests.realtime.simple.client import Simple

ROOM = "~chaos"
PAUSE_S = 0.05
ANSWER_S = 20.0
"""Then a talker comes again: less than the time in which all must be there at the end."""
_LOST = (OSError, websockets.WebSocketException, TimeoutError, ConnectionError)


@dataclass
class Talker:
    """Sends numbered messages, each again under its client id until it is answered. ``lives``: its sockets."""

    world: World
    node: NodeProcess
    name: str
    user: str
    is_over: asyncio.Event = field(default_factory=asyncio.Event)
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)
    lives: list[Simple] = field(default_factory=list)
    answered: dict[str, int] = field(default_factory=dict)
    """The number in the room that each client id was answered with."""
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _client_id: str | None = None

    async def talk(self) -> None:
        """Until cancelled; silent once ``is_over``."""
        while True:
            with suppress(*_LOST):
                await self._live_once()
            self.is_ready.clear()
            await asyncio.sleep(0.1)

    async def _live_once(self) -> None:
        socket = await Simple.open(self.node.port, query=f"?token={self.world.token(self.user)}")
        try:
            if not (await socket.ask("joinRoom", ANSWER_S, roomId=ROOM))["ok"]:
                return
            self.lives.append(socket)
            self.is_ready.set()
            while not self.is_over.is_set():
                await self._say(socket)
                await asyncio.sleep(PAUSE_S)
            await socket.closed(3600)
        finally:
            with suppress(*_LOST):
                await socket.close()

    async def _say(self, socket: Simple) -> None:
        if self._client_id is None:
            self._client_id = f"{self.name}-{next(self._numbers)}"
        answer = await socket.ask(
            "sendMessage", ANSWER_S, roomId=ROOM, message=self._client_id, clientId=self._client_id
        )
        if answer["ok"]:
            self.answered[self._client_id] = answer["seq"]
            self._client_id = None

    def check(self, stored: dict[int, str]) -> int:
        """What was answered is stored; each socket heard all that is stored from some point on. Returns how many."""
        for client_id, seq in self.answered.items():
            assert stored.get(seq) == client_id, ("answered and not stored", client_id, seq, stored.get(seq))
        count = 0
        for number, life in enumerate(self.lives):
            heard = [(frame["seq"], frame["message"]) for frame in life.events("message")]
            count += len(heard)
            if heard:
                begin = heard[0][0]
                expected = [(seq, stored.get(seq)) for seq in range(begin, begin + len(heard))]
                wrong = next((pair for pair in zip(expected, heard, strict=True) if pair[0] != pair[1]), None)
                assert wrong is None, ("room", self.name, f"socket {number} of {len(self.lives)}", wrong)
        return count


async def open_room(world: World) -> list[Talker]:
    """Make the room, and a member for each process."""
    socket = await Simple.open(world.nodes[0].port, query=f"?token={world.token(USERS[0])}")
    await socket.do("createRoom", roomId=ROOM, members=[USERS[1]])
    await socket.close()
    return [Talker(world, node, f"n{node.number}", USERS[node.number % 2]) for node in world.nodes]


async def settle_room(world: World, talkers: list[Talker]) -> int:
    """Let the talkers be silent, and wait until all who are there have heard the end; returns how much was heard."""
    for talker in talkers:
        talker.is_over.set()
    async with asyncio.timeout(60):
        for talker in talkers:
            await talker.is_ready.wait()
    owner = await asyncpg.connect(world.dsn)
    await asyncio.sleep(1.0)  # what was under way
    caller = await Simple.open(world.nodes[0].port, query=f"?token={world.token(USERS[0])}")
    last = (await caller.do("sendMessage", roomId=ROOM, message="last"))["seq"]
    await caller.close()
    rows = await owner.fetch("select seq, body #>> '{}' as message from isobase.room_messages where room_id = $1", ROOM)
    await owner.close()
    stored = {row["seq"]: row["message"] for row in rows}
    assert len(set(stored.values())) == len(stored), "a message that was sent again is stored twice"
    assert sorted(stored) == list(range(1, last + 1))
    for talker in talkers:
        async with asyncio.timeout(60):
            while not any(frame["seq"] == last for frame in talker.lives[-1].events("message")):
                await asyncio.sleep(0.05)
    return sum(talker.check(stored) for talker in talkers)
