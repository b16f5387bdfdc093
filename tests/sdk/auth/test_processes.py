"""Processes: several that share a session, and one that ends without closing its client."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from isobase.auth import FileStorage, SyncGoTrueClient
from tests.sdk.auth._sync.tools import expire, opened, signed_up
from tests.sdk.auth.conftest import AuthService
from tests.sdk.auth.network import broken_network

PROCESSES = 3
START_S = 2.0
END_TIMEOUT_S = 100.0

READER = """
import json, sys, time
from isobase._http import SyncSession
from isobase.auth import FileStorage, SyncGoTrueClient
path, url, headers, begins_at = sys.argv[1:]
http = SyncSession(timeout=60.0)
client = SyncGoTrueClient(url=url, headers=json.loads(headers), storage=FileStorage(path), http_client=http)
time.sleep(max(0.0, float(begins_at) - time.time()))
session = client.get_session()
assert client._timer.is_armed()
print(session.refresh_token)
"""


def test_processes_that_share_a_session_refresh_it_once_and_end_by_themselves(
    auth_service: AuthService, tmp_path: Path
) -> None:
    storage = FileStorage(tmp_path / "session.json")
    with broken_network(auth_service.url) as network:
        with opened(auth_service, storage=storage) as client:
            first = signed_up(client)
            expire(client)
        arguments = [str(storage.path), network.url, json.dumps(auth_service.anon_headers), str(time.time() + START_S)]
        processes = [
            subprocess.Popen([sys.executable, "-c", READER, *arguments], stdout=subprocess.PIPE, text=True)
            for _ in range(PROCESSES)
        ]
        answers = [process.communicate(timeout=END_TIMEOUT_S)[0].strip() for process in processes]
        assert [process.returncode for process in processes] == [0] * PROCESSES
        assert len(set(answers)) == 1
        assert answers[0] not in {"", first.refresh_token}
        assert network.refreshes == 1


def test_a_lock_whose_holder_died_is_free(auth_service: AuthService, tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    holder = (
        "import os, sys; from isobase.auth import FileStorage; FileStorage(sys.argv[1]).try_lock('key'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", holder, str(path)], check=False).returncode == 9
    storage = FileStorage(path)
    assert storage.try_lock("key")
    storage.unlock("key")
    with SyncGoTrueClient(url=auth_service.url, headers=auth_service.anon_headers, storage=storage) as client:
        assert client.get_session() is None
