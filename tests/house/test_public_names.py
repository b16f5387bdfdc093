"""What a module lists in ``__all__`` exists, and the versions of the packages agree."""

from __future__ import annotations

import importlib
import pkgutil
import tomllib
from pathlib import Path

import pytest
import supabase

import isobase
import isobase_adapter
import isobase_platform

ROOT = Path(__file__).parents[2]


def modules_of(name: str) -> list[str]:
    package = importlib.import_module(name)
    return [name, *(found.name for found in pkgutil.walk_packages(package.__path__, prefix=f"{name}."))]


@pytest.mark.parametrize("package", ["isobase_platform", "isobase_services", "isobase", "isobase_adapter"])
def test_every_listed_name_can_be_imported(package: str) -> None:
    missing = []
    for name in modules_of(package):
        module = importlib.import_module(name)
        missing += [f"{name}.{listed}" for listed in getattr(module, "__all__", ()) if not hasattr(module, listed)]
    assert missing == []


def test_the_clients_public_names_are_these() -> None:
    own = {"CallCancelled", "Cancellation", "DeadlineExceeded", "IsobaseAPIError", "SyncClientOptions", "call_options"}
    assert set(isobase.__all__) == set(supabase.__all__) | own
    assert set(isobase_adapter.__all__) == {
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
    }


def test_one_version_everywhere() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert isobase.__version__ == isobase_platform.__version__ == declared
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## [")]
    assert declared in next(line for line in headings if "Unreleased" not in line)
