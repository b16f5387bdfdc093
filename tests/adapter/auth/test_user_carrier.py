"""A user who is carried is the same on both sides, and one who signs in on either side exists on both."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import cast
from uuid import UUID

import pytest

from isobase_adapter.auth.carrier import UserCarrier
from isobase_adapter.auth.errors import UserConflict
from isobase_adapter.auth.resolve import changed_since, user_by_email, user_thing
from isobase_adapter.contracts import Carrier
from isobase_adapter.rows.sql_carrier import RowCarrier
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind
from isobase_services.auth.counted_tokens import CountedToken
from tests.adapter.auth.conftest import Both

EVERYBODY = Thing(ThingKind.USERS, "auth")


@pytest.mark.asyncio
@pytest.mark.parametrize("source", list(Side))
async def test_a_user_with_a_session_is_carried_and_refreshes_there(both: Both, source: Side) -> None:
    user = both.pair.sign_up(at=both.at(source))
    target = source.other
    carried = await both.carrier.carry([user_thing(user.id)], target)
    assert carried.changed > 0
    both.assert_same()
    assert (await both.carrier.carry([user_thing(user.id)], target)).changed == 0
    seen = await both.call(target, "GET", "user", token=user.access_token)
    assert (seen.status_code, seen.json()["id"]) == (200, user.id)
    refreshed = await both.refresh(target, user.refresh_token)
    assert refreshed.status_code == 200, refreshed.text
    assert (await both.sign_in(target, user.email)).status_code == 200


@pytest.mark.asyncio
async def test_what_happens_at_either_side_reaches_the_other(both: Both) -> None:
    user = both.pair.sign_up()
    thing = user_thing(user.id)
    await both.carrier.carry([thing], Side.ISOBASE)
    # A refresh where the user was carried to, a sign-in where they came from.
    refreshed = (await both.refresh(Side.ISOBASE, user.refresh_token)).json()
    other = (await both.sign_in(Side.SUPABASE, user.email)).json()
    await both.carrier.carry([thing], Side.ISOBASE)
    both.assert_same()
    for side in Side:
        for token in (refreshed["access_token"], other["access_token"]):
            assert (await both.call(side, "GET", "user", token=token)).status_code == 200
    # The exchanged token is known as such on both sides, its child is alive on both.
    assert (await both.refresh(Side.SUPABASE, refreshed["refresh_token"])).status_code == 200
    await both.carrier.carry([thing], Side.ISOBASE)
    both.assert_same()


@pytest.mark.asyncio
@pytest.mark.parametrize("ended_at", list(Side))
async def test_a_sign_out_at_either_side_ends_the_session_on_both(both: Both, ended_at: Side) -> None:
    user = both.pair.sign_up()
    kept = (await both.sign_in(Side.SUPABASE, user.email)).json()
    thing = user_thing(user.id)
    await both.carrier.carry([thing], Side.ISOBASE)
    ended = await both.call(ended_at, "POST", "logout?scope=local", token=user.access_token)
    assert ended.status_code == 204
    await both.carrier.carry([thing], Side.ISOBASE)
    both.assert_same()
    for side in Side:
        assert (await both.call(side, "GET", "user", token=user.access_token)).status_code == 403
        assert (await both.refresh(side, user.refresh_token)).status_code == 400
        assert (await both.call(side, "GET", "user", token=kept["access_token"])).status_code == 200


@pytest.mark.asyncio
async def test_a_user_who_signs_up_at_the_other_side_is_brought_home(both: Both) -> None:
    user = both.pair.sign_up(at=both.pair.isobase)
    await both.carrier.carry([user_by_email(user.email.upper())], Side.ISOBASE)
    both.assert_same()
    assert (await both.sign_in(Side.SUPABASE, user.email)).status_code == 200


@pytest.mark.asyncio
async def test_a_user_who_is_deleted_at_the_source_is_deleted_with_their_rows(both: Both) -> None:
    user = both.pair.sign_up()
    await both.carrier.carry([user_thing(user.id)], Side.ISOBASE)
    both.pair.isobase.query("insert into public.notes (title, owner_id) values ('mine', %s)", user.id)
    assert (await both.call(Side.SUPABASE, "DELETE", f"admin/users/{user.id}", is_admin=True)).status_code == 200
    await both.carrier.carry([user_thing(user.id)], Side.ISOBASE)
    assert both.rows(Side.ISOBASE, "users") == []
    assert both.rows(Side.ISOBASE, "sessions") == []


@pytest.mark.asyncio
async def test_a_user_who_vanished_at_the_target_is_carried_again(both: Both) -> None:
    user = both.pair.sign_up()
    await both.carrier.carry([user_thing(user.id)], Side.ISOBASE)
    both.pair.isobase.query("delete from auth.users")
    await both.carrier.carry([EVERYBODY], Side.ISOBASE)
    assert [row["id"] for row in both.rows(Side.SUPABASE, "users")] == [user.id]
    assert [row["id"] for row in both.rows(Side.ISOBASE, "users")] == [user.id]


@pytest.mark.asyncio
async def test_somebody_who_signed_up_again_after_they_left_replaces_whom_they_were(both: Both) -> None:
    user = both.pair.sign_up("anna@example.com")
    await both.carrier.carry([user_thing(user.id)], Side.ISOBASE)
    await both.call(Side.SUPABASE, "DELETE", f"admin/users/{user.id}", is_admin=True)
    again = both.pair.sign_up("anna@example.com")
    await both.carrier.carry([user_thing(again.id)], Side.ISOBASE)
    both.assert_same()
    assert [row["id"] for row in both.rows(Side.ISOBASE, "users")] == [again.id]


@pytest.mark.asyncio
async def test_two_users_with_one_address_are_a_conflict_that_names_both_and_changes_neither(both: Both) -> None:
    ours = both.pair.sign_up("anna@example.com")
    theirs = both.pair.sign_up("anna@example.com", at=both.pair.isobase)
    bystander = both.pair.sign_up()
    with pytest.raises(UserConflict) as caught:
        await both.carrier.carry([EVERYBODY], Side.ISOBASE)
    assert set(caught.value.users) == {ours.id, theirs.id}
    assert {row["id"] for row in both.rows(Side.SUPABASE, "users")} == {ours.id, bystander.id}
    assert {row["id"] for row in both.rows(Side.ISOBASE, "users")} == {theirs.id, bystander.id}


@pytest.mark.asyncio
async def test_refreshes_at_both_sides_at_once_log_nobody_out(both: Both) -> None:
    user = both.pair.sign_up()
    thing = user_thing(user.id)
    await both.carrier.carry([thing], Side.ISOBASE)
    answers = await asyncio.gather(
        both.refresh(Side.SUPABASE, user.refresh_token),
        both.refresh(Side.ISOBASE, user.refresh_token),
        both.carrier.carry([thing], Side.ISOBASE),
    )
    await both.carrier.carry([thing], Side.ISOBASE)
    both.assert_same()
    for answer in answers[:2]:
        token = answer.json()["refresh_token"]
        for side in Side:
            refreshed = await both.refresh(side, token)
            assert refreshed.status_code == 200, refreshed.text
            token = refreshed.json()["refresh_token"]
            await both.carrier.carry([thing], Side.ISOBASE)


@pytest.mark.asyncio
async def test_many_carriers_of_one_user_come_to_the_same(both: Both) -> None:
    user = both.pair.sign_up()
    thing = user_thing(user.id)

    async def live() -> None:
        token = user.refresh_token
        for side in (Side.SUPABASE, Side.SUPABASE, Side.SUPABASE):
            token = (await both.refresh(side, token)).json()["refresh_token"]

    await asyncio.gather(
        live(), *(both.carrier.carry([thing], side) for side in (Side.ISOBASE, Side.SUPABASE) for _ in range(4))
    )
    await both.carrier.carry([thing], Side.ISOBASE)
    both.assert_same()


@pytest.mark.asyncio
async def test_whoever_changed_since_a_moment_is_found(both: Both) -> None:
    early = both.pair.sign_up()
    both.pair.supabase.query(
        "update auth.users set created_at = '2020-01-01', updated_at = '2020-01-01';"
        "update auth.identities set updated_at = '2020-01-01';"
        "update auth.sessions set created_at = '2020-01-01', updated_at = '2020-01-01';"
        "update auth.refresh_tokens set updated_at = '2020-01-01'"
    )
    late = both.pair.sign_up()
    await both.carrier.carry([changed_since(datetime.now(UTC))], Side.ISOBASE)
    assert [row["id"] for row in both.rows(Side.ISOBASE, "users")] == [late.id]
    await both.carrier.carry([EVERYBODY], Side.ISOBASE)
    assert {row["id"] for row in both.rows(Side.ISOBASE, "users")} == {early.id, late.id}


@pytest.mark.asyncio
async def test_a_session_that_counts_its_tokens_goes_on_at_either_side_and_never_back(both: Both) -> None:
    user = both.pair.sign_up()
    both.pair.supabase.query(
        "update auth.sessions set refresh_token_hmac_key = 'a2V5LW9mLTE2LWJ5dGVzIQ', refresh_token_counter = 3"
    )
    ((session,),) = both.pair.supabase.query("select id::text from auth.sessions")
    thing, number = user_thing(user.id), UUID(session)
    await both.carrier.carry([thing], Side.ISOBASE)
    both.assert_same()
    for side in (Side.ISOBASE, Side.SUPABASE):
        refreshed = await both.refresh(side, CountedToken.encode(number, 3, b"key-of-16-bytes!"))
        assert refreshed.json()["refresh_token"] == CountedToken.encode(number, 4, b"key-of-16-bytes!"), refreshed.text
    # Refreshed on both, and once more at the side that is written second.
    again = await both.refresh(Side.ISOBASE, CountedToken.encode(number, 4, b"key-of-16-bytes!"))
    assert again.json()["refresh_token"] == CountedToken.encode(number, 5, b"key-of-16-bytes!")
    await both.carrier.carry([thing], Side.ISOBASE)
    both.assert_same()
    for side in Side:
        assert (await both.refresh(side, CountedToken.encode(number, 5, b"key-of-16-bytes!"))).status_code == 200


@pytest.mark.asyncio
async def test_a_profile_that_a_trigger_made_comes_with_its_user_and_is_made_once(both: Both) -> None:
    tables = """
        create table public.profiles (id uuid primary key references auth.users (id) on delete cascade,
          made text not null default gen_random_uuid()::text);
        create function public.make_profile() returns trigger language plpgsql security definer set search_path = ''
          as $$ begin insert into public.profiles (id) values (new.id); return new; end $$;
        create trigger make_profile after insert on auth.users for each row execute function public.make_profile();
    """
    for side in Side:
        both.at(side).query(tables)
    try:
        rows = cast(Carrier, RowCarrier(both.databases[Side.SUPABASE], both.databases[Side.ISOBASE]))
        carrier = UserCarrier(both.databases, rows)
        user = both.pair.sign_up()
        await carrier.carry([user_thing(user.id)], Side.ISOBASE)
        profiles = [both.at(side).rows("public.profiles") for side in Side]
        assert profiles[0] == profiles[1]
        assert [row["id"] for row in profiles[0]] == [user.id]
        # A profile that was changed where it was carried to stays as it is.
        both.pair.isobase.query("update public.profiles set made = 'changed'")
        await carrier.carry([user_thing(user.id)], Side.ISOBASE)
        assert both.pair.isobase.query("select made from public.profiles") == [("changed",)]
        await both.call(Side.SUPABASE, "DELETE", f"admin/users/{user.id}", is_admin=True)
        await carrier.carry([user_thing(user.id)], Side.ISOBASE)
        assert both.pair.isobase.query("select count(*) from public.profiles") == [(0,)]
    finally:
        for side in Side:
            both.at(side).query("drop trigger make_profile on auth.users; drop function public.make_profile")
            both.at(side).query("drop table public.profiles")
