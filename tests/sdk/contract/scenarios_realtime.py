"""Realtime, asyncio only: supabase-py's sync client has none. What callbacks hear is awaited and compared."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from tests.sdk.contract.kit import Call, Kit, Scenario, scenario

__all__ = ["SCENARIOS"]

WAIT_S = 60.0


async def made(kit: Kit) -> Any:
    """What waits for the calls of a scenario is made before they begin."""
    await kit.anon.realtime.connect()
    return kit.anon.realtime.is_connected


def box(kit: Kit, name: str) -> list[Any]:
    found: list[Any] = kit.seen.setdefault(f"box {name}", [])
    return found


async def heard(kit: Kit, name: str, number: int) -> list[Any]:
    """What a callback was given, when it has been called ``number`` times."""
    end_s = time.monotonic() + WAIT_S
    while len(box(kit, name)) < number:
        if time.monotonic() > end_s:
            raise TimeoutError(f"{name} heard {len(box(kit, name))} of {number}")
        await asyncio.sleep(0.01)
    return list(box(kit, name))


async def until(condition: Any) -> None:
    end_s = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > end_s:
            raise TimeoutError
        await asyncio.sleep(0.01)


def states(channel: Any) -> dict[str, bool]:
    return {
        name: getattr(channel, name) for name in ("is_closed", "is_joining", "is_joined", "is_leaving", "is_errored")
    }


def told(kit: Kit, name: str) -> Any:
    """A callback of ``subscribe``."""
    return lambda state, error: box(kit, name).append(
        [state, None if error is None else [type(error).__name__, str(error)]]
    )


def channel(kit: Kit, name: str, params: Any = None) -> Any:
    found = kit.seen.get(f"channel {name}")
    if found is None:
        found = kit.seen[f"channel {name}"] = kit.anon.channel(name, params) if params else kit.anon.channel(name)
    return found


LOUD = {
    "config": {"broadcast": {"self": True, "ack": False}, "presence": {"key": "ann", "enabled": True}, "private": False}
}


async def state_after(kit: Kit, name: str, state: str) -> Any:
    await until(lambda: states(channel(kit, name))[state])
    return states(channel(kit, name))


BROADCASTS: dict[str, Call] = {
    "connect": made,
    "new": lambda k: states(channel(k, "room", LOUD)),
    "send before": lambda k: channel(k, "room").send_broadcast("said", {"a": 1}),
    "topic": lambda k: channel(k, "room").topic,
    "listen": lambda k: type(channel(k, "room").on_broadcast("said", box(k, "said").append)).__name__,
    "listen to more": lambda k: type(channel(k, "room").on_broadcast("other", box(k, "other").append)).__name__,
    "subscribe": lambda k: channel(k, "room").subscribe(told(k, "states")),
    "states": lambda k: heard(k, "states", 1),
    "joined": lambda k: state_after(k, "room", "is_joined"),
    "subscribe twice": lambda k: channel(k, "room").subscribe(),
    "send": lambda k: channel(k, "room").send_broadcast("said", {"a": [1, None, "ü"]}),
    "heard": lambda k: heard(k, "said", 1),
    "send nothing": lambda k: channel(k, "room").send_broadcast("other", {}),
    "heard nothing": lambda k: heard(k, "other", 1),
    "send by http": lambda k: channel(k, "room").http_send("said", {"b": 2}),
    "heard by http": lambda k: heard(k, "said", 2),
    "what cannot be sent": lambda k: channel(k, "room").send_broadcast("said", {"a": object()}),
    "channels": lambda k: [one.topic for one in k.anon.get_channels()],
    "unsubscribe": lambda k: channel(k, "room").unsubscribe(),
    "closed": lambda k: state_after(k, "room", "is_closed"),
    "states in the end": lambda k: heard(k, "states", 1),
    "unsubscribe twice": lambda k: channel(k, "room").unsubscribe(),
    "channels after": lambda k: [one.topic for one in k.anon.get_channels()],
    "remove": lambda k: k.anon.remove_channel(channel(k, "second")),
    "remove all": lambda k: k.anon.remove_all_channels(),
    "disconnected": lambda k: k.anon.realtime.is_connected,
}


async def changed(kit: Kit, name: str, number: int, act: Any) -> Any:
    """Do something to rows, and wait for what is told of it."""
    await act
    return (await heard(kit, name, number))[number - 1]


async def ready(kit: Kit) -> Any:
    """Wait until the server reads row changes."""
    return (await heard(kit, "system", 1))[0]


CHANGES: dict[str, Call] = {
    "connect": made,
    "listen to all": lambda k: (
        type(
            channel(k, "changes").on_postgres_changes(
                "*", callback=box(k, "all").append, schema="public", table="books"
            )
        ).__name__
    ),
    "listen to inserts": lambda k: (
        type(
            channel(k, "changes").on_postgres_changes(
                "INSERT", callback=box(k, "inserts").append, schema="public", table="books", filter="title=eq.told"
            )
        ).__name__
    ),
    "listen to the system": lambda k: type(channel(k, "changes").on_system(box(k, "system").append)).__name__,
    "subscribe": lambda k: channel(k, "changes").subscribe(told(k, "states")),
    "states": lambda k: heard(k, "states", 1),
    "ready": ready,
    "insert": lambda k: changed(k, "all", 1, k.service.table("books").insert({"title": "told", "price": 2}).execute()),
    "filtered": lambda k: heard(k, "inserts", 1),
    "update": lambda k: changed(
        k, "all", 2, k.service.table("books").update({"title": "other"}).eq("title", "told").execute()
    ),
    "delete": lambda k: changed(k, "all", 3, k.service.table("books").delete().eq("title", "other").execute()),
    "filtered in the end": lambda k: heard(k, "inserts", 1),
    "unsubscribe": lambda k: channel(k, "changes").unsubscribe(),
}

PRESENCE: dict[str, Call] = {
    "connect": made,
    "listen": lambda k: [
        type(one).__name__
        for one in (
            channel(k, "presence", LOUD).on_presence_sync(lambda: box(k, "sync").append(1)),
            channel(k, "presence").on_presence_join(lambda key, now, new: box(k, "join").append([key, now, new])),
            channel(k, "presence").on_presence_leave(lambda key, now, old: box(k, "leave").append([key, now, old])),
        )
    ],
    "track before": lambda k: channel(k, "presence").track({"a": 0}),
    "subscribe": lambda k: channel(k, "presence").subscribe(told(k, "states")),
    "states": lambda k: heard(k, "states", 1),
    "first sync": lambda k: until(lambda: box(k, "sync")),
    "nobody": lambda k: channel(k, "presence").presence_state(),
    "track": lambda k: channel(k, "presence").track({"a": 1}),
    "joined": lambda k: heard(k, "join", 1),
    "state": lambda k: channel(k, "presence").presence_state(),
    "untrack": lambda k: channel(k, "presence").untrack(),
    "left": lambda k: heard(k, "leave", 1),
    "state after": lambda k: channel(k, "presence").presence_state(),
    "unsubscribe": lambda k: channel(k, "presence").unsubscribe(),
}

PRIVATE = {"config": {"broadcast": None, "presence": None, "private": True}}

REFUSALS: dict[str, Call] = {
    "connect": made,
    "a private topic": lambda k: channel(k, "private", PRIVATE).subscribe(told(k, "private")),
    "refused": lambda k: heard(k, "private", 1),
    "its state": lambda k: state_after(k, "private", "is_errored"),
    "a table that is not there": lambda k: (
        channel(k, "nope")
        .on_postgres_changes("*", callback=box(k, "nope").append, schema="public", table="nope")
        .on_system(box(k, "nope system").append)
        .subscribe(told(k, "nope states"))
    ),
    "an event that is none": lambda k: (
        channel(k, "event")
        .on_postgres_changes("EVERYTHING", callback=box(k, "nope").append, schema="public", table="books")
        .topic
    ),
    "a broken token": lambda k: k.anon.realtime.set_auth("broken"),
    "its token": lambda k: k.anon.realtime.access_token,
    "send to private by http": lambda k: channel(k, "private").http_send("said", {"a": 1}),
}

SCENARIOS: tuple[Scenario, ...] = tuple(
    scenario(name, calls, modes=("async",))
    for name, calls in {
        "realtime.broadcast": BROADCASTS,
        "realtime.changes": CHANGES,
        "realtime.presence": PRESENCE,
        "realtime.refuse": REFUSALS,
    }.items()
)
