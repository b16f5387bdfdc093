"""Thousands of shapes, and neither PostgreSQL's sessions nor the server's memory grow with their number."""

from __future__ import annotations

import gc
import os

import httpx
import psutil

from isobase_platform.config import Settings
from isobase_platform.wire import MAX_STATEMENTS
from isobase_services.database.rest.prepared import MAX_PLANS
from tests.database.proof.conftest import serving

SHAPES = MAX_PLANS + 200
MORE_SHAPES = 800
GROWTH_BYTES = 6 * 1024 * 1024
"""For more shapes when the caches are full. A plan takes about ten kilobytes: to keep them all would take more."""


def _ask(client: httpx.Client, first: int, last: int) -> None:
    for number in range(first, last):
        answer = client.get(f"/things?select=a{number}:id,name&id=eq.{number % 20 + 1}")
        assert answer.status_code == 200, answer.text
        assert answer.json() == [{f"a{number}": number % 20 + 1, "name": f"t{number % 20 + 1}"}]


def test_statements_and_memory_stay_bounded_under_very_many_shapes(things: Settings) -> None:
    one_connection = things.database.model_copy(update={"pool_max_size": 1})
    process = psutil.Process(os.getpid())
    with serving(things.model_copy(update={"database": one_connection})) as api, api.client() as client:
        _ask(client, 0, SHAPES)
        gc.collect()
        before = process.memory_info().rss
        _ask(client, SHAPES, SHAPES + MORE_SHAPES)
        gc.collect()
        grown = process.memory_info().rss - before
        kept = client.post("/rpc/statements", json={}).json()
    assert 0 < kept <= MAX_STATEMENTS + 8
    assert grown < GROWTH_BYTES, f"{grown / 1024 / 1024:.1f} MB more"


def test_very_long_statements_are_not_kept(things: Settings) -> None:
    one_connection = things.database.model_copy(update={"pool_max_size": 1})
    with serving(things.model_copy(update={"database": one_connection})) as api, api.client() as client:
        # What the door itself prepares for reads and for writes is there after one of each.
        client.post("/rpc/statements", json={})
        client.get("/things?select=id&id=eq.1")
        before = client.post("/rpc/statements", json={}).json()
        for number in range(3):
            filters = "&".join(["id=gte.0"] * (1500 + number))
            answer = client.get(f"/things?select=id&id=eq.1&{filters}")
            assert (answer.status_code, answer.json()) == (200, [{"id": 1}])
        assert client.post("/rpc/statements", json={}).json() == before
