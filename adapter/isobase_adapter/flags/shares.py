"""Who is in a share of users: the same user is always on the same side of the line, and a growing share keeps all."""

from __future__ import annotations

import hashlib

from isobase_adapter.contracts import Flag
from isobase_adapter.stages import Stage

__all__ = ["place_of", "stage_for"]

PLACES = 10_000
"""A share is told apart to a hundredth of a percent."""


def place_of(pattern: str, user: str) -> float:
    """Give a user's place from 0 (first in) to just below 100, another one for each pattern.

    Source: OpenFeature's targeting key; flagd's fractional evaluation is built the same way (a hash of salt and key).
    """
    digest = hashlib.blake2b(f"{pattern}\0{user}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % PLACES * 100 / PLACES


def stage_for(flag: Flag, user: str) -> Stage:
    """Give the stage that holds for ``user``."""
    if flag.share_percent >= 100 or user in flag.users or place_of(flag.pattern, user) < flag.share_percent:
        return flag.stage
    return flag.before
