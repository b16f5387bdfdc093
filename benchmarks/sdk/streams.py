"""Large files up and down, in flat memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.sdk.jobs import Job
from benchmarks.sdk.usage import cpu_s, forget_peak, memory_mb

__all__ = ["WAYS", "measure_streams"]

MIB = 1024 * 1024
WAYS = {"up": "up, from an iterator", "resumable": "up, a file by TUS", "down": "down"}


def measure_streams(package: Any, job: Job) -> dict[str, float]:
    """Send ``job.size_mib`` MiB piece by piece, send ``job.file`` resumably, fetch the first; gives for each way the seconds,
    CPU seconds and the growth of the peak of memory.
    """
    bucket = package.create_client(job.url, job.key).storage.from_("bench")
    bucket.upload("warm.bin", b"x" * 1000, {"upsert": "true"})
    found: dict[str, float] = {}

    def measure(way: str, work: Callable[[], object]) -> None:
        forget_peak()
        before, began, used = memory_mb("VmHWM"), time.perf_counter(), cpu_s()
        work()
        found[f"{way}_s"] = time.perf_counter() - began
        found[f"{way}_cpu_s"] = cpu_s() - used
        found[f"{way}_mb"] = memory_mb("VmHWM") - before

    def pieces() -> Iterator[bytes]:
        for _ in range(job.size_mib):
            yield b"x" * MIB

    def fetch() -> None:
        size = 0
        with bucket.download_stream("large.bin") as parts:
            for part in parts:
                size += len(part)
        if size != job.size_mib * MIB:
            raise SystemExit(f"{size} bytes came back")

    measure("up", lambda: bucket.upload("large.bin", pieces(), {"upsert": "true"}))
    measure("resumable", lambda: bucket.upload("file.bin", job.file, {"upsert": "true"}, resumable=True))
    measure("down", fetch)
    if (size := bucket.info("file.bin")["size"]) != job.size_mib * MIB:
        raise SystemExit(f"{size} bytes of the file are there")
    bucket.remove(["large.bin", "file.bin"])
    return found
