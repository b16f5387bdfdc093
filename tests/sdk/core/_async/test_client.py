"""The client: which key or token every sub-client shows, and what making one costs."""

from __future__ import annotations

import base64
import json
import subprocess
import sys

import pytest

from isobase import AsyncClient, AsyncClientOptions, SupabaseException, create_async_client

URL = "http://127.0.0.1:1"


def token_of(role: str) -> str:
    """A token of a role; nobody checks its signature here."""
    claims = base64.urlsafe_b64encode(json.dumps({"role": role}).encode()).rstrip(b"=").decode()
    return f"e30.{claims}.c2ln"


ANON = token_of("anon")


@pytest.mark.parametrize("url", ["", None, "nowhere", 139, {}])
async def test_a_url_of_the_wrong_form_is_refused(url: object) -> None:
    with pytest.raises(SupabaseException):
        await create_async_client(url, ANON)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", "supabase_key is required"),
        (None, "supabase_key is required"),
        (7, "supabase_key must be a string, got int"),
    ],
)
async def test_a_missing_key_is_refused(key: object, message: str) -> None:
    with pytest.raises(SupabaseException, match=message):
        await create_async_client(URL, key)  # type: ignore[arg-type]


async def test_the_addresses_of_the_services_follow_from_the_url() -> None:
    client = AsyncClient("https://abc.example.co/sub", ANON)
    assert str(client.rest_url) == "https://abc.example.co/sub/rest/v1"
    assert str(client.auth_url) == "https://abc.example.co/sub/auth/v1"
    assert str(client.storage_url) == "https://abc.example.co/sub/storage/v1/"
    assert str(client.functions_url) == "https://abc.example.co/sub/functions/v1"
    assert str(client.realtime_url) == "wss://abc.example.co/sub/realtime/v1"


async def test_two_clients_made_of_the_same_options_share_no_headers() -> None:
    options = AsyncClientOptions(headers={"x-app": "1"})
    first, second = AsyncClient(URL, ANON, options), AsyncClient(URL, ANON, options)
    first.options.headers["x-app"] = "2"
    assert second.options.headers["x-app"] == "1"
    assert second.options.headers["Authorization"] == f"Bearer {ANON}"


def test_options_are_replaced_one_by_one() -> None:
    options = AsyncClientOptions(schema="a", persist_session=False)
    changed = options.replace(schema="b", timeout=3.0)
    assert (changed.schema, changed.persist_session, changed.timeout) == ("b", False, 3.0)
    assert changed.storage is options.storage
    with pytest.raises(TypeError, match="nonsense"):
        options.replace(nonsense=1)


def test_importing_the_package_loads_no_heavy_part() -> None:
    script = "import sys, isobase; print([m for m in ('pydantic', 'websockets', 'httpx', 'jwt') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_no_key_is_shown_by_a_client_or_its_options() -> None:
    client = AsyncClient(URL, "sb_secret_abcdef", AsyncClientOptions(headers={"Authorization": "Bearer abcdef"}))
    for shown in (
        client,
        client.options,
        client.postgrest,
        client.storage,
        client.functions,
        client.auth,
        client.realtime,
    ):
        assert "abcdef" not in repr(shown)
        assert "abcdef" not in str(shown)
