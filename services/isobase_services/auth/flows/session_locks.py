"""One refresh of a session at a time: the others wait outside the database and then find what the first one left.

Source: supabase/auth internal/tokens/service.go, whose tries and answer (409 conflict) these are.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from isobase_services.auth.errors import AuthError, ErrorCode, OAuthRefusal
from isobase_services.auth.models import OpenSession

__all__ = ["RETRY_LIMIT_S", "refreshed_in_turn"]

RETRY_LIMIT_S = 5.0
"""How long a refresh waits for another one of the same session before it is answered 409."""
RETRY_PAUSE_S = (0.01, 0.03)


async def refreshed_in_turn(
    attempt: Callable[[], Awaitable[OpenSession | AuthError | OAuthRefusal | None]],
) -> OpenSession:
    """What the first ``attempt`` that finds the session free makes of it.

    attempt: one try in a transaction of its own; None when somebody else is refreshing the session right now. A refusal is
    given back, not raised, so that its transaction stays: the end of a session whose token was stolen, though the request
    fails. Raises that refusal; 409 conflict when the session stays locked for ``RETRY_LIMIT_S``.
    """
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + RETRY_LIMIT_S
    while True:
        outcome = await attempt()
        if isinstance(outcome, OpenSession):
            return outcome
        if outcome is not None:
            raise outcome
        if loop.time() >= deadline_s:
            raise AuthError(
                409,
                ErrorCode.CONFLICT,
                "Too many concurrent token refresh requests on the same session or refresh token",
            )
        await asyncio.sleep(random.uniform(*RETRY_PAUSE_S))  # noqa: S311  a pause, not a secret
