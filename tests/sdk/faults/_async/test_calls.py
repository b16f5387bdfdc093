"""Calls over a network that goes wrong: nothing is written twice, nothing hangs, no answer is another's."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from isobase._acompat import asleep
from isobase._async.client import AsyncClient
from isobase._http import DeadlineExceeded, call_options
from tests.plugins.stack import Stack
from tests.plugins.wire_proxy import Link, WireProxy
from tests.sdk.faults.conftest import FIRST_SEED, OPERATIONS, SEEDS, Ledger
from tests.sdk.faults.storm import Storm
from tests.sdk.faults.workers import AsyncWorkers

WORKERS = 5
TIMEOUT_S = 3.0
HANG_S = 30.0
"""A call that takes this much longer than its time hangs; machines may be slow."""


@pytest.fixture
async def client(network: WireProxy, stack: Stack, ledger: Ledger) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(network.url, stack.service_role_key) as client:
        yield client


async def insert(client: AsyncClient, tag: str) -> None:
    await client.table("fault_rows").insert({"tag": tag}).execute()


async def tags(client: AsyncClient, tag: str) -> list[object]:
    answer = await client.table("fault_rows").select("tag").eq("tag", tag).execute()
    return [row["tag"] for row in answer.data if isinstance(row, dict)]


def lose_next_answer(network: WireProxy) -> None:
    """The next answer does not arrive: its connection is cut when the server has done its part."""

    def lose(link: Link, _piece: bytes) -> bool:
        network.on_answer = None
        link.cut()
        return True

    network.on_answer = lose


async def test_an_insert_whose_answer_is_lost_is_not_done_again(
    client: AsyncClient, network: WireProxy, ledger: Ledger
) -> None:
    await tags(client, "warm")
    lose_next_answer(network)
    with pytest.raises(httpx.TransportError):
        await insert(client, ledger.tag("a"))
    assert ledger.rows() == {ledger.tag("a"): 1}


async def test_an_insert_with_a_key_whose_answer_is_lost_is_asked_for_again_and_done_once(
    client: AsyncClient, network: WireProxy, ledger: Ledger
) -> None:
    with call_options(idempotency_key=ledger.tag("warm")):
        await insert(client, ledger.tag("warm"))
    lose_next_answer(network)
    with call_options(idempotency_key=ledger.tag("key")):
        await insert(client, ledger.tag("a"))
    assert ledger.rows() == {ledger.tag("warm"): 1, ledger.tag("a"): 1}


async def test_a_read_whose_answer_is_lost_is_asked_for_again(
    client: AsyncClient, network: WireProxy, ledger: Ledger
) -> None:
    await insert(client, ledger.tag("a"))
    lose_next_answer(network)
    assert await tags(client, ledger.tag("a")) == [ledger.tag("a")]


async def test_connections_that_died_while_idle_cost_no_write(
    client: AsyncClient, network: WireProxy, ledger: Ledger
) -> None:
    for number in range(5):
        await insert(client, ledger.tag(number))
        network.cut_all()
        await asleep(0.02)  # the reset is on its way
    assert sum(ledger.rows().values()) == 5


async def test_a_half_closed_connection_costs_no_write(client: AsyncClient, network: WireProxy, ledger: Ledger) -> None:
    for number in range(3):
        await insert(client, ledger.tag(number))
        for link in list(network.links):
            link.half_close()
        await asleep(0.02)
    assert sum(ledger.rows().values()) == 3


@pytest.mark.parametrize("silent_after", ["request", "headers"])
async def test_a_silent_network_holds_a_call_no_longer_than_its_time(
    client: AsyncClient, network: WireProxy, ledger: Ledger, silent_after: str
) -> None:
    await insert(client, ledger.tag("a"))

    def go_silent(link: Link, piece: bytes) -> bool:
        network.is_silent = True
        if silent_after == "headers":
            link.client.sendall(piece[: piece.index(b"\r\n\r\n")])
        return True

    network.on_answer = go_silent
    began = time.monotonic()
    with call_options(timeout=0.4), pytest.raises(DeadlineExceeded):
        await tags(client, ledger.tag("a"))
    assert time.monotonic() - began < 0.4 + HANG_S
    network.heals()
    assert await tags(client, ledger.tag("a")) == [ledger.tag("a")]


async def test_an_answer_that_comes_too_late_is_not_given_to_the_next_call(
    client: AsyncClient, network: WireProxy, ledger: Ledger
) -> None:
    await insert(client, ledger.tag("late"))
    await insert(client, ledger.tag("next"))
    for _ in range(3):
        is_late = threading.Event()

        def hold(_link: Link, _piece: bytes, until: threading.Event = is_late) -> None:
            until.wait(HANG_S)

        network.on_answer = hold
        with call_options(timeout=0.15), pytest.raises(DeadlineExceeded):
            await tags(client, ledger.tag("late"))
        network.on_answer = None
        is_late.set()
        assert await tags(client, ledger.tag("next")) == [ledger.tag("next")]


# [async]
async def test_a_call_that_is_cancelled_leaves_no_answer_to_another(
    client: AsyncClient, network: WireProxy, ledger: Ledger
) -> None:
    await insert(client, ledger.tag("late"))
    await insert(client, ledger.tag("next"))
    choose = random.Random(FIRST_SEED)
    network.delay_s = 0.01
    for _ in range(15):
        call = asyncio.create_task(tags(client, ledger.tag("late")))
        await asleep(choose.uniform(0, 0.03))
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert await tags(client, ledger.tag("next")) == [ledger.tag("next")]


# [/async]


@pytest.mark.parametrize("has_keys", [False, True], ids=["no keys", "keys"])
@pytest.mark.parametrize("seed", [FIRST_SEED + seed for seed in SEEDS])
async def test_in_a_storm_nothing_is_written_twice_nothing_hangs_and_every_answer_is_its_callers(
    client: AsyncClient, network: WireProxy, ledger: Ledger, seed: int, has_keys: bool
) -> None:
    done: list[str] = []
    unknown: list[str] = []
    longest_s = 0.0
    storm = Storm(network, seed)

    async def work(worker: int) -> None:
        nonlocal longest_s
        choose = random.Random(seed * 100 + worker)
        mine: list[str] = []
        for number in range(OPERATIONS):
            began = time.monotonic()
            try:
                if mine and choose.random() < 0.4:
                    tag = choose.choice(mine)
                    with call_options(timeout=TIMEOUT_S):
                        assert await tags(client, tag) == [tag]
                else:
                    tag = ledger.tag(worker, number)
                    unknown.append(tag)
                    with call_options(timeout=TIMEOUT_S, idempotency_key=tag if has_keys else None):
                        await insert(client, tag)
                    unknown.remove(tag)
                    done.append(tag)
                    mine.append(tag)
            except httpx.TransportError:
                pass  # what a caller has to expect: it is not known whether it was done
            longest_s = max(longest_s, time.monotonic() - began)

    if has_keys:  # the server says once, in good weather, that it keeps keys
        with call_options(idempotency_key=ledger.tag("first")):
            await insert(client, ledger.tag("first"))
        done.append(ledger.tag("first"))
    storm.begin()
    await AsyncWorkers.run(work, WORKERS)
    storm.end()
    assert storm.faults
    await asleep(0.5)  # a request that was on its way may still be done
    rows = ledger.rows()
    assert {tag: rows[tag] for tag in done} == dict.fromkeys(done, 1)
    assert all(rows[tag] <= 1 for tag in unknown)
    assert set(rows) <= {*done, *unknown}
    assert longest_s < TIMEOUT_S + HANG_S
    await insert(client, ledger.tag("after"))
    print(f"seed {seed}: {storm.faults} faults, {len(done)} done, {len(unknown)} unknown, longest {longest_s:.2f} s")
