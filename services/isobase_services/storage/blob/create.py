"""Which blob store the settings name. Libraries of a backend are loaded only where it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from isobase_platform.config_storage import StorageSettings
from isobase_platform.config_storage.s3 import S3Settings
from isobase_platform.errors import ConfigurationError
from isobase_services.storage.blob import BlobStore
from isobase_services.storage.blob.file import FileBlobStore

__all__ = ["create_blob_store", "create_single_store", "place_of_store"]


def create_blob_store(settings: StorageSettings, root: Path) -> BlobStore:
    """The store of ``storage.backend``, with that of ``storage.fallback`` behind it where there is one; not started yet.

    ``root``: the directory of the local-disk backend. Raises ``ConfigurationError`` for S3 without a bucket, and where the
    two stores are one.
    """
    main = create_single_store(settings.backend, root, settings.s3)
    fallback = settings.fallback
    if fallback.backend is None:
        return main
    fallback_root = fallback.root or root
    place = place_of_store(settings.backend, root, settings.s3)
    if place == place_of_store(fallback.backend, fallback_root, fallback.s3):
        raise ConfigurationError("storage.fallback is the same store as storage.backend")
    from isobase_services.storage.blob.fallback import FallbackBlobStore

    return FallbackBlobStore(
        main, create_single_store(fallback.backend, fallback_root, fallback.s3, "storage.fallback.")
    )


def create_single_store(
    backend: Literal["file", "s3"], root: Path, s3: S3Settings, group: str = "storage."
) -> BlobStore:
    """A store in the directory ``root``, or in the bucket of ``s3``; not started yet.

    ``group`` is what the settings' names begin with, for the ``ConfigurationError`` of S3 without a bucket.
    """
    if backend == "file":
        return FileBlobStore(root)
    if not s3.bucket:
        raise ConfigurationError(f"{group}backend is s3, but {group}s3.bucket is not set")
    from isobase_services.storage.blob.s3 import S3BlobStore

    return S3BlobStore(s3)


def place_of_store(backend: Literal["file", "s3"], root: Path, s3: S3Settings) -> tuple[str, ...]:
    """Where such a store keeps its blobs: equal for two that are one."""
    if backend == "file":
        return ("file", str(root.resolve()))
    return ("s3", (s3.endpoint_url or "").rstrip("/"), s3.bucket, s3.prefix.strip("/"))
