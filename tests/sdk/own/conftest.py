"""People of a running Isobase, for the tests of what is Isobase's own."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import jwt
import pytest

from tests.plugins.stack import Stack


@dataclass(slots=True, frozen=True)
class Person:
    """A user and a token of theirs, good for an hour."""

    user_id: str
    token: str


@pytest.fixture
def person(stack: Stack) -> Callable[[], Person]:
    """Makes a user; without a password, whose hashing would take most of a test's time."""

    def make() -> Person:
        answer = httpx.post(
            f"{stack.url}/auth/v1/admin/users",
            headers={"apikey": stack.service_role_key, "Authorization": f"Bearer {stack.service_role_key}"},
            json={"email": f"{uuid.uuid4()}@example.com", "email_confirm": True},
        )
        assert answer.status_code == 200, answer.text
        user_id = answer.json()["id"]
        claims = {"sub": user_id, "role": "authenticated", "aud": "authenticated", "exp": int(time.time()) + 3600}
        return Person(user_id, jwt.encode(claims, stack.jwt_secret, algorithm="HS256"))

    return make


def fetched(url: str) -> httpx.Response:
    """What anybody gets by a URL."""
    return httpx.get(url)
