"""The storage client that sends: written for asyncio, and made from that for threads."""

from isobase.storage._async.client import AsyncStorageClient as AsyncStorageClient

__all__ = ["AsyncStorageClient"]
