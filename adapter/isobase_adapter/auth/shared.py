"""Rows of auth that belong to no user: programs that sign in by OAuth, SSO providers and their domains, custom providers.

They are few and an administrator's, so they are compared and copied whole.
"""

from __future__ import annotations

from collections.abc import Mapping

from isobase_adapter.auth import rows
from isobase_adapter.auth.rows import Shape, TableShape
from isobase_adapter.auth.tables import AuthTable
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.sides import Side

__all__ = ["copy_shared", "differing_shared"]

_EVERY = "$1::uuid[] is not null"
SHARED = (
    AuthTable("oauth_clients", ("id",), "null", _EVERY),
    AuthTable("sso_providers", ("id",), "null", _EVERY),
    AuthTable("sso_domains", ("id",), "null", _EVERY),
    AuthTable("saml_providers", ("id",), "null", _EVERY),
    AuthTable("custom_oauth_providers", ("id",), "null", _EVERY),
)


async def copy_shared(databases: Mapping[Side, SideDatabase], source: Side) -> int:
    """Make these rows at the other side what they are at ``source``; returns how many were written.

    Rows that only the other side has stay. Raises the databases' own errors.
    """
    target = source.other
    shapes, types = await _shapes(databases)
    written = 0
    async with databases[target].transaction(is_writer=True) as there:
        async with databases[source].transaction() as here:
            ours = await rows.read(here, shapes, [])
        theirs = await rows.read(there, shapes, [])
        for name, shape in shapes.items():
            mine = {key: row for key, row in ours.rows.items() if key[0] == name}
            changed = [
                (theirs.rows[key], row)
                for key, row in mine.items()
                if key in theirs.rows and theirs.rows[key].digest != row.digest
            ]
            made = [row for key, row in mine.items() if key not in theirs.rows]
            if changed:
                written += await rows.update(there, shape, types[target][name], changed)
            if made:
                written += await rows.insert(there, shape, types[target][name], made)
    return written


async def differing_shared(databases: Mapping[Side, SideDatabase]) -> list[str]:
    """Name the rows that are not the same on both sides: ``table key``."""
    shapes, _ = await _shapes(databases)
    found = {}
    for side in Side:
        async with databases[side].transaction() as connection:
            found[side] = (await rows.read(connection, shapes, [])).rows
    ours, theirs = found[Side.SUPABASE], found[Side.ISOBASE]
    differing = {
        key
        for key in ours.keys() | theirs.keys()
        if key not in ours or key not in theirs or ours[key].digest != theirs[key].digest
    }
    return sorted(f"auth.{table} {key}" for table, key in differing)


async def _shapes(databases: Mapping[Side, SideDatabase]) -> tuple[dict[str, TableShape], dict[Side, Shape]]:
    types = {side: await rows.read_shape(databases[side], SHARED) for side in Side}
    return rows.common_shape(types[Side.SUPABASE], types[Side.ISOBASE], SHARED), types
