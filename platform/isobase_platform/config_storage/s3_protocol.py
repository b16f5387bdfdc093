"""The S3 protocol as storage speaks it to clients. Names as config.toml's ``[storage.s3_protocol]``."""

from __future__ import annotations

from pydantic import Field

from isobase_platform.config_group import SettingsGroup
from isobase_platform.config_storage.s3 import MIN_PART_SIZE_BYTES

__all__ = ["S3ProtocolSettings"]


class S3ProtocolSettings(SettingsGroup):
    """The S3 protocol at `/storage/v1/s3`."""

    enabled: bool = True
    """Whether it is served at all."""
    region: str = "local"
    """What answers name as the buckets' region; requests may be signed for any."""
    project_ref: str | None = None
    """The access key that clients with a session token must use; none set: any, as the key names the only project here."""
    min_part_size_bytes: int = Field(default=MIN_PART_SIZE_BYTES, ge=0)
    """The smallest part but the last of an upload in parts; 0 on the disk: any, as supabase/storage has it there."""
