"""The two sides of the adapter's tests are what the tests take them for."""

from __future__ import annotations

import httpx
import pytest

from tests.adapter.pair import TABLES, Pair, Proxies, SideStack


def _notes(side: SideStack, token: str) -> httpx.Response:
    headers = {"apikey": side.anon_key, "authorization": f"Bearer {token}"}
    return httpx.get(f"{side.url}/rest/v1/notes", headers=headers, timeout=30)


def test_each_side_has_keys_and_databases_of_its_own(pair: Pair) -> None:
    assert pair.supabase.anon_key != pair.isobase.anon_key
    assert pair.supabase.service_role_key != pair.isobase.service_role_key
    (ours,), (theirs,) = (
        side.query("select system_identifier::text from pg_control_system()")[0]
        for side in (pair.supabase, pair.isobase)
    )
    assert ours != theirs


def test_a_users_token_of_one_side_is_believed_by_the_other(clean_pair: Pair) -> None:
    for at, other in (
        (clean_pair.supabase, clean_pair.isobase),
        (clean_pair.isobase, clean_pair.supabase),
    ):
        user = clean_pair.sign_up(at=at)
        headers = {"apikey": other.anon_key, "authorization": f"Bearer {user.access_token}"}
        made = httpx.post(
            f"{other.url}/rest/v1/notes",
            headers=headers | {"prefer": "return=representation"},
            json={"title": "from afar"},
            timeout=30,
        )
        assert (made.status_code, made.json()[0]["owner_id"]) == (201, user.id)
        assert [row["title"] for row in _notes(other, user.access_token).json()] == ["from afar"]
        assert _notes(at, user.access_token).json() == []


def test_what_one_side_alone_has_is_seen(clean_pair: Pair) -> None:
    assert clean_pair.differing() == {}
    clean_pair.supabase.query("insert into public.kinds (id, price) values (1, 1.10)")
    assert list(clean_pair.differing()) == ["public.kinds"]
    clean_pair.isobase.query("insert into public.kinds (id, price) values (1, 1.10)")
    assert clean_pair.differing() == {}
    clean_pair.clear()
    assert [clean_pair.supabase.rows(table) for table in TABLES] == [[] for _ in TABLES]


def test_a_proxy_stands_before_each_server(proxied_pair: Proxies) -> None:
    for side, proxy in (
        (proxied_pair.pair.supabase, proxied_pair.supabase),
        (proxied_pair.pair.isobase, proxied_pair.isobase),
    ):
        assert _notes(side, side.anon_key).status_code == 200
        assert proxy.accepted == 1
        proxy.is_gone = True
        with pytest.raises(httpx.ConnectError):
            _notes(side, side.anon_key)
        proxy.heals()
        assert _notes(side, side.anon_key).status_code == 200
