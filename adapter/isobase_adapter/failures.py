"""What calls of a database fail with, as asyncpg and the operating system tell it."""

from __future__ import annotations

import asyncpg

__all__ = ["AWAY", "DATABASE_FAILURES"]

_LOST = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what is said of a connection that was lost in the middle of a statement
)

DATABASE_FAILURES = (*_LOST, asyncpg.PostgresError)
"""All of it: what the server refuses, and a server that cannot be asked."""

AWAY = (
    *_LOST,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)
"""What comes of a server that is away, ends or has no room: the same again later."""
