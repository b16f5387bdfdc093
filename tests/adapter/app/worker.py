"""One process of the sample app: several users, each with a migration client of its own, who write numbered facts.

Run as ``python -m tests.adapter.app.worker PLAN``; PLAN is a JSON file (``Plan``). It ends when the plan's stop file is
there, or is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from supabase.lib.client_options import AsyncClientOptions

import isobase_adapter.assembly
import isobase_adapter.outbox.spooling
from isobase_adapter import AsyncMigrationClient, MigrationSettings, create_async_migration_client
from isobase_adapter.outbox.entries import OutboxLimits
from isobase_adapter.outbox.postgres import PostgresOutbox
from tests.adapter.app.journal import Journal
from tests.adapter.app.listening import Listener
from tests.adapter.app.users import Registrar, User, UserPlan

__all__ = ["Plan"]

WAIT_FOR_STOP_S = 0.05


@dataclass(slots=True, frozen=True)
class Plan:
    """What a process is told. ``pause_s``: the longest wait between two facts of a user. ``stop``, ``pause``: files."""

    journal: str
    stop: str
    """Ends the process."""
    pause: str
    """While it is there, no user begins a fact."""
    seed: int
    environment: Mapping[str, str]
    users: list[UserPlan]
    pause_s: float = 0.1
    kinds: tuple[str, ...] = ("rows",)
    """What is written: rows, functions, people (they sign up), users (the same, and its users sign in), objects, messages."""
    timeout_s: int = 120
    """Time limit of a call of the data API."""
    rpc: str = ""
    """Rules for functions, as ISOBASE_MIGRATION_RPC has them."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """More settings of the migration client."""
    send_within_s: float | None = None
    """Another limit of the outbox: so soon after it was let in a call is sent, or never."""
    adopt_every_s: float | None = None
    """How often it looks for what killed processes left in the spool folder."""

    def write(self, path: Path) -> None:
        """Keep it for the process to read."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read what ``write`` kept."""
        given = json.loads(path.read_text())
        users = [UserPlan(**user) for user in given.pop("users")]
        return cls(users=users, **given)


def is_there(path: str) -> bool:
    """Whether a file is there."""
    return os.path.exists(path)


async def run(plan: Plan) -> None:
    """Be the users until the stop file is there."""
    journal = Journal(Path(plan.journal))
    if plan.send_within_s is not None:
        limited = partial(PostgresOutbox, limits=OutboxLimits(send_within_s=plan.send_within_s))
        setattr(isobase_adapter.assembly, "PostgresOutbox", limited)  # noqa: B010 - no setting: a limit of the protocol
    if plan.adopt_every_s is not None:
        isobase_adapter.outbox.spooling.ADOPT_EVERY_S = plan.adopt_every_s
    settings = MigrationSettings.from_environment(
        {**plan.environment, "ISOBASE_MIGRATION_RPC": plan.rpc}, **plan.settings
    )

    async def made() -> AsyncMigrationClient:
        options = AsyncClientOptions(postgrest_client_timeout=plan.timeout_s, auto_refresh_token=False)
        return await create_async_migration_client(
            plan.environment["SUPABASE_URL"], plan.environment["SUPABASE_KEY"], options, migration=settings
        )

    clients = [await made() for _ in plan.users]
    registering = await made()
    registrar = Registrar(registering)
    listener: Listener | None = None
    if "messages" in plan.kinds:
        first = plan.users[0]
        hearing = await made()
        clients.append(hearing)
        listener = Listener(hearing, journal, first.name, first.access_token)
        await listener.join()
    idle: set[str] = set()
    is_paused = False

    def spooled() -> int:
        """How many writes the process keeps of its own, those that it adopted included."""
        parts: Any = vars(clients[0].migration)["_core"].parts
        return int(parts.spooled())

    async def live(given: UserPlan, client: AsyncMigrationClient) -> None:
        nonlocal is_paused
        chance = random.Random(f"{plan.seed} {given.name}")
        user = User(given, client, journal, chance, plan.kinds, registrar, listener)
        await user.enter()
        while not is_there(plan.stop):
            if is_there(plan.pause):
                idle.add(user.name)
                if len(idle) == len(plan.users) and not is_paused and not spooled():
                    is_paused = True
                    journal.note("paused")
                await asyncio.sleep(WAIT_FOR_STOP_S)
                continue
            is_paused = False
            idle.discard(user.name)
            await user.act()
            await asyncio.sleep(chance.uniform(0, plan.pause_s))

    journal.note("ready")
    try:
        await asyncio.gather(*(live(user, client) for user, client in zip(plan.users, clients, strict=False)))
        if listener is not None:
            await listener.leave()
        for client in clients:
            journal.note("metrics", counts=client.migration.metrics())
    finally:
        for client in (*clients, registering):
            await client.migration.close()
    journal.note("ended")


if __name__ == "__main__":
    asyncio.run(run(Plan.read(Path(sys.argv[1]))))
