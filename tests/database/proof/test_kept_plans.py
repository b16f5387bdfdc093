"""A plan or a request that is kept for a shape never lends its operands, nor its room, to another request."""

from __future__ import annotations

import os
from urllib.parse import quote

import httpx
import psutil
import pytest

from isobase_platform.config import Settings
from isobase_services.database.rest.prepared import MAX_PLANS
from tests.database.proof.conftest import run_sql, serving

GROWTH_BYTES = 24 * 1024 * 1024
LONG_CHARS = 24_000

FILTERS = (
    ("id=eq.{}", "3", "5"),
    ("id=neq.{}&id=in.(3,5)", "5", "3"),
    ("id=in.({})", "3", "5"),
    ("id=in.({})", "3,3", "5,5"),
    ("name=like.{}", "t3", "t5"),
    ("name=like.{}", "*t3", "*t5"),
    ("name=not.like.{}&id=in.(3,5)", "*t5", "*t3"),
    ("name=match.{}", "^t3$", "^t5$"),
    ("name=fts.{}", "t3", "t5"),
    ("name=fts(simple).{}", "t3", "t5"),
    ("data->>k=eq.{}", "3", "5"),
    ("data->k=eq.{}", "3", "5"),
    ("data=cs.{}", '{"k":3}', '{"k":5}'),
    ("name=eq(any).{}", "{t3}", "{t5}"),
    ("name=isdistinct.{}&id=in.(3,5)", "t5", "t3"),
    ("or=(id.eq.{},id.eq.0)", "3", "5"),
    ("size=gte.3&size=lte.{}&id=eq.{}", "3", "5"),
)


def _ids(answer: httpx.Response) -> list[int]:
    assert answer.status_code in {200, 201}, answer.text
    return [row["id"] for row in answer.json()]


@pytest.mark.parametrize("order", [0, 1], ids=["first", "second"])
def test_a_write_of_a_known_shape_meets_its_own_rows_alone(things: Settings, order: int) -> None:
    with serving(things) as api, api.client() as client:
        client.headers["prefer"] = "return=representation"
        for text, *values in FILTERS:
            # Each body has keys of its own, so that the request is known and the plan is not.
            keys = (("size",), ("name",), ("size", "data"), ("parent_id",), ("size",))
            for number, some in enumerate(keys):
                place = (number + order) % 2
                value, wanted = values[place], (3, 5)[place]
                row = {"size": wanted, "name": f"t{wanted}", "data": {"k": wanted}, "parent_id": 1}
                sent = {key: row[key] for key in some}
                path = "/things?" + text.replace("{}", quote(value, safe="(),"))
                assert _ids(client.patch(path, json=sent)) == [wanted], (path, sent)
                assert _ids(client.get(path)) == [wanted], path
        assert _ids(client.delete("/things?id=eq.3")) == [3]
        assert _ids(client.delete("/things?id=eq.5")) == [5]
    assert run_sql(things, "select count(*) from public.things") == [(18,)]


def test_kept_plans_take_no_more_room_for_long_headers(things: Settings) -> None:
    process = psutil.Process(os.getpid())
    with serving(things) as api, api.client() as client:
        for number in range(50):
            client.get(f"/things?select=a{number}:id&limit=1")
        before = process.memory_info().rss
        for number in range(MAX_PLANS):
            accept = f"application/json, text/x{number}{'x' * LONG_CHARS}"
            assert client.get("/things?select=id&limit=1", headers={"accept": accept}).status_code == 200
        grown = process.memory_info().rss - before
    assert grown < GROWTH_BYTES, f"{grown / 1024 / 1024:.1f} MB more"
