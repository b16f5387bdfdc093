"""Where servers under test keep their files: in memory where there is room, as most of their time goes to files on a disk.

A killed process loses nothing there; only a machine that stops would, and no test stops one.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil

__all__ = ["LEAST_FREE_BYTES", "scratch_root"]

MEMORY = Path("/dev/shm")
LEAST_FREE_BYTES = 12 * 2**30
"""Some ten servers live at once, each of which may keep a gigabyte of write-ahead log."""


def scratch_root(memory: Path = MEMORY) -> str | None:
    """The folder for scratch folders: ``memory`` where it is there and has room; None for the system's usual one."""
    if not memory.is_mount():
        return None
    room = min(shutil.disk_usage(memory).free, psutil.virtual_memory().available)
    return str(memory) if room >= LEAST_FREE_BYTES else None
