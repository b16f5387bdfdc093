"""Presence through the clients: who is there, under which key, who comes and goes."""

from __future__ import annotations

from typing import Any

import pytest

from isobase.realtime import AsyncRealtimeClient, AsyncRealtimePresence, RealtimeChannelOptions, SyncRealtimeClient
from tests.sdk.realtime.conftest import Events, Service


def keyed(key: str) -> RealtimeChannelOptions:
    return {"config": {"presence": {"key": key, "enabled": True}}}


@pytest.mark.capability(
    "realtime.presence.presence_state",
    "realtime.presence.track",
    "realtime.presence.untrack",
    "realtime.presence.presence_key",
    "realtime.subscriptions.subscribe_presence",
)
async def test_everybody_hears_who_comes_changes_and_goes(service: Service, topic: str) -> None:
    syncs, joins, leaves = Events(), Events(), Events()
    async with (
        AsyncRealtimeClient(service.url, service.anon_key) as ann,
        AsyncRealtimeClient(service.url, service.anon_key) as ben,
    ):
        hers = ann.channel(topic, keyed("ann")).on_presence_join(joins).on_presence_leave(leaves)
        hers.on_presence_sync(lambda: syncs(sorted(hers.presence_state())))
        await hers.subscribe()
        await syncs.until(syncs.count(1))
        assert hers.presence_state() == {}
        his = await ben.channel(topic, keyed("ben")).subscribe()
        await hers.track({"mood": "calm"})
        await syncs.until(lambda seen: seen[-1] == ["ann"])
        await his.track({"mood": "loud"})
        await syncs.until(lambda seen: seen[-1] == ["ann", "ben"])
        [presence] = hers.presence_state()["ben"]
        assert {**presence, "presence_ref": ""} == {"mood": "loud", "presence_ref": ""}
        await his.track({"mood": "quiet"})
        await joins.until(joins.count(3))
        await his.untrack()
        await syncs.until(lambda seen: seen[-1] == ["ann"])
    assert [(key, new[0]["mood"]) for key, _, new in joins.seen] == [("ann", "calm"), ("ben", "loud"), ("ben", "quiet")]
    assert [(key, gone[0]["mood"]) for key, _, gone in leaves.seen] == [("ben", "loud"), ("ben", "quiet")]
    assert leaves.seen[-1][1] == []


async def test_a_listener_added_to_a_joined_channel_is_told_who_is_there(service: Service, topic: str) -> None:
    syncs, states = Events(), Events()
    async with (
        AsyncRealtimeClient(service.url, service.anon_key) as ann,
        AsyncRealtimeClient(service.url, service.anon_key) as ben,
    ):
        his = await ben.channel(topic, keyed("ben")).subscribe()
        await his.track({})
        hers = await ann.channel(topic).subscribe(states)
        hers.on_presence_sync(lambda: syncs(sorted(hers.presence_state())))
        await syncs.until(lambda seen: seen[-1:] == [["ben"]])
        assert hers.is_joined


async def test_one_key_from_two_sockets_is_two_presences(service: Service, topic: str) -> None:
    syncs = Events()
    async with (
        AsyncRealtimeClient(service.url, service.anon_key) as one,
        AsyncRealtimeClient(service.url, service.anon_key) as two,
    ):
        first = one.channel(topic, keyed("ann"))
        await first.on_presence_sync(lambda: syncs(len(first.presence_state().get("ann", [])))).subscribe()
        await first.track({"from": "desk"})
        second = await two.channel(topic, keyed("ann")).subscribe()
        await second.track({"from": "phone"})
        await syncs.until(lambda seen: seen[-1] == 2)
        await second.unsubscribe()
        await syncs.until(lambda seen: seen[-1] == 1)


def test_the_sync_client_tracks_and_hears(service: Service, topic: str) -> None:
    syncs = Events()
    with SyncRealtimeClient(service.url, service.anon_key) as client:
        channel = client.channel(topic, keyed("ann"))
        channel.on_presence_sync(lambda: syncs(channel.presence_state()))
        channel.subscribe()
        channel.track({"mood": "calm"})
        syncs.wait(lambda seen: "ann" in seen[-1])
        channel.untrack()
        syncs.wait(lambda seen: seen[-1] == {})


@pytest.mark.parametrize(
    "before, message, after, told",
    [
        pytest.param({}, {"a": [1]}, {"a": [1]}, [("join", "a", 0, 1)], id="somebody came"),
        pytest.param({"a": [1]}, {"a": [1]}, {"a": [1]}, [], id="nothing new"),
        pytest.param({"a": [1]}, {}, {}, [("leave", "a", 0, 1)], id="somebody left"),
        pytest.param(
            {"a": [1, 2], "b": [3]},
            {"a": [2, 4], "c": [5]},
            {"a": [2, 4], "c": [5]},
            [("join", "a", 2, 1), ("join", "c", 0, 1), ("leave", "a", 2, 1), ("leave", "b", 0, 1)],
            id="everything at once",
        ),
    ],
)
def test_a_whole_state_is_told_as_what_changed(
    before: dict[str, list[int]],
    message: dict[str, list[int]],
    after: dict[str, list[int]],
    told: list[tuple[str, str, int, int]],
) -> None:
    def raw(state: dict[str, list[int]]) -> Any:
        return {
            key: {"metas": [{"phx_ref": str(ref), "phx_ref_prev": "0"} for ref in refs]} for key, refs in state.items()
        }

    presence, seen = AsyncRealtimePresence(), []
    presence._on_state_event(raw(before))
    presence.on_join(lambda key, there, came: seen.append(("join", key, len(there), len(came))))
    presence.on_leave(lambda key, there, left: seen.append(("leave", key, len(there), len(left))))
    presence._on_state_event(raw(message))
    assert {key: [int(each["presence_ref"]) for each in value] for key, value in presence.state.items()} == after
    assert sorted(seen) == sorted(told)
