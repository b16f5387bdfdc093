"""Names that ``storage3.utils`` has: the base of all storage errors, and a client class that is kept for old code."""

from __future__ import annotations

import warnings
from typing import Any

from httpx import AsyncClient, Client

__all__ = ["AsyncClient", "StorageException", "SyncClient"]


class StorageException(Exception):
    """Anything that goes wrong in the storage client; the server's own refusals are :class:`StorageApiError`."""


class SyncClient(Client):
    """``httpx.Client`` under its old name. Deprecated: use ``httpx.Client``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn("SyncClient is deprecated; use httpx.Client", DeprecationWarning, stacklevel=2)
        super().__init__(*args, **kwargs)

    def aclose(self) -> None:
        """Close the client. Deprecated: use ``close``."""
        warnings.warn("SyncClient.aclose is deprecated; use close", DeprecationWarning, stacklevel=2)
        self.close()
