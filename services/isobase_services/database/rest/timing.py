"""How long each stage of a request took, for ``Server-Timing``.

Source: PostgREST v14 ``Response/Performance.hs``; docs, observability (Server-Timing Header).
"""

from __future__ import annotations

import time
from typing import Literal, TypeAlias, get_args

__all__ = ["Stage", "Stopwatch"]

Stage: TypeAlias = Literal["jwt", "parse", "plan", "transaction", "response"]


class Stopwatch:
    """Runs from when it is made; whatever passes belongs to the stage that is marked next."""

    __slots__ = ("_durations_s", "_since_s")

    def __init__(self) -> None:
        self._since_s = time.perf_counter()
        self._durations_s: dict[Stage, float] = {}

    def mark(self, stage: Stage) -> None:
        """``stage`` ends now; a stage may come in several parts."""
        now_s = time.perf_counter()
        self._durations_s[stage] = self._durations_s.get(stage, 0.0) + now_s - self._since_s
        self._since_s = now_s

    def skip(self) -> None:
        """What has passed since the last mark belongs to no stage (waiting for the client)."""
        self._since_s = time.perf_counter()

    @property
    def header(self) -> str:
        """The header's value: every stage in upstream's order, in milliseconds; one that there was not took none."""
        return ", ".join(f"{stage};dur={self._durations_s.get(stage, 0.0) * 1000:.1f}" for stage in get_args(Stage))
