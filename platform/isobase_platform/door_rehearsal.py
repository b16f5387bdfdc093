"""An exchange of which nothing is kept, for ``RlsDoor.rehearse``: what would these statements do, as these callers?

BEGIN, settings and statements leave in one write; the ROLLBACK and the resets that prove the connection clean follow in the
same write, in an exchange of their own that nobody awaits, so that they also run where a statement failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import asyncpg

from isobase_platform.caller import Caller
from isobase_platform.door_resets import MAX_TRIES, STALE_STATEMENTS
from isobase_platform.errors import database_error
from isobase_platform.pool import LOST_CONNECTION_FAILURES, discard
from isobase_platform.wire import After
from isobase_platform.wire_messages import Row, Silent, Step
from isobase_platform.wire_pool import WirePool

__all__ = ["Act", "rehearse"]


@dataclass(slots=True, frozen=True)
class Act:
    """What one caller does in a rehearsal. ``settings``: further ones, as in ``RlsDoor.transaction``."""

    caller: Caller
    steps: Sequence[Step]
    settings: Mapping[str, str] = field(default_factory=dict)


async def rehearse(pool: WirePool, steps: Sequence[Step], group: str, ending: Silent) -> list[list[Row]]:
    """Run ``steps``, of which the first begins the transaction; the rows of each. ``ending`` rolls back and cleans up.

    Raises ``DatabaseError`` and ``Unavailable``.
    """
    tries = MAX_TRIES
    while True:
        tries -= 1
        connection = pool.take() or await pool.acquire()
        try:
            return await connection.pipeline(steps, group=group, after=After(ending, partial(pool.release, connection)))
        except asyncpg.PostgresError as error:
            if tries and isinstance(error, STALE_STATEMENTS):
                connection.forget_statements()
                continue
            raise database_error(error) from error
        except LOST_CONNECTION_FAILURES as error:
            if tries:
                continue
            raise database_error(error) from error
        except BaseException:
            discard(connection)  # cancelled: what the server does meanwhile is nobody's any more
            raise
