"""Shadow reads of an app's own client between two running stacks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from isobase_adapter import create_migration_client
from isobase_adapter.stages import Stage
from tests.adapter.client.moving import WAIT_S, note, set_stage, settings_of, wait_for_stage
from tests.adapter.pair import Pair, User

NOTES = "table:public.notes"


@pytest.fixture
def client(clean_pair: Pair) -> Iterator[Any]:
    made = create_migration_client(
        clean_pair.supabase.url, clean_pair.supabase.service_role_key, migration=settings_of(clean_pair)
    )
    yield made
    made.migration.close()


@pytest.fixture
def user(clean_pair: Pair) -> User:
    return clean_pair.sign_up()


def counts_of(pair: Pair) -> dict[str, int]:
    """What was counted of reads of notes."""
    return dict(
        pair.isobase.query(
            "select name, sum(value)::int from isobase.migration_counters where capability = %s group by name", NOTES
        )
    )


def until_counted(pair: Pair, *names: str) -> dict[str, int]:
    """Wait until each of ``names`` was counted."""
    deadline = time.monotonic() + WAIT_S
    while not set(names) <= set(counts := counts_of(pair)):
        assert time.monotonic() < deadline, f"counted only {counts}"
        time.sleep(0.05)
    return counts


def without_noise(pair: Pair) -> None:
    pair.isobase.query(
        "insert into isobase.migration_rules (pattern, name, value) values ('*', 'noise_percent', '0')"
        " on conflict do nothing"
    )


def test_a_lasting_difference_is_told_with_both_answers_and_the_caller_gets_supabases(
    client: Any, clean_pair: Pair, user: User
) -> None:
    without_noise(clean_pair)
    number = note(clean_pair.supabase, "here", user.id)
    clean_pair.isobase.query("insert into public.notes (id, title, owner_id) values (%s, 'there', %s)", number, user.id)
    set_stage(clean_pair, NOTES, Stage.SHADOW_READ)
    wait_for_stage(client, NOTES, Stage.SHADOW_READ)
    assert client.table("notes").select("id,title").execute().data == [{"id": number, "title": "here"}]
    counts = until_counted(clean_pair, "mismatched")
    assert (counts["reads"], counts["compared"], counts["mismatched"]) == (1, 1, 1)
    ((fingerprint, sample),) = clean_pair.isobase.query(
        "select fingerprint, samples -> 0 from isobase.mismatches where capability = %s", NOTES
    )
    assert fingerprint == "column:title"
    assert (sample["supabase"]["title"], sample["isobase"]["title"]) == ("here", "there")
    assert sample["call"] == {"method": "GET", "path": "/rest/v1/notes", "query": "select=id,title"}


def test_equal_answers_errors_and_counts_are_no_mismatch(client: Any, clean_pair: Pair, user: User) -> None:
    without_noise(clean_pair)
    number = note(clean_pair.supabase, "same", user.id)
    clean_pair.isobase.query("insert into public.notes (id, title, owner_id) values (%s, 'same', %s)", number, user.id)
    set_stage(clean_pair, NOTES, Stage.SHADOW_READ)
    wait_for_stage(client, NOTES, Stage.SHADOW_READ)
    assert client.table("notes").select("id,title", count="exact").execute().count == 1
    assert client.table("notes").select("id", count="exact", head=True).execute().count == 1
    with pytest.raises(Exception, match="no_such_column"):
        client.table("notes").select("no_such_column").execute()
    deadline = time.monotonic() + WAIT_S
    while counts_of(clean_pair).get("compared", 0) < 3:
        assert time.monotonic() < deadline, counts_of(clean_pair)
        time.sleep(0.05)
    assert "mismatched" not in counts_of(clean_pair)


def test_a_function_that_changes_nothing_is_compared_with_what_its_call_sent(
    client: Any, clean_pair: Pair, user: User
) -> None:
    without_noise(clean_pair)
    for side, stars in ((clean_pair.supabase, 3), (clean_pair.isobase, 4)):
        note(side, "rated", user.id)
        side.query("update public.notes set stars = %s", stars)
    set_stage(clean_pair, "rpc:public.stars_of", Stage.SHADOW_READ)
    wait_for_stage(client, "rpc:public.stars_of", Stage.SHADOW_READ)
    assert client.rpc("stars_of", {"owner": user.id}).execute().data == 3
    found: list[Any] = []
    deadline = time.monotonic() + WAIT_S
    while not found:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        found = clean_pair.isobase.query("select capability, samples -> 0 from isobase.mismatches")
    ((capability, sample),) = found
    assert (capability, sample["call"]["method"]) == ("rpc:public.stars_of", "POST")
    assert user.id not in str(sample), "what a call sends is not kept"
