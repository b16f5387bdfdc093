"""The threads of the local-disk backend: neither the event loop nor other users of the default pool wait for the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from isobase_services.storage.blob.disk_errors import from_os_error

__all__ = ["FileThreads"]

IO_THREADS = 4

_P = ParamSpec("_P")
_T = TypeVar("_T")


class FileThreads:
    """Runs file work. What the operating system refuses leaves as ``BlobUnavailable`` or ``BlobStoreFull``."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=IO_THREADS, thread_name_prefix="isobase-blob")

    async def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run ``work`` on a thread and return what it returns; a cancellation does not stop it."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._executor, lambda: work(*args, **kwargs))
        except OSError as error:
            raise from_os_error(error) from error

    async def close(self) -> None:
        """Wait for running file work."""
        await asyncio.to_thread(self._executor.shutdown)
