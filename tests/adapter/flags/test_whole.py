"""Flags as an app's client lives with them: without the control store, and with another provider."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider
from postgrest.exceptions import APIError

from isobase_adapter import create_migration_client
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from tests.adapter.client.moving import WAIT_S, note, set_stage, settings_of, wait_for_stage
from tests.adapter.pair import Pair, Proxies

NOTES = "table:public.notes"


def client_of(pair: Pair, **settings: Any) -> Any:
    return create_migration_client(
        pair.supabase.url, pair.supabase.service_role_key, migration=settings_of(pair, **settings)
    )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_client_that_starts_without_the_control_store_reads_and_writes_to_one_side_only_once_it_is_back(
    proxied_pair: Proxies, tmp_path: Path
) -> None:
    pair, store = proxied_pair.pair, proxied_pair.isobase_database
    user = pair.sign_up()
    set_stage(pair, NOTES, Stage.COMPLETE)
    note(pair.isobase, "there", user.id)
    first = client_of(pair, spool_dir=tmp_path)
    wait_for_stage(first, NOTES, Stage.COMPLETE)
    until(lambda: "table:public.notes" in (tmp_path / "flags.json").read_text())
    first.migration.close()

    store.refuses = True
    store.cut_all()
    second = client_of(pair, spool_dir=tmp_path)
    try:
        assert second.table("notes").select("title").execute().data == [{"title": "there"}]
        assert second.migration.answered.side is Side.ISOBASE
        with pytest.raises(APIError) as refused:
            second.table("notes").insert({"title": "new", "owner_id": user.id}).execute()
        assert refused.value.code == "MIGRATION_FLAGS_UNSURE"
        store.heals()

        def writes() -> bool:
            try:
                second.table("notes").insert({"title": "new", "owner_id": user.id}).execute()
            except APIError as error:
                codes.add(error.code)
                return False
            return True

        codes: set[str | None] = {"MIGRATION_FLAGS_UNSURE"}

        until(writes)
        assert codes == {"MIGRATION_FLAGS_UNSURE"}
    finally:
        second.migration.close()
    assert pair.supabase.query("select title from public.notes") == []
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("isobase-migration")] == []


def test_another_provider_decides_for_each_user(clean_pair: Pair) -> None:
    user = clean_pair.sign_up()
    for side, stack in ((Side.SUPABASE, clean_pair.supabase), (Side.ISOBASE, clean_pair.isobase)):
        note(stack, side, user.id)
    set_stage(clean_pair, NOTES, Stage.LIVE, writer=Side.SUPABASE, share_percent=0)
    flag = InMemoryFlag("live", {"live": "live"})
    client = client_of(clean_pair, flag_provider=InMemoryProvider({"isobase.table.public.notes": flag}))
    try:
        wait_for_stage(client, NOTES, Stage.LIVE)
        assert client.table("notes").select("title").execute().data == [{"title": "isobase"}]
        assert client.migration.stage("bucket:photos") is Stage.OFF
    finally:
        client.migration.close()
        api.clear_providers()
