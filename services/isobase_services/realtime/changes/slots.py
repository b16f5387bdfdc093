"""The leader's lock and its replication slot, on one session: both end with it.

Everything here runs on the replication connection itself, in the thread that connects. A session that holds the lock is the
leader; it takes over the permanent slot of its predecessor where there is one, so that nothing between the two is lost, or
makes a slot. Source: PostgreSQL documentation, "Streaming Replication Protocol", "Replication Slots".
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import psycopg2.extras

from isobase_platform.sql import quote_identifier

__all__ = [
    "LOCK_CLASS",
    "LOCK_OBJECT",
    "SLOT_PREFIX",
    "NotLeader",
    "SlotChoice",
    "SlotFacts",
    "SlotPolicy",
    "drop_slot",
    "take_lead",
]

LOCK_CLASS = 0x49534F42
LOCK_OBJECT = 6
"""The advisory lock of the leader, one per database."""
WAL_PAGE_BYTES = 8192
WAL_PAGE_HEADERS_BYTES = (24, 40)
SLOT_PREFIX = "isobase_changes_"

_Cursor: TypeAlias = psycopg2.extras.ReplicationCursor

_log = logging.getLogger("isobase.realtime")

_INSERTED_SQL = "select pg_catalog.pg_current_wal_insert_lsn()::text"
_TRY_LOCK_SQL = "select pg_catalog.pg_try_advisory_lock(%s, %s)"
_KEEP_LIMIT_SQL = "select setting::bigint from pg_catalog.pg_settings where name = 'max_slot_wal_keep_size'"
_SLOTS_SQL = """
select s.slot_name::text, s.active, s.confirmed_flush_lsn::text, coalesce(s.wal_status, 'lost') = 'lost' as is_lost,
       pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)::bigint as lag_bytes
  from pg_catalog.pg_replication_slots as s
 where s.database = pg_catalog.current_database() and s.slot_name ^@ %s and s.plugin = 'pgoutput' and not s.temporary
 order by s.confirmed_flush_lsn desc nulls last
