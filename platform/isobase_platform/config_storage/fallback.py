"""A second store that objects are read from while they move: the other side of ``isobase storage move``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from isobase_platform.config_group import SettingsGroup
from isobase_platform.config_storage.s3 import S3Settings

__all__ = ["FallbackSettings"]


class FallbackSettings(SettingsGroup):
    """A store beside the one of `storage.backend`: what that one lacks is read from here, what is removed goes from both."""

    backend: Literal["file", "s3"] | None = None
    """None: there is no such store."""
    root: Path | None = None
    """Its directory, for `file`; default that of `storage.root`."""
    s3: S3Settings = S3Settings()
