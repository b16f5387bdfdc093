"""A statement that takes longer than its role may take ends, with PostgREST's answer, and the server serves on."""

from __future__ import annotations

import time

from isobase_platform.config import Settings
from tests.database.proof.conftest import ALICE, run_sql, serving

LIMIT_S = 0.3


def test_a_slow_query_ends_by_its_roles_statement_timeout(things: Settings) -> None:
    run_sql(
        things,
        f"do $$ begin execute format('alter role authenticated in database %I set statement_timeout = {LIMIT_S * 1000:.0f}',"
        " current_database()); end $$",
    )
    with serving(things) as api, api.client(api.headers("authenticated", ALICE)) as client:
        begun_s = time.monotonic()
        answer = client.post("/rpc/nap", json={"seconds": 60})
        assert time.monotonic() - begun_s < 30
        assert answer.status_code == 500
        assert answer.json() == {
            "code": "57014",
            "details": None,
            "hint": None,
            "message": "canceling statement due to statement timeout",
        }
        assert client.post("/rpc/nap", json={"seconds": 0}).status_code == 204
        # The limit is the role's, not the connection's.
        assert client.post("/rpc/nap", json={"seconds": 2 * LIMIT_S}, headers=api.service).status_code == 204
