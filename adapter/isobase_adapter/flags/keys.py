"""What a capability's flag is called in flag systems: ``isobase.table.public.orders``, ``isobase.bucket.avatars``.

They take letters, digits, ``.``, ``_`` and ``-`` only; other characters are written ``_x20_``. A flag for all tables of
a schema is ``isobase.table.public``, one for all tables ``isobase.table``, one for everything ``isobase``; the longest
that is there decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from isobase_adapter.capabilities import NAMED, Capability, Kind

__all__ = ["DEFAULT_PREFIX", "capability_of", "flag_key", "flag_keys"]

DEFAULT_PREFIX = "isobase"
STRANGE = re.compile(r"[^A-Za-z0-9._-]|_(?=x[0-9a-f]+_)")
WRITTEN = re.compile(r"_x([0-9a-f]+)_")


def flag_key(capability: Capability, prefix: str = DEFAULT_PREFIX) -> str:
    """Give the key of a capability's own flag."""
    if not capability.name:
        return f"{prefix}.{capability.kind}"
    name = STRANGE.sub(lambda found: f"_x{ord(found[0]):x}_", capability.name)
    return f"{prefix}.{capability.kind}.{name}"


def flag_keys(capability: Capability, prefix: str = DEFAULT_PREFIX) -> Iterator[str]:
    """Give the keys that may decide, the most specific first."""
    yield flag_key(capability, prefix)
    if capability.kind in (Kind.TABLE, Kind.RPC):
        yield flag_key(Capability(capability.kind, capability.name.partition(".")[0]), prefix)
    if capability.name:
        yield f"{prefix}.{capability.kind}"
    yield prefix


def capability_of(key: str, prefix: str = DEFAULT_PREFIX) -> Capability | None:
    """Give the capability whose own flag is called ``key``, or None where none is."""
    if not key.startswith(f"{prefix}."):
        return None
    kind_text, _, name = key[len(prefix) + 1 :].partition(".")
    try:
        kind = Kind(kind_text)
    except ValueError:
        return None
    if bool(name) is not (kind in NAMED):
        return None
    return Capability(kind, WRITTEN.sub(lambda found: chr(int(found[1], 16)), name))
