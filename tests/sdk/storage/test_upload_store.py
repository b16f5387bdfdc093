"""Uploads that are under way are remembered, for a day."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from isobase.storage import FileUploadStore

DAY_S = 24 * 60 * 60


def test_an_upload_is_remembered_until_it_is_removed(tmp_path: Path) -> None:
    store = FileUploadStore(tmp_path / "uploads")
    assert store.get("a" * 64) is None
    store.put("a" * 64, "http://one")
    store.put("a" * 64, "http://two")
    assert FileUploadStore(tmp_path / "uploads").get("a" * 64) == "http://two"
    store.remove("a" * 64)
    store.remove("a" * 64)
    assert store.get("a" * 64) is None
    assert list((tmp_path / "uploads").iterdir()) == []


def test_what_is_older_than_a_day_is_forgotten(tmp_path: Path) -> None:
    store = FileUploadStore(tmp_path)
    for name in ("a", "b"):
        store.put(name, "http://old")
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"url": "http://old", "saved_at": time.time() - DAY_S - 1}))
        os.utime(path, (time.time() - DAY_S - 1,) * 2)
    assert store.get("a") is None
    store.put("c", "http://new")
    assert [path.name for path in tmp_path.iterdir()] == ["c.json"]


def test_a_damaged_entry_or_folder_only_means_beginning_anew(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    assert FileUploadStore(tmp_path).get("a") is None
    (tmp_path / "file").write_text("")
    store = FileUploadStore(tmp_path / "file" / "below")
    store.put("a", "http://x")
    assert store.get("a") is None
