"""Mail through an SMTP server: STARTTLS, TLS from the first byte, a login. One connection for each mail, on aiosmtplib."""

from __future__ import annotations

import ipaddress
import os
import ssl
from typing import TYPE_CHECKING

from isobase_services.auth.messages.model import Mail, SendFailed
from isobase_services.auth.messages.senders.mime import Envelope, Sender, envelope_of

if TYPE_CHECKING:
    from aiosmtplib import SMTP

    from isobase_platform.config_auth.smtp import SmtpSettings

__all__ = ["SmtpSender"]

TLS_PORT = 465
FIRST_PERMANENT_CODE = 500


class SmtpSender:
    """Hands mail to the server of ``settings``; ``local_name`` is how this machine greets it."""

    def __init__(self, settings: SmtpSettings, sender: Sender, *, local_name: str) -> None:
        self._settings = settings
        self._sender = sender
        self._local_name = _greeting(local_name)
        self._tls: ssl.SSLContext | None = None

    async def send(self, mail: Mail) -> None:
        """See ``MailSender``. Each step is bounded by ``timeout_s``."""
        import aiosmtplib

        envelope = envelope_of(mail, self._sender)
        try:
            await self._hand_over(envelope)
        except aiosmtplib.SMTPAuthenticationError as error:
            raise SendFailed(f"the SMTP server refused the login ({error.code})", is_permanent=True) from error
        except aiosmtplib.SMTPRecipientsRefused as error:
            worst = max(refused.code for refused in error.recipients)
            raise SendFailed(
                f"the SMTP server refused the recipient ({worst})", is_permanent=_is_final(worst)
            ) from error
        except aiosmtplib.SMTPResponseException as error:
            raise SendFailed(f"the SMTP server answered {error.code}", is_permanent=_is_final(error.code)) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            # Told by the connection's failure where TLS comes first, bare after STARTTLS.
            cause = error if isinstance(error, ssl.SSLCertVerificationError) else error.__cause__
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise SendFailed(f"the SMTP server's certificate: {cause.verify_message}", is_permanent=True) from error
            place = f"{self._settings.host}:{self._settings.port}"
            raise SendFailed(f"the SMTP server {place} is out of reach: {_reason(error)}") from error

    async def close(self) -> None:
        """Nothing stays open."""

    async def _hand_over(self, envelope: Envelope) -> None:
        from aiosmtplib import SMTP

        settings = self._settings
        uses_tls = settings.security == "tls" or (settings.security == "auto" and settings.port == TLS_PORT)
        client = SMTP(
            hostname=settings.host,
            port=settings.port,
            timeout=settings.timeout_s,
            local_hostname=self._local_name,
            use_tls=uses_tls,
            start_tls=False,
            tls_context=self._context() if uses_tls else None,
        )
        async with client:
            is_secret = uses_tls or await self._starts_tls(client)
            if settings.user:
                if not is_secret and not _is_this_machine(settings.host):
                    raise SendFailed("the SMTP server offers no TLS to log in under", is_permanent=True)
                await client.login(settings.user, settings.password.get_secret_value())
            await client.sendmail(envelope.sender, [envelope.recipient], envelope.content)

    async def _starts_tls(self, client: SMTP) -> bool:
        """Whether the connection is encrypted from now on."""
        if self._settings.security == "none":
            return False
        await client.ehlo()
        if self._settings.security == "auto" and not client.supports_extension("starttls"):
            return False
        await client.starttls(tls_context=self._context())
        return True

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


def _reason(error: BaseException) -> str:
    """What the system said, such as "Name or service not known", behind the library's own words."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    words = ""
    if isinstance(cause, OSError):
        # asyncio words a refused connection by its addresses; the resolver's codes are negative.
        number = cause.errno or 0
        words = os.strerror(number) if number > 0 else cause.strerror or ""
    return words or str(error) or type(error).__name__


def _is_final(code: int) -> bool:
    return code >= FIRST_PERMANENT_CODE


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _greeting(name: str) -> str:
    """RFC 5321 4.1.3: an address stands in brackets."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name or "localhost"
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"
