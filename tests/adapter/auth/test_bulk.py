"""All users at once: copied so that it goes on where it ended, compared so that what differs is named, kept in step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from isobase_adapter.auth.copy import copy_users
from isobase_adapter.auth.errors import TooManyRemovals
from isobase_adapter.auth.resolve import user_thing
from isobase_adapter.auth.sync import UserSync, UserSyncTimes
from isobase_adapter.auth.verify import DifferingUser, verify_users
from isobase_adapter.bulk.progress import Silent
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind
from tests.adapter.auth.conftest import Both

MAKE_USERS = """
insert into auth.users (instance_id, id, aud, role, email, encrypted_password, raw_app_meta_data, raw_user_meta_data,
    created_at, updated_at, email_confirmed_at, confirmation_token, recovery_token, email_change_token_new, email_change)
select '00000000-0000-0000-0000-000000000000', ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid,
    'authenticated', 'authenticated', 'user' || n || '@example.com',
    case n %% 3 when 0 then '$2a$04$abcdefghijklmnopqrstuu5Ok5wMPVt3kXlE8hDQTHyvB.uUAyKx6'
      when 1 then '$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$abcdefghijklmnopqrstuv'
      else '$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=c2s=$c2FsdA==$aGFzaA==' end,
    '{"provider": "email"}', jsonb_build_object('n', n, 'name', 'Zoë "' || n || '"'),
    now(), now(), now(), '', '', '', ''
  from generate_series(1, %s) n;
insert into auth.identities (provider_id, user_id, identity_data, provider, created_at, updated_at)
select id::text, id, jsonb_build_object('sub', id, 'email', email), 'email', now(), now() from auth.users;
insert into auth.sessions (id, user_id, created_at, updated_at, aal, ip)
select gen_random_uuid(), id, now(), now(), 'aal1', '2001:db8::1' from auth.users;
insert into auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, session_id)
select '00000000-0000-0000-0000-000000000000', substr(md5(id::text), 1, 12), user_id, false, now(), now(), id
  from auth.sessions;
