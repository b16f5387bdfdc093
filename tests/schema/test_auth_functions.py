"""auth.uid() and its siblings: claims of the caller, absent claims, and the older per-claim settings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.schema.conftest import ALICE, Sessions

CLAIMS = {
    "sub": ALICE,
    "role": "authenticated",
    "email": "alice@example.com",
    "app_metadata": {"teams": ["a"]},
    "aal": "aal1",
}

CASES: list[tuple[str, dict[str, str], str, Any]] = [
    ("all claims: uid", {"request.jwt.claims": json.dumps(CLAIMS)}, "auth.uid()::text", ALICE),
    ("all claims: role", {"request.jwt.claims": json.dumps(CLAIMS)}, "auth.role()", "authenticated"),
    ("all claims: email", {"request.jwt.claims": json.dumps(CLAIMS)}, "auth.email()", "alice@example.com"),
    (
        "all claims: jwt",
        {"request.jwt.claims": json.dumps(CLAIMS)},
        "auth.jwt() -> 'app_metadata' -> 'teams' ->> 0",
        "a",
    ),
    ("no settings: uid", {}, "auth.uid()::text", None),
    ("no settings: role", {}, "auth.role()", None),
    ("no settings: email", {}, "auth.email()", None),
    ("no settings: jwt", {}, "auth.jwt()::text", None),
    ("empty settings: uid", {"request.jwt.claims": "", "request.jwt.claim.sub": ""}, "auth.uid()::text", None),
    ("empty settings: jwt", {"request.jwt.claims": "", "request.jwt.claim": ""}, "auth.jwt()::text", None),
    ("empty claim: uid", {"request.jwt.claims": '{"sub": ""}'}, "auth.uid()::text", None),
    ("claim missing: uid", {"request.jwt.claims": '{"role": "anon"}'}, "auth.uid()::text", None),
    ("older setting: uid", {"request.jwt.claim.sub": ALICE}, "auth.uid()::text", ALICE),
    (
        "older setting first: role",
        {"request.jwt.claim.role": "x", "request.jwt.claims": '{"role": "y"}'},
        "auth.role()",
        "x",
    ),
    (
        "older setting empty: email",
        {"request.jwt.claim.email": "", "request.jwt.claims": '{"email": "e"}'},
        "auth.email()",
        "e",
    ),
    (
        "older setting: jwt",
        {"request.jwt.claim": '{"a": 1}', "request.jwt.claims": '{"a": 2}'},
        "auth.jwt() ->> 'a'",
        "1",
    ),
]


@pytest.mark.parametrize(
    ("settings", "expression", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
async def test_claims_are_read(shared: Sessions, settings: dict[str, str], expression: str, expected: Any) -> None:
    async with shared.login("authenticator") as connection, connection.transaction():
        for name, value in settings.items():
            await connection.execute("select set_config($1, $2, true)", name, value)
        await connection.execute("set local role anon")
        assert await connection.fetchval(f"select {expression}") == expected


async def test_the_planner_inlines_them_into_policies(shared: Sessions) -> None:
    # A function call per row would make every policy slow.
    async with shared.rolled_back("postgres") as postgres:
        await postgres.execute("create table public.t (owner uuid)")
        plan = await postgres.fetch("explain (verbose) select from public.t where owner = auth.uid()")
    text = "\n".join(line for (line,) in plan)
    assert "auth.uid" not in text
    assert "current_setting('request.jwt.claim.sub'" in text
