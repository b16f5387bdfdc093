"""Realtime: the memory of many channels, and messages there and back."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from benchmarks.sdk.jobs import Job
from benchmarks.sdk.usage import cpu_s, memory_mb

__all__ = ["measure_channels", "measure_messages"]

JOIN_WAIT_S = 60.0
UNDER_WAY = 64
"""Messages that have been sent and did not come back yet."""
TEXT = "x" * 100


def _is_subscribed(state: Any) -> bool:
    return str(getattr(state, "value", state)) == "SUBSCRIBED"


async def measure_channels(package: Any, job: Job) -> dict[str, float]:
    """Join ``job.callers`` channels on one socket; gives the memory they take and the seconds it took."""
    client = await package.create_async_client(job.url, job.key)
    joined = 0
    done = asyncio.Event()

    def on_state(state: Any, _error: Exception | None = None) -> None:
        nonlocal joined
        if _is_subscribed(state):
            joined += 1
            if joined == job.callers + 1:
                done.set()

    await client.channel("first").on_broadcast("x", lambda _: None).subscribe(on_state)
    before, began = memory_mb(), time.perf_counter()
    for number in range(job.callers):
        await client.channel(f"channel-{number}").on_broadcast("x", lambda _: None).subscribe(on_state)
    await asyncio.wait_for(done.wait(), JOIN_WAIT_S)
    result = {"memory_mb": memory_mb() - before, "seconds": time.perf_counter() - began}
    await client.remove_all_channels()
    return result


async def measure_messages(package: Any, job: Job) -> dict[str, float]:
    """Send broadcasts to a channel that hears its own, some under way at any time; gives how many came back in a second, and
    the CPU of one, sent and received.
    """
    client = await package.create_async_client(job.url, job.key)
    joined, come = asyncio.Event(), asyncio.Semaphore(UNDER_WAY)
    heard: list[int] = []

    def on_message(message: dict[str, Any]) -> None:
        heard.append(message["payload"]["number"])
        come.release()

    channel = client.channel("messages", {"config": {"broadcast": {"self": True, "ack": False}}})
    channel.on_broadcast("said", on_message)
    await channel.subscribe(lambda state, _error=None: joined.set() if _is_subscribed(state) else None)
    await asyncio.wait_for(joined.wait(), JOIN_WAIT_S)

    async def say(number: int) -> None:
        async with asyncio.timeout(JOIN_WAIT_S):
            await come.acquire()
        await channel.send_broadcast("said", {"number": number, "text": TEXT})

    for number in range(2 * UNDER_WAY):
        await say(number)
    began, used, sent = time.perf_counter(), cpu_s(), 2 * UNDER_WAY
    first = sent
    while time.perf_counter() - began < job.seconds:
        await say(sent)
        sent += 1
    for _ in range(UNDER_WAY):
        async with asyncio.timeout(JOIN_WAIT_S):
            await come.acquire()
    seconds, used_s = time.perf_counter() - began, cpu_s() - used
    if heard != list(range(sent)):
        raise SystemExit(f"{sent} messages were sent, {len(heard)} came back")
    await client.remove_all_channels()
    return {"messages_per_s": (sent - first) / seconds, "cpu_us": used_s / (sent - first) * 1e6}
