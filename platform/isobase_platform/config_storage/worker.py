"""The regular work beside requests: what is expired goes, what has no counterpart is reported."""

from __future__ import annotations

from pydantic import Field

from isobase_platform.config_group import SettingsGroup

__all__ = ["WorkerSettings"]


class WorkerSettings(SettingsGroup):
    """Regular work of storage. Of several processes one does it at a time."""

    enabled: bool = True
    """Whether this server does it at all."""
    interval_s: float = Field(default=300.0, gt=0)
    """How often expired uploads and left-over files are looked for."""
    multipart_ttl_s: float = Field(default=7 * 24 * 3600.0, ge=0)
    """How long after its newest part an upload of the S3 protocol that nobody finished is removed; 0: never."""
    orphan_interval_s: float = Field(default=24 * 3600.0, ge=0)
    """How often all blobs are compared with all rows; 0: never, `isobase storage check` does the same."""
    orphan_grace_s: float = Field(default=24 * 3600.0, ge=0)
    """How old a blob without a row must be to count as an orphan."""
    removes_orphans: bool = False
    """Whether orphans are removed and not only reported; the grace period must be ten minutes then, or more."""
