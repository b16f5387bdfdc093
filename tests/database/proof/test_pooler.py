"""Behind a real PgBouncer in transaction mode: callers share sessions and never one another's claims."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from isobase_deploy.ports import free_ports
from isobase_platform.config import Settings
from tests.database.proof.conftest import ALICE, BOB, DataApi, run_sql, serving
from tests.plugins.stack import PASSWORD

START_TIMEOUT_S = 10.0
ROUNDS = 40

OWNED = """
create table public.owned (
  id integer generated always as identity primary key, owner uuid not null default auth.uid(), note text
);
alter table public.owned enable row level security;
create policy own on public.owned to authenticated using (owner = auth.uid()) with check (owner = auth.uid());
grant all on public.owned to anon, authenticated;
create function public.me() returns json language sql stable as $$
  select json_build_object('role', current_user, 'sub', auth.uid(), 'pid', pg_backend_pid()) $$;
"""


@pytest.fixture
def pooled(things: Settings, tmp_path: Path) -> Iterator[Settings]:
    """Settings that reach the database through a PgBouncer with two sessions for everybody."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
    run_sql(things, OWNED)
    assert things.database.url is not None
    place = urlsplit(things.database.url.get_secret_value())
    (port,) = free_ports(1)
    users = ("supabase_admin", "postgres", "authenticator", "supabase_auth_admin", "supabase_storage_admin")
    (tmp_path / "users.txt").write_text("".join(f'"{user}" "{PASSWORD}"\n' for user in users))
    (tmp_path / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={place.hostname} port={place.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {tmp_path}/users.txt\n"
        "pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 100\nserver_reset_query = \n"
        "ignore_startup_parameters = extra_float_digits\n"
    )
    account = ["-u", "nobody"] if os.geteuid() == 0 else []
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(parent.stat().st_mode | 0o011)
    with (tmp_path / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *account, str(tmp_path / "pgbouncer.ini")], stdout=log, stderr=log, cwd=tmp_path
        )
    try:
        _wait(port, process, tmp_path / "pgbouncer.log")
        url = things.database.url.get_secret_value().replace(f":{place.port}/", f":{port}/")
        database = things.database.model_copy(update={"url": SecretStr(url), "mode": "transaction_pooler"})
        yield things.model_copy(update={"database": database})
    finally:
        process.terminate()
        process.wait(10)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end_s and process.poll() is None:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"pgbouncer did not start: {log.read_text()}")


def test_callers_share_sessions_and_never_their_claims(pooled: Settings) -> None:
    wrong: list[str] = []
    pids: set[int] = set()

    def act(api: DataApi, sub: str) -> None:
        with api.client(api.headers("authenticated", sub)) as client:
            for number in range(ROUNDS):
                written = client.post(
                    "/owned", json={"note": f"{number} of {sub}"}, headers={"prefer": "return=representation"}
                )
                if written.status_code != 201 or written.json()[0]["owner"] != sub:
                    wrong.append(written.text)
                me = client.get("/rpc/me").json()
                pids.add(me.pop("pid", 0))
                if me != {"role": "authenticated", "sub": sub}:
                    wrong.append(str(me))
                rows = client.get(f"/owned?select=owner&id=gt.{number % 5}&order=id").json()
                if {row["owner"] for row in rows} - {sub}:
                    wrong.append(str(rows))

    def look(api: DataApi) -> None:
        with api.client(api.headers("anon")) as client:
            for number in range(ROUNDS):
                rows = client.get(f"/owned?id=gt.{number}")
                if rows.status_code != 200 or rows.json() != []:
                    wrong.append(rows.text)

    with serving(pooled) as api:
        threads = [threading.Thread(target=act, args=(api, sub)) for sub in (ALICE, BOB, ALICE, BOB)]
        threads.append(threading.Thread(target=look, args=(api,)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong, wrong[:5]
    assert len(pids) <= 2
    assert run_sql(pooled, "select owner::text, count(*) from public.owned group by owner order by owner") == [
        (ALICE, 2 * ROUNDS),
        (BOB, 2 * ROUNDS),
    ]
