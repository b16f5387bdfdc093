"""A session on disk: whole, private, and shared by processes."""

from __future__ import annotations

import json
import multiprocessing
import stat
import sys
from pathlib import Path

import pytest

from isobase.auth import FileStorage

PROCESSES, ROUNDS = 3, 10


def write_often(path: str, name: str) -> None:
    storage = FileStorage(path)
    for number in range(ROUNDS):
        storage.set_item(f"{name}-{number}", "x" * 500)


def test_what_was_kept_is_found_by_another_storage_on_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "made" / "on the way" / "session.json"
    FileStorage(path).set_item("key", "välue")
    assert FileStorage(str(path)).get_item("key") == "välue"
    FileStorage(path).remove_item("key")
    assert FileStorage(path).get_item("key") is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_nobody_else_can_read_the_file_or_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "made" / "session.json"
    FileStorage(path).set_item("key", "value")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no O_NOFOLLOW")
def test_a_link_in_the_place_of_the_lock_or_the_file_makes_no_file_elsewhere(tmp_path: Path) -> None:
    elsewhere, kept = tmp_path / "elsewhere", tmp_path / "session.json"
    (tmp_path / ".session.json.lock").symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic links"):
        FileStorage(kept).set_item("key", "text")
    assert not elsewhere.exists()
    (tmp_path / ".session.json.lock").unlink()
    kept.symlink_to(elsewhere)
    FileStorage(kept).set_item("key", "text")
    assert not elsewhere.exists()
    assert not kept.is_symlink()


def test_the_home_is_written_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    FileStorage("~/session.json").set_item("key", "value")
    assert json.loads((tmp_path / "session.json").read_text()) == {"key": "value"}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"key": 7}'])
def test_a_damaged_file_counts_as_empty_and_can_be_written_again(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "session.json"
    path.write_bytes(content)
    storage = FileStorage(path)
    assert storage.get_item("key") is None
    storage.set_item("key", "value")
    assert storage.get_item("key") == "value"


def test_nothing_is_made_to_remove_what_is_not_there(tmp_path: Path) -> None:
    FileStorage(tmp_path / "none" / "session.json").remove_item("key")
    assert list(tmp_path.iterdir()) == []


def test_processes_that_write_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "session.json")
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_often, args=(path, str(number))) for number in range(PROCESSES)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * PROCESSES
    assert len(json.loads(Path(path).read_text())) == PROCESSES * ROUNDS


def test_one_storage_at_a_time_holds_the_lock_of_a_refresh(tmp_path: Path) -> None:
    first, second = FileStorage(tmp_path / "s.json"), FileStorage(tmp_path / "s.json")
    assert first.try_lock("key")
    assert not second.try_lock("key")
    assert not first.try_lock("key")
    first.unlock("key")
    assert second.try_lock("key")
    second.unlock("key")
    second.unlock("key")  # twice does no harm


def test_a_storage_does_not_show_what_it_keeps(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path / "s.json")
    storage.set_item("key", "secret")
    assert repr(storage) == f"FileStorage({str(tmp_path / 's.json')!r})"
