"""What moves on its own: auth, each table, each function of the database, each bucket, realtime, edge functions.

A capability is written ``auth``, ``realtime``, ``functions``, ``table:public.orders``, ``rpc:public.total``,
``bucket:avatars``. Flags are set for a pattern: a capability, or one with ``*`` at its end (``table:shop.*``,
``bucket:*``, ``*``). The most specific pattern that fits a capability is its flag: an exact one, else the one with
the longest beginning.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Capability", "Kind", "fits", "fits_written", "most_specific", "patterns_of"]

DEFAULT_SCHEMA = "public"


class Kind(StrEnum):
    """The kinds of capabilities."""

    AUTH = "auth"
    TABLE = "table"
    RPC = "rpc"
    BUCKET = "bucket"
    REALTIME = "realtime"
    FUNCTIONS = "functions"


NAMED = frozenset({Kind.TABLE, Kind.RPC, Kind.BUCKET})
"""Kinds of which there are many, each with a name."""


@dataclass(slots=True, frozen=True)
class Capability:
    """One of them.

    ``name``: ``schema.table``, ``schema.function`` or a bucket's id; empty for kinds without names.
    """

    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        """Give the written form."""
        return f"{self.kind}:{self.name}" if self.name else str(self.kind)


def patterns_of(text: str) -> tuple[str, ...]:
    """Give the patterns that an operator means by ``text``.

    ``orders`` means the table and the function of that name in ``public``, ``shop.*`` every table and function of
    a schema; ``table:orders`` is ``table:public.orders``. Raises ``ValueError`` for what names no capability.
    """
    kind_text, colon, name = text.partition(":")
    if text == "*" or (not colon and text in (Kind.AUTH, Kind.REALTIME, Kind.FUNCTIONS)):
        return (text,)
    if not colon:
        if not text or "*" in text[:-1]:
            raise ValueError(f"not a capability or pattern: {text!r}")
        qualified = _qualified(text)
        return (f"{Kind.TABLE}:{qualified}", f"{Kind.RPC}:{qualified}")
    if kind_text not in NAMED or not name or "*" in name[:-1]:
        raise ValueError(f"not a capability or pattern: {text!r}; kinds with names are table, rpc and bucket")
    return (text,) if kind_text == Kind.BUCKET else (f"{kind_text}:{_qualified(name)}",)


def fits(pattern: str, capability: Capability) -> bool:
    """Whether ``pattern`` means ``capability``."""
    return fits_written(pattern, str(capability))


def fits_written(pattern: str, written: str) -> bool:
    """The same of a capability in its written form."""
    return written.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == written


def most_specific(patterns: Iterable[str], capability: Capability) -> str | None:
    """Give the pattern that decides for ``capability``, or None where none fits."""
    fitting = [pattern for pattern in patterns if fits(pattern, capability)]
    return max(fitting, key=lambda pattern: (not pattern.endswith("*"), len(pattern)), default=None)


def _qualified(name: str) -> str:
    return name if "." in name or name == "*" else f"{DEFAULT_SCHEMA}.{name}"
