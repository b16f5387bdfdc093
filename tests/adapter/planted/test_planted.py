"""Bugs that are planted on one side, under load: each is named by ``status`` and stops the cutover that it concerns.

``make planted-adapter`` plants every bug by itself; else a few are there at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.pairs import Pairs
from isobase_adapter.sides import Side
from isobase_adapter.verify.concerning import concerned_by
from isobase_adapter.verify.results import SchemaDifference, Severity
from isobase_adapter.verify.schema import compare_schemas
from tests.adapter.pair import Pair, SideStack
from tests.adapter.planted.conftest import EVERYTHING, Moving
from tests.adapter.planted.plants import DEFINITIONS, ROWS, USERS, Plant

AT_ONCE = 1 if "ISOBASE_PLANTED_EACH" in os.environ else 5
BATCHES = [DEFINITIONS[first :: -(-len(DEFINITIONS) // AT_ONCE)] for first in range(-(-len(DEFINITIONS) // AT_ONCE))]
LATER = ("--no-verify",)


@contextmanager
def planted(pair: Pair, plants: Sequence[Plant]) -> Iterator[None]:
    """The bugs are there as long as the block runs."""
    done: list[Plant] = []
    try:
        for plant in plants:
            done.append(plant)
            _side(pair, plant).query(plant.planted)
        yield
    finally:
        for plant in reversed(done):
            if plant.mended:
                _side(pair, plant).query(plant.mended)


def _side(pair: Pair, plant: Plant) -> SideStack:
    return pair.supabase if plant.at == "supabase" else pair.isobase


@pytest.mark.parametrize("plants", BATCHES, ids=lambda plants: ", ".join(plant.name for plant in plants))
def test_a_definition_that_differs_is_in_status_and_stops_the_cutover(moving: Moving, plants: list[Plant]) -> None:
    with planted(moving.pair, plants):
        unmet = moving.unmet(EVERYTHING if len(plants) > 1 else plants[0].pattern, *LATER)
        found = moving.status()
    for plant in plants:
        assert plant.subject in unmet["definitions"]
        assert any(line.startswith(plant.said) for line in found["definitions"]["named"]), found


async def test_a_definition_stops_the_cutovers_that_rest_on_it_and_spares_others(moving: Moving) -> None:
    databases = [SideDatabase(Side.SUPABASE, moving.pair.supabase.db_url),
                 SideDatabase(Side.ISOBASE, moving.pair.isobase.db_url)]  # fmt: skip
    try:
        pairs = Pairs(*databases)
        for plants in BATCHES:
            with planted(moving.pair, plants):
                differences = [one for one in await compare_schemas(pairs) if one.severity is Severity.STOPS]
                for plant in plants:
                    wrong = [one for one in differences if str(one).startswith(plant.said)]
                    assert (await _stopped(plant.pattern, pairs, wrong)) == wrong != [], plant
                    if plant.spared:
                        assert await _stopped(plant.spared, pairs, wrong) == [], plant
    finally:
        for database in databases:
            await database.close()


async def _stopped(pattern: str, pairs: Pairs, wrong: list[SchemaDifference]) -> list[SchemaDifference]:
    concerned = await concerned_by(pattern, pairs)
    return [one for one in wrong if concerned.has(one)]


def test_rows_that_differ_are_named_by_key_and_column_and_repaired(moving: Moving) -> None:
    with planted(moving.pair, ROWS):
        unmet = moving.unmet("table:public.kinds")
    for plant in ROWS:
        assert plant.said in unmet["rows"]
    assert set(moving.status()) == {"table:public.kinds"}
    assert moving.run("verify", "--table", "kinds", "--repair")[0] == 0
    assert moving.status() == {}


def test_users_that_differ_are_named_with_what_differs_and_repaired(moving: Moving) -> None:
    for plant, user in zip(USERS, moving.users, strict=True):
        moving.pair.isobase.query(plant.planted, user)
    unmet = moving.unmet("auth")
    for plant, user in zip(USERS, moving.users, strict=True):
        assert f"user {user} {plant.said}" in unmet["users"]
    assert set(moving.status()) == {"users"}
    assert moving.run("verify", "--part", "users", "--repair")[0] == 0
    assert moving.status() == {}


def test_objects_that_differ_are_named_and_a_rotten_one_stops_the_cutover_until_its_bytes_are_well(
    moving: Moving,
) -> None:
    folder = moving.load.user_id
    isobase = moving.pair.isobase
    _lose(isobase, f"{folder}/planted-0")
    isobase.query("update storage.objects set owner_id = 'somebody' where name = %s", f"{folder}/planted-1")
    _rot(isobase, b"planted 2")
    unmet = moving.unmet("bucket:avatars")
    assert f"object {folder}/planted-0: missing" in unmet["objects"]
    assert f"object {folder}/planted-1: facts, owner_id" in unmet["objects"]
    assert moving.run("verify", "--part", "objects", "--repair")[0] == 0
    if not _rot(isobase, b"PLANTED 2"):
        pytest.fail("the rotten object was read by a comparison of facts")
    _rot(isobase, b"planted 2")
    # Facts alone do not tell; a look at the bytes does, and what it found stays until one finds them well.
    assert moving.unmet("bucket:avatars") == {}
    assert moving.run("verify", "--part", "objects", "--objects", "bytes")[0] == 10
    assert f"object {folder}/planted-2: bytes" in moving.unmet("bucket:avatars")["objects"]
    assert set(moving.status()) == {"bucket:avatars"}
    assert moving.run("verify", "--part", "objects", "--objects", "bytes", "--repair")[0] == 0
    assert moving.unmet("bucket:avatars", "--objects", "bytes") == {}
    assert moving.status() == {}


def test_a_clock_that_is_off_stops_every_cutover(moving: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = SideDatabase.fetch

    async def fetch_late(self: SideDatabase, query: str, *args: object) -> list[Any]:
        # No clock of this machine may be moved: one server's answer is.
        late = self.side is Side.ISOBASE
        return await fetch(
            self, query.replace("clock_timestamp()", "clock_timestamp() + '5 s'") if late else query, *args
        )

    monkeypatch.setattr(SideDatabase, "fetch", fetch_late)
    assert "clock server" in moving.unmet("table:shop.stock", *LATER)["definitions"]
    assert any(line.startswith("clock server differs") for line in moving.status()["definitions"]["named"])


def test_a_bug_that_only_reads_show_is_counted_and_stops_the_cutover(moving: Moving) -> None:
    plant = Plant(
        "a policy that hides rows",
        "create policy hides on public.notes as restrictive for select to authenticated using (id % 2 = 0)",
        "drop policy hides on public.notes",
        "table:public.notes",
        "",
    )
    # There have to be rows of which it hides some; and a read of rows that change with every call is judged only once they
    # hold still.
    calls = moving.load.calls
    moving.until_nothing(lambda: moving.load.calls < calls + 10)
    moving.load.only_reads = True
    with planted(moving.pair, [plant]):
        moving.until_nothing(lambda: "mismatches" not in moving.unmet(plant.pattern, *LATER))
        _, status = moving.run("status")
    moving.load.only_reads = False
    reads = next(one for one in status["reads"] if one["capability"] == plant.pattern)
    assert reads["mismatch_percent"] > 0
    assert reads["unexplained"]
    moving.pair.isobase.query("delete from isobase.mismatches")


def test_nothing_is_amiss_where_nothing_is_planted(moving: Moving) -> None:
    calls = moving.load.calls
    moving.until_nothing(lambda: moving.load.calls < calls + 20)
    moving.pair.isobase.query("delete from isobase.mismatches")
    moving.until_nothing(lambda: moving.load.calls < calls + 60)
    moving.until_nothing(lambda: moving.unmet(EVERYTHING))
    assert moving.status() == {}
    assert moving.load.failed == []


def _lose(side: SideStack, name: str) -> None:
    side.query("set storage.allow_delete_query = 'true'; delete from storage.objects where name = %s", name)


def _rot(side: SideStack, content: bytes) -> bool:
    """Change an object's bytes on the disk, and nothing else; False where none has them."""
    assert side.process is not None
    for path in side.process.data_dir.rglob("*"):
        if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
            path.chmod(0o600)
            path.write_bytes(content.swapcase())
            return True
    return False
