"""Time limits of one request, as httpx keeps them: seconds for each step."""

from __future__ import annotations

import httpx

__all__ = ["STEPS", "hurried", "lease_of"]

STEPS = ("connect", "read", "write", "pool")
USUAL_WAIT_S = 120.0
"""A call that waits no longer than this for its answer is covered by the outbox's own lease."""
LEASE_RESERVE_S = 60.0
LONGEST_LEASE_S = 3600.0


def lease_of(request: httpx.Request) -> float | None:
    """Give the seconds until a write has surely ended, where its app lets it wait for longer than usual; else None."""
    wait_s = (request.extensions.get("timeout") or {}).get("read")
    if wait_s is None:
        return LONGEST_LEASE_S
    return min(wait_s + LEASE_RESERVE_S, LONGEST_LEASE_S) if wait_s > USUAL_WAIT_S else None


def hurried(request: httpx.Request, most_s: float) -> httpx.Request:
    """Give the request with no more than ``most_s`` seconds for any step; its body is shared."""
    said = request.extensions.get("timeout") or {}
    limits = {step: most_s if said.get(step) is None else min(said[step], most_s) for step in STEPS}
    return httpx.Request(
        request.method,
        request.url,
        headers=request.headers.raw,
        stream=request.stream,
        extensions={**request.extensions, "timeout": limits},
    )
