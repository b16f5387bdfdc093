"""Which side a channel leads by, played without servers: its legs are joined, and hear of rows, when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from realtime.types import RealtimePostgresChangesListenEvent

from isobase_adapter.realtime.client import AsyncMigrationRealtime
from isobase_adapter.realtime.legs import Leg
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage, writer_of


class Flags:
    """What a client follows; ``realtime`` and ``table`` are the stages of now."""

    def __init__(self) -> None:
        self.realtime = self.table = Stage.DUAL_WRITE

    def acted(self, capability: Any, user: str | None) -> Any:
        stage = self.realtime if str(capability) == "realtime" else self.table
        side = writer_of(stage)
        answers, first = SimpleNamespace(answers=side), SimpleNamespace(first=side)
        return SimpleNamespace(stage=stage, writer=SimpleNamespace(side=side), read_route=answers, write_route=first)

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        return lambda: None

    def tell(self, event: Any) -> None: ...


class Played:
    """A channel that listens to ``orders``, and what it has told."""

    def __init__(self) -> None:
        self.flags = Flags()
        self.realtime = AsyncMigrationRealtime(
            "ws://127.0.0.1:9/realtime/v1",
            "key",
            isobase_url="ws://127.0.0.1:9/realtime/v1",
            key_at_isobase=lambda key: key,
            following=self.flags,
        )
        self.channel: Any = self.realtime.channel("x")
        self.told: list[tuple[str, int]] = []
        every = RealtimePostgresChangesListenEvent.All
        self.channel.on_postgres_changes(every, self._hear, table="orders", schema="public")

    def _hear(self, payload: Any) -> None:
        self.told.append((payload["data"]["type"], payload["data"]["record"]["net"]))

    def join(self, side: Side) -> Leg:
        leg: Leg = self.channel._legs[side]
        leg._status(leg.inner, "SUBSCRIBED", None)
        return leg

    def follow_tables(self, side: Side) -> None:
        leg: Leg = self.channel._legs[side]
        leg._system(leg.inner, SimpleNamespace(extension="postgres_changes", status="ok"))

    def change(self, side: Side, kind: str, net: int) -> None:
        columns = [{"name": "id"}, {"name": "net"}]
        record = {"record": {"id": 1, "net": net}, "old_record": {} if kind == "INSERT" else {"id": 1}}
        data = {"schema": "public", "table": "orders", "type": kind, "columns": columns, **record}
        self.channel.row_arrived(side, 0, {"data": data})


@pytest.fixture
def unconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Leg, "start", lambda leg: None)


async def joined(*sides: Side) -> Played:
    played = Played()
    subscribing = asyncio.create_task(played.channel.subscribe())
    await asyncio.sleep(0)
    for side in Side:
        played.join(side)
    for side in sides:
        played.follow_tables(side)
    await subscribing
    return played


async def ended(played: Played) -> None:
    played.channel._legs.clear()  # nothing was connected that could be left
    await played.channel.unsubscribe()
    await played.realtime.close()


@pytest.mark.usefixtures("unconnected")
async def test_a_side_that_does_not_follow_the_tables_yet_does_not_lead() -> None:
    played = await joined(Side.ISOBASE)
    played.change(Side.ISOBASE, "INSERT", 1)
    assert played.told == [("INSERT", 1)]
    # Now it does, but may have missed what the other still brings.
    played.follow_tables(Side.SUPABASE)
    played.change(Side.ISOBASE, "UPDATE", 2)
    played.change(Side.SUPABASE, "UPDATE", 2)
    assert played.told == [("INSERT", 1), ("UPDATE", 2)]
    # Joined anew, as after an outage, it has to say so again.
    played.join(Side.SUPABASE)
    played.change(Side.ISOBASE, "UPDATE", 3)
    assert played.told[2:] == [("UPDATE", 3)]
    await ended(played)


@pytest.mark.usefixtures("unconnected")
async def test_a_side_says_that_it_follows_the_tables_after_trouble_with_rows_and_is_joined_again() -> None:
    played = await joined(*Side)
    leg = played.channel._legs[Side.ISOBASE]
    leg._status(leg.inner, "CHANNEL_ERROR", Exception("row changes do not come"))
    assert not leg.is_joined
    played.follow_tables(Side.ISOBASE)
    assert leg.is_joined
    assert leg.hears_rows
    await ended(played)


@pytest.mark.usefixtures("unconnected")
async def test_what_waits_for_a_tables_leader_goes_on_waiting_while_realtime_itself_changes_its_stage() -> None:
    played = await joined(*Side)
    played.change(Side.ISOBASE, "UPDATE", 2)  # of a row whose insert is on its way from Supabase
    played.flags.realtime = Stage.LIVE
    played.channel.follow()
    assert played.told == []
    played.change(Side.SUPABASE, "INSERT", 1)
    played.change(Side.SUPABASE, "UPDATE", 2)
    assert played.told == [("INSERT", 1), ("UPDATE", 2)]
    await ended(played)
