"""What is asked of storage about small objects: whole HTTP requests, the same bytes for every server."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import jwt

from benchmarks.load import IN_TURN
from benchmarks.servers import JWT_SECRET

__all__ = ["OWNER", "SMALL_BYTES", "Scenario", "owner_token", "scenarios", "service_token", "small_keys"]

OWNER = "00000000-0000-4000-8000-000000000007"
SMALL_BYTES = 10 * 1024
SMALL_OBJECTS = 200
TOKEN_LIFE_S = 24 * 3600

# REQUESTS holds what stands before and behind a number that makes each key a new one.
_NEW_KEYS = """
local parts = dofile(os.getenv("REQUESTS"))
local sent = 0
request = function()
  sent = sent + 1
  return parts[1] .. sent .. parts[2]
end
"""


@dataclass(slots=True, frozen=True)
class Scenario:
    """``goal``: how many times upstream's requests per second; ``requests`` for wrk's ``script``."""

    name: str
    goal: float
    requests: Sequence[bytes]
    script: str = IN_TURN


def owner_token() -> str:
    """A token of the user who owns the objects."""
    return _issue({"role": "authenticated", "aud": "authenticated", "sub": OWNER})


def service_token() -> str:
    """A token of the role that policies do not apply to."""
    return _issue({"role": "service_role"})


def small_keys() -> list[str]:
    """The objects of 10 KB that are read."""
    return [f"small/{number}.bin" for number in range(SMALL_OBJECTS)]


def scenarios() -> tuple[Scenario, ...]:
    """Every scenario, with keys that no scenario before has used."""
    user = owner_token()
    run = f"{time.time_ns():x}"
    keys = small_keys()
    flat = {"prefix": "flat", "limit": 1000, "sortBy": {"column": "name", "order": "asc"}}
    tree = {"prefix": "tree/", "limit": 1000, "with_delimiter": True}
    return (
        Scenario("upload 10 KB, a new object", 3.0, _new_objects(run, user), _NEW_KEYS),
        Scenario("upload 10 KB, replacing", 3.0, [_replacement(f"{run}/{n}", user) for n in range(SMALL_OBJECTS)]),
        Scenario(
            "download 10 KB", 3.0, [_request("GET", f"/object/authenticated/private/{key}", user) for key in keys]
        ),
        Scenario("download 10 KB, public", 3.0, [_request("GET", f"/object/public/public/{key}") for key in keys]),
        Scenario("list 1,000 of 100,000", 10.0, [_request("POST", "/object/list/lists", user, flat)]),
        Scenario(
            "list 1,000 from the middle",
            10.0,
            [_request("POST", "/object/list/lists", user, {**flat, "offset": 20_000 + n}) for n in range(50)],
        ),
        Scenario(
            "list 500 folders", 10.0, [_request("POST", "/object/list/lists", user, {"prefix": "tree", "limit": 1000})]
        ),
        Scenario(
            "list 1,000 by time",
            10.0,
            [
                _request(
                    "POST", "/object/list/lists", user, {**flat, "sortBy": {"column": "created_at", "order": "desc"}}
                )
            ],
        ),
        Scenario("list-v2, 500 folders", 10.0, [_request("POST", "/object/list-v2/lists", user, tree)]),
        Scenario("list-v2, 1,000 keys", 10.0, [_request("POST", "/object/list-v2/lists", user, {"prefix": "flat/"})]),
        Scenario(
            "sign one URL",
            3.0,
            [_request("POST", f"/object/sign/private/{key}", user, {"expiresIn": 60}) for key in keys],
        ),
        Scenario(
            "sign 100 URLs",
            3.0,
            [_request("POST", "/object/sign/private", user, {"expiresIn": 60, "paths": keys[:100]})],
        ),
    )


def _issue(claims: dict[str, object]) -> str:
    return jwt.encode({**claims, "exp": int(time.time()) + TOKEN_LIFE_S}, JWT_SECRET, algorithm="HS256")


def _request(method: str, path: str, token: str | None = None, body: object = None) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
    if token is not None:
        head += f"Authorization: Bearer {token}\r\n"
    if body is None:
        return f"{head}\r\n".encode()
    content = json.dumps(body)
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n{content}".encode()


def _upload_head(token: str) -> bytes:
    return (
        f".bin HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {SMALL_BYTES}\r\n"
    ).encode()


def _new_objects(run: str, token: str) -> list[bytes]:
    return [f"POST /object/private/{run}/new-".encode(), _upload_head(token) + b"\r\n" + bytes(SMALL_BYTES)]


def _replacement(key: str, token: str) -> bytes:
    head = f"POST /object/private/{key}".encode() + _upload_head(token)
    return head + b"x-upsert: true\r\n\r\n" + bytes(SMALL_BYTES)
