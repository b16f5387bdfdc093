"""HTTP clients for what auth calls by itself: hooks, CAPTCHA providers, the list of leaked passwords."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

__all__ = ["open_client"]

_THIS_MACHINE = ("all://localhost", "all://127.0.0.1", "all://[::1]")


def open_client(timeout_s: float, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
    """A client that follows no redirects; ``timeout_s`` bounds connecting and each wait for bytes. Close it.

    The proxies of the environment (``HTTPS_PROXY``, ``NO_PROXY``) count, as they do upstream, but never for this machine.
    """
    import httpx

    direct: dict[str, httpx.AsyncBaseTransport | None] = dict.fromkeys(_THIS_MACHINE)
    return httpx.AsyncClient(timeout=timeout_s, follow_redirects=False, headers=headers, mounts=direct)
