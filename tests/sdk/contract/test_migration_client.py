"""A migration client in stage ``off`` gives the same results and raises the same exceptions as the official client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from supabase.lib.client_options import SyncClientOptions

from isobase_adapter import MigrationClient, MigrationSettings, create_migration_client
from tests.sdk.contract import scenarios_client, scenarios_data, scenarios_files, scenarios_functions, scenarios_wrong
from tests.sdk.contract.kit import PATIENT, Kit, Place, Scenario, run
from tests.sdk.contract.shown import differences

SCENARIOS: tuple[Scenario, ...] = tuple(
    one
    for table in (scenarios_client, scenarios_data, scenarios_files, scenarios_functions, scenarios_wrong)
    for one in table.SCENARIOS
    if "sync" in one.modes
)


OUR_CLASSES = (
    "MigrationClient",
    "AsyncMigrationClient",
    "SyncMigrationAuthClient",
    "AsyncMigrationAuthClient",
    "SyncMigrationStorage",
    "AsyncMigrationStorage",
    "_SyncBucket",
    "_AsyncBucket",
    "SyncMigrationPostgrestClient",
    "AsyncMigrationPostgrestClient",
)
"""Subclasses of the official ones, by which a client shows itself."""
BUILDERS = ("AsyncTold", "SyncTold", "Told")
"""How the names of its builders and answers begin; they stand in some messages of Python, too."""


def is_of_ours(shown: object) -> bool:
    """Whether that is the name of a subclass of ours."""
    return isinstance(shown, str) and (shown in OUR_CLASSES or any(each in shown for each in BUILDERS))


class MovingKit(Kit):
    """Makes migration clients where the other makes the official one."""

    settings: MigrationSettings
    made: list[MigrationClient]

    def new(self, key: str, url: str | None = None, **options: Any) -> Any:
        client = create_migration_client(
            url or self.place.url, key, SyncClientOptions(**{**PATIENT, **options}), migration=self.settings
        )
        self.made.append(client)
        return client


@pytest.fixture
def moving(contract_place: Place, tmp_path: Path) -> Iterator[MovingKit]:
    kit = MovingKit("supabase", "sync", contract_place)
    kit.made = []
    kit.settings = MigrationSettings(
        isobase_url="http://127.0.0.1:1",  # not the 9 of the calls where nobody is: two sides are never one
        isobase_key="not used",
        isobase_service_role_key="not used either",
        spool_dir=tmp_path,
    )
    yield kit
    for client in kit.made:
        client.migration.close()


@pytest.mark.filterwarnings("ignore")  # the official packages' own
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
async def test_a_migration_client_gives_and_raises_the_same(
    scenario: Scenario, contract_place: Place, moving: MovingKit, reset: Callable[[], None]
) -> None:
    reset()
    theirs = await run(Kit("supabase", "sync", contract_place), scenario.calls)
    reset()
    ours = await run(moving, scenario.calls)
    found = [
        f"{call}{path}\n    official: {expected!r}\n    moving:   {given!r}"
        for call in scenario.calls
        for path, expected, given in differences(theirs[call], ours[call])
        if not is_of_ours(given)
    ]
    assert not found, "\n".join(found)
