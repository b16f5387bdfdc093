"""The threads that hash passwords: one on every core, behind everything else."""

from __future__ import annotations

import asyncio
import os
import sys
import threading

import pytest

from isobase_services.auth import passwords
from isobase_services.auth.errors import AuthError
from isobase_services.auth.passwords import HASHING_NICENESS, PasswordHasher


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere priorities belong to processes, not threads")
async def test_hashes_are_computed_at_a_low_priority_and_requests_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def note(_password: str, _cost: int) -> None:
        seen.append((threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))

    monkeypatch.setattr(passwords, "_idle", note)
    hasher = PasswordHasher(cost=4, workers=2)
    await hasher.spend("x")
    await hasher.close(1)
    before = os.getpriority(os.PRIO_PROCESS, os.getpid())
    assert seen[0][0] != os.getpid()
    assert seen[0][1] == max(before, HASHING_NICENESS)
    assert os.getpriority(os.PRIO_PROCESS, os.getpid()) == before


async def test_every_core_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    all_busy = threading.Barrier(cores)
    monkeypatch.setattr(passwords, "_idle", lambda _password, _cost: all_busy.wait(60))
    hasher = PasswordHasher(cost=4, workers=None)
    await asyncio.gather(*(hasher.spend("x") for _ in range(cores)))
    await hasher.close(1)


async def test_hashes_that_wait_are_dropped_when_the_time_to_end_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    first_begun, may_end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold(password: str, _cost: int) -> None:
        begun.append(password)
        loop.call_soon_threadsafe(first_begun.set)
        assert may_end.wait(60)

    monkeypatch.setattr(passwords, "_idle", hold)
    hasher = PasswordHasher(cost=4, workers=1)
    waiting = [asyncio.create_task(hasher.spend(str(number))) for number in range(10)]
    await first_begun.wait()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await hasher.close(60)
    may_end.set()
    await asyncio.wait(waiting)
    assert begun == ["0"]
    refusals = [task.exception() for task in waiting[1:]]
    assert [one.status for one in refusals if isinstance(one, AuthError)] == [504] * 9
