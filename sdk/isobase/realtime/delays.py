"""How long the client waits before it tries again: growing delays with jitter. No I/O.

Jitter keeps the clients of a server that restarts from coming back in one moment.
"""

from __future__ import annotations

import random

__all__ = ["MAX_RECONNECT_DELAY_S", "RATE_LIMITED_REJOIN_DELAY_S", "first_delay", "reconnect_delay", "rejoin_delay"]

REJOIN_DELAYS_S = (1.0, 2.0, 5.0, 10.0)
"""After the first, second, third failure of a join, and after every further one; those of realtime-js."""
RATE_LIMITED_REJOIN_DELAY_S = 30.0
MAX_RECONNECT_DELAY_S = 30.0
MAX_CONNECT_DELAY_S = 60.0
FIRST_DELAY_SHARE = 0.25
JITTER_SHARE = 0.25


def jittered(delay_s: float) -> float:
    """Give ``delay_s``, or up to a quarter less or more."""
    return delay_s * random.uniform(1 - JITTER_SHARE, 1 + JITTER_SHARE)  # noqa: S311 - no secret


def rejoin_delay(attempt: int) -> float:
    """Seconds before a channel joins again after ``attempt`` failures (from 1)."""
    return jittered(REJOIN_DELAYS_S[min(attempt, len(REJOIN_DELAYS_S)) - 1])


def connect_delay(attempt: int, initial_s: float) -> float:
    """Seconds between the attempts of one ``connect``, after ``attempt`` failures (from 1): doubles, without jitter."""
    return min(initial_s * 2.0 ** min(attempt - 1, 16), MAX_CONNECT_DELAY_S)


def first_delay(initial_s: float) -> float:
    """Seconds before the first attempt after a connection was lost: next to none, spread over a quarter of ``initial_s``."""
    return random.uniform(0, initial_s * FIRST_DELAY_SHARE)  # noqa: S311 - no secret


def reconnect_delay(attempt: int, initial_s: float) -> float:
    """Seconds before a further attempt after ``attempt`` failures (from 1): doubles up to 30 s, with jitter."""
    return jittered(min(initial_s * 2.0 ** min(attempt - 1, 16), MAX_RECONNECT_DELAY_S))
