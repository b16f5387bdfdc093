"""In each stage a migration client gives the same results and raises the same exceptions as the official client.

Usually it is one stage and the scenarios of ``QUICK``; ISOBASE_CONTRACT_STAGES names stages for all scenarios
(``make test-adapter-contract``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest
from supabase.lib.client_options import AsyncClientOptions, SyncClientOptions

from isobase_adapter import AsyncMigrationClient, MigrationSettings, create_migration_client
from isobase_adapter.core import Core
from isobase_adapter.http.addresses import Addresses
from isobase_adapter.settings import rpc_rule_of
from isobase_adapter.stages import Stage, writer_of
from tests.plugins.stack import Stack
from tests.sdk.contract import scenarios_auth, scenarios_data, scenarios_files, scenarios_wrong
from tests.sdk.contract.conftest import laid_out_by, running_contract
from tests.sdk.contract.kit import PATIENT, Kit, Mode, Place, Scenario, run
from tests.sdk.contract.shown import differences
from tests.sdk.contract.test_migration_client import is_of_ours

ASKED = os.environ.get("ISOBASE_CONTRACT_STAGES", "")
QUICK = ("data.write", "storage.files", "wrong.storage")
STAGES = [Stage(name) for name in ASKED.split(",")] if ASKED else [Stage.LIVE]
SCENARIOS: tuple[Scenario, ...] = tuple(
    one
    for table in (scenarios_data, scenarios_files, scenarios_wrong, scenarios_auth)
    for one in table.SCENARIOS
    if ASKED or one.name in QUICK
)
RUNS = [
    pytest.param(stage, one, mode, id=f"{stage}-{one.name}-{mode}")
    for stage in STAGES
    for one in SCENARIOS
    for mode in one.modes
    if ASKED or mode == "async"
]
PATTERNS = ("table:*", "rpc:*", "bucket:*", "auth")


@dataclass(slots=True, frozen=True)
class Allowed:
    """Where a migration client may differ; patterns (fnmatch) of stage, scenario, call and path."""

    stage: str
    scenario: str
    call: str
    path: str
    reason: str

    def covers(self, stage: Stage, scenario: str, call: str, path: str) -> bool:
        """Whether the difference is this one."""
        given = zip((stage, scenario, call, path), (self.stage, self.scenario, self.call, self.path), strict=True)
        return all(fnmatchcase(one, pattern) for one, pattern in given)


AT_ISOBASE = "[lrc]*"  # live, ramp_down, complete
ALLOWED: tuple[Allowed, ...] = (
    *(
        Allowed(AT_ISOBASE, "*", call, "*", "what the app gave as its key is sent there as Isobase's anon key, unread")
        for call in ("a key that is no token", "a wrong key")
    ),
    *(
        Allowed(AT_ISOBASE, "*", call, "*", "a wrong address of Supabase does not matter where Isobase answers")
        for call in ("a wrong path", "nobody there")
    ),
    Allowed(AT_ISOBASE, "data.refuse", "an empty table name", "*/host", "the description names the side that gave it"),
)


@pytest.fixture(scope="session")
def other_side() -> Iterator[Stack]:
    """The Isobase that the project moves to."""
    with running_contract() as stack:
        yield stack


@pytest.fixture(scope="session")
def lay_out_other(other_side: Stack) -> Iterator[Callable[[], None]]:
    with laid_out_by(other_side.admin_dsn) as lay_out:
        yield lay_out


class MovingKit(Kit):
    """Makes migration clients where the other makes the official one."""

    settings: MigrationSettings
    made: list[Any]

    def new(self, key: str, url: str | None = None, **options: Any) -> Any:
        place = url or self.place.url
        client: Any
        if self.mode == "async":
            core = Core(self.settings, Addresses(place, key, self.settings))
            client = AsyncMigrationClient(place, key, AsyncClientOptions(**{**PATIENT, **options}), core=core)
        else:
            client = create_migration_client(
                place, key, SyncClientOptions(**{**PATIENT, **options}), migration=self.settings
            )
        self.made.append(client)
        return client


def put(stack: Stack, stage: Stage) -> None:
    """Put everything into a stage."""
    with closing(psycopg2.connect(stack.admin_dsn)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("truncate isobase.outbox, isobase.flags, isobase.writers")
        before = list(Stage)[max(list(Stage).index(stage) - 1, 0)]
        for pattern in PATTERNS:
            cursor.execute("insert into isobase.writers (pattern, side) values (%s, %s)", (pattern, writer_of(stage)))
            cursor.execute(
                "insert into isobase.flags (pattern, stage, before) values (%s, %s, %s)", (pattern, stage, before)
            )


def as_if_at(official: str, moved: str, given: Any) -> Any:
    """Signed and public URLs are those of the side that answers."""
    if not isinstance(given, str):
        return given
    return given.replace(moved, official).replace(quote(moved, safe=""), quote(official, safe=""))


@pytest.mark.filterwarnings("ignore")  # the official packages' own
@pytest.mark.parametrize(("stage", "scenario", "mode"), RUNS)
async def test_a_client_in_the_middle_of_a_move_gives_and_raises_the_same(
    stage: Stage,
    scenario: Scenario,
    mode: Mode,
    contract_stack: Stack,
    contract_place: Place,
    other_side: Stack,
    reset: Callable[[], None],
    lay_out_other: Callable[[], None],
    tmp_path: Path,
) -> None:
    reset()
    theirs = await run(Kit("supabase", mode, contract_place), scenario.calls)
    reset()
    lay_out_other()
    put(other_side, stage)
    kit = MovingKit("supabase", mode, contract_place)
    kit.made = []
    kit.settings = MigrationSettings(
        isobase_url=other_side.url,
        isobase_key=other_side.anon_key,
        supabase_service_role_key=contract_stack.service_role_key,
        isobase_service_role_key=other_side.service_role_key,
        supabase_db_url=contract_stack.db_url,
        isobase_db_url=other_side.db_url,
        spool_dir=tmp_path,
        rpc={name: rpc_rule_of("both") for name in ("public.*", "other.*")},
    )
    try:
        ours = await run(kit, scenario.calls)
    finally:
        for client in kit.made:
            ended = client.migration.aclose() if mode == "async" else client.migration.close()
            if ended is not None:
                await ended
    found = [
        f"{call}{path}\n    official: {expected!r}\n    moving:   {given!r}"
        for call in scenario.calls
        for path, expected, given in differences(theirs[call], ours[call])
        if not is_of_ours(given)
        and as_if_at(contract_stack.url, other_side.url, given) != expected
        and not any(one.covers(stage, scenario.name, call, path) for one in ALLOWED)
    ]
    assert not found, f"{len(found)} differences:\n" + "\n".join(found)
