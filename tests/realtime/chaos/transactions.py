"""Writers whose transactions overlap, roll back or are large, and who follows their rows and messages: `make chaos-realtime`.

What was committed is in a table of its own, written by the same transactions: the truth that everybody is compared with.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import asyncpg
import jwt
import websockets

from tests.realtime.chaos.followers import CATCH_UP_S, USERS, World
from tests.realtime.chaos.nodes import NodeProcess
from tests.realtime.chaos.rooms import open_room, settle_room
from tests.realtime.client import Phoenix, Received

TEAMS: dict[str, tuple[str, ...]] = {"red": (USERS[0],), "blue": (USERS[1],), "green": USERS}
WRITERS = 4
FIRST_LARGE_VERSION = 1_000_000
LARGE_STEP = 1_000_000
MAX_SOCKET_LIFE_S = 6.0
STALL_S = 20.0
"""Longer than the server keeps a sender that it does not hear of, so that another process takes over."""
_LOST = (OSError, websockets.WebSocketException, TimeoutError, ConnectionError)
_DATABASE_LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

# One table whose policy is answered without SQL, one whose policy reads another table.
SCHEMA = f"""
create table public.items (id int primary key, owner uuid not null, version bigint not null, writer int not null);
create table public.members (team text, uid uuid);
create table public.shared (id int primary key, team text not null, version bigint not null, writer int not null);
create table public.truth (version bigint primary key, writer int not null, owner uuid, team text, is_said boolean not null);
alter table public.items enable row level security;
alter table public.shared enable row level security;
create policy "owners read" on public.items for select using (owner = auth.uid());
create policy "members read" on public.shared for select using (
  exists (select from public.members m where m.team = shared.team and m.uid = auth.uid()));
insert into public.members values {", ".join(f"('{team}', '{user}')" for team, users in TEAMS.items() for user in users)};
grant select on public.items, public.shared, public.members to authenticated;
alter publication supabase_realtime add table public.items, public.shared;
create policy "everybody hears" on realtime.messages for select to authenticated using (true);
"""
ENTRIES = [{"event": "*", "schema": "public", "table": table} for table in ("items", "shared")]


class Writers:
    """Connections that write at the same time. ``version`` is the newest number that was given out."""

    def __init__(self, dsn: str, seed: int) -> None:
        self.version = 0
        self._dsn = dsn
        self._chance = random.Random(seed)
        self._is_over = asyncio.Event()
        self._larges = itertools.count()

    async def write(self) -> None:
        """Until ``end``."""
        await asyncio.gather(*(self._writer(number) for number in range(WRITERS)))

    def end(self) -> None:
        """Let the transactions that run be the last."""
        self._is_over.set()

    async def large(self, rows: int) -> None:
        """One transaction of ``rows`` changes of the first user's."""
        first = FIRST_LARGE_VERSION + LARGE_STEP * next(self._larges)
        connection = await asyncpg.connect(self._dsn, timeout=10)
        try:
            async with connection.transaction():
                await connection.execute(
                    "insert into items select n, $1::text::uuid, n, -1 from generate_series($2::int, $3::int) as n",
                    USERS[0],
                    first,
                    first + rows - 1,
                )
                await connection.execute(
                    "insert into truth select n, -1, $1::text::uuid, null, false from generate_series($2::int, $3::int) as n",
                    USERS[0],
                    first,
                    first + rows - 1,
                )
        finally:
            await connection.close()

    async def _writer(self, number: int) -> None:
        # The last does not wait for the disk: what it was told to be committed may be gone when the server is killed.
        commit = "off" if number == WRITERS - 1 else "on"
        connection: asyncpg.Connection[asyncpg.Record] | None = None
        while not self._is_over.is_set():
            try:
                if connection is None or connection.is_closed():
                    connection = await asyncpg.connect(
                        self._dsn, timeout=5, server_settings={"synchronous_commit": commit}
                    )
                await self._transaction(connection, number)
            except _DATABASE_LOST:
                if connection is not None:
                    connection.terminate()
                connection = None
                await asyncio.sleep(0.1)
            await asyncio.sleep(self._chance.expovariate(1 / 0.03))
        if connection is not None:
            await connection.close()

    async def _transaction(self, connection: asyncpg.Connection[asyncpg.Record], number: int) -> None:
        chance = self._chance
        transaction = connection.transaction()
        await transaction.start()
        for _ in range(chance.randint(1, 5)):
            self.version += 1
            identifier = number * 1000 + chance.randrange(50)
            if chance.random() < 0.6:
                await self._put(connection, "items", "owner", chance.choice(USERS), identifier, number)
            else:
                await self._put(connection, "shared", "team", chance.choice(list(TEAMS)), identifier, number)
            if chance.random() < 0.2:
                await asyncio.sleep(chance.uniform(0.0, 0.1))  # others commit meanwhile
        if chance.random() < 0.2:
            await transaction.rollback()
        else:
            await transaction.commit()

    async def _put(
        self,
        connection: asyncpg.Connection[asyncpg.Record],
        table: str,
        column: str,
        reader: str,
        identifier: int,
        number: int,
    ) -> None:
        """The next version of a row, which may be somebody else's then; the truth; and a message about it."""
        version = self.version
        kind = "uuid" if column == "owner" else "text"
        await connection.execute(
            f"insert into {table} (id, {column}, version, writer) values ($1, $2::text::{kind}, $3, $4)"
            f" on conflict (id) do update set {column} = excluded.{column}, version = excluded.version",
            identifier,
            reader,
            version,
            number,
        )
        await connection.execute(
            f"insert into truth (version, writer, {column}, is_said) values ($1, $2, $3::text::{kind}, true)",
            version,
            number,
            reader,
        )
        await connection.execute(
            "select realtime.send(jsonb_build_object('version', $1::bigint, 'writer', $2::int), 'said', 'truth', true)",
            version,
            number,
        )


