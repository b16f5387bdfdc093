"""How a connection of the door becomes clean again, and when an exchange may be begun anew. Neighbours: ``rls``."""

from __future__ import annotations

import asyncpg

from isobase_platform.wire_messages import Silent

__all__ = ["CLEAN", "CLEAN_AFTER_READ", "CLEAN_AFTER_WRITE", "MAX_TRIES", "ROLL_BACK_AND_CLEAN", "STALE_STATEMENTS"]

MAX_TRIES = 3
"""How often an exchange is begun anew where nothing of it can have been kept."""

# What a user's function may leave on a session: settings, temporary tables, cursors, listeners, advisory locks. RESET ALL
# does not cover the role and the session authorization, hence the first two.
CLEAN = (
    "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; CLOSE ALL; UNLISTEN *; DISCARD TEMP; DISCARD SEQUENCES; "
    "SELECT pg_catalog.pg_advisory_unlock_all()"
)

# The same as prepared statements. A transaction that only reads ends with them itself: nothing of it can be deferred to the
# commit, where the role still counts, and it cannot have made temporary tables. One answer less to send and to read.
_RESETS = (
    ("RESET SESSION AUTHORIZATION", "RESET"),
    ("RESET ROLE", "RESET"),
    ("RESET ALL", "RESET"),
    ("CLOSE ALL", "CLOSE CURSOR ALL"),
    ("UNLISTEN *", "UNLISTEN"),
    ("SELECT FROM pg_catalog.pg_advisory_unlock_all()", "SELECT 1"),
)
CLEAN_AFTER_READ = Silent(_RESETS)
CLEAN_AFTER_WRITE = Silent([*_RESETS, ("DISCARD TEMP", "DISCARD TEMP"), ("DISCARD SEQUENCES", "DISCARD SEQUENCES")])
ROLL_BACK_AND_CLEAN = Silent([("ROLLBACK", "ROLLBACK"), *_RESETS, ("DISCARD SEQUENCES", "DISCARD SEQUENCES")])

# What a statement that was prepared before may meet: somebody's DEALLOCATE or PREPARE, or DDL that changed what it returns.
STALE_STATEMENTS = (
    asyncpg.InvalidSQLStatementNameError,
    asyncpg.DuplicatePreparedStatementError,
    asyncpg.InvalidCachedStatementError,
)