"""


class NotLeader(Exception):
    """Another session leads."""


class SlotChoice(StrEnum):
    """What the settings ask for; ``auto``: permanent where the server bounds what a slot may hold back."""

    AUTO = "auto"
    PERMANENT = "permanent"
    TEMPORARY = "temporary"


@dataclass(slots=True, frozen=True)
class SlotPolicy:
    """``max_lag_bytes``: a permanent slot that holds back more of the log than this is dropped and made anew. ``is_shared``:
    one process reads for all; else each has a temporary slot of its own.
    """

    choice: SlotChoice
    max_lag_bytes: int
    is_shared: bool = True


@dataclass(slots=True, frozen=True)
class SlotFacts:
    """The slot to stream from. ``epoch`` names the history.

    ``start_lsn``: all that commits from there on comes. ``live_lsn``: what the server had on disk when this session began.
    ``begun_lsn``: what commits from there on did so after this session began; commits that do not wait for the disk make
    the two differ. ``max_held_bytes``: what the slot may hold back for those who come back, half of what ends it.
    """

    name: str
    epoch: str
    is_permanent: bool
    start_lsn: int
    live_lsn: int
    begun_lsn: int
    max_held_bytes: int


def lsn_from_text(text: str) -> int:
    """``16/B374D848`` as a number."""
    high, low = text.split("/")
    return (int(high, 16) << 32) | int(low, 16)


def _without_page_header(lsn: int) -> int:
    """Where the next record is inserted lies behind the header of an empty page; what was read ends before it."""
    return lsn - lsn % WAL_PAGE_BYTES if lsn % WAL_PAGE_BYTES in WAL_PAGE_HEADERS_BYTES else lsn


def take_lead(cursor: _Cursor, policy: SlotPolicy) -> SlotFacts:
    """Become the leader on this session and have a slot. Raises ``NotLeader``, and ``psycopg2.Error`` as it comes."""
    if policy.is_shared and not _scalar(cursor, _TRY_LOCK_SQL, LOCK_CLASS, LOCK_OBJECT):
        raise NotLeader
    cursor.execute("IDENTIFY_SYSTEM")
    _system, timeline, flushed, _database = _row(cursor)
    keep_limit_bytes = _keep_limit_bytes(cursor)
    is_permanent = policy.is_shared and _is_permanent(policy.choice, keep_limit_bytes)
    max_held_bytes = min(policy.max_lag_bytes, keep_limit_bytes or policy.max_lag_bytes) // 2
    kept = _usable_slot(cursor, policy, is_wanted=is_permanent) if policy.is_shared else None
    if kept is not None:
        name, start_lsn = kept
        live_lsn = max(start_lsn, lsn_from_text(str(flushed)))
        begun_lsn = max(live_lsn, _without_page_header(lsn_from_text(str(_scalar(cursor, _INSERTED_SQL)))))
        return SlotFacts(name, _epoch(name, timeline), True, start_lsn, live_lsn, begun_lsn, max_held_bytes)
    name = SLOT_PREFIX + secrets.token_hex(5)
    kind = "" if is_permanent else " TEMPORARY"
    cursor.execute(
        f"CREATE_REPLICATION_SLOT {quote_identifier(name)}{kind} LOGICAL {quote_identifier('pgoutput')} NOEXPORT_SNAPSHOT"
    )
    start_lsn = lsn_from_text(str(_row(cursor)[1]))
    if policy.is_shared and not is_permanent and policy.choice is SlotChoice.AUTO:
        _log.warning(
            "the replication slot is temporary: without max_slot_wal_keep_size a permanent one could fill the disk; what"
            " is committed while no process reads the log is not sent"
        )
    return SlotFacts(name, _epoch(name, timeline), is_permanent, start_lsn, start_lsn, start_lsn, max_held_bytes)


def drop_slot(cursor: _Cursor, name: str) -> None:
    """Drop a slot that is not being read. Raises ``psycopg2.Error``."""
    cursor.execute(f"DROP_REPLICATION_SLOT {quote_identifier(name)}")


def _epoch(name: str, timeline: object) -> str:
    """A slot belongs to one database and is never made twice; a new timeline may have lost what the old one had."""
    return f"{name.removeprefix(SLOT_PREFIX)}t{int(str(timeline)):x}"


def _keep_limit_bytes(cursor: _Cursor) -> int | None:
    """What the server lets a slot hold back, None for no limit."""
    limit_mib = int(str(_scalar(cursor, _KEEP_LIMIT_SQL)))
    return None if limit_mib < 0 else limit_mib * 1024 * 1024


def _is_permanent(choice: SlotChoice, keep_limit_bytes: int | None) -> bool:
    if choice is not SlotChoice.AUTO:
        return choice is SlotChoice.PERMANENT
    return keep_limit_bytes is not None


def _usable_slot(cursor: _Cursor, policy: SlotPolicy, *, is_wanted: bool) -> tuple[str, int] | None:
    """The permanent slot to go on from, as name and start; every other one of ours is dropped."""
    cursor.execute(_SLOTS_SQL, (SLOT_PREFIX,))
    usable: tuple[str, int] | None = None
    for name, is_active, confirmed, is_lost, lag_bytes in cursor.fetchall():
        is_good = not is_lost and confirmed is not None and (lag_bytes or 0) <= policy.max_lag_bytes
        if is_wanted and is_good and usable is None:
            usable = (name, lsn_from_text(confirmed))
        elif not is_active:
            _log.warning(
                "a replication slot was dropped", extra={"slot": name, "lag_bytes": lag_bytes, "is_lost": is_lost}
            )
            drop_slot(cursor, name)
    return usable


def _scalar(cursor: _Cursor, text: str, *parameters: object) -> object:
    cursor.execute(text, parameters)
    return _row(cursor)[0]


def _row(cursor: _Cursor) -> tuple[object, ...]:
    row = cursor.fetchone()
    return tuple(row) if row is not None else (None,)
