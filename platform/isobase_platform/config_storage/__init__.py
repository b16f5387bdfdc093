"""The settings of storage. Names as config.toml's ``[storage]`` and its sections, which are groups here.

A group that belongs to one feature has a module of its own in this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr

from isobase_platform.config_group import SettingsGroup
from isobase_platform.config_storage.buckets import BucketSettings
from isobase_platform.config_storage.cdn import CdnSettings
from isobase_platform.config_storage.fallback import FallbackSettings
from isobase_platform.config_storage.images import ImageSettings
from isobase_platform.config_storage.kinds import UploadKind, with_default_kinds
from isobase_platform.config_storage.s3 import S3Settings
from isobase_platform.config_storage.s3_protocol import S3ProtocolSettings
from isobase_platform.config_storage.tus import TusSettings
from isobase_platform.config_storage.worker import WorkerSettings

__all__ = [
    "DEFAULT_S3_ACCESS_KEY_ID",
    "DEFAULT_S3_SECRET_ACCESS_KEY",
    "BucketSettings",
    "ImageSettings",
    "S3Settings",
    "StorageSettings",
]

DEFAULT_S3_ACCESS_KEY_ID = "625729a08b95bf1b7ff351a663f3a23c"
DEFAULT_S3_SECRET_ACCESS_KEY = "850181e4652dd023b7a98c58ae0d2d34bd487ee0cc3254aed6eda37307425907"  # noqa: S105  public demo value, refused in production


class StorageSettings(SettingsGroup):
    """Storage (``/storage/v1``)."""

    enabled: bool = True
    """Whether the service is served at all."""
    file_size_limit_bytes: int = Field(default=50 * 1024 * 1024, ge=1)
    """The most bytes that an object may have; a bucket's own limit cannot widen it."""
    backend: Literal["file", "s3"] = "file"
    """Where the bytes of objects are: below `storage.root`, or in the bucket of `storage.s3`."""
    root: Path | None = None
    """Directory of the local-disk backend; default ``storage`` in the data directory."""
    buckets: Mapping[str, BucketSettings] = Field(default_factory=dict)
    """Buckets that are made at start where they are missing, by name."""
    images: ImageSettings = ImageSettings()
    simple_bucket: str = "user-files"
    """The bucket of the simple face's files; that of files which anybody may read by URL has `-public` behind its name."""
    signed_url_ttl_s: int = Field(default=3600, ge=1)
    """Life of the URLs that the simple face gives for files that are not public, where a request asks for no other."""
    signed_upload_url_ttl_s: int = Field(default=7200, ge=1)
    """Life of a signed upload URL; upstream's hosted value (its code's default is 60 s)."""
    empty_bucket_roles: tuple[str, ...] = ("service_role",)
    """Whose tokens may empty a bucket. Roles other than `service_role` remove what the policies let them remove."""
    empty_bucket_max_objects: int = Field(default=200_000, ge=1)
    """Objects that one call empties a bucket of; a bucket with more is refused."""
    delete_many_max_objects: int | None = Field(default=None, ge=1)
    """Objects that one request may remove; none: no limit. Upstream's with `REQUEST_HARD_LIMITS_ENABLED` is 1000."""
    upload_stall_timeout_s: float = Field(default=60.0, gt=0)
    """How long a client may send nothing in the middle of a request."""
    download_stall_timeout_s: float = Field(default=120.0, gt=0)
    """How long a client may take nothing in the middle of an answer."""
    cdn: CdnSettings = CdnSettings()
    s3_protocol: S3ProtocolSettings = S3ProtocolSettings()
    s3: S3Settings = S3Settings()
    s3_access_key_id: str = DEFAULT_S3_ACCESS_KEY_ID
    """The access key by which clients of the S3 protocol act as `service_role`."""
    s3_secret_access_key: SecretStr = SecretStr(DEFAULT_S3_SECRET_ACCESS_KEY)
    """Its secret; the default is public, and refused in production."""
    tus: TusSettings = TusSettings()
    fallback: FallbackSettings = FallbackSettings()
    worker: WorkerSettings = WorkerSettings()
    kinds: Annotated[Mapping[str, UploadKind], BeforeValidator(with_default_kinds)] = Field(
        default_factory=dict, validate_default=True
    )
    """Kinds of files that users upload through the simple face, by name; given ones are added to the three that there are,
    and change those of the same name member by member."""
    direct_downloads: bool = False
    """Whether the URL that `GET /storage/{file_id}` gives for a file that is not public leads to the object store itself,
    where that takes such requests (S3)."""
    direct_upload_ttl_s: int = Field(default=900, ge=1, le=604_800)
    """How long a file may be sent to the URL that a direct upload was given."""

    @property
    def simple_public_bucket(self) -> str:
        """The bucket for the simple face's files that anybody may read by URL."""
        return f"{self.simple_bucket}-public"
