"""The storage client: the public names of the package ``storage3``.

Pure parts stand in this folder (``_url``, ``_options``, ``_signed``, ``_source``, ``_transfer`` ...), requests in
``_async`` and, made from it, in ``_sync``.
"""

from __future__ import annotations

from typing import Literal, overload

from isobase.storage._async import AsyncStorageClient
from isobase.storage._async.bucket import AsyncStorageBucketAPI
from isobase.storage._async.file_api import AsyncBucket
from isobase.storage._sync import SyncStorageClient
from isobase.storage._sync.bucket import SyncStorageBucketAPI
from isobase.storage._sync.file_api import SyncBucket
from isobase.storage._upload_store import FileUploadStore as FileUploadStore
from isobase.storage._upload_store import MemoryUploadStore as MemoryUploadStore
from isobase.storage._upload_store import UploadStore as UploadStore
from isobase.storage.constants import DEFAULT_TIMEOUT as DEFAULT_TIMEOUT
from isobase.storage.exceptions import StorageApiError as StorageApiError
from isobase.storage.exceptions import StorageException as StorageException
from isobase.storage.exceptions import TransferError as TransferError
from isobase.storage.version import __version__

__all__ = [
    "AsyncBucket",
    "AsyncStorageBucketAPI",
    "AsyncStorageClient",
    "SyncBucket",
    "SyncStorageBucketAPI",
    "SyncStorageClient",
    "__version__",
    "create_client",
]


@overload
def create_client(
    url: str, headers: dict[str, str], *, is_async: Literal[True], timeout: int | None = None
) -> AsyncStorageClient: ...


@overload
def create_client(
    url: str, headers: dict[str, str], *, is_async: Literal[False], timeout: int | None = None
) -> SyncStorageClient: ...


def create_client(
    url: str, headers: dict[str, str], *, is_async: bool, timeout: int | None = None
) -> AsyncStorageClient | SyncStorageClient:
    """Make a storage client of its own, without the other services.

    url: of the storage API (``.../storage/v1/``). headers: ``apiKey`` and ``Authorization``. timeout: seconds, deprecated.
    Source: ``storage3.create_client``.
    """
    client_class = AsyncStorageClient if is_async else SyncStorageClient
    return client_class(url, headers) if timeout is None else client_class(url, headers, timeout)
