"""The runtime's thread: who may use it, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from isobase_adapter.runtime import Runtime, RuntimeClosed
from isobase_adapter.workers import Workers


async def where() -> str:
    await asyncio.sleep(0)
    return threading.current_thread().name


async def test_sync_and_async_callers_share_one_loop() -> None:
    runtime = Runtime("isobase-test-runtime")
    try:
        assert await runtime.call(where()) == await asyncio.to_thread(lambda: runtime.run(where()))
    finally:
        runtime.close()
    assert "isobase-test-runtime" not in {thread.name for thread in threading.enumerate()}


def test_nothing_runs_before_it_is_used_nor_after_it_is_closed() -> None:
    before = threading.active_count()
    runtime = Runtime()
    assert threading.active_count() == before
    runtime.run(where())
    runtime.spawn(asyncio.sleep(60))
    runtime.close()
    runtime.close()
    assert threading.active_count() == before
    with pytest.raises(RuntimeClosed):
        runtime.run(where())


def test_work_that_takes_too_long_is_cancelled() -> None:
    cancelled = threading.Event()

    async def long() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    runtime = Runtime()
    try:
        with pytest.raises(TimeoutError, match="longer than"):
            runtime.run(long(), timeout_s=0.05)
        assert cancelled.wait(10)
    finally:
        runtime.close()


async def test_an_async_caller_that_is_cancelled_cancels_its_work() -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def long() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    runtime = Runtime()
    try:
        task = asyncio.create_task(runtime.call(long()))
        assert await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(cancelled.wait, 10)
    finally:
        runtime.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_told_that_the_runtime_is_its_parents() -> None:
    runtime = Runtime()
    runtime.run(where())
    child = os.fork()
    if child == 0:
        try:
            runtime.run(where())
        except RuntimeClosed:
            os._exit(7)
        os._exit(1)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert runtime.run(where())
    finally:
        runtime.close()


def test_workers_do_what_blocks_side_by_side_up_to_their_number_and_leave_no_thread() -> None:
    before = threading.active_count()
    workers, together = Workers(3, "isobase-test-worker"), threading.Barrier(3)
    blocking = [workers.submit(together.wait, 30) for _ in range(3)]
    assert sorted(each.result(30) for each in blocking) == [0, 1, 2]
    more = [workers.submit(divmod, number, 7) for number in range(50)]
    assert [each.result(30) for each in more] == [divmod(number, 7) for number in range(50)]
    with pytest.raises(ZeroDivisionError):
        workers.submit(divmod, 1, 0).result(30)
    assert threading.active_count() == before + 3
    workers.shutdown()
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="ended"):
        workers.submit(divmod, 1, 1)
