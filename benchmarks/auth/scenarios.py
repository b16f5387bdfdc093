"""What is asked of auth: whole HTTP requests, and for refreshes a script that goes on with the token of each answer."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.auth.users import CODE, PASSWORD, Person, access_token
from benchmarks.load import IN_TURN

__all__ = ["Scenario", "get_user", "refresh", "sign_in", "sign_up", "verify"]

# REQUESTS holds refresh tokens; an answer's token takes the place of the one that was spent for it.
_REFRESHING = """
local tokens = dofile(os.getenv("REQUESTS"))
local first, last = 1, #tokens
local head = "POST /token?grant_type=refresh_token HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nContent-Type: application/json\\r\\n"
request = function()
  local body = '{"refresh_token":"' .. tokens[first] .. '"}'
  tokens[first] = nil
  first = first + 1
  return head .. "Content-Length: " .. #body .. "\\r\\n\\r\\n" .. body
end
response = function(status, headers, body)
  last = last + 1
  tokens[last] = string.match(body, '"refresh_token":"([a-z0-9]+)"')
end
"""


@dataclass(slots=True, frozen=True)
class Scenario:
    """``requests`` for wrk's ``script``."""

    name: str
    requests: Sequence[bytes]
    script: str = IN_TURN


def get_user(people: Sequence[Person]) -> Scenario:
    """Each user in turn reads their account."""
    return Scenario("GET /user", [_request("GET", "/user", token=access_token(one)) for one in people])


def refresh(people: Sequence[Person]) -> Scenario:
    """Many families of tokens, each refreshed again and again."""
    return Scenario("token refresh", [one.refresh_token.encode() for one in people], _REFRESHING)


def sign_in(people: Sequence[Person], name: str) -> Scenario:
    """The password grant."""
    path = "/token?grant_type=password"
    bodies = [{"email": one.email, "password": PASSWORD} for one in people]
    return Scenario(name, [_request("POST", path, body) for body in bodies])


def sign_up(count: int, name: str) -> Scenario:
    """New users, confirmed at once."""
    series = time.time_ns()
    bodies = [{"email": f"new-{series}-{one}@example.com", "password": PASSWORD} for one in range(count)]
    return Scenario(name, [_request("POST", "/signup", body) for body in bodies])


def verify(people: Sequence[Person]) -> Scenario:
    """The code of a mail, typed."""
    bodies = [{"type": "email", "email": one.email, "token": CODE} for one in people]
    return Scenario("OTP verify", [_request("POST", "/verify", body) for body in bodies])


def _request(method: str, path: str, body: object = None, token: str | None = None) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if token is not None:
        head += f"Authorization: Bearer {token}\r\n"
    if body is None:
        return f"{head}\r\n".encode()
    content = json.dumps(body)
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n{content}".encode()
