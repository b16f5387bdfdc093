"""The S3 bucket that keeps the bytes of objects. Names as ``storage.s3.*``."""

from __future__ import annotations

from pydantic import Field, SecretStr, model_validator

from isobase_platform.config_group import SettingsGroup

__all__ = ["MIN_PART_SIZE_BYTES", "S3Settings"]

MIN_PART_SIZE_BYTES = 5 * 1024 * 1024
"""S3 takes no smaller part but the last."""


class S3Settings(SettingsGroup):
    """[storage.s3]: read where `storage.backend` is `s3`."""

    bucket: str = ""
    """Its name; it must be there."""
    prefix: str = ""
    """What every object's key begins with; for a bucket of supabase/storage its tenant id."""
    region: str | None = None
    """Default: what the AWS environment says, or `us-east-1`."""
    endpoint_url: str | None = None
    """An S3 server other than AWS."""
    public_endpoint_url: str | None = None
    """How clients reach that server with presigned requests, where that is another address."""
    access_key_id: str | None = None
    """Default: the AWS environment, profile or instance role, as the AWS command line finds them."""
    secret_access_key: SecretStr | None = None
    """Of the access key."""
    session_token: SecretStr | None = None
    """Of an access key that is temporary."""
    force_path_style: bool = False
    """Put the bucket into the path instead of the host name: most servers other than AWS want that."""
    max_connections: int = Field(default=32, ge=1)
    """Requests that run at a time; each has a thread."""
    connect_timeout_s: float = Field(default=5.0, gt=0)
    """How long a connection to the server may take."""
    read_timeout_s: float = Field(default=30.0, gt=0)
    """How long the server may send nothing."""
    max_attempts: int = Field(default=3, ge=1)
    """How often a request is sent before its failure counts."""
    part_size_bytes: int = Field(default=8 * 1024 * 1024, ge=MIN_PART_SIZE_BYTES)
    """Uploads are sent in parts of this size, and what is no larger in one request: what an upload keeps in memory."""
    max_parts_in_flight: int = Field(default=8, ge=1)
    """Parts of all uploads that are on their way at a time; with their size it bounds the memory that they take."""

    @model_validator(mode="after")
    def _has_whole_credentials(self) -> S3Settings:
        """With a half of them the AWS libraries would quietly look for others elsewhere."""
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError(
                "access_key_id and secret_access_key go together: set both, or neither for a role or profile"
            )
        return self
