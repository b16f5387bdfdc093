"""A mail server for both sides: it takes everything and keeps it under the name of the side that sent it."""

from __future__ import annotations

import email
import email.policy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from isobase_deploy.ports import free_ports

__all__ = ["MailServer", "running_mail_server"]


@dataclass(slots=True)
class MailServer:
    """A port for each side, and (address, text) of what came there."""

    ports: dict[str, int]
    kept: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    _taken: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def empty(self) -> None:
        """Forget everything."""
        with self._lock:
            self.kept.clear()
            self._taken.clear()

    def to(self, side: str, address: str) -> list[str]:
        """The texts of the mails that a side sent to an address, oldest first."""
        with self._lock:
            return [text for to, text in self.kept.get(side, []) if to == address]

    def take(self, side: str) -> list[tuple[str, str]]:
        """What a side sent since the last call."""
        with self._lock:
            sent = self.kept.get(side, [])
            start = self._taken.get(side, 0)
            self._taken[side] = len(sent)
            return sent[start:]

    def keep(self, side: str, address: str, text: str) -> None:
        """Keep a mail."""
        with self._lock:
            self.kept.setdefault(side, []).append((address, text))


@dataclass(slots=True)
class _Handler:
    server: MailServer
    side: str

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take a message."""
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=email.policy.default)
        part = message.get_body(("html", "plain"))
        text = part.get_content() if part is not None else ""
        for address in envelope.rcpt_tos:
            self.server.keep(self.side, address, text)
        return "250 OK"


@contextmanager
def running_mail_server(*sides: str) -> Iterator[MailServer]:
    """Listen on a free port for each side."""
    ports = dict(zip(sides, free_ports(len(sides)), strict=True))
    server = MailServer(ports)
    controllers = [Controller(_Handler(server, side), hostname="127.0.0.1", port=port) for side, port in ports.items()]
    try:
        for controller in controllers:
            controller.start()
        yield server
    finally:
        for controller in controllers:
            controller.stop(no_assert=True)
