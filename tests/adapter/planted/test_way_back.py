"""Back from ``complete``: Supabase has all that was written without it before any stage rests on it again."""

from __future__ import annotations

from isobase_adapter.stages import Stage
from tests.adapter.client.moving import wait_for_stage
from tests.adapter.pair import PASSWORD
from tests.adapter.planted.conftest import EVERYTHING, Moving

MARK = "select count(*) from isobase.migration_rules where name = 'supabase_is_behind'"


def test_supabase_has_rows_users_and_objects_of_complete_before_a_stage_rests_on_it(
    moving: Moving,
) -> None:
    client, pair = moving.client, moving.pair
    moving.load.end()
    client.auth.sign_up({"email": "later@example.com", "password": PASSWORD})
    moving.until_nothing(lambda: moving.run("cutover", EVERYTHING, "--calls", "0")[0])
    for stage in ("ramp_down", "complete"):
        assert moving.run("flags", "set", EVERYTHING, stage)[0] == 0
    wait_for_stage(client, "auth", Stage.COMPLETE)
    (row,) = client.table("notes").insert({"title": "at Isobase alone"}).execute().data
    client.storage.from_("avatars").upload(f"{moving.load.user_id}/alone", b"at Isobase alone")
    user = client.auth.sign_up({"email": "alone@example.com", "password": PASSWORD}).user.id
    assert pair.supabase.query("select count(*) from auth.users where id = %s", user) == [(0,)]
    # By the flag alone Supabase is written again, and lacks what is of before: nothing goes on from there.
    assert moving.run("flags", "set", EVERYTHING, "ramp_down")[0] == 0
    assert moving.fails("flags", "set", EVERYTHING, "live")
    assert moving.run("flags", "set", EVERYTHING, "complete")[0] == 0
    code, answer = moving.run("rollback", EVERYTHING)
    assert (code, answer["changes"][0]["stage"]) == (0, "ramp_down"), answer
    assert pair.supabase.query("select title from public.notes where id = %s", row["id"]) == [("at Isobase alone",)]
    assert pair.supabase.query("select count(*) from auth.users where id = %s", user) == [(1,)]
    assert pair.supabase.query("select count(*) from storage.objects where name like '%%/alone'") == [(1,)]
    assert pair.isobase.query(MARK) == [(0,)]
    assert moving.run("verify")[0] == 0
    code, answer = moving.run("rollback", EVERYTHING)
    assert (code, answer["changes"][0]["stage"]) == (0, "live"), answer
