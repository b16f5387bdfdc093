"""A merge whose end at Supabase nobody heard: whether it was done or not, the next one makes both sides equal."""

from __future__ import annotations

import asyncpg
import pytest

from isobase_adapter.auth.carrier import UserCarrier
from isobase_adapter.auth.resolve import user_thing
from isobase_adapter.sides import Side
from tests.adapter.auth.conftest import Both, databases_of
from tests.adapter.pair import Proxies
from tests.plugins.wire_proxy import Link


def _cut_commit(proxies: Proxies, *, is_done: bool) -> None:
    """Lose the connection to Supabase's database when a transaction ends: before that happens, or after."""
    ending: set[int] = set()

    def before(link: Link, piece: bytes) -> bool:
        if b"commit" not in piece:
            return False
        if is_done:
            ending.add(link.number)
            return False
        link.cut()
        return True

    def after(link: Link, piece: bytes) -> bool:
        if link.number not in ending:
            return False
        link.cut()
        return True

    proxies.supabase_database.on_request, proxies.supabase_database.on_answer = before, after


@pytest.mark.parametrize(
    "is_done, then",
    [
        pytest.param(False, "refresh at isobase", id="before the commit, refreshed then"),
        pytest.param(False, "sign-out at isobase", id="before the commit, ended then at isobase"),
        pytest.param(True, "nothing", id="after the commit"),
        pytest.param(True, "sign-out at isobase", id="after the commit, ended then at isobase"),
        pytest.param(True, "sign-out at supabase", id="after the commit, ended then at supabase"),
    ],
)
@pytest.mark.asyncio
async def test_a_lost_commit_at_supabase_is_no_change_that_somebody_made(
    proxied_pair: Proxies, is_done: bool, then: str
) -> None:
    pair = proxied_pair.pair
    user = pair.sign_up(at=pair.isobase)
    thing = user_thing(user.id)
    async with databases_of(pair) as databases:
        carrier = UserCarrier(databases)
        both = Both(pair, carrier, databases)
        await carrier.carry([thing], Side.SUPABASE)
        second = (await both.sign_in(Side.ISOBASE, user.email)).json()
        _cut_commit(proxied_pair, is_done=is_done)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await carrier.carry([thing], Side.SUPABASE)
        proxied_pair.heal()
        sessions = 2
        match then:
            case "sign-out at isobase" | "sign-out at supabase":
                side = Side.ISOBASE if then.endswith("isobase") else Side.SUPABASE
                answer = await both.call(side, "POST", "logout?scope=local", token=second["access_token"])
                # Before the commit Supabase has never heard of the session.
                assert (answer.status_code == 204) == (side is Side.ISOBASE or is_done)
                # That it was there for a moment and went at Supabase cannot be told from never having been there.
                sessions = 1 if side is Side.ISOBASE else 2
            case "refresh at isobase":
                assert (await both.refresh(Side.ISOBASE, second["refresh_token"])).status_code == 200
        await carrier.carry([thing], Side.SUPABASE)
        both.assert_same()
        assert len(both.rows(Side.SUPABASE, "sessions")) == sessions
        assert (await carrier.carry([thing], Side.SUPABASE)).changed == 0
        assert pair.isobase.query("select count(*) from isobase.migration_auth where is_pending") == [(0,)]
