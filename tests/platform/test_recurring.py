"""The loop of work that servers do again and again."""

from __future__ import annotations

import asyncio

import pytest

from isobase_platform.recurring import Recurring


async def test_work_goes_on_after_a_fault_that_is_told(caplog: pytest.LogCaptureFixture) -> None:
    rounds: list[int] = []
    is_third = asyncio.Event()

    async def work() -> None:
        rounds.append(len(rounds))
        if len(rounds) == 1:
            raise RuntimeError("a fault")
        if len(rounds) == 3:
            is_third.set()

    recurring = Recurring("sweeping", 0.001, work)
    recurring.start()
    recurring.start()
    async with asyncio.timeout(60):
        await is_third.wait()
    await recurring.stop()
    assert [record.message for record in caplog.records] == ["regular work failed"]
    assert caplog.records[0].__dict__["work"] == "sweeping"
    assert "a fault" in caplog.text
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "sweeping"]


async def test_an_end_cuts_work_that_would_go_on_for_ever() -> None:
    began = asyncio.Event()

    async def work() -> None:
        began.set()
        await asyncio.Event().wait()

    recurring = Recurring("endless", 0.001, work)
    recurring.start()
    async with asyncio.timeout(60):
        await began.wait()
        await recurring.stop()
        await recurring.stop()
