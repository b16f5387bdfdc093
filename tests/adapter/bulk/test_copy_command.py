"""``isobase migrate copy`` and ``sync`` on two running stacks: a project that Isobase has nothing of yet."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.adapter.pair import BUCKETS, PASSWORD, Pair, running_pair
from tests.plugins.stack import ISOBASE, clean_environment

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]


def command(pair: Pair, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = clean_environment() | pair.environment()
    return subprocess.run(
        [str(ISOBASE), "migrate", *arguments], capture_output=True, text=True, env=environment, cwd=folder, timeout=280
    )


def fill(pair: Pair) -> str:
    """Rows, users and objects at Supabase; gives a user's address."""
    user = pair.sign_up()
    key = pair.supabase.service_role_key
    headers = {"apikey": key, "authorization": f"Bearer {key}"}
    notes = [{"title": f"note {number}", "owner_id": user.id} for number in range(300)]
    httpx.post(f"{pair.supabase.url}/rest/v1/notes", headers=headers, json=notes, timeout=30).raise_for_status()
    orders = [{"net": number, "owner_id": user.id} for number in range(50)]
    httpx.post(f"{pair.supabase.url}/rest/v1/orders", headers=headers, json=orders, timeout=30).raise_for_status()
    for number in range(3):
        url = f"{pair.supabase.url}/storage/v1/object/{BUCKETS[0]}/folder/{number}.txt"
        httpx.post(url, headers=headers, content=f"object {number}".encode(), timeout=30).raise_for_status()
    return user.email


def cut_over_and_back(pair: Pair, folder: Path) -> None:
    """Take the notes to Isobase and back, while ``sync`` runs, by commands alone."""
    notes = "table:public.notes"
    early = command(pair, "cutover", notes, "--calls", "0", "-o", "json", folder=folder)
    assert early.returncode == 9, early.stderr
    assert "stage" in json.loads(early.stdout)["changes"][0]["reason"]
    for stage in ("dual_write", "shadow_read"):
        assert command(pair, "flags", "set", notes, stage, folder=folder).returncode == 0
    done = command(pair, "cutover", notes, "--calls", "0", "-o", "json", "--report", "cutover.html", folder=folder)
    assert done.returncode == 0, done.stderr + done.stdout
    (change,) = json.loads(done.stdout)["changes"]
    assert (change["stage"], change["writer"], change["is_done"]) == ("live", "isobase", True)
    assert "everybody" in (folder / "cutover.html").read_text()
    # From now on sync carries the other way.
    pair.isobase.query("update public.notes set stars = 7 where id = 5")
    deadline_s = time.monotonic() + 60
    while pair.differing(["public.notes"]):
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
    back = command(pair, "rollback", notes, "-o", "json", folder=folder)
    assert back.returncode == 0, back.stderr + back.stdout
    (change,) = json.loads(back.stdout)["changes"]
    assert (change["stage"], change["writer"]) == ("shadow_read", "supabase")


def test_a_whole_project_comes_over_and_stays_equal_until_sync_is_ended(tmp_path: Path) -> None:
    with running_pair(has_schema_at_isobase=False) as pair:
        address = fill(pair)
        done = command(pair, "copy", "-o", "json", "--report", "copy.html", folder=tmp_path)
        assert done.returncode == 0, done.stderr + done.stdout
        report = json.loads(done.stdout)
        assert report["is_complete"] is True
        assert report["users"] == 1
        assert report["buckets"] >= len(BUCKETS)
        assert pair.differing() == {}
        page = (tmp_path / "copy.html").read_text()
        assert "public.notes" in page
        for secret in (pair.supabase.service_role_key, pair.isobase.service_role_key):
            assert secret not in done.stdout + done.stderr + page

        # Nobody is asked for a new password, and objects are there.
        answer = httpx.post(
            f"{pair.isobase.url}/auth/v1/token?grant_type=password",
            headers={"apikey": pair.isobase.anon_key},
            json={"email": address, "password": PASSWORD},
            timeout=30,
        )
        assert answer.status_code == 200
        key = pair.isobase.service_role_key
        one = httpx.get(
            f"{pair.isobase.url}/storage/v1/object/authenticated/{BUCKETS[0]}/folder/2.txt",
            headers={"apikey": key, "authorization": f"Bearer {key}"},
            timeout=30,
        )
        assert one.content == b"object 2"

        syncing = subprocess.Popen(
            [sys.executable, "-m", "isobase_deploy.cli", "migrate", "sync", "-o", "json"],
            env=clean_environment() | pair.environment(),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            pair.supabase.query(
                "update public.notes set stars = 5 where id < 100; delete from public.orders where net = 3"
            )
            pair.supabase.query(
                "insert into public.notes (owner_id, title) select owner_id, 'by SQL' from public.notes limit 9"
            )
            deadline_s = time.monotonic() + 60
            while pair.differing():
                assert time.monotonic() < deadline_s, pair.differing()
                assert syncing.poll() is None, syncing.communicate()
                time.sleep(0.2)
            refused = command(pair, "sync", "--once", folder=tmp_path)
            assert refused.returncode == 9
            assert "runs already" in refused.stderr
            cut_over_and_back(pair, tmp_path)
            os.kill(syncing.pid, signal.SIGTERM)
            output, errors = syncing.communicate(timeout=120)
        finally:
            if syncing.poll() is None:
                syncing.kill()
                syncing.communicate()
        assert syncing.returncode == 0, errors
        assert json.loads(output)["sides"]["supabase"]["carried"] >= 100

        again = command(pair, "copy", "-o", "json", folder=tmp_path)
        assert again.returncode == 0, again.stderr
        assert json.loads(again.stdout)["rows"]["tables"][0]["rows"] == 0
        ended = command(pair, "sync", "--stop-capture", folder=tmp_path)
        assert ended.returncode == 0
        assert pair.supabase.query(
            "select count(*) from pg_replication_slots where slot_name ~ '^isobase_migration'"
        ) == [(0,)]
