"""People of a running Isobase, for the tests of what is Isobase's own."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import httpx
import jwt
import psycopg2
import pytest

from tests.plugins.stack import Stack


@dataclass(slots=True, frozen=True)
class Person:
    """A user and a token of theirs, good for an hour."""

    user_id: str
    token: str


@pytest.fixture
def person(stack: Stack) -> Callable[[], Person]:
    """Makes a user by SQL, which takes no time."""

    def make() -> Person:
        user_id = str(uuid.uuid4())
        with closing(psycopg2.connect(stack.admin_dsn)) as connection, connection.cursor() as cursor:
            cursor.execute("insert into auth.users (id) values (%s)", (user_id,))
            connection.commit()
        claims = {"sub": user_id, "role": "authenticated", "aud": "authenticated", "exp": int(time.time()) + 3600}
        return Person(user_id, jwt.encode(claims, stack.jwt_secret, algorithm="HS256"))

    return make


def fetched(url: str) -> httpx.Response:
    """What anybody gets by a URL."""
    return httpx.get(url)
