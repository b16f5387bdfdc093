"""Messages: our own mail arrives in the mailbox, in the background too; failures are told to who must know."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry, Counter

from isobase_platform.config import Settings
from isobase_services.auth.errors import AuthError
from isobase_services.auth.messages import EmailKind, EmailMessage, Messages, SmsKind, SmsMessage
from isobase_services.auth.messages.delivery import MailDelivery
from isobase_services.auth.messages.model import Mail, SendFailed
from isobase_services.auth.messages.outbox import MAX_WAITING, Outbox
from isobase_services.auth.messages.render import Renderer, one_line
from isobase_services.auth.messages.texts import TextDelivery
from isobase_services.auth.models import JsonObject, User
from tests.plugins.mailbox import MailboxServer, code_in, link_in

LINK = "http://127.0.0.1:54321/auth/v1/verify?token=abc&type=signup&redirect_to=http://127.0.0.1:3000"
SITE = "http://127.0.0.1:3000"


def a_user(email: str = "alice@example.com", **metadata: object) -> User:
    now = datetime.now(UTC)
    data: JsonObject = dict(metadata)
    return User(
        id=uuid4(),
        aud="authenticated",
        role="authenticated",
        email=email,
        phone="15550100",
        app_metadata={},
        user_metadata=data,
        created_at=now,
        updated_at=now,
    )


def a_message(kind: EmailKind = EmailKind.SIGNUP, address: str = "alice@example.com") -> EmailMessage:
    return EmailMessage(
        kind=kind,
        user=a_user(),
        address=address,
        code="123456",
        token_hash="abc",
        link=LINK,
        redirect_to=SITE,
        new_email="bob@example.com",
        old_email="old@example.com",
        provider="github",
        factor_type="totp",
    )


class Refusing:
    """A sender that fails a number of times, then takes mail."""

    def __init__(self, failures: int, *, is_permanent: bool = False) -> None:
        self.failures = failures
        self.is_permanent = is_permanent
        self.sent: list[Mail] = []
        self.tries = 0

    async def send(self, mail: Mail) -> None:
        self.tries += 1
        if self.tries <= self.failures:
            raise SendFailed("the server is busy", is_permanent=self.is_permanent)
        self.sent.append(mail)

    async def close(self) -> None:
        pass


def a_counter() -> Counter:
    return Counter("messages", "", ("channel", "kind", "outcome"), registry=CollectorRegistry())


def messages_over(
    sender: Refusing | None, *, counter: Counter | None = None, notices: frozenset[EmailKind] = frozenset()
) -> Messages:
    outbox = Outbox(counter or a_counter(), retry_delays_s=(0.0, 0.0))
    return Messages(MailDelivery(Renderer(SITE), sender), TextDelivery(None, ""), outbox, notices=notices)


async def test_a_mail_arrives_with_link_and_code_in_both_of_its_parts(
    mailbox: MailboxServer, auth_database: Settings
) -> None:
    delivery = MailDelivery.of(auth_database)
    try:
        await delivery.deliver(a_message())
    finally:
        await delivery.close()
    mail = await mailbox.arrival("alice@example.com")
    assert (code_in(mail), link_in(mail)) == ("123456", LINK)
    assert "123456" in mail.html
    assert LINK.replace("&", "&amp;") in mail.html
    assert mail.sender == {"Name": "Admin", "Address": "admin@email.com"}


@pytest.mark.parametrize("kind", list(EmailKind))
def test_every_kind_of_mail_has_words_of_its_own(kind: EmailKind) -> None:
    mail = Renderer(SITE).render(a_message(kind))
    assert mail.subject
    assert mail.text.strip()
    assert "{{" not in mail.subject + mail.html + mail.text
    assert ("123456" in mail.text) is not kind.is_notice
    assert (LINK in mail.text) is not (kind.is_notice or kind is EmailKind.REAUTHENTICATION)


def test_what_users_write_is_escaped_in_html_and_cannot_start_a_header() -> None:
    user = a_user("<b>alice</b>@example.com")
    mail = Renderer(SITE).render(EmailMessage(EmailKind.PASSWORD_CHANGED, user, "alice@example.com"))
    assert "<b>alice" not in mail.html
    assert "&lt;b&gt;alice" in mail.html
    assert one_line("Hello\r\nBcc: bob@example.com\u2028x") == "Hello Bcc: bob@example.com x"


async def test_a_posted_mail_is_tried_again_until_it_leaves() -> None:
    counter = a_counter()
    sender = Refusing(failures=2)
    messages = messages_over(sender, counter=counter)
    failed = []

    async def on_failure() -> None:
        failed.append(True)

    messages.post(a_message(), on_failure)
    await messages.close(60.0)
    assert [mail.to for mail in sender.sent] == ["alice@example.com"]
    assert failed == []
    assert counter.labels("email", "signup", "retried")._value.get() == 2
    assert counter.labels("email", "signup", "sent")._value.get() == 1


@pytest.mark.parametrize("is_permanent, tries", [(False, 3), (True, 1)])
async def test_a_posted_mail_that_never_leaves_is_told_to_the_flow_and_logged_without_its_code(
    caplog: pytest.LogCaptureFixture, is_permanent: bool, tries: int
) -> None:
    sender = Refusing(failures=9, is_permanent=is_permanent)
    messages = messages_over(sender)
    failed = []

    async def on_failure() -> None:
        failed.append(True)

    with caplog.at_level(logging.DEBUG, "isobase"):
        messages.post(a_message(), on_failure)
        await messages.close(60.0)
    assert (sender.tries, failed) == (tries, [True])
    (record,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert "the server is busy" in str(vars(record))
    assert not {"123456", "abc", "alice@example.com"} & set(map(str, vars(record).values()))


async def test_posting_never_waits_and_drops_what_is_too_much() -> None:
    counter = a_counter()
    gate = asyncio.Event()
    failed = []

    async def wait() -> None:
        await gate.wait()

    async def on_failure() -> None:
        failed.append(True)

    outbox = Outbox(counter)
    for _ in range(MAX_WAITING + 3):
        outbox.post("email", "signup", wait, on_failure)
    gate.set()
    await outbox.close(60.0)
    assert counter.labels("email", "signup", "sent")._value.get() == MAX_WAITING
    assert counter.labels("email", "signup", "dropped")._value.get() == 3
    assert len(failed) == 3


async def test_an_end_does_not_wait_for_a_mail_server_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    outbox = Outbox(a_counter())
    outbox.post("email", "signup", asyncio.Event().wait, None)
    await outbox.close(0.05)
    assert "messages were not sent before the end" in caplog.text


async def test_the_lack_of_a_mail_server_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    messages = messages_over(None)
    for _ in range(3):
        messages.post(a_message())
    await messages.close(60.0)
    with pytest.raises(AuthError):
        await messages.send_email(a_message())
    assert caplog.text.count("a message could not be sent") == 1


async def test_who_is_signed_in_is_told_that_a_mail_did_not_leave() -> None:
    with pytest.raises(AuthError, match="Error sending magic link email") as caught:
        await messages_over(Refusing(failures=1)).send_email(a_message(EmailKind.MAGICLINK))
    assert caught.value.status == 500
    with pytest.raises(AuthError, match="Error sending reauthentication email"):
        await messages_over(None).send_email(a_message(EmailKind.REAUTHENTICATION))


async def test_without_a_provider_a_text_message_is_refused_as_upstream_refuses_it() -> None:
    message = SmsMessage(SmsKind.CONFIRMATION, a_user(), "15550100", "123456")
    with pytest.raises(AuthError, match="Unable to get SMS provider") as caught:
        await messages_over(None).send_sms(message)
    assert (caught.value.status, caught.value.code) == (500, "unexpected_failure")


async def test_notices_are_sent_only_where_the_project_asks_for_them() -> None:
    sender = Refusing(failures=0)
    messages = messages_over(sender, notices=frozenset({EmailKind.EMAIL_CHANGED}))
    messages.notice(EmailKind.PASSWORD_CHANGED, a_user())
    messages.notice(EmailKind.EMAIL_CHANGED, a_user("new@example.com"), old_email="old@example.com")
    messages.notice(EmailKind.EMAIL_CHANGED, a_user("new@example.com"))
    await messages.close(60.0)
    (mail,) = sender.sent
    assert mail.to == "old@example.com"
    assert "old@example.com" in mail.text
    assert "new@example.com" in mail.text
