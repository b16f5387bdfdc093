"""Which blob store the settings name. Libraries of a backend are loaded only where it is used."""

from __future__ import annotations

from pathlib import Path

from isobase_platform.config_storage import StorageSettings
from isobase_platform.errors import ConfigurationError
from isobase_services.storage.blob import BlobStore
from isobase_services.storage.blob.file import FileBlobStore

__all__ = ["create_blob_store"]


def create_blob_store(settings: StorageSettings, root: Path) -> BlobStore:
    """The store of ``storage.backend``, not started yet. ``root``: the directory of the local-disk backend.

    Raises ``ConfigurationError`` for S3 without a bucket.
    """
    if settings.backend == "file":
        return FileBlobStore(root)
    if not settings.s3.bucket:
        raise ConfigurationError("storage.backend is s3, but storage.s3.bucket is not set")
    from isobase_services.storage.blob.s3 import S3BlobStore

    return S3BlobStore(settings.s3)
