"""Calls, turn by turn: the code is the same for both clients but for the package's name, so what is compared is what an app
that changes its import line gets.

A driver keeps its client from turn to turn; the answers are looked at in each.
"""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.sdk.jobs import Job
from benchmarks.sdk.usage import cpu_s

__all__ = ["OPERATIONS", "turns"]

OPERATIONS = ("read", "insert", "rpc", "download")
WARM_CALLS = 30
FILE_BYTES = 10 * 1024

Turn = Callable[[], dict[str, float]]


def operation(client: Any, job: Job) -> tuple[Callable[[], Any], Callable[[Any], bool]]:
    """Give one call of a client, and what tells a right answer."""
    match job.operation:
        case "read":
            return (
                lambda: client.table("notes").select("*").eq("id", 500).execute(),
                lambda answer: answer.data[0]["title"] == "note 500",
            )
        case "insert":
            return (
                lambda: client.table("notes").insert({"title": "new", "body": "y" * 100}).execute(),
                lambda answer: answer.data[0]["title"] == "new" and answer.data[0]["id"] > 1000,
            )
        case "rpc":
            return lambda: client.rpc("add", {"a": 1, "b": 2}).execute(), lambda answer: answer.data == 3
        case "download":
            bucket = client.storage.from_("bench")
            return lambda: bucket.download("small.bin"), lambda answer: len(answer) == FILE_BYTES
        case "claims":
            return (
                lambda: client.auth.get_claims(jwt=job.token),
                lambda answer: answer["claims"]["role"] == "authenticated",
            )
    raise ValueError(job.operation)


def _result(began: float, used: float, waits: list[float]) -> dict[str, float]:
    seconds, used_s = time.perf_counter() - began, cpu_s() - used
    return {
        "calls_per_s": len(waits) / seconds,
        "cpu_us": used_s / len(waits) * 1e6,
        "p50_us": statistics.median(waits) * 1e6,
    }


def _check(answer: Any, is_right: Callable[[Any], bool]) -> None:
    if not is_right(answer):
        raise SystemExit(f"a wrong answer: {answer!r:.300}")


def _sync_turn(job: Job, call: Callable[[], Any], is_right: Callable[[Any], bool]) -> dict[str, float]:
    waits: list[list[float]] = [[] for _ in range(job.callers)]
    answers: list[Any] = [None] * job.callers
    began, used = time.perf_counter(), cpu_s()

    def work(number: int) -> None:
        before = began
        while before - began < job.seconds:
            answers[number] = call()
            now = time.perf_counter()
            waits[number].append(now - before)
            before = now

    threads = [threading.Thread(target=work, args=(number,)) for number in range(job.callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result = _result(began, used, [wait for each in waits for wait in each])
    for answer in answers:
        _check(answer, is_right)
    return result


async def _async_turn(
    job: Job, call: Callable[[], Awaitable[Any]], is_right: Callable[[Any], bool]
) -> dict[str, float]:
    waits: list[float] = []
    answers: list[Any] = [None] * job.callers
    began, used = time.perf_counter(), cpu_s()

    async def work(number: int) -> None:
        before = began
        while before - began < job.seconds:
            answers[number] = await call()
            now = time.perf_counter()
            waits.append(now - before)
            before = now

    await asyncio.gather(*(work(number) for number in range(job.callers)))
    result = _result(began, used, waits)
    for answer in answers:
        _check(answer, is_right)
    return result


@contextmanager
def turns(package: Any, job: Job) -> Iterator[Turn]:
    """Make a client and warm it up; yields what measures one turn of ``job.seconds``."""
    if job.form == "sync":
        call, is_right = operation(package.create_client(job.url, job.key), job)
        for _ in range(WARM_CALLS):
            _check(call(), is_right)
        yield lambda: _sync_turn(job, call, is_right)
        return
    with asyncio.Runner() as runner:

        async def begin() -> tuple[Callable[[], Any], Callable[[Any], bool]]:
            call, is_right = operation(await package.create_async_client(job.url, job.key), job)
            for _ in range(WARM_CALLS):
                _check(await call(), is_right)
            return call, is_right

        call, is_right = runner.run(begin())
        yield lambda: runner.run(_async_turn(job, call, is_right))
