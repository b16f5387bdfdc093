"""How long a transfer may take and how often it is tried again: plain values, for uploads and downloads alike.

A transfer is many requests, or one long one, so the transport's time for a whole call does not fit: here the whole time
counts only where ``call_options(timeout=...)`` says it, silence is what httpx's own timeouts are for, and attempts are
counted while nothing moves. Neighbours: ``isobase._http.options`` (what a call was told), ``isobase._http.retry`` (how long
to wait).
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field

import httpx

from isobase._http import RETRIED_STATUSES, DeadlineExceeded, call_options, current_options, delay_s

__all__ = ["STALLED_RETRIES", "WHOLE_RETRIES", "Attempts", "is_lost", "is_passing_status"]

logger = logging.getLogger("isobase.storage")

WHOLE_RETRIES = 3
"""How often a transfer that must begin anew is tried again."""
STALLED_RETRIES = 8
"""How often a transfer that can go on is tried again without one byte of progress: about 45 seconds of waiting."""


def is_lost(error: BaseException) -> bool:
    """Whether a connection was lost or stayed silent, so that trying again may help; the whole time's end is none."""
    return isinstance(error, httpx.TransportError) and not isinstance(
        error, DeadlineExceeded | httpx.UnsupportedProtocol | httpx.LocalProtocolError
    )


def is_passing_status(status: int | str) -> bool:
    """Whether an answer says that the server, or the way to it, is down for the moment or has too much to do."""
    return str(status).isdigit() and (int(status) in RETRIED_STATUSES or int(status) == 429)


@dataclass(slots=True)
class Attempts:
    """Counts the attempts of one transfer, and its time.

    ``default_retries``: how often it is tried again where ``call_options`` does not say.
    """

    default_retries: int
    timeout: float | None = field(default_factory=lambda: current_options().timeout)
    wished_retries: int | None = field(default_factory=lambda: current_options().retries)
    began: float = field(default_factory=time.monotonic)
    failed: int = 0

    @property
    def left(self) -> float:
        """Seconds that are left; infinite where nobody said how long it may take."""
        return math.inf if self.timeout is None else self.began + self.timeout - time.monotonic()

    @property
    def may_go_on(self) -> bool:
        """Whether another attempt is allowed."""
        return self.failed < (self.default_retries if self.wished_retries is None else self.wished_retries)

    def check(self) -> None:
        """Raise when the time is over."""
        if self.left <= 0:
            raise DeadlineExceeded(self.timeout or 0.0)

    def once(self) -> call_options:
        """Give the options of a single attempt: the time that is left, and no repetition by the transport."""
        self.check()
        return call_options(timeout=self.left, retries=0)

    def moved(self) -> None:
        """Begin to count anew: there was progress."""
        self.failed = 0

    def pause(self, retry_after: str | None = None) -> float:
        """Count a failed attempt; gives the seconds to wait before the next. Raises where the time would be over."""
        self.failed += 1
        wait = delay_s(self.failed, retry_after)
        if wait >= self.left:
            raise DeadlineExceeded(self.timeout or 0.0)
        logger.info("a transfer was interrupted, %d times in a row; it goes on in %.2f s", self.failed, wait)
        return wait
