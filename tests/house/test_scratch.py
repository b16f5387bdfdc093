"""Servers under test keep their files in memory only where that has room."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins import scratch


def test_a_folder_on_a_disk_is_not_taken_for_memory(tmp_path: Path) -> None:
    assert scratch.scratch_root(tmp_path) is None


def test_memory_without_room_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path)
    monkeypatch.setattr(scratch, "LEAST_FREE_BYTES", 0)
    assert scratch.scratch_root(tmp_path) == str(tmp_path)
    monkeypatch.setattr(scratch, "LEAST_FREE_BYTES", 2**80)
    assert scratch.scratch_root(tmp_path) is None
