"""A check of addresses, under upstream's name."""

from __future__ import annotations

from urllib.parse import urlsplit

__all__ = ["is_ws_url"]


def is_ws_url(url: str) -> bool:
    """Tell whether ``url`` can be the address of a realtime server: ``ws``, ``wss``, ``http`` or ``https``."""
    return urlsplit(url).scheme in {"ws", "wss", "http", "https"}
