"""Remembers which tables a verification is done with, so that one that was ended goes on where it was.

A table counts as done when it was equal and neither side's definition of it changed since; what differed is looked at
anew. The file holds names and counts.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["Journal"]


class Journal:
    """A file with a line for each table that was equal. ``path``: None keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._done: dict[str, dict[str, Any]] = {}
        if path is not None and path.is_file():
            for line in path.read_text().splitlines():
                try:
                    entry = json.loads(line)
                    self._done[entry["table"]] = entry
                except (ValueError, KeyError, TypeError):
                    continue  # The line on which it was killed.

    def rows(self, table: str, version: str) -> dict[str, int] | None:
        """Give each side's rows of a table that was found equal in this version; None where it is still to do."""
        entry = self._done.get(table)
        return entry["rows"] if entry is not None and entry.get("version") == version else None

    def add(self, table: str, version: str, rows: dict[str, int]) -> None:
        """Note that a table is equal; durable when this returns."""
        if self._path is None:
            return
        with self._path.open("a") as file:
            file.write(json.dumps({"table": table, "version": version, "rows": rows}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> None:
        """The verification came to its end: the next one begins anew."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
