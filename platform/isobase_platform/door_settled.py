"""A transaction that is settled when its statements have answered, for ``RlsDoor.settled``: two round trips.

The first exchange holds BEGIN, what the login role does first, the caller's settings and statements; the second what
follows from their rows, again as the login role, and COMMIT. Neighbours: ``rls`` makes the steps.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import asyncpg

from isobase_platform.door_resets import CLEAN, CLEAN_AFTER_WRITE, MAX_TRIES, ROLL_BACK_AND_CLEAN, STALE_STATEMENTS
from isobase_platform.errors import database_error
from isobase_platform.pool import DATABASE_FAILURES, LOST_CONNECTION_FAILURES, discard
from isobase_platform.wire import After, WireConnection
from isobase_platform.wire_messages import Row, Step
from isobase_platform.wire_pool import WirePool

__all__ = ["Settle", "settle_transaction"]

Settle: TypeAlias = "Callable[[list[list[Row]]], Sequence[Step]]"
"""Given the rows of each statement, the steps that settle the transaction. What it raises rolls everything back."""


async def settle_transaction(
    pool: WirePool, opening: Sequence[Step], settle: Settle, group: str, *, is_pooled: bool
) -> None:
    """Run ``opening``, which begins the transaction, and what ``settle`` makes of its rows, and commit.

    ``group`` as in ``WireConnection.pipeline``. Raises ``DatabaseError``, ``Unavailable`` and what ``settle`` raises; nothing
    is kept then, unless the connection was lost while it committed. Behind a transaction pooler the commit takes a round trip
    of its own.
    """
    tries = MAX_TRIES
    while True:
        tries -= 1
        connection = pool.take() or await pool.acquire()
        try:
            closing = settle(await connection.pipeline(opening, group=group))
        except asyncpg.PostgresError as error:
            was_ended = connection.is_closed()  # the server said why, and went; no COMMIT was sent
            await _abort(pool, connection, is_pooled=is_pooled)
            if tries and (was_ended or isinstance(error, STALE_STATEMENTS)):
                connection.forget_statements()
                continue
            raise database_error(error) from error
        except LOST_CONNECTION_FAILURES as error:
            pool.release(connection)
            if tries:
                continue  # no COMMIT was sent
            raise database_error(error) from error
        except Exception:
            await _abort(pool, connection, is_pooled=is_pooled)
            raise
        except BaseException:
            discard(connection)  # cancelled: what the server does meanwhile is nobody's any more
            pool.release(connection)
            raise
        try:
            await _commit(pool, connection, closing, is_pooled=is_pooled)
        except DATABASE_FAILURES as error:
            raise database_error(error) from error
        return


async def _commit(pool: WirePool, connection: WireConnection, closing: Sequence[Step], *, is_pooled: bool) -> None:
    if is_pooled:
        await _end_in_text(pool, connection, closing, "COMMIT")
        return
    after = After(CLEAN_AFTER_WRITE, partial(pool.release, connection))
    try:
        await connection.pipeline([*closing, ("COMMIT", ())], after=after)
    except DATABASE_FAILURES:
        raise  # where the transaction is still open the resets fail, and the connection is closed
    except BaseException:
        discard(connection)
        raise


async def _abort(pool: WirePool, connection: WireConnection, *, is_pooled: bool) -> None:
    """Roll back and give the connection back, clean; nobody waits for it but behind a pooler."""
    if connection.is_closed():
        pool.release(connection)
    elif is_pooled:
        with contextlib.suppress(*DATABASE_FAILURES):  # the connection is closed then, and the server rolls back
            await _end_in_text(pool, connection, (), "ROLLBACK")
    else:
        connection.send_after(After(ROLL_BACK_AND_CLEAN, partial(pool.release, connection)))


async def _end_in_text(pool: WirePool, connection: WireConnection, steps: Sequence[Step], ending: str) -> None:
    """``ending`` and the resets as one message, behind which a pooler may hand the session on."""
    is_clean = False
    try:
        if steps:
            await connection.pipeline(steps)
        await connection.execute(f"{ending}; {CLEAN}")
        is_clean = not connection.is_in_transaction()
    finally:
        if not is_clean:
            discard(connection)
        pool.release(connection)
