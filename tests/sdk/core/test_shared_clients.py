"""One client in the hands of many threads and of many users' requests: its parts are made once, its keys are read once."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from isobase import Client, create_client
from tests.sdk.core.conftest import Heard, WireServer, answer

THREADS = 16
PARTS = ("auth", "postgrest", "storage", "functions", "realtime", "db", "rooms", "uploads")


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_threads_that_begin_together_get_the_same_parts_and_connections() -> None:
    def parts_of(client: Client, together: threading.Barrier) -> tuple[int, ...]:
        together.wait()
        return (*(id(getattr(client, part)) for part in PARTS), id(client._pool()))

    with ThreadPoolExecutor(THREADS) as threads:
        for _ in range(30):
            with create_client("http://127.0.0.1:1", "key") as client:
                together = threading.Barrier(THREADS)
                seen = [threads.submit(parts_of, client, together) for _ in range(THREADS)]
                assert len({each.result() for each in seen}) == 1


def test_views_verify_tokens_with_keys_that_are_read_once(wire: WireServer) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    public = {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(private.public_key())), "kid": "one", "alg": "ES256"}
    claims = {"sub": "someone", "exp": int(time.time()) + 600, "role": "authenticated", "aud": "authenticated"}
    token = jwt.encode(claims, private, algorithm="ES256", headers={"kid": "one"})

    def reply(_heard: Heard, _number: int) -> bytes:
        return answer(json.dumps({"keys": [public]}).encode(), "200 OK", "Content-Type: application/json")

    wire.answer = reply
    with create_client(wire.url, "key") as client:
        for _ in range(3):
            found = client.as_user(token).auth.get_claims()
            assert found is not None
            assert found["claims"]["sub"] == "someone"
    assert [heard.target for heard in wire.heard] == ["/auth/v1/.well-known/jwks.json"]
