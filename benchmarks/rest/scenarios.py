"""What is asked, scenario by scenario: whole HTTP requests, and the SQL that is the least PostgreSQL must do for one."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import jwt

from benchmarks.servers import JWT_SECRET

__all__ = ["SCENARIOS", "Scenario", "service_token", "user_id"]

USERS = 100
NOTES_PER_USER = 1000
REQUESTS = 500
"""Different requests per scenario, sent round robin."""
ME = 7
TOKEN_LIFE_S = 24 * 3600
_JSON = "application/json"


def user_id(number: int) -> str:
    """The id that fixture.sql gives a user."""
    return f"00000000-0000-4000-8000-{number:012d}"


@dataclass(slots=True, frozen=True)
class Scenario:
    """``goal``: how many times PostgREST's requests per second; ``sql`` for pgbench, ``:id`` being one of a user's notes."""

    name: str
    goal: float
    requests: Sequence[bytes]
    sql: str
    role: str = "authenticated"
    writes: bool = False


def service_token() -> str:
    """A token of the role that policies do not apply to."""
    return _issue({"role": "service_role"})


def _issue(claims: dict[str, object]) -> str:
    return jwt.encode({**claims, "exp": int(time.time()) + TOKEN_LIFE_S}, JWT_SECRET, algorithm="HS256")


def _request(method: str, path: str, token: str | None, body: object = None, prefer: str | None = None) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Accept: */*"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    if prefer is not None:
        lines.append(f"Prefer: {prefer}")
    content = b"" if body is None else json.dumps(body).encode()
    if body is not None:
        lines += [f"Content-Type: {_JSON}", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


def _scenarios() -> tuple[Scenario, ...]:
    chance = random.Random(20260101)
    tokens = [
        _issue({"role": "authenticated", "aud": "authenticated", "sub": user_id(number)}) for number in range(USERS)
    ]
    mine = tokens[ME]
    ids = [ME * NOTES_PER_USER + chance.randrange(NOTES_PER_USER) for _ in range(REQUESTS)]
    line = {"owner": user_id(ME), "line": "a line of the log", "level": 3}
    row = "select coalesce(json_agg(r)::text, '[]') from"
    embed = "/orders?select=id,total,order_items(id,product,quantity)&order=id&limit=20"
    return (
        Scenario(
            "row by key",
            3.0,
            [_request("GET", f"/notes?id=eq.{one}&select=id,title,done", mine) for one in ids],
            f"{row} (select id, title, done from notes where id = :id) r",
        ),
        Scenario(
            "list of 100 x 3",
            2.5,
            [_request("GET", "/notes?select=id,title,done&order=id&limit=100", mine)],
            f"{row} (select id, title, done from notes order by id limit 100) r",
        ),
        Scenario(
            "20 orders with items",
            2.0,
            [_request("GET", embed, mine)],
            f"{row} (select o.id, o.total, i.items from orders o left join lateral (select json_agg(x) as items from (select "
            "id, product, quantity from order_items where order_id = o.id) x) i on true order by o.id limit 20) r",
        ),
        Scenario(
            "exact count",
            2.0,
            [_request("GET", "/notes?select=id&done=is.true&limit=1", mine, prefer="count=exact")],
            "select (select count(*) from notes where done), (select id from notes where done limit 1)",
        ),
        Scenario(
            "insert one",
            2.0,
            [_request("POST", "/log_lines", mine, line, prefer="return=minimal")],
            f"insert into log_lines (owner, line, level) values ('{user_id(ME)}', 'a line of the log', 3)",
            writes=True,
        ),
        Scenario(
            "insert 100",
            2.0,
            [_request("POST", "/log_lines", mine, [line] * 100, prefer="return=minimal")],
            f"insert into log_lines (owner, line, level) select '{user_id(ME)}', 'a line of the log', 3"
            " from generate_series(1, 100)",
            writes=True,
        ),
        Scenario(
            "update by key",
            2.0,
            [
                _request("PATCH", f"/notes?id=eq.{one}", mine, {"title": f"changed {one}"}, prefer="return=minimal")
                for one in ids
            ],
            "update notes set title = 'changed' where id = :id",
            writes=True,
        ),
        Scenario(
            "scalar rpc",
            2.0,
            [_request("POST", "/rpc/add_numbers", mine, {"a": one, "b": 2}) for one in ids],
            "select to_json(add_numbers(:id, 2))::text",
        ),
        Scenario(
            "anonymous read",
            2.0,
            [_request("GET", f"/pages?id=eq.{one % 1000}&select=id,title", None) for one in ids],
            f"{row} (select id, title from pages where id = mod(:id, 1000)) r",
            role="anon",
        ),
        Scenario(
            "100 users in turn",
            2.0,
            [
                _request(
                    "GET", f"/notes?id=eq.{user * NOTES_PER_USER + one % NOTES_PER_USER}&select=id,title,done", token
                )
                for one in ids[:5]
                for user, token in enumerate(tokens)
            ],
            f"{row} (select id, title, done from notes where id = :id) r",
        ),
    )


SCENARIOS = _scenarios()