@dataclass
class Reader:
    """A client with positions that leaves at random, comes back on any process, and renews its token in between.

    ``versions``: what it got. ``began_at``: what had been given out when it was first told to be subscribed.
    """

    world: World
    writers: Writers
    user: str
    chance: random.Random
    versions: list[int] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    position: str | None = None
    began_at: int | None = None
    lives: int = 0

    async def read(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(*_LOST):
                await self._live_once()
            await asyncio.sleep(self.chance.uniform(0.0, 0.3))

    def _token(self) -> str:
        claims = {
            "sub": self.user,
            "role": "authenticated",
            "exp": int(time.time()) + 3600,
            "jti": str(self.chance.random()),
        }
        return jwt.encode(claims, self.world.settings.jwt_secret.get_secret_value(), algorithm="HS256")

    async def _live_once(self) -> None:
        node = self.chance.choice(self.world.nodes)
        socket = await Phoenix.connect(node.port, vsn="2.0.0", apikey=self.world.settings.anon_token)
        self.lives += 1
        renewing = asyncio.create_task(self._renew(socket))
        try:
            options = {"position": True} if self.position is None else {"since": self.position}
            await socket.join("rows", token=self._token(), postgres_changes=ENTRIES, postgres_changes_options=options)
            is_done = asyncio.timeout(self.chance.uniform(0.2, MAX_SOCKET_LIFE_S))
            async with is_done:
                while True:
                    self._take(await socket.wait_for(lambda item: item.event in ("postgres_changes", "system"), 3600))
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            with suppress(*_LOST):
                await socket.close()

    async def _renew(self, socket: Phoenix) -> None:
        while True:
            await asyncio.sleep(self.chance.expovariate(1 / 1.5))
            await socket.send("realtime:rows", "access_token", {"access_token": self._token()})

    def _take(self, item: Received) -> None:
        if item.event == "postgres_changes":
            data = item.payload["data"]
            record = data["record"]
            self.versions.append(record["version"])
            may_see = record["owner"] == self.user if data["table"] == "items" else self.user in TEAMS[record["team"]]
            if not may_see or data["errors"]:
                self.strange.append(str(data))
            self.position = data["position"]
        elif "PositionTooOld" in item.payload["message"]:
            raise AssertionError("a position was too old, so something may be lost")
        elif "position" in item.payload:
            self.position = item.payload["position"]
            if self.began_at is None:
                self.began_at = self.writers.version


@dataclass
class Hearer:
    """A member of the private topic on one node. ``lives``: what each of its sockets heard."""

    world: World
    node: NodeProcess
    lives: list[list[tuple[int, int]]] = field(default_factory=list)
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(*_LOST):
                await self._live_once()
            self.is_ready.clear()
            await asyncio.sleep(0.1)

    async def _live_once(self) -> None:
        socket = await Phoenix.connect(self.node.port, vsn="2.0.0", apikey=self.world.settings.anon_token)
        try:
            reply = await socket.join(
                "truth",
                token=self.world.token(USERS[0]),
                private=True,
                broadcast={"replication_ready": True},
            )
            if reply.payload["status"] != "ok":
                return
            await socket.event("system", timeout_s=60.0)
            heard: list[tuple[int, int]] = []
            self.lives.append(heard)
            self.is_ready.set()
            while True:
                item = await socket.wait_for(lambda item: item.event in ("broadcast", "phx_close", "phx_error"), 3600)
                if item.event != "broadcast":
                    return
                payload = item.payload["payload"]
                heard.append((payload["writer"], payload["version"]))
        finally:
            with suppress(*_LOST):
                await socket.close()

    def check(self, said: dict[int, list[int]]) -> None:
        """Each socket heard, of every writer, a part of what it committed, in order, without a hole or a double."""
        for number, heard in enumerate(self.lives):
            for writer, versions in said.items():
                got = [version for who, version in heard if who == writer]
                if not got:
                    continue
                begin = versions.index(got[0]) if got[0] in versions else -1
                assert begin >= 0, ("said though it was never committed", writer, got[0])
                expected = versions[begin : begin + len(got)]
                assert got == expected, ("messages", self.node.number, number, writer, _difference(expected, got))


def _difference(expected: Sequence[int], got: Sequence[int]) -> str:
    doubled = [version for version, times in Counter(got).items() if times > 1]
    missing = sorted(set(expected) - set(got))
    strange = sorted(set(got) - set(expected))
    return (
        f"{len(expected)} expected, {len(got)} came; missing {missing[:5]} ({len(missing)}),"
        f" doubled {doubled[:5]} ({len(doubled)}), strange {strange[:5]} ({len(strange)})"
    )


@dataclass
class Play:
    """Everything that goes on while parts die."""

    world: World
    chance: random.Random
    writers: Writers
    large_rows: int
    readers: list[Reader] = field(default_factory=list)
    hearers: list[Hearer] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def add_readers(self, count: int) -> None:
        """Let more clients come, of both users."""
        for number in range(count):
            reader = Reader(self.world, self.writers, USERS[number % 2], self.chance)
            self.readers.append(reader)
            self.tasks.append(asyncio.create_task(reader.read()))

    async def act(self, name: str) -> None:
        """Let something happen."""
        world, chance = self.world, self.chance
        leader = await world.leader() or world.nodes[0]
        other = chance.choice([node for node in world.nodes if node is not leader])
        match name:
            case "join while the leader dies":
                self.add_readers(2)
                await asyncio.sleep(chance.uniform(0.0, 0.3))
                leader.kill()
                self.add_readers(2)
                await asyncio.sleep(chance.uniform(0.0, 1.0))
                await leader.start()
            case "large transaction while the leader dies":
                await self.writers.large(self.large_rows)
                await asyncio.sleep(chance.uniform(0.0, 0.5))
                leader.kill()
                await asyncio.sleep(chance.uniform(0.0, 1.0))
                await leader.start()
            case "leader and postgres at once" | "leader and redis at once":
                leader.kill()
                await world.act(name.split()[2], chance)
                await leader.start()
            case "everything at once":
                for node in world.nodes:
                    node.kill()
                world.redis.stop()
                world.restart_postgres()
                await asyncio.sleep(chance.uniform(0.0, 1.0))
                world.redis.start()
                await asyncio.gather(*(node.start() for node in world.nodes))
            case "leader stands still":
                leader.pause(is_paused=True)
                await asyncio.sleep(STALL_S)
                leader.pause(is_paused=False)
            case "bus away while a node starts":
                world.redis.stop()
                other.kill()
                await other.start()
                await asyncio.sleep(chance.uniform(0.5, 3.0))
                world.redis.start()
            case _:
                await world.act(name, chance)

    async def raise_failures(self) -> None:
        """Tell what ended a client."""
        for task in self.tasks:
            if task.done():
                task.result()

    async def check(self) -> str:
        """Wait until everybody has got what is theirs, and compare. Returns a line of figures."""
        owner = await asyncpg.connect(self.world.dsn)
        rows = await owner.fetch("select version, writer, owner::text, team, is_said from truth order by version")
        await owner.close()
        theirs = {
            user: {row["version"] for row in rows if user == row["owner"] or user in TEAMS.get(row["team"], ())}
            for user in USERS
        }
        began_s = progress_s = time.monotonic()
        first = {user: next(reader for reader in self.readers if reader.user == user) for user in USERS}
        for reader in self.readers:
            last = first[reader.user]
            come = -1
            # A large transaction takes its time; a client that gets nothing more for so long will not.
            while time.monotonic() - progress_s < CATCH_UP_S:
                await self.raise_failures()
                due = {version for version in theirs[reader.user] if version > (reader.began_at or 0)}
                if len(last.versions) >= len(theirs[reader.user]) and due <= set(reader.versions):
                    break
                now = len(last.versions) + len(reader.versions)
                if now > come:
                    come, progress_s = now, time.monotonic()
                await asyncio.sleep(0.2)
        took_s = time.monotonic() - began_s
        for user in USERS:
            whole = first[user].versions
            assert sorted(whole) == sorted(theirs[user]), (user, _difference(sorted(theirs[user]), whole))
            self._check_order(whole, {row["version"]: row["writer"] for row in rows})
        for reader in self.readers:
            whole = first[reader.user].versions
            assert reader.strange == []
            assert reader.began_at is not None
            # Who came later: all there is from some point on, in the one order of the log.
            assert reader.versions == whole[len(whole) - len(reader.versions) :], _difference(whole, reader.versions)
            due = {version for version in theirs[reader.user] if reader.began_at < version < FIRST_LARGE_VERSION}
            assert due <= set(reader.versions), ("committed after Subscribed", sorted(due - set(reader.versions))[:5])
        said: dict[int, list[int]] = {}
        for row in rows:
            if row["is_said"]:
                said.setdefault(row["writer"], []).append(row["version"])
        for hearer in self.hearers:
            hearer.check(said)
        heard = sum(len(life) for hearer in self.hearers for life in hearer.lives)
        return (
            f"{len(rows)} changes, {sum(len(reader.versions) for reader in self.readers)} read by {len(self.readers)} clients"
            f" on {sum(reader.lives for reader in self.readers)} sockets, {heard} messages heard on"
            f" {sum(len(hearer.lives) for hearer in self.hearers)}, whole {took_s:.1f} s after the last write"
        )

    def _check_order(self, versions: Sequence[int], writer_of: dict[int, int]) -> None:
        by_writer: dict[int, list[int]] = {}
        for version in versions:
            by_writer.setdefault(writer_of[version], []).append(version)
        for writer, numbers in by_writer.items():
            assert writer < 0 or numbers == sorted(numbers), ("out of order", writer)

    async def settle_hearers(self) -> None:
        """Everybody who listens now hears what is said from now on, each message once."""
        async with asyncio.timeout(60):
            for hearer in self.hearers:
                await hearer.is_ready.wait()
        before = [len(hearer.lives[-1]) for hearer in self.hearers]
        owner = await asyncpg.connect(self.world.dsn)
        for _ in range(3):
            self.writers.version += 1
            await owner.execute(
                "with told as (insert into truth (version, writer, is_said) values ($1, 99, true))"
                " select realtime.send(jsonb_build_object('version', $1::bigint, 'writer', 99), 'said', 'truth', true)",
                self.writers.version,
            )
        await owner.close()
        for hearer, count in zip(self.hearers, before, strict=True):
            async with asyncio.timeout(60):
                while [writer for writer, _ in hearer.lives[-1][count:]].count(99) < 3:
                    await asyncio.sleep(0.05)


async def play(world: World, acts: Sequence[str], *, seed: int, large_rows: int, pause_s: float = 1.5) -> str:
    """Write, read and listen while ``acts`` happen; then everybody must have got what was theirs, once and in order.

    ``pause_s``: at most this long between two acts. Returns a line that says what happened.
    """
    owner = await asyncpg.connect(world.dsn)
    await owner.execute(SCHEMA)
    # Servers for tests do not wait for the disk; here what was answered has to outlive a SIGKILL of the server.
    await owner.execute("alter system set synchronous_commit = 'on'")
    await owner.execute("select pg_reload_conf()")
    await owner.close()
    chance = random.Random(seed)
    now = Play(world, chance, Writers(world.dsn, seed), large_rows)
    writing: asyncio.Task[None] | None = None
    try:
        now.add_readers(4)
        now.hearers = [Hearer(world, node) for node in world.nodes]
        now.tasks += [asyncio.create_task(hearer.listen()) for hearer in now.hearers]
        talkers = await open_room(world)
        now.tasks += [asyncio.create_task(talker.talk()) for talker in talkers]
        async with asyncio.timeout(60):
            while any(reader.position is None for reader in now.readers):
                await now.raise_failures()
                await asyncio.sleep(0.05)
            for hearer in now.hearers:
                await hearer.is_ready.wait()
        writing = asyncio.create_task(now.writers.write())
        for act in acts:
            await asyncio.sleep(chance.uniform(0.2, pause_s))
            print(act)
            await now.act(act)
            await now.raise_failures()
        await asyncio.sleep(1.0)
        now.writers.end()
        await writing
        await now.settle_hearers()
        told = await settle_room(world, talkers)
        return f"{await now.check()}; {told} messages of the room"
    finally:
        now.writers.end()
        for task in [*now.tasks, *([writing] if writing is not None else [])]:
            task.cancel()
        await asyncio.gather(*now.tasks, return_exceptions=True)
