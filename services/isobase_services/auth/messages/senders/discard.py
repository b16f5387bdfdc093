"""Mail that goes nowhere, for servers without a way out for it that must answer as if there were one."""

from __future__ import annotations

import logging

from isobase_services.auth.messages.model import Mail

__all__ = ["DiscardingSender"]

_log = logging.getLogger("isobase.auth")


class DiscardingSender:
    """Takes every mail and keeps none. Source: supabase/auth internal/mailer/noopclient, used without an SMTP host."""

    async def send(self, mail: Mail) -> None:
        """See ``MailSender``."""
        _log.warning("mail is thrown away: no mail server is configured", extra={"kind": mail.kind.value})

    async def close(self) -> None:
        """See ``MailSender``."""
