"""The time a call has: httpx's limits of its steps, none of them longer than what is left of the whole."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import httpx

from isobase._http.errors import DeadlineExceeded

__all__ = ["DEADLINE_EXTENSION", "Limits"]

DEADLINE_EXTENSION = "isobase_deadline"
"""The request extension that carries a call's deadline and its whole time in seconds."""


class Limits:
    """Seconds for each step (None: no limit), and the moment (of ``time.monotonic``) at which the whole call has to be
    over.
    """

    __slots__ = ("connect_s", "deadline", "pool_s", "read_s", "whole_s", "write_s")

    def __init__(
        self,
        connect_s: float | None = None,
        read_s: float | None = None,
        write_s: float | None = None,
        pool_s: float | None = None,
        deadline: float = math.inf,
        whole_s: float | None = None,
    ) -> None:
        self.connect_s = connect_s
        self.read_s = read_s
        self.write_s = write_s
        self.pool_s = pool_s
        self.deadline = deadline
        self.whole_s = whole_s

    @classmethod
    def of(cls, extensions: Mapping[str, Any]) -> Limits:
        """Read the limits of a request's extensions: httpx's ``timeout`` and the session's own."""
        steps: Mapping[str, float | None] = extensions.get("timeout") or {}
        deadline, whole_s = extensions.get(DEADLINE_EXTENSION) or (math.inf, None)
        return cls(steps.get("connect"), steps.get("read"), steps.get("write"), steps.get("pool"), deadline, whole_s)

    def of_step(self, step_s: float | None) -> float | None:
        """Give how long a step of at most ``step_s`` may take now; raises ``TimeoutError`` when the whole time is
        over.
        """
        if self.deadline == math.inf:
            return step_s
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left if step_s is None or left < step_s else step_s

    @property
    def is_over(self) -> bool:
        """Whether the whole time is over."""
        return self.deadline != math.inf and time.monotonic() >= self.deadline

    def exceeded(self, kind: type[httpx.TimeoutException], message: str) -> httpx.TimeoutException:
        """Give the error for a step that took too long: that of the whole call when its time is over, else one of
        ``kind``.
        """
        return DeadlineExceeded(self.whole_s or 0.0) if self.is_over else kind(message)
