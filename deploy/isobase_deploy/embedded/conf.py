"""The text of the embedded server's configuration files. Pure functions; ``server`` writes what they return.

``isobase.conf`` is written anew at every start and included by postgresql.conf, so that a newer Isobase brings newer
settings; what a user sets with ALTER SYSTEM stands in postgresql.auto.conf, which PostgreSQL reads last and so wins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from isobase_platform.errors import ConfigurationError

__all__ = ["INCLUDE_LINE", "hba_text", "ident_text", "settings_text"]

INCLUDE_LINE = "include 'isobase.conf'  # written by Isobase at every start\n"

# Small memory first: one developer machine, an idle Isobase below 150 MB with all its processes. io_method=sync saves the
# three I/O worker processes (about 2 MB each) and costs nothing measurable on data that fits in memory. fsync and
# synchronous_commit keep PostgreSQL's defaults (on): an acknowledged write is durable.
_SETTINGS: dict[str, str] = {
    "wal_level": "logical",
    "max_wal_senders": "10",
    "max_replication_slots": "10",
    "max_logical_replication_workers": "2",
    "max_slot_wal_keep_size": "2GB",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "io_method": "sync",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "max_wal_size": "512MB",
    "autovacuum_worker_slots": "4",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_min_duration_statement": "-1",
    "log_checkpoints": "off",
    "logging_collector": "off",
    # Above the API: PostgREST's upstream image sets the same, so that timestamps and intervals render alike.
    "datestyle": "iso, mdy",
    "intervalstyle": "postgres",
    "default_text_search_config": "pg_catalog.english",
}

# For scratch servers of tests only: nothing survives a power cut there, and nothing needs to.
_SCRATCH_SETTINGS: dict[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
}


_NAME = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?")


def quote_setting(value: str) -> str:
    """``value`` as a quoted string of postgresql.conf."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def settings_text(
    *, socket_dir: Path, extension_dirs: Sequence[Path], parameters: Mapping[str, str], is_durable: bool
) -> str:
    """The text of isobase.conf.

    ``extension_dirs`` hold a folder ``extension`` each, searched after PostgreSQL's own. ``parameters`` are the project's
    and stand above our choices, but not above what Isobase needs to find the server. Raises ``ConfigurationError`` for a
    name that is none.
    """
    for name in parameters:
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"db.settings.{name} is not the name of a PostgreSQL parameter")
    settings = {**_SETTINGS, **parameters}
    settings["listen_addresses"] = "127.0.0.1"
    settings["unix_socket_directories"] = str(socket_dir)
    settings["unix_socket_permissions"] = "0700"
    if extension_dirs:
        settings["extension_control_path"] = ":".join([*map(str, extension_dirs), "$system"])
    if not is_durable:
        settings |= _SCRATCH_SETTINGS
    lines = [f"{name} = {quote_setting(value)}" for name, value in settings.items()]
    return "# Written by Isobase at every start; use ALTER SYSTEM for settings of your own.\n" + "\n".join(lines) + "\n"


def hba_text(*, owner_by_peer: bool) -> str:
    """The text of pg_hba.conf: passwords for everybody, on the socket and on the loopback address only.

    ``owner_by_peer``: the operating system's user who owns the data may log in as supabase_admin through the socket (which
    only he can reach) without a password, so that a changed JWT secret, from which passwords may derive, locks nobody out.
    """
    owner = "local all supabase_admin peer map=isobase\n" if owner_by_peer else ""
    return (
        "# Written by Isobase at every start.\n"
        f"{owner}"
        "local all all scram-sha-256\n"
        "host all all 127.0.0.1/32 scram-sha-256\n"
        "local replication all scram-sha-256\n"
        "host replication all 127.0.0.1/32 scram-sha-256\n"
    )


def ident_text(user_name: str | None) -> str:
    """The text of pg_ident.conf: ``user_name`` of the operating system stands for supabase_admin."""
    if user_name is None:
        return "# Written by Isobase at every start: our user has no name here, so passwords serve alone.\n"
    quoted = user_name.replace('"', '""')
    return f'# Written by Isobase at every start.\nisobase "{quoted}" supabase_admin\n'
