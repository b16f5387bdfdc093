"""One measurement in a process of its own: ``python -m benchmarks.sdk.driver JOB`` (JSON) prints a JSON line.

The code is the same for both clients but for the package's name, so what is compared is what an app that changes its import
line gets.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import resource
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.sdk.jobs import Job

WARM_CALLS = 30
MIB = 1024 * 1024
JOIN_WAIT_S = 60.0


def operation(client: Any, name: str) -> Callable[[], Any]:
    """Give one call of a client."""
    match name:
        case "read":
            return lambda: client.table("notes").select("*").eq("id", 500).execute()
        case "insert":
            return lambda: client.table("notes").insert({"title": "new", "body": "y" * 100}).execute()
        case "rpc":
            return lambda: client.rpc("add", {"a": 1, "b": 2}).execute()
        case "download":
            return lambda: client.storage.from_("bench").download("small.bin")
    raise ValueError(name)


def memory_mb(kind: str = "VmRSS") -> float:
    """Memory of this process, in MB: now (``VmRSS``) or at most so far (``VmHWM``)."""
    return int(Path("/proc/self/status").read_text().partition(f"{kind}:")[2].split()[0]) / 1024


def cpu_s() -> float:
    """CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure_sync(package: Any, job: Job) -> tuple[int, float, float]:
    """Call in ``job.callers`` threads for a time; gives calls, seconds and CPU seconds."""
    call = operation(package.create_client(job.url, job.key), job.operation)
    for _ in range(WARM_CALLS):
        call()
    counts = [0] * job.callers
    began, used = time.perf_counter(), cpu_s()

    def work(number: int) -> None:
        while time.perf_counter() - began < job.seconds:
            call()
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(job.callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts), time.perf_counter() - began, cpu_s() - used


async def measure_async(package: Any, job: Job) -> tuple[int, float, float]:
    """Call in ``job.callers`` tasks for a time; gives calls, seconds and CPU seconds."""
    call: Callable[[], Awaitable[object]] = operation(
        await package.create_async_client(job.url, job.key), job.operation
    )
    for _ in range(WARM_CALLS):
        await call()
    counts = [0] * job.callers
    began, used = time.perf_counter(), cpu_s()

    async def work(number: int) -> None:
        while time.perf_counter() - began < job.seconds:
            await call()
            counts[number] += 1

    await asyncio.gather(*(work(number) for number in range(job.callers)))
    return sum(counts), time.perf_counter() - began, cpu_s() - used


async def measure_channels(package: Any, job: Job) -> dict[str, float]:
    """Join ``job.callers`` channels on one socket; gives the memory they take and the seconds it took."""
    client = await package.create_async_client(job.url, job.key)
    joined = 0
    done = asyncio.Event()

    def on_state(state: Any, _error: Exception | None = None) -> None:
        nonlocal joined
        if str(getattr(state, "value", state)) == "SUBSCRIBED":
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


def measure_streams(package: Any, job: Job) -> dict[str, float]:
    """Send and fetch ``job.size_mib`` MiB piece by piece; gives seconds and the growth of the peak of memory."""
    bucket = package.create_client(job.url, job.key).storage.from_("bench")
    bucket.upload("warm.bin", b"x" * 1000, {"upsert": "true"})

    def pieces() -> Iterator[bytes]:
        for _ in range(job.size_mib):
            yield b"x" * MIB

    Path("/proc/self/clear_refs").write_text("5")
    before, began = memory_mb("VmHWM"), time.perf_counter()
    bucket.upload("large.bin", pieces(), {"upsert": "true"})
    up_s, up_mb = time.perf_counter() - began, memory_mb("VmHWM") - before
    Path("/proc/self/clear_refs").write_text("5")
    before, began = memory_mb("VmHWM"), time.perf_counter()
    size = 0
    with bucket.download_stream("large.bin") as parts:
        for part in parts:
            size += len(part)
    if size != job.size_mib * MIB:
        raise SystemExit(f"{size} bytes came back")
    down_s, down_mb = time.perf_counter() - began, memory_mb("VmHWM") - before
    bucket.remove(["large.bin"])
    return {"up_s": up_s, "up_mb": up_mb, "down_s": down_s, "down_mb": down_mb}


def main() -> None:
    """Do one job and print what came of it."""
    warnings.simplefilter("ignore")
    job = Job(**json.loads(sys.argv[1]))
    package = importlib.import_module(job.client)
    if job.operation == "channels":
        print(json.dumps(asyncio.run(measure_channels(package, job))))
        return
    if job.operation == "streams":
        print(json.dumps(measure_streams(package, job)))
        return
    measured = asyncio.run(measure_async(package, job)) if job.form == "async" else measure_sync(package, job)
    calls, seconds, used_s = measured
    print(json.dumps({"calls_per_s": calls / seconds, "cpu_us": used_s / calls * 1e6}))


if __name__ == "__main__":
    main()
