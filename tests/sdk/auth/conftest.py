"""One auth server for the tests of the auth client: the real service on a real database and a real socket.

It runs in a thread of its own, so that sync clients can block. Tests share it and its users: each makes its own, with a new
address. The fixtures that make clients stand in ``_async/conftest.py``.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.responses import HTMLResponse

from isobase_deploy.mailbox.message import StoredMessage, visible_text
from isobase_platform.config import Settings
from isobase_platform.config_auth.email import EmailSettings
from isobase_platform.config_auth.external import ExternalProvider
from isobase_platform.config_auth.mfa import MfaPhoneSettings, MfaSettings, MfaWebAuthnSettings
from isobase_platform.config_auth.oauth_server import OAuthServerSettings
from isobase_platform.config_auth.passkey import PasskeySettings, WebAuthnSettings
from isobase_platform.config_auth.sms import SmsSettings
from isobase_platform.keys import generate_jwk
from tests.auth.conftest import running_auth, with_auth, with_mailbox
from tests.auth.receivers import HOOK_SECRET, Receiver, receiving
from tests.auth.test_hooks import hook_settings
from tests.plugins.issuer import LoopbackIssuer, running_issuer
from tests.plugins.listening import listening
from tests.plugins.mailbox import MailboxServer
from tests.plugins.stack import TEMPLATE, DatabaseServer, settings_for
from tests.sdk.auth.network import Network, broken_network
from tests.sdk.realtime.cutter import background_loop
from tests.sdk.upstream.gotrue import MAIL_TEMPLATE, running_gotrue
from tests.sdk.upstream.servers import gotrue_named

RP_ID, ORIGIN = "localhost", "http://localhost:5173"
START_TIMEOUT_S = 60.0
ARRIVAL_TIMEOUT_S = 60.0
ALL_ON: dict[str, Any] = {
    "enable_anonymous_sign_ins": True,
    "enable_manual_linking": True,
    "phone_enable_signup": True,
    "email": EmailSettings(max_frequency_s=0),
    "sms": SmsSettings(max_frequency_s=0),
    "mfa": MfaSettings(
        phone=MfaPhoneSettings(enroll_enabled=True, verify_enabled=True, max_frequency_s=0),
        web_authn=MfaWebAuthnSettings(enroll_enabled=True, verify_enabled=True),
    ),
    "passkey": PasskeySettings(enabled=True),
    "webauthn": WebAuthnSettings(rp_id=RP_ID, rp_display_name="Tests", rp_origins=(ORIGIN,)),
    "oauth_server": OAuthServerSettings(enabled=True, allow_dynamic_registration=True),
}


@dataclass(slots=True, frozen=True)
class AuthService:
    """Where auth listens, with its keys; ``texts`` holds the text messages it has sent."""

    url: str
    settings: Settings
    texts: Receiver
    mailbox: MailboxServer
    issuer: LoopbackIssuer
    """Its ID tokens are taken as those of the provider ``acme``."""

    @property
    def anon_headers(self) -> dict[str, str]:
        """What an app's client sends."""
        key = self.settings.anon_token
        return {"apikey": key, "Authorization": f"Bearer {key}"}

    @property
    def admin_headers(self) -> dict[str, str]:
        """What an admin's client sends."""
        key = self.settings.service_role_token
        return {"apikey": key, "Authorization": f"Bearer {key}"}

    def mail_for(self, address: str, *, count: int = 1) -> StoredMessage:
        """Give the newest mail for an address, once there are ``count``; it blocks, but the servers run elsewhere."""
        deadline_s = time.monotonic() + ARRIVAL_TIMEOUT_S
        while len(found := self.mailbox.to(address)) < count:
            assert time.monotonic() < deadline_s, f"{len(found)} of {count} mails for {address} arrived"
            time.sleep(0.01)
        return replace(found[0], text=found[0].text or visible_text(found[0].html))


@pytest.fixture(scope="session")
def auth_service(
    postgres: DatabaseServer, mailbox_server: MailboxServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AuthService]:
    """Auth with everything switched on, and e-mail addresses that need no confirmation.

    It is the real GoTrue where ``make test-sdk-upstream`` names one.
    """
    if (binary := gotrue_named()) is not None:
        yield from _gotrue(binary, postgres, mailbox_server, tmp_path_factory.mktemp("gotrue"))
        return
    postgres.execute(f"create database sdk_auth template {TEMPLATE} owner postgres")
    base = with_mailbox(settings_for(postgres.dsn("sdk_auth"), tmp_path_factory.mktemp("sdk_auth")), mailbox_server)
    loop = asyncio.new_event_loop()
    ending = asyncio.Event()
    started = threading.Event()
    found: list[AuthService] = []

    async def serve() -> None:
        async with receiving() as texts, running_issuer() as issuer:
            acme = ExternalProvider(enabled=True, client_id="app", secret=SecretStr("s"), url=issuer.url)
            settings = with_auth(
                base, **ALL_ON, hook=hook_settings("send_sms", texts.url), external={"acme": acme}
            ).model_copy(update={"jwt_keys": SecretStr(json.dumps([generate_jwk("ES256")]))})
            async with running_auth(settings) as auth, listening(auth.app) as url:
                found.append(AuthService(f"{url}/auth/v1", settings, texts, mailbox_server, issuer))
                started.set()
                await ending.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="auth service")
    thread.start()
    try:
        assert started.wait(START_TIMEOUT_S)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join()
        loop.close()


def _gotrue(binary: str, postgres: DatabaseServer, mailbox: MailboxServer, folder: Path) -> Iterator[AuthService]:
    assert mailbox.smtp_port is not None
    with background_loop() as loop:
        stack = AsyncExitStack()
        texts = loop.run(stack.enter_async_context(receiving()))
        templates = loop.run(stack.enter_async_context(receiving(lambda _: HTMLResponse(MAIL_TEMPLATE))))
        issuer = loop.run(stack.enter_async_context(running_issuer()))
        settings = settings_for(postgres.dsn("postgres"), folder)
        environment = {
            "GOTRUE_HOOK_SEND_SMS_ENABLED": "true",
            "GOTRUE_HOOK_SEND_SMS_SECRETS": HOOK_SECRET,
            "GOTRUE_HOOK_SEND_SMS_URI": texts.url,
            "GOTRUE_JWT_SECRET": settings.jwt_secret.get_secret_value(),
            "GOTRUE_SMTP_PORT": str(mailbox.smtp_port),
            "GOTRUE_URI_ALLOW_LIST": "http://127.0.0.1:3000/**",
            "GOTRUE_WEBAUTHN_RP_ID": RP_ID,
            "GOTRUE_WEBAUTHN_RP_ORIGINS": ORIGIN,
        }
        try:
            with running_gotrue(binary, postgres, folder, environment, templates.url) as url:
                yield AuthService(f"{url}/auth/v1", settings, texts, mailbox, issuer)
        finally:
            loop.run(stack.aclose())


@pytest.fixture
def network(auth_service: AuthService) -> Iterator[Network]:
    """The way to that server, which a test breaks."""
    with broken_network(auth_service.url) as running:
        yield running
