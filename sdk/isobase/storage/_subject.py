"""Whose token a client sends, as far as it says so itself; for nothing but telling users apart."""

from __future__ import annotations

import base64
import json

import httpx

__all__ = ["subject_of"]


def subject_of(headers: httpx.Headers) -> str | None:
    """Give the ``sub`` of the bearer token in the headers; unverified, and None where it holds none."""
    _, _, token = headers.get("authorization", "").partition(" ")
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    subject = claims.get("sub") if isinstance(claims, dict) else None
    return subject if isinstance(subject, str) else None
