"""Ways for mail to leave, against real servers: SMTP with TLS and logins, Amazon SES's API, and what no server takes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage as MimeMessage
from email.parser import BytesParser
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.server import ThreadedMotoServer
from moto.ses.models import ses_backends

from isobase_platform.config import Settings
from isobase_platform.config_auth.smtp import SesSettings, SmtpSettings
from isobase_platform.errors import ConfigurationError
from isobase_services.auth.messages.model import EmailKind, Mail, SendFailed
from isobase_services.auth.messages.senders import sender_of
from isobase_services.auth.messages.senders.discard import DiscardingSender
from isobase_services.auth.messages.senders.mailbox import MailboxSender
from isobase_services.auth.messages.senders.mime import Sender, envelope_of
from isobase_services.auth.messages.senders.ses import SesSender
from isobase_services.auth.messages.senders.smtp import SmtpSender

FROM = Sender("app@example.com", "Åpp", {"X-Kind": "kind $messageType", "Subject": "never"})
MAIL = Mail(EmailKind.SIGNUP, "alice@example.com", "Grüße", "<p>Hello, Ålice</p>", "Hello, Ålice")
PASSWORD = "s3cret"


class Server:
    """A mail server that keeps what it takes, and may refuse."""

    def __init__(self) -> None:
        self.port = 0
        self.taken: list[tuple[str, list[str], bytes, bool]] = []
        self.refuse_data = ""
        self.refuse_recipient = ""
        self.answers = asyncio.Event()
        self.answers.set()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.refuse_recipient:
            return self.refuse_recipient
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        await self.answers.wait()
        if self.refuse_data:
            return self.refuse_data
        content = envelope.original_content
        assert content is not None
        is_secret = server.transport is not None and server.transport.get_extra_info("sslcontext") is not None
        self.taken.append(
            (str(envelope.mail_from), [str(one) for one in envelope.rcpt_tos], content, is_secret),
        )
        return "250 OK"

    @asynccontextmanager
    async def running(self, *, tls: ssl.SSLContext | None = None, starttls: bool = False) -> AsyncIterator[Server]:
        def protocol() -> SMTP:
            return SMTP(
                self,
                hostname="mail.example.com",
                tls_context=tls if starttls else None,
                require_starttls=starttls,
                auth_require_tls=starttls,
                authenticator=self._check,
            )

        loop = asyncio.get_running_loop()
        server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=None if starttls else tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    @staticmethod
    def _check(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
        assert isinstance(data, LoginPassword)
        return AuthResult(success=(data.login, data.password) == (b"app", PASSWORD.encode()), handled=False)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


def smtp(server: Server, **changes: object) -> SmtpSender:
    settings = SmtpSettings.model_validate({"host": "localhost", "port": server.port, "timeout_s": 60.0, **changes})
    return SmtpSender(settings, FROM, local_name="127.0.0.1")


def read(content: bytes) -> MimeMessage:
    return BytesParser(policy=policy.default).parsebytes(content)


async def test_mail_leaves_by_smtp_with_both_parts_and_the_projects_headers() -> None:
    async with Server().running() as server:
        await smtp(server).send(MAIL)
    ((sender, recipients, content, is_secret),) = server.taken
    assert (sender, recipients, is_secret) == ("app@example.com", ["alice@example.com"], False)
    message = read(content)
    assert (message["From"], message["To"]) == ("Åpp <app@example.com>", "alice@example.com")
    assert (message["Subject"], message["X-Kind"]) == ("Grüße", "kind confirmation")
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@example.com>")
    html, plain = message.get_body(("html",)), message.get_body(("plain",))
    assert html is not None
    assert plain is not None
    assert html.get_content().strip() == "<p>Hello, Ålice</p>"
    assert plain.get_content().strip() == "Hello, Ålice"


@pytest.mark.parametrize("starttls", [True, False], ids=["starttls", "tls"])
async def test_mail_leaves_under_tls_after_a_login(
    tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch, starttls: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with Server().running(tls=tls, starttls=starttls) as server:
        security = "auto" if starttls else "tls"
        await smtp(server, security=security, user="app", password=PASSWORD).send(MAIL)
        with pytest.raises(SendFailed, match="refused the login") as caught:
            await smtp(server, security=security, user="app", password="wrong").send(MAIL)
    assert caught.value.is_permanent
    assert [taken[3] for taken in server.taken] == [True]


@pytest.mark.parametrize("starttls", [True, False], ids=["starttls", "tls"])
async def test_a_certificate_that_nobody_vouches_for_is_refused(tls: ssl.SSLContext, starttls: bool) -> None:
    async with Server().running(tls=tls, starttls=starttls) as server:
        with pytest.raises(SendFailed, match="certificate") as caught:
            await smtp(server, security="auto" if starttls else "tls").send(MAIL)
    assert caught.value.is_permanent
    assert server.taken == []


async def test_a_login_is_never_sent_in_clear_to_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isobase_services.auth.messages.senders.smtp._is_this_machine", lambda host: False)
    async with Server().running() as server:
        with pytest.raises(SendFailed, match="no TLS"):
            await smtp(server, user="app", password=PASSWORD).send(MAIL)


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_server_without_the_tls_that_is_asked_for_gets_nothing(security: str) -> None:
    async with Server().running() as server:
        with pytest.raises(SendFailed):
            await smtp(server, security=security).send(MAIL)
    assert server.taken == []


@pytest.mark.parametrize(
    "where, answer, is_permanent",
    [
        ("refuse_data", "550 5.7.1 no", True),
        ("refuse_data", "451 4.3.0 later", False),
        ("refuse_recipient", "550 5.1.1 unknown", True),
        ("refuse_recipient", "450 4.2.0 later", False),
    ],
)
async def test_what_the_server_refuses_is_final_or_worth_another_try(
    where: str, answer: str, is_permanent: bool
) -> None:
    async with Server().running() as server:
        setattr(server, where, answer)
        with pytest.raises(SendFailed, match=answer[:3]) as caught:
            await smtp(server).send(MAIL)
    assert caught.value.is_permanent is is_permanent
    assert "alice" not in str(caught.value)


async def test_a_server_that_hangs_or_is_away_fails_in_time() -> None:
    async with Server().running() as server:
        server.answers.clear()
        with pytest.raises(SendFailed, match="out of reach") as caught:
            await smtp(server, timeout_s=0.2).send(MAIL)
        server.answers.set()
        assert not caught.value.is_permanent
    with pytest.raises(SendFailed, match=f"localhost:{server.port} is out of reach: .*refused"):
        await smtp(server).send(MAIL)


def test_no_address_smuggles_a_header_in() -> None:
    for address in ("a@b\r\nBcc: c@d", "a\r\nb@c", "nobody", "@example.com"):
        with pytest.raises(SendFailed):
            envelope_of(Mail(EmailKind.SIGNUP, address, "x", "x", "x"), FROM)
    odd = envelope_of(
        Mail(EmailKind.SIGNUP, "a..b@example.com", "x", "x", "x"), Sender("app@example.com", "A\r\nBcc: x")
    )
    assert b"\nBcc" not in odd.content


@pytest.fixture(scope="module")
def ses_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_PROFILE", raising=False)


async def test_mail_leaves_by_ses(ses_url: str, aws: None) -> None:
    import boto3

    admin = boto3.client("sesv2", region_name="eu-central-1", endpoint_url=ses_url)
    admin.create_email_identity(EmailIdentity="app@example.com")
    sender = SesSender(SesSettings(enabled=True, region="eu-central-1", endpoint_url=ses_url), FROM)
    await sender.send(MAIL)
    await sender.close()
    admin.close()
    (sent,) = ses_backends[DEFAULT_ACCOUNT_ID]["eu-central-1"].sent_messages
    assert set(sent.destinations) == {"alice@example.com"}
    assert read(sent.raw_data.encode())["Subject"] == "Grüße"


async def test_what_ses_refuses_is_final_and_an_outage_is_not(ses_url: str, aws: None) -> None:
    settings = SesSettings(enabled=True, region="eu-west-1", endpoint_url=ses_url)
    sender = SesSender(settings, Sender("unverified@example.com"))
    with pytest.raises(SendFailed, match="SES answered") as caught:
        await sender.send(MAIL)
    assert caught.value.is_permanent
    await sender.close()
    away = SesSender(settings.model_copy(update={"endpoint_url": "http://127.0.0.1:9"}), FROM)
    with pytest.raises(SendFailed, match="out of reach") as caught:
        await away.send(MAIL)
    assert not caught.value.is_permanent
    await away.close()


def chosen(**changes: object) -> object:
    return sender_of(Settings.model_validate({"auth": {"email": changes}}))


def test_the_settings_choose_the_way_out() -> None:
    smtp_settings = {"host": "mail.example.com", "admin_email": "app@example.com"}
    assert isinstance(chosen(), MailboxSender)
    assert isinstance(chosen(smtp=smtp_settings), SmtpSender)
    assert isinstance(chosen(smtp={**smtp_settings, "enabled": False}), MailboxSender)
    assert isinstance(chosen(smtp={"admin_email": "app@example.com"}, ses={"enabled": True}), SesSender)
    assert sender_of(Settings.model_validate({"env": "production"})) is None
    with pytest.raises(ConfigurationError, match="admin_email"):
        chosen(smtp={"host": "mail.example.com"})


async def test_mail_is_thrown_away_only_where_that_is_asked_for_and_no_server_is_configured(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sender = chosen(discard_without_server=True)
    assert isinstance(sender, DiscardingSender)
    await sender.send(MAIL)
    assert caplog.messages == ["mail is thrown away: no mail server is configured"]
    assert MAIL.to not in caplog.text
    with_server = chosen(discard_without_server=True, smtp={"host": "localhost", "admin_email": "auth@example.com"})
    assert isinstance(with_server, SmtpSender)
