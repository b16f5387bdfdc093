"""The async storage client, written by hand; ``_sync`` is made from it."""

from isobase.storage._async.client import AsyncStorageClient as AsyncStorageClient

__all__ = ["AsyncStorageClient"]
