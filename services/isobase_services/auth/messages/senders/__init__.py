"""Ways for rendered mail to leave: the local mailbox, SMTP, Amazon SES. ``sender_of`` picks the one that is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from isobase_platform.errors import ConfigurationError
from isobase_services.auth.messages.senders.discard import DiscardingSender
from isobase_services.auth.messages.senders.mailbox import MailboxSender

if TYPE_CHECKING:
    from isobase_platform.config import Settings
    from isobase_services.auth.messages.model import MailSender

__all__ = ["sender_of"]


def sender_of(settings: Settings) -> MailSender | None:
    """SMTP where a host is given, else SES where it is enabled, else the local mailbox in local mode, else None.

    Raises ``ConfigurationError`` where mail would have no sender's address.
    """
    email = settings.auth.email
    if not email.smtp.is_configured and not email.ses.enabled:
        if email.discard_without_server:
            return DiscardingSender()
        if settings.is_production:
            return None
        box = settings.mailbox
        return MailboxSender(settings.mailbox_url, sender=box.admin_email, sender_name=box.sender_name)
    if "@" not in email.smtp.admin_email:
        raise ConfigurationError(
            "mail needs a sender: auth.email.smtp.admin_email is not an e-mail address",
            hint="set admin_email below [auth.email.smtp], or ISOBASE_AUTH__EMAIL__SMTP__ADMIN_EMAIL",
        )
    # Not loaded where the local mailbox does: a start should be quick.
    from isobase_services.auth.messages.senders.mime import Sender
    from isobase_services.auth.messages.senders.ses import SesSender
    from isobase_services.auth.messages.senders.smtp import SmtpSender

    sender = Sender(email.smtp.admin_email, email.smtp.sender_name, email.smtp.headers)
    if email.smtp.is_configured:
        return SmtpSender(email.smtp, sender, local_name=urlsplit(settings.auth_url).hostname or "")
    return SesSender(email.ses, sender)
