"""Work that tasks or threads share."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future, wait
from typing import Any

import pytest

from isobase._http import call_options, current_options
from isobase.auth import concurrency
from isobase.auth.concurrency import AsyncSingleFlight, SyncSingleFlight


async def test_who_asks_when_the_work_has_ended_gets_no_former_error() -> None:
    flights: AsyncSingleFlight[str] = AsyncSingleFlight()
    askers: list[asyncio.Task[str]] = []

    async def fail() -> str:
        # Its turn comes between the end of this work and what follows on that end.
        askers.append(asyncio.create_task(flights.run("key", succeed)))
        raise ValueError

    async def succeed() -> str:
        await asyncio.sleep(0)
        return "new"

    with pytest.raises(ValueError):
        await flights.run("key", fail)
    again = await flights.run("key", fail)  # shares what runs for the other one
    assert [again, *[await asker for asker in askers]] == ["new"] * 2
    with pytest.raises(ValueError):
        await flights.run("key", fail)
    assert await askers[-1] == "new"


def test_who_does_the_work_of_a_thread_that_gave_up_has_only_the_rest_of_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flights: SyncSingleFlight[float] = SyncSingleFlight()
    begun, may_fail = threading.Event(), threading.Event()

    def give_up() -> float:
        begun.set()
        may_fail.wait()
        raise TimeoutError

    def lead() -> None:
        with call_options(timeout=0.1), pytest.raises(TimeoutError):
            flights.run("key", give_up)

    def left() -> float:
        timeout = current_options().timeout
        assert timeout is not None
        return timeout

    def wait_a_while(futures: list[Future[Any]], timeout: float | None) -> Any:
        time.sleep(0.3)
        may_fail.set()
        return wait(futures, timeout)

    leader = threading.Thread(target=lead)
    leader.start()
    begun.wait()
    monkeypatch.setattr(concurrency, "wait_for_futures", wait_a_while)
    began = time.monotonic()
    with call_options(timeout=60.0):
        assert flights.run("key", left) <= 60.0 - 0.2
    assert time.monotonic() - began < 50
    leader.join()
