"""What tests of codes and links share."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from isobase_platform.config_auth.email import EmailSettings
from isobase_platform.config_auth.sms import SmsSettings
from tests.auth.conftest import AuthServer, StartAuth

ALICE = "alice@example.com"
BOB = "bob@example.com"
VERIFIER = "v" * 64
CHALLENGE: dict[str, Any] = {"code_challenge": VERIFIER, "code_challenge_method": "plain"}


def confirming(
    start_auth: StartAuth, email: EmailSettings | None = None, **changes: object
) -> AbstractAsyncContextManager[AuthServer]:
    """Auth that asks for addresses to be confirmed, and lets mails follow each other at once unless ``email`` says more."""
    settings = {
        "email_enable_confirmations": True,
        "phone_enable_confirmations": True,
        "email": email or EmailSettings(max_frequency_s=0),
        "sms": SmsSettings(max_frequency_s=0),
        **changes,
    }
    return start_auth(**settings)


async def verify(auth: AuthServer, verify_type: str, token: str, email: str = ALICE) -> httpx.Response:
    """Type a code."""
    return await auth.client.post("/verify", json={"type": verify_type, "email": email, "token": token})


async def verify_hash(auth: AuthServer, verify_type: str, token_hash: str) -> httpx.Response:
    """Post a link's hash, as an app does."""
    return await auth.client.post("/verify", json={"type": verify_type, "token_hash": token_hash})


async def follow(auth: AuthServer, link: str) -> httpx.Response:
    """Follow a link of a mail, without the redirect that it answers with."""
    parts = urlsplit(link)
    assert parts.path.endswith("/verify")
    return await auth.client.get(f"/verify?{parts.query}")


def query_of(url: str) -> dict[str, str]:
    """The query of a URL."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}


def fragment_of(answer: httpx.Response) -> dict[str, str]:
    """What the redirect's fragment says."""
    assert answer.status_code == 303, answer.text
    fragment = urlsplit(answer.headers["location"]).fragment
    return {name: values[0] for name, values in parse_qs(fragment, keep_blank_values=True).items()}


async def make_older(auth: AuthServer, column: str, by_s: float) -> None:
    """Let a ``*_sent_at`` of every user lie further back."""
    await auth.database.execute(f"update auth.users set {column} = {column} - $1::interval", timedelta(seconds=by_s))
