"""A mail server for both sides: it takes everything and keeps it under the name of the side that sent it.

Both sides get the same template for every kind of mail, from a URL, so that the whole text can be compared.
"""

from __future__ import annotations

import email
import email.policy
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.plugins.ports import free_ports

__all__ = ["MailServer", "running_mail_server"]


TEMPLATE = """<p>
link=<a href="{{ .ConfirmationURL }}">go</a>
code={{ .Token }} hash={{ .TokenHash }} site={{ .SiteURL }} redirect={{ .RedirectTo }}
email={{ .Email }} new={{ .NewEmail }} to={{ .SendingTo }}
</p>"""
_KINDS = ("CONFIRMATION", "EMAIL_CHANGE", "INVITE", "MAGIC_LINK", "REAUTHENTICATION", "RECOVERY")


@dataclass(slots=True)
class MailServer:
    """A port for each side, and (address, text) of what came there."""

    ports: dict[str, int]
    template_url: str
    kept: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    _taken: dict[str, int] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def variables(self, side: str) -> dict[str, str]:
        """What tells a server to send here, by these templates."""
        templates = {f"GOTRUE_MAILER_TEMPLATES_{kind}": self.template_url for kind in _KINDS}
        return {**templates, "GOTRUE_SMTP_PORT": str(self.ports[side])}

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

    def arriving(self, side: str, quiet_s: float) -> float:
        """How many seconds to wait until nothing came from a side for ``quiet_s``; none after that."""
        return max(0.0, self._last.get(side, 0.0) + quiet_s - time.monotonic())

    def watch(self, side: str) -> None:
        """Begin the time of quiet now: something may be on its way."""
        self._last[side] = time.monotonic()

    def keep(self, side: str, address: str, text: str) -> None:
        """Keep a mail."""
        with self._lock:
            self.kept.setdefault(side, []).append((address, text))
            self._last[side] = time.monotonic()


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


class _Templates(BaseHTTPRequestHandler):
    """Answers every GET with the template."""

    def do_GET(self) -> None:
        """Send it."""
        body = TEMPLATE.encode()
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def running_mail_server(*sides: str) -> Iterator[MailServer]:
    """Listen on a free port for each side."""
    ports = dict(zip(sides, free_ports(len(sides)), strict=True))
    pages = ThreadingHTTPServer(("127.0.0.1", 0), _Templates)
    serving = threading.Thread(target=pages.serve_forever, name="templates")
    serving.start()
    server = MailServer(ports, f"http://127.0.0.1:{pages.server_port}/mail.html")
    controllers = [Controller(_Handler(server, side), hostname="127.0.0.1", port=port) for side, port in ports.items()]
    try:
        for controller in controllers:
            controller.start()
        yield server
    finally:
        for controller in controllers:
            controller.stop(no_assert=True)
        pages.shutdown()
        serving.join()
        pages.server_close()
