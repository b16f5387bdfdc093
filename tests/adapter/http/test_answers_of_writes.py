"""Writes while both sides are written: every answer is the one that the side alone would give, byte by byte."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import httpx
import psycopg2
import pytest

from isobase_adapter import create_async_migration_client
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from tests.adapter.client.moving import set_stage, settings_of
from tests.adapter.pair import Pair

OWN = "11111111-1111-4111-8111-111111111111"
PREFERS = [
    "",
    "return=minimal",
    "return=headers-only",
    "return=representation",
    "return=minimal,count=exact",
    "return=representation,count=exact",
    "tx=rollback,return=minimal",
    "return=minimal,missing=default",
    "handling=strict,max-affected=10,return=minimal",
]
CALLS: list[tuple[str, str, Any]] = [
    ("POST", "notes", {"title": "a", "owner_id": OWN}),
    ("POST", "notes?select=title", {"title": "a", "owner_id": OWN}),
    (
        "POST",
        "notes?columns=title,owner_id",
        [{"title": "a", "owner_id": OWN, "x": 1}, {"title": "b", "owner_id": OWN}],
    ),
    ("POST", "kinds?on_conflict=id&select=id,price,ratio", [{"id": 1, "price": 1.10, "ratio": 0.1}]),
    ("PATCH", "notes?title=eq.there", {"stars": 3}),
    ("PATCH", "notes?title=eq.there&select=stars,x:title", {"stars": 3}),
    ("PATCH", "notes?title=eq.nowhere", {"stars": 3}),
    ("DELETE", "notes?title=eq.there&select=title", None),
    ("DELETE", "notes?title=eq.there", None),
    ("PUT", "kinds?id=eq.9", {"id": 9, "price": 2}),
    ("POST", "notes", {"title": None, "owner_id": OWN}),
    ("PATCH", "notes?nowhere=eq.1", {"stars": 3}),
    ("POST", "not_there", {"a": 1}),
]
VARYING = {"date", "x-request-id", "x-isobase-side", "server-timing", "transfer-encoding", "x-correlation-id"}
FIXED = "2026-01-01T00:00:00Z"
RUNS = [
    pytest.param(Side.SUPABASE, "", PREFERS, id="supabase"),
    pytest.param(Side.ISOBASE, "", PREFERS[1:4], id="isobase"),
    pytest.param(Side.SUPABASE, "application/vnd.pgrst.object+json", PREFERS[1:4:2], id="object"),
    pytest.param(Side.SUPABASE, "text/csv", PREFERS[1:4:2], id="csv"),
]


@contextmanager
def laying_out(pair: Pair, owner: str) -> Iterator[Any]:
    """Gives what puts both sides into the state that each call begins with."""
    with ExitStack() as stack:
        cursors = []
        for side in (pair.supabase, pair.isobase):
            connection = stack.enter_context(closing(psycopg2.connect(side.admin_dsn)))
            connection.autocommit = True
            cursors.append(connection.cursor())

        def lay_out() -> None:
            for cursor in cursors:
                cursor.execute("truncate public.notes, public.kinds restart identity")
                cursor.execute(
                    "insert into public.notes (title, owner_id, created_at, updated_at) values ('there', %s, %s, %s)",
                    (owner, FIXED, FIXED),
                )

        yield lay_out


@pytest.fixture
async def client(clean_pair: Pair, first: Side) -> AsyncIterator[Any]:
    set_stage(clean_pair, "table:public.*", Stage.SHADOW_READ if first is Side.SUPABASE else Stage.RAMP_DOWN)
    made = await create_async_migration_client(
        clean_pair.supabase.url, clean_pair.supabase.service_role_key, migration=settings_of(clean_pair)
    )
    yield made
    await made.migration.aclose()


@pytest.mark.parametrize("first, accept, prefers", RUNS)
async def test_every_answer_is_the_one_that_the_side_alone_would_give(
    client: Any, clean_pair: Pair, first: Side, accept: str, prefers: list[str]
) -> None:
    alone = clean_pair.supabase if first is Side.SUPABASE else clean_pair.isobase
    asking = [(client.postgrest.session, clean_pair.supabase), (httpx.AsyncClient(timeout=30), alone)]
    user = clean_pair.sign_up()
    with laying_out(clean_pair, user.id) as lay_out:
        for prefer in prefers:
            for method, path, body in CALLS:
                wishes = [prefer, "resolution=merge-duplicates" if "on_conflict" in path else ""]
                headers = {"prefer": ",".join(filter(None, wishes)), **({"accept": accept} if accept else {})}
                sent: dict[str, Any] = {} if body is None else {"json": body}
                answers = []
                for http, side in asking:
                    lay_out()
                    keys = {"apikey": side.service_role_key, "authorization": f"Bearer {side.service_role_key}"}
                    url = f"{side.url}/rest/v1/{path}"
                    answers.append(shown(await http.request(method, url, headers=headers | keys, **sent)))
                    await client.migration.drain(30)
                assert answers[0] == answers[1], (prefer, method, path)
    await asking[1][0].aclose()


def shown(response: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    """What the app sees, but for what differs from call to call."""
    headers = {name: value for name, value in response.headers.items() if name not in VARYING}
    assert int(headers.pop("content-length", len(response.content))) == len(response.content)
    body = re.sub(rb"20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.?\d*\+00(:00)?", b"now", response.content)
    return response.status_code, headers, body
