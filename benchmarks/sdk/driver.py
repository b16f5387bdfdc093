"""One client in a process of its own: ``python -m benchmarks.sdk.driver JOB`` (JSON).

Calls are measured turn by turn: the driver says that it is ready, and every line it reads is a turn, which it answers with a
JSON line. Every other job is done at once and answered.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
import warnings
from typing import Any

from benchmarks.sdk.calls import turns
from benchmarks.sdk.jobs import Job
from benchmarks.sdk.sockets import measure_channels, measure_messages
from benchmarks.sdk.streams import measure_streams


def measure_start(name: str, job: Job) -> dict[str, float]:
    """Give CPU milliseconds up to the import, and up to the first query (not sent)."""
    began = time.process_time()
    package = importlib.import_module(name)
    imported = time.process_time()
    package.create_client(job.url, job.key).table("notes").select("*").eq("id", 1)
    return {"import_ms": (imported - began) * 1e3, "query_ms": (time.process_time() - began) * 1e3}


def tell(found: dict[str, float]) -> None:
    """Answer."""
    print(json.dumps(found), flush=True)


def main() -> None:
    """Do the job."""
    warnings.simplefilter("ignore")
    job = Job(**json.loads(sys.argv[1]))
    if job.operation == "start":
        return tell(measure_start(job.client, job))
    package: Any = importlib.import_module(job.client)
    match job.operation:
        case "channels":
            tell(asyncio.run(measure_channels(package, job)))
        case "messages":
            tell(asyncio.run(measure_messages(package, job)))
        case "streams":
            tell(measure_streams(package, job))
        case _:
            with turns(package, job) as turn:
                tell({})
                for _ in sys.stdin:
                    tell(turn())
    return None


if __name__ == "__main__":
    main()
