"""Migration clients in processes that fork and end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from isobase_adapter import create_migration_client
from isobase_adapter.stages import Stage
from tests.adapter.client.moving import WAIT_S, set_stage, settings_of
from tests.adapter.pair import Pair

APP = """
import os, threading
from isobase_adapter import create_migration_client
client = create_migration_client(os.environ["SUPABASE_URL"], os.environ["SUPABASE_SERVICE_ROLE_KEY"])
def last():
    threading.main_thread().join()
    print(client.table("kinds").insert({"id": 1}).execute().data[0]["id"])
threading.Thread(target=last).start()
"""


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_goes_on_with_parts_of_its_own(clean_pair: Pair) -> None:
    set_stage(clean_pair, "table:public.*", Stage.DUAL_WRITE)
    client = create_migration_client(
        clean_pair.supabase.url, clean_pair.supabase.service_role_key, migration=settings_of(clean_pair)
    )
    try:
        client.table("kinds").insert({"id": 1}).execute()
        child = os.fork()
        if child == 0:
            try:
                client.table("kinds").insert({"id": 2}).execute()
                os._exit(7)
            except BaseException:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        client.table("kinds").insert({"id": 3}).execute()
        assert [row["id"] for row in clean_pair.isobase.rows("public.kinds")] == [1, 2, 3]
    finally:
        client.migration.close()


def test_a_client_that_was_never_closed_ends_with_its_process_and_signs_off(clean_pair: Pair, tmp_path: Path) -> None:
    set_stage(clean_pair, "table:public.*", Stage.DUAL_WRITE)
    done = subprocess.run(
        [sys.executable, "-c", APP],
        env={**os.environ, **clean_pair.environment(), "ISOBASE_MIGRATION_SPOOL_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
    assert clean_pair.isobase.rows("public.kinds") == clean_pair.supabase.rows("public.kinds") != []
    eventually(lambda: clean_pair.isobase.query("select name from isobase.migration_clients") == [])


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
