"""The load: wrk, with requests made beforehand."""

from __future__ import annotations

import math
import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["IN_TURN", "Figures", "RequestsFailedError", "Runs", "check_programs", "wrk"]

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3}

# Loads prepared requests, and sends them in turn.
IN_TURN = """
local requests = dofile(os.getenv("REQUESTS"))
local count, sent = #requests, 0
request = function()
  sent = sent + 1
  return requests[sent % count + 1]
end
"""


class RequestsFailedError(SystemExit):
    """A server answered some requests with a refusal or not at all; ends the program where nobody catches it."""


@dataclass(slots=True, frozen=True)
class Figures:
    """One run: requests per second, 99th percentile in ms, and how many requests there were."""

    per_s: float
    p99_ms: float
    requests: int


@dataclass(slots=True)
class Runs:
    """What several runs of one server gave."""

    runs: list[Figures] = field(default_factory=list)

    @property
    def per_s(self) -> float:
        """The median of requests per second."""
        return statistics.median(one.per_s for one in self.runs)

    @property
    def p99_ms(self) -> float:
        """The median of the 99th percentiles."""
        return statistics.median(one.p99_ms for one in self.runs)


def check_programs() -> None:
    """Exit where a program that the benchmark needs is missing."""
    for program, package in (("wrk", "wrk"), ("pgbench", "postgresql-contrib or postgresql-15")):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is missing (Debian: apt-get install {package})")


def wrk(
    requests: Sequence[bytes],
    port: int,
    *,
    clients: int,
    seconds: float,
    script: str = IN_TURN,
    patience_s: float = 5.0,
) -> Figures:
    """Send ``requests`` over ``clients`` connections, in turn or as the Lua ``script`` makes them of what ``REQUESTS`` holds.

    Exits when an answer is no success or takes longer than ``patience_s`` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="isobase-bench-") as name:
        data, program = Path(name) / "requests.lua", Path(name) / "script.lua"
        data.write_text("return {" + ",".join(_lua(one) for one in requests) + "}")
        program.write_text(script)
        done = subprocess.run(
            [
                "wrk",
                "--threads=1",
                f"--connections={clients}",
                f"--duration={seconds:g}s",
                "--latency",
                f"--timeout={math.ceil(patience_s)}s",
                f"--script={program}",
                f"http://127.0.0.1:{port}",
            ],
            env={"REQUESTS": str(data)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    if "Non-2xx" in done or "Socket errors" in done:
        raise RequestsFailedError(f"not every request succeeded:\n{done}")
    found = re.search(r"99%\s+([\d.]+)(us|ms|s|m)", done)
    count = re.search(r"(\d+) requests in", done)
    per_s = re.search(r"Requests/sec:\s+([\d.]+)", done)
    assert found is not None
    assert count is not None
    assert per_s is not None
    return Figures(float(per_s.group(1)), float(found.group(1)) * _UNITS[found.group(2)], int(count.group(1)))


def _lua(data: bytes) -> str:
    return '"' + "".join(chr(one) if 32 <= one < 127 and one not in b'"\\' else f"\\{one:03d}" for one in data) + '"'
