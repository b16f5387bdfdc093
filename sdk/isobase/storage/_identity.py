"""How the storage client names itself to servers."""

from __future__ import annotations

import platform

from isobase.storage.version import __version__

__all__ = ["client_info"]


def client_info() -> str:
    """Give the value of ``X-Client-Info``."""
    return (
        f"isobase-py/storage v{__version__}; platform={platform.system()}; platform-version={platform.release()}"
        f"; runtime=python; runtime-version={platform.python_version()}"
    )
