"""Both sides' storage over the running pair, with and without their databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import asyncpg
import httpx
import pytest

from isobase_adapter.sides import Side
from isobase_adapter.storage.carrier import ObjectCarrier
from isobase_adapter.storage.store import Store
from tests.adapter.pair import Pair, SideStack

BUCKET = "papers"


@dataclass(slots=True, frozen=True)
class Both:
    """Both sides' storage, and what carries between them."""

    pair: Pair
    supabase: Store
    isobase: Store
    carrier: ObjectCarrier

    def side(self, side: Side) -> SideStack:
        """A side's stack."""
        return self.pair.supabase if side is Side.SUPABASE else self.pair.isobase

    async def put(self, side: Side, key: str, content: bytes, bucket: str = BUCKET, **headers: str) -> None:
        """Upload as the service."""
        stack = self.side(side)
        given = {"apikey": stack.service_role_key, "authorization": f"Bearer {stack.service_role_key}"}
        given |= {"x-upsert": "true", "content-type": "text/plain"} | headers
        url = f"{stack.url}/storage/v1/object/{bucket}/{key}"
        async with httpx.AsyncClient() as http:
            (await http.put(url, content=content, headers=given)).raise_for_status()

    async def read(self, side: Side, key: str, bucket: str = BUCKET) -> bytes | None:
        """The object's bytes, or None."""
        stack = self.side(side)
        given = {"apikey": stack.service_role_key, "authorization": f"Bearer {stack.service_role_key}"}
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"{stack.url}/storage/v1/object/authenticated/{bucket}/{key}", headers=given)
        return answer.content if answer.status_code == 200 else None

    def rows(self, side: Side, bucket: str = BUCKET) -> list[tuple[object, ...]]:
        """What both sides must tell alike of a bucket's objects."""
        return self.side(side).query(
            "select name, id, owner_id, created_at, updated_at, metadata ->> 'eTag', metadata ->> 'size',"
            " metadata ->> 'mimetype', metadata ->> 'cacheControl', user_metadata from storage.objects"
            " where bucket_id = %s order by name",
            bucket,
        )


@asynccontextmanager
async def both_sides(pair: Pair, *, with_databases: bool = True, reads_back: bool = False) -> AsyncIterator[Both]:
    """Storage of both sides of ``pair``."""
    async with AsyncExitStack() as open_parts:
        http = await open_parts.enter_async_context(httpx.AsyncClient(timeout=30))
        stores = list[Store]()
        for side, stack in ((Side.SUPABASE, pair.supabase), (Side.ISOBASE, pair.isobase)):
            pool = None
            if with_databases:
                pool = await open_parts.enter_async_context(asyncpg.create_pool(stack.db_url, min_size=0, max_size=8))
            stores.append(Store(side, http, stack.url, stack.service_role_key, pool))
        supabase, isobase = stores
        yield Both(pair, supabase, isobase, ObjectCarrier(supabase, isobase, reads_back=reads_back))


@pytest.fixture
async def both(clean_pair: Pair) -> AsyncIterator[Both]:
    """Storage of both sides, with their databases."""
    async with both_sides(clean_pair, reads_back=True) as found:
        yield found


@pytest.fixture
async def both_by_api(clean_pair: Pair) -> AsyncIterator[Both]:
    """Storage of both sides through their APIs alone."""
    async with both_sides(clean_pair, with_databases=False) as found:
        yield found
