"""Snapshots as JSON, and the file in which a client keeps the last one for a start while the store is away.

The file is used only while it is young (``MAX_CACHED_AGE_S``), and a client that knows its flags from it alone writes to
no side alone (``http.routing``): others may have gone on to a stage in which such a write is lost. Writes to both sides
carry an epoch, which fences them whatever the client believes.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from isobase_adapter.contracts import Flag, Snapshot, Writer
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage

__all__ = ["MAX_CACHED_AGE_S", "SnapshotFile", "snapshot_from_rows", "snapshot_to_json"]

MAX_CACHED_AGE_S = 3600.0
"""A snapshot in a file that is older is not used to start with."""


def snapshot_from_rows(
    version: int,
    flags: Iterable[Mapping[str, Any]],
    writers: Iterable[Mapping[str, Any]],
    rules: Iterable[Mapping[str, Any]],
    heard_at: datetime,
) -> Snapshot:
    """Make a snapshot of what the tables hold. Raises ``ValueError`` for a stage or side that is none."""
    of_patterns: dict[str, dict[str, Any]] = {}
    for rule in rules:
        of_patterns.setdefault(rule["pattern"], {})[rule["name"]] = rule["value"]
    return Snapshot(
        flags={row["pattern"]: _flag(row) for row in flags},
        writers={
            row["pattern"]: Writer(row["pattern"], Side(row["side"]), row["epoch"], bool(row["is_handing_over"]))
            for row in writers
        },
        rules=of_patterns,
        version=version,
        heard_at=heard_at,
    )


def snapshot_to_json(snapshot: Snapshot) -> dict[str, Any]:
    """Give it as plain JSON values, as ``snapshot_from_rows`` reads them."""
    return {
        "version": snapshot.version,
        "heard_at": snapshot.heard_at.isoformat() if snapshot.heard_at else None,
        "flags": [
            {
                "pattern": flag.pattern,
                "stage": str(flag.stage),
                "before": str(flag.before),
                "share_percent": flag.share_percent,
                "users": sorted(flag.users),
                "version": flag.version,
            }
            for flag in snapshot.flags.values()
        ],
        "writers": [
            {
                "pattern": writer.pattern,
                "side": str(writer.side),
                "epoch": writer.epoch,
                "is_handing_over": writer.is_handing_over,
            }
            for writer in snapshot.writers.values()
        ],
        "rules": [
            {"pattern": pattern, "name": name, "value": value}
            for pattern, rules in snapshot.rules.items()
            for name, value in rules.items()
        ],
    }


class SnapshotFile:
    """The last snapshot in a file, replaced as a whole.

    path: where; its folder must be there. key: what the snapshot belongs to (the store's address without password); a
    file of another store is not read.
    """

    def __init__(self, path: Path, key: str) -> None:
        """Read and write nothing yet."""
        self._path = path
        self._key = key
        self._lock = threading.Lock()

    def read(self, *, max_age_s: float = MAX_CACHED_AGE_S) -> Snapshot | None:
        """Give the snapshot, or None where there is none, it is too old, cut off, another store's or another account's."""
        try:
            found = self._path.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, os.geteuid()):
                # Whoever can write into the folder must not choose the sides of this app's calls.
                return None
            value = json.loads(self._path.read_text())
            if value["key"] != self._key:
                return None
            heard_at = datetime.fromisoformat(value["heard_at"])
            snapshot = snapshot_from_rows(value["version"], value["flags"], value["writers"], value["rules"], heard_at)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        age_s = (datetime.now(UTC) - heard_at).total_seconds()
        return snapshot if age_s <= max_age_s else None

    def write(self, snapshot: Snapshot) -> None:
        """Keep ``snapshot``; readable by this account alone, from any thread. Raises ``OSError``."""
        with self._lock:
            self._write(snapshot)

    def _write(self, snapshot: Snapshot) -> None:
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}.{id(self):x}")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump({"key": self._key, **snapshot_to_json(snapshot)}, file)
            os.replace(new, self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                new.unlink()
            raise


def _flag(row: Mapping[str, Any]) -> Flag:
    return Flag(
        row["pattern"],
        Stage(row["stage"]),
        Stage(row["before"]),
        float(row["share_percent"]),
        frozenset(row["users"]),
        row["version"],
    )
