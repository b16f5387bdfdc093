"""Mail that other programs send to the mailbox by SMTP (``[inbucket] smtp_port``), on aiosmtpd."""

from __future__ import annotations

import asyncio

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from isobase_deploy.mailbox.message import parse_message
from isobase_deploy.mailbox.store import MailStore

__all__ = ["smtp_protocol"]

IDLE_TIMEOUT_S = 60.0
MAX_RECIPIENTS = 100


def smtp_protocol(store: MailStore, max_message_bytes: int) -> asyncio.Protocol:
    """One connection's protocol. Any login is taken: programs that are set up with one must not fail here."""
    return SMTP(
        _Handler(store),
        data_size_limit=max_message_bytes,
        enable_SMTPUTF8=True,
        hostname="localhost",  # the default asks the DNS
        ident="Isobase mailbox",
        auth_require_tls=False,
        authenticator=_take_any,
        timeout=IDLE_TIMEOUT_S,
    )


def _take_any(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword | object
) -> AuthResult:
    return AuthResult(success=True)


class _Handler:
    """What aiosmtpd asks of who takes mail; the names are its."""

    def __init__(self, store: MailStore) -> None:
        self._store = store

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return "452 4.5.3 too many recipients"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        raw = envelope.original_content or b""
        recipients = [str(one) for one in envelope.rcpt_tos]
        message = await asyncio.to_thread(
            parse_message, raw, sender=str(envelope.mail_from or ""), recipients=recipients
        )
        self._store.add(message)
        return f"250 2.0.0 Ok: queued as {message.id}"
