"""How every part of the client names itself to servers."""

from __future__ import annotations

import platform

__all__ = ["client_info"]


def client_info(product: str) -> str:
    """Give the value of ``X-Client-Info``: the product (``isobase-py/0.1.0``), the system and the Python it runs on."""
    return (
        f"{product}; platform={platform.system()}; platform-version={platform.release()}"
        f"; runtime=python; runtime-version={platform.python_version()}"
    )
