"""Servers under test keep their files in memory only where that has room."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins import scratch


def test_a_folder_on_a_disk_is_not_taken_for_memory(tmp_path: Path) -> None:
    assert scratch.scratch_root(tmp_path) is None


def test_memory_without_room_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    mount = Path("/proc")  # a mount of every Linux machine
    if not mount.is_mount():
        pytest.skip("the system has no /proc")
    monkeypatch.setattr(scratch, "LEAST_FREE_BYTES", 0)
    assert scratch.scratch_root(mount) == "/proc"
    monkeypatch.setattr(scratch, "LEAST_FREE_BYTES", 2**80)
    assert scratch.scratch_root(mount) is None
