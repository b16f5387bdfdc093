"""A real OpenID provider in a process of its own (oidc-provider-mock, on Authlib), and a browser's walk through it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from tests.plugins.ports import free_ports

START_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 60.0


@dataclass(slots=True, frozen=True)
class OidcProvider:
    """The provider: any client id and secret will do."""

    url: str

    def put_user(self, subject: str, **claims: Any) -> None:
        """Let it know a user."""
        httpx.put(f"{self.url}/users/{subject}", json=claims, timeout=ANSWER_TIMEOUT_S).raise_for_status()

    def approve(self, authorize_url: str, subject: str) -> str:
        """Sign in as ``subject`` and allow: the URL that the browser is sent back to."""
        answer = httpx.post(authorize_url, data={"sub": subject}, follow_redirects=False, timeout=ANSWER_TIMEOUT_S)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    def deny(self, authorize_url: str) -> str:
        """Refuse: the URL that the browser is sent back to."""
        answer = httpx.post(authorize_url, data={"action": "deny"}, follow_redirects=False, timeout=ANSWER_TIMEOUT_S)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]


@contextlib.contextmanager
def running_provider() -> Iterator[OidcProvider]:
    """Start one on a free port of the loopback address; ended when the block ends."""
    (port,) = free_ports(1)
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{url}/.well-known/openid-configuration", timeout=ANSWER_TIMEOUT_S).is_success:
                    break
            assert process.poll() is None, "the provider ended"
            assert time.monotonic() < deadline_s, "the provider did not start"
            time.sleep(0.05)
        yield OidcProvider(url)
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_S)
