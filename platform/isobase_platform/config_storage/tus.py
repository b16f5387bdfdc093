"""Resumable uploads. Upstream's names: ``TUS_URL_EXPIRY_MS`` and ``TUS_PART_SIZE``."""

from __future__ import annotations

from pydantic import Field

from isobase_platform.config_group import SettingsGroup
from isobase_platform.config_storage.s3 import MIN_PART_SIZE_BYTES

__all__ = ["TusSettings"]


class TusSettings(SettingsGroup):
    """Resumable uploads (``/storage/v1/upload/resumable``)."""

    upload_ttl_s: int = Field(default=24 * 3600, ge=1)
    """How long after its creation an unfinished upload can be resumed; then it is removed."""
    part_size_bytes: int = Field(default=6 * 1024 * 1024, ge=MIN_PART_SIZE_BYTES, le=512 * 1024 * 1024)
    """What uploads are cut into on their way to S3; two parts of each are in memory. Very large ones take larger parts."""
