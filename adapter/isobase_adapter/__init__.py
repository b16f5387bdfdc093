"""Moves an app from Supabase to Isobase call by call, behind flags, with nothing lost.

``create_migration_client`` stands in the place of supabase-py's ``create_client``. ``stages`` says what each stage means,
``capabilities`` what moves on its own, ``things`` what is carried between the sides and ``contracts`` how the parts meet.
docs/migration.md is the operator's side of it. Names are loaded when they are first used, so that importing costs little.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isobase_adapter._async.client import AsyncMigrationClient, create_async_migration_client
    from isobase_adapter._sync.client import MigrationClient, create_migration_client
    from isobase_adapter.answers import Answer, answered
    from isobase_adapter.capabilities import Capability
    from isobase_adapter.settings import BreakerSettings, MigrationSettings, RpcKind, RpcRule, SettingsError
    from isobase_adapter.sides import Side
    from isobase_adapter.stages import Stage

# Where each public name lives.
_PLACES = {
    "Answer": "answers",
    "AsyncMigrationClient": "_async.client",
    "BreakerSettings": "settings",
    "Capability": "capabilities",
    "MigrationClient": "_sync.client",
    "MigrationSettings": "settings",
    "RpcKind": "settings",
    "RpcRule": "settings",
    "SettingsError": "settings",
    "Side": "sides",
    "Stage": "stages",
    "answered": "answers",
    "create_async_migration_client": "_async.client",
    "create_migration_client": "_sync.client",
}

__all__ = [
    "Answer",
    "AsyncMigrationClient",
    "BreakerSettings",
    "Capability",
    "MigrationClient",
    "MigrationSettings",
    "RpcKind",
    "RpcRule",
    "SettingsError",
    "Side",
    "Stage",
    "answered",
    "create_async_migration_client",
    "create_migration_client",
]


def __getattr__(name: str) -> object:
    """Load a public name when it is first used."""
    try:
        module = _PLACES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value: object = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what can be imported, loaded or not."""
    return sorted({*globals(), *__all__})
