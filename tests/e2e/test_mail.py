"""A new project from its first mail to a session: ``isobase start``, a sign-up, Mailpit's API, the link of the mail."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.plugins.stack import Stack, StackProcess

AUTH_ALONE = {f"ISOBASE_{name}__ENABLED": "false" for name in ("REST", "STORAGE", "REALTIME")}
CONFIG = """
project_id = "mail"
[auth]
site_url = "http://127.0.0.1:3000"
[auth.email]
enable_confirmations = true
[auth.email.template.confirmation]
subject = "Welcome, {{ .Data.name }}"
content_path = "./supabase/templates/confirmation.html"
"""
TEMPLATE = '<p>Welcome, {{ .Data.name }}! <a href="{{ .ConfirmationURL }}">Confirm</a> or type {{ .Token }}</p>'
ARRIVAL_TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackProcess]:
    project = tmp_path_factory.mktemp("mail")
    (project / "supabase" / "templates").mkdir(parents=True)
    for parent in (project, project.parent):
        parent.chmod(0o755)
    (project / "supabase" / "config.toml").write_text(CONFIG)
    (project / "supabase" / "templates" / "confirmation.html").write_text(TEMPLATE)
    process = StackProcess(project, environment=AUTH_ALONE)
    yield process
    process.stop()


@pytest.fixture(scope="module")
def running(process: StackProcess) -> Stack:
    return process.start()


def latest(stack: Stack, address: str) -> dict[str, Any]:
    """The newest mail for an address, as a test of a project reads it."""
    deadline_s = time.monotonic() + ARRIVAL_TIMEOUT_S
    while True:
        answer = httpx.get(f"{stack.mailbox_url}/api/v1/message/latest", params={"query": f"to:{address}"})
        if answer.status_code == 200:
            found: dict[str, Any] = answer.json()
            return found
        assert time.monotonic() < deadline_s, "no mail arrived"
        time.sleep(0.05)


def sign_up(stack: Stack, address: str) -> None:
    body = {"email": address, "password": "correct horse battery", "data": {"name": "Ålice"}}
    answer = httpx.post(f"{stack.url}/auth/v1/signup", json=body, headers={"apikey": stack.anon_key})
    assert (answer.status_code, "access_token" in answer.json()) == (200, False)


@pytest.mark.e2e
def test_the_link_of_a_mail_opens_a_session_once(running: Stack) -> None:
    sign_up(running, "alice@example.com")
    mail = latest(running, "alice@example.com")
    assert mail["Subject"] == "Welcome, Ålice"
    link = re.search(r"http\S+/auth/v1/verify\?\S+", mail["Text"])
    assert link is not None
    assert link[0].startswith(f"{running.url}/auth/v1/verify?")
    followed = httpx.get(link[0])
    assert followed.status_code == 303
    tokens = parse_qs(urlsplit(followed.headers["location"]).fragment)
    user = httpx.get(
        f"{running.url}/auth/v1/user", headers={"authorization": f"Bearer {tokens['access_token'][0]}"}
    ).json()
    assert user["email_confirmed_at"]
    assert "otp_expired" in httpx.get(link[0]).headers["location"]


@pytest.mark.e2e
def test_the_code_of_a_mail_opens_a_session(running: Stack) -> None:
    sign_up(running, "bob@example.com")
    code = re.search(r"\b\d{6}\b", latest(running, "bob@example.com")["Text"])
    assert code is not None
    body = {"type": "signup", "email": "bob@example.com", "token": code[0]}
    session = httpx.post(f"{running.url}/auth/v1/verify", json=body, headers={"apikey": running.anon_key})
    assert session.json()["user"]["email"] == "bob@example.com"


@pytest.mark.e2e
def test_a_template_with_a_mistake_is_one_message_at_start(project_dir: Path) -> None:
    (project_dir / "supabase" / "templates").mkdir(parents=True)
    (project_dir / "supabase" / "config.toml").write_text(CONFIG)
    (project_dir / "supabase" / "templates" / "confirmation.html").write_text("<p>\n{{ define }}</p>")
    broken = StackProcess(project_dir, environment=AUTH_ALONE)
    with pytest.raises(RuntimeError) as caught:
        broken.start()
    said = str(caught.value)
    assert "auth.email.template.confirmation.content_path: " in said
    assert "confirmation.html, line 2: define is not supported in templates here" in said
    assert "Traceback" not in said
