"""Two running sides with users, and the carrier between them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from isobase_adapter.auth.carrier import UserCarrier
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.sides import Side
from isobase_platform.keys import generate_jwk
from tests.adapter.auth.users import rows_at, same_users
from tests.adapter.pair import PASSWORD, Pair, SideStack, real_supabase, running_pair
from tests.plugins.oidc_provider import OidcProvider, running_provider
from tests.plugins.process import IsobaseProcess


@dataclass(slots=True, frozen=True)
class Both:
    """The pair, and a carrier between its databases."""

    pair: Pair
    carrier: UserCarrier
    databases: Mapping[Side, SideDatabase]

    def at(self, side: Side) -> SideStack:
        """One of the sides."""
        return self.pair.supabase if side is Side.SUPABASE else self.pair.isobase

    async def call(
        self,
        side: Side,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        is_admin: bool = False,
    ) -> httpx.Response:
        """Ask auth at one side."""
        stack = self.at(side)
        key = stack.service_role_key if is_admin else stack.anon_key
        headers = {"apikey": key, "authorization": f"Bearer {token or key}"}
        async with httpx.AsyncClient(timeout=30) as client:
            return await client.request(method, f"{stack.url}/auth/v1/{path}", headers=headers, json=body)

    async def refresh(self, side: Side, token: str) -> httpx.Response:
        """Exchange a refresh token at one side."""
        return await self.call(side, "POST", "token?grant_type=refresh_token", {"refresh_token": token})

    async def sign_in(self, side: Side, email: str, password: str = PASSWORD) -> httpx.Response:
        """Sign in by password at one side."""
        return await self.call(side, "POST", "token?grant_type=password", {"email": email, "password": password})

    def rows(self, side: Side, table: str) -> list[dict[str, Any]]:
        """A table's rows, without the ids that each side counts on its own."""
        return rows_at(self.at(side), table)

    def assert_same(self, *tables: str) -> None:
        """Assert that both sides have the same rows."""
        same_users(self.pair, *tables)


@asynccontextmanager
async def databases_of(pair: Pair) -> AsyncIterator[dict[Side, SideDatabase]]:
    """Both sides' databases, as an operator has them."""
    databases = {
        Side.SUPABASE: SideDatabase(Side.SUPABASE, pair.supabase.db_url),
        Side.ISOBASE: SideDatabase(Side.ISOBASE, pair.isobase.db_url),
    }
    try:
        yield databases
    finally:
        for database in databases.values():
            await database.close()


@pytest_asyncio.fixture
async def both(clean_pair: Pair) -> AsyncIterator[Both]:
    """Both sides without users."""
    async with databases_of(clean_pair) as databases:
        yield Both(clean_pair, UserCarrier(databases), databases)


PROVIDER = """
[auth.external.google]
enabled = true
client_id = "app"
secret = "s3cret"
url = "{url}"
"""
TRUST = """
[auth.third_party.supabase]
enabled = true
issuer_url = "{url}/auth/v1"
shares_users = true
"""


def _sign_with_a_pair(processes: Mapping[str, IsobaseProcess]) -> None:
    """Supabase signs with ES256, Isobase with the shared secret; Isobase believes Supabase's public keys."""
    supabase, isobase = (processes[str(side)].project_dir / "supabase" for side in Side)
    (supabase / "signing_keys.json").write_text(json.dumps([generate_jwk("ES256")]))
    config = supabase / "config.toml"
    config.write_text(config.read_text().replace("[auth]\n", '[auth]\nsigning_keys_path = "./signing_keys.json"\n', 1))
    with (isobase / "config.toml").open("a") as written:
        written.write(TRUST.format(url=processes[str(Side.SUPABASE)].url))


@pytest.fixture(scope="session")
def provider() -> Iterator[OidcProvider]:
    """An OpenID provider, known to both sides of ``open_pair``."""
    with running_provider() as running:
        yield running


@pytest.fixture(scope="session")
def open_pair(provider: OidcProvider) -> Iterator[Pair]:
    """Two stacks whose users may come from the provider, and that sign with keys of their own."""
    if real_supabase() is not None:
        pytest.skip("a real Supabase has keys and providers of its own")
    with running_pair(more_config=PROVIDER.format(url=provider.url), prepare=_sign_with_a_pair) as both:
        yield both
