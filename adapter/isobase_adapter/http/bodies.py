"""The bodies of answers that were read whole."""

from __future__ import annotations

import httpx

__all__ = ["content_of"]


def content_of(response: httpx.Response) -> bytes:
    """Give the body of an answer that was read whole, decoded; the answer itself can still be handed on."""
    return response.content
