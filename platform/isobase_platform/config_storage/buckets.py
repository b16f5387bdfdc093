"""Buckets that are made at start. Names as config.toml's ``[storage.buckets.NAME]``."""

from __future__ import annotations

from pathlib import Path

from isobase_platform.config_group import SettingsGroup

__all__ = ["BucketSettings"]


class BucketSettings(SettingsGroup):
    """One [storage.buckets.NAME] table: made at start where it is missing."""

    public: bool = False
    file_size_limit_bytes: int | None = None
    allowed_mime_types: tuple[str, ...] | None = None
    objects_path: Path | None = None