"""


@pytest.mark.asyncio
async def test_all_users_are_copied_and_nothing_is_done_twice(both: Both) -> None:
    both.pair.supabase.query(MAKE_USERS, 1200)
    stranger = both.pair.sign_up(at=both.pair.isobase)
    copied = await copy_users(both.databases)
    assert (copied.users, copied.rows, copied.only_at_target, copied.conflicts) == (1201, 4800, [stranger.id], [])
    report = await verify_users(both.databases, settle_s=0)
    assert (report.users, report.differing, report.named) == (1201, 1, [DifferingUser(stranger.id, only="isobase")])
    assert (await copy_users(both.databases)).rows == 0
    assert len(both.rows(Side.SUPABASE, "users")) == 1200


@pytest.mark.asyncio
async def test_a_copy_that_was_ended_goes_on_where_it_was(both: Both) -> None:
    both.pair.supabase.query(MAKE_USERS, 60)

    class Ended(Exception):
        pass

    class Ending(Silent):
        pages = 0

        def begin(self, part: str, total: int, unit: str) -> None:
            assert (part, total, unit) == ("users", 60, "users")

        def advance(self, part: str, amount: int) -> None:
            if amount:
                self.pages += 1
            if self.pages == 3:
                raise Ended

    with pytest.raises(Ended):
        await copy_users(both.databases, progress=Ending(), page_users=20)
    copied = await copy_users(both.databases)
    assert (copied.users, copied.rows) == (60, 0)
    both.assert_same()


@pytest.mark.asyncio
async def test_what_differs_is_named_and_repaired(both: Both) -> None:
    both.pair.supabase.query(MAKE_USERS, 8)
    await copy_users(both.databases)
    ids = sorted(row["id"] for row in both.rows(Side.SUPABASE, "users"))
    theirs = both.pair.isobase
    theirs.query("update auth.users set encrypted_password = 'x', raw_user_meta_data = '{}' where id = %s", ids[1])
    theirs.query("delete from auth.users where id = %s", ids[2])
    theirs.query("delete from auth.refresh_tokens where user_id = %s", ids[3])
    theirs.query("delete from auth.sessions where user_id = %s", ids[4])
    theirs.query("update auth.identities set identity_data = '{}' where user_id = %s", ids[5])
    report = await verify_users(both.databases, settle_s=0)
    assert report.named == [
        DifferingUser(ids[1], differences={"users": ("encrypted_password", "raw_user_meta_data")}),
        DifferingUser(ids[2], only="supabase"),
        DifferingUser(ids[3], differences={"refresh_tokens": ("missing at isobase",)}),
        DifferingUser(
            ids[4], differences={"refresh_tokens": ("missing at isobase",), "sessions": ("missing at isobase",)}
        ),
        DifferingUser(ids[5], differences={"identities": ("identity_data",)}),
    ]
    assert not report.is_equal
    repaired = await verify_users(both.databases, repairs=True, settle_s=0)
    assert (repaired.differing, repaired.repaired, repaired.is_equal) == (5, 5, True)
    assert (await verify_users(both.databases, settle_s=0)).differing == 0


@pytest.mark.asyncio
async def test_a_sweep_that_would_remove_many_users_asks_first(both: Both) -> None:
    both.pair.supabase.query(MAKE_USERS, 80)
    await copy_users(both.databases)
    both.pair.supabase.query("delete from auth.users")
    with pytest.raises(TooManyRemovals):
        await both.carrier.carry([Thing(ThingKind.USERS, "auth")], Side.ISOBASE)
    assert len(both.rows(Side.ISOBASE, "users")) == 80


@pytest.mark.asyncio
async def test_programs_of_the_project_are_copied_too(both: Both) -> None:
    both.pair.supabase.query(
        "insert into auth.oauth_clients (id, registration_type, redirect_uris, grant_types, token_endpoint_auth_method)"
        " values (gen_random_uuid(), 'manual', 'https://app.example/back', 'authorization_code', 'none')"
    )
    try:
        assert len((await verify_users(both.databases, settle_s=0)).shared) == 1
        assert (await copy_users(both.databases)).shared == 1
        assert (await verify_users(both.databases, settle_s=0)).is_equal
    finally:
        for side in Side:
            both.at(side).query("delete from auth.oauth_clients")


@asynccontextmanager
async def _following(both: Both, target: Side) -> AsyncIterator[UserSync]:
    times = UserSyncTimes(poll_s=0.05, sweep_s=3600)
    sync, stop = UserSync(both.databases, lambda: target, times=times), asyncio.Event()
    task = asyncio.create_task(sync.run(stop))
    try:
        yield sync
    finally:
        stop.set()
        await task


async def _until_same(both: Both) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                both.assert_same()
            except AssertionError:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.mark.asyncio
async def test_whoever_signs_in_beside_the_adapter_is_carried_both_ways(both: Both) -> None:
    early = both.pair.sign_up()
    async with _following(both, Side.ISOBASE) as sync:
        await _until_same(both)
        ours, theirs = both.pair.sign_up(), both.pair.sign_up(at=both.pair.isobase)
        await _until_same(both)
        assert {row["id"] for row in both.rows(Side.SUPABASE, "users")} == {early.id, ours.id, theirs.id}
        assert (await both.refresh(Side.ISOBASE, early.refresh_token)).status_code == 200
        await _until_same(both)
        assert sync.error is None


@pytest.mark.asyncio
async def test_a_sweep_of_sync_finds_who_signed_out(both: Both) -> None:
    user = both.pair.sign_up()
    sync = UserSync(both.databases, lambda: Side.ISOBASE, times=UserSyncTimes(sweep_s=0))
    await sync.round()
    assert (await both.call(Side.SUPABASE, "POST", "logout", token=user.access_token)).status_code == 204
    assert await sync.round() > 0
    both.assert_same()
    assert both.rows(Side.ISOBASE, "sessions") == []
    assert (await both.carrier.carry([user_thing(user.id)], Side.ISOBASE)).changed == 0


@pytest.mark.asyncio
async def test_users_in_each_others_way_are_told_of_and_hold_nobody_up(both: Both) -> None:
    ours = both.pair.sign_up("anna@example.com")
    theirs = both.pair.sign_up("anna@example.com", at=both.pair.isobase)
    sync = UserSync(both.databases, lambda: Side.ISOBASE)
    for _ in range(2):
        bystander = both.pair.sign_up()
        await sync.round()
        assert sync.error is not None
        assert ours.id in sync.error
        assert theirs.id in sync.error
        assert bystander.id in {row["id"] for row in both.rows(Side.ISOBASE, "users")}
