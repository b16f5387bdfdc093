"""Remembers what a verification is done with, so that one that was ended goes on where it was.

A table counts as done when it was equal and neither side's definition of it changed since; what differed is looked at
anew. Of the table in whose middle it was ended the ranges that were read are kept (``KeptSums``). Each is told with the
time at which it was compared: what is gone on with is not of now. The file holds names, counts and checksums.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from isobase_adapter.rows.kept_sums import KeptSums

__all__ = ["DoneTable", "Journal"]

KEEP_EVERY_S = 10.0
"""How often the ranges of the table that is under way are written down: so much is read again after a crash."""


@dataclass(slots=True, frozen=True)
class DoneTable:
    """A table that was equal. ``rows`` of each side; ``as_of``: when the oldest part of it was read."""

    rows: dict[str, int]
    as_of: datetime


class Journal:
    """A file with a line for each table that was equal, and for the one under way.

    path: None keeps nothing. again: forget what is there.
    """

    def __init__(self, path: Path | None, *, again: bool = False) -> None:
        self._path = path
        self._done: dict[str, dict[str, Any]] = {}
        self._ranges: dict[str, Any] | None = None
        self._under_way: tuple[str, str, KeptSums] | None = None
        self._kept_s = time.monotonic()
        if path is None or not path.is_file():
            return
        if again:
            path.unlink()
            return
        for line in path.read_text().splitlines():
            try:
                entry = json.loads(line)
                if "sums" in entry:
                    self._ranges = entry
                else:
                    self._done[entry["table"]] = entry
            except (ValueError, KeyError, TypeError):
                continue  # The line on which it was killed.

    def done(self, table: str, version: str) -> DoneTable | None:
        """Give a table that was found equal in this version; None where it is still to do."""
        entry = self._done.get(table)
        if entry is None or entry.get("version") != version:
            return None
        try:
            return DoneTable(entry["rows"], datetime.fromisoformat(entry["as_of"]))
        except (KeyError, TypeError, ValueError):
            return None

    def begin(self, table: str, version: str) -> KeptSums | None:
        """Give what is kept of a table, to go on with and to keep its ranges in; None where nothing is kept."""
        if self._path is None:
            return None
        kept, entry = KeptSums(), self._ranges
        if entry is not None and (entry.get("table"), entry.get("version")) == (table, version):
            try:
                kept = KeptSums.of_json(entry["sums"])
            except (KeyError, TypeError, ValueError):
                kept = KeptSums()
        kept.on_kept = self._keep_now_and_then
        self._under_way = (table, version, kept)
        return kept

    def keep(self) -> None:
        """Write down the ranges of the table under way; durable when this returns."""
        if self._path is None or self._under_way is None:
            return
        table, version, kept = self._under_way
        if kept.buckets is None:
            return
        self._ranges = {"table": table, "version": version, "sums": kept.as_json()}
        self._write()

    def end(self, table: str, version: str, rows: dict[str, int] | None, as_of: datetime) -> None:
        """Note that a table is done with. rows: of each side where it is equal; None where it is to be looked at anew."""
        if self._path is None:
            return
        was_kept, self._under_way = self._ranges is not None and self._ranges.get("table") == table, None
        if was_kept:
            self._ranges = None
        if rows is not None:
            entry = {"table": table, "version": version, "rows": rows, "as_of": as_of.isoformat()}
            self._done[table] = entry
        if was_kept:
            self._write()
        elif rows is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(entry) + "\n")
                file.flush()
                os.fsync(file.fileno())

    def finish(self) -> None:
        """The verification came to its end: the next one begins anew."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _keep_now_and_then(self) -> None:
        if time.monotonic() - self._kept_s >= KEEP_EVERY_S:
            self.keep()
            self._kept_s = time.monotonic()

    def _write(self) -> None:
        """Write the file anew, so that a crash leaves the old one or the new one."""
        assert self._path is not None
        other = self._path.with_name(self._path.name + ".new")
        with other.open("w") as file:
            for entry in [*self._done.values(), *([self._ranges] if self._ranges is not None else [])]:
                file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())
        other.replace(self._path)
