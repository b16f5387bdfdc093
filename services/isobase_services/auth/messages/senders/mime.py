"""A rendered mail as the bytes that a mail server takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage as MimeMessage
from email.utils import format_datetime, localtime, make_msgid

from isobase_services.auth.messages.model import EmailKind, Mail, SendFailed

__all__ = ["Envelope", "Sender", "envelope_of"]

_LINE_BREAKS = re.compile(r"[\r\n]+")
_OWN_HEADERS = frozenset({"from", "to", "subject", "date", "message-id", "mime-version", "content-type"})


@dataclass(slots=True, frozen=True)
class Sender:
    """Who mail comes from: an address, the name shown beside it, and headers of the project's own."""

    address: str
    name: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class Envelope:
    """A message ready to go."""

    sender: str
    recipient: str
    content: bytes = field(repr=False)


def envelope_of(mail: Mail, sender: Sender) -> Envelope:
    """The bytes of ``mail``, with the plain text first. Raises ``SendFailed`` for an address that no header can hold."""
    message = MimeMessage(policy=policy.SMTP)
    try:
        message["From"] = _address(sender.address, sender.name)
        message["To"] = _address(mail.to)
    except (ValueError, IndexError) as error:
        raise SendFailed("an address cannot be written to", is_permanent=True) from error
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(localtime())
    message["Message-ID"] = make_msgid(domain=sender.address.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note should answer
    for name, value in sender.headers.items():
        if name.lower() not in _OWN_HEADERS:
            del message[name]
            message[name] = _LINE_BREAKS.sub(" ", value.replace("$messageType", _message_type(mail.kind)))
    message.set_content(mail.text, cte="quoted-printable")
    message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    return Envelope(sender.address, mail.to, message.as_bytes())


def _address(address: str, name: str = "") -> Address:
    # In its two parts: addresses that are odd but allowed would not be read as one text.
    user, _, domain = address.rpartition("@")
    if not user or not domain:
        raise ValueError("no address")
    return Address(display_name=_LINE_BREAKS.sub(" ", name), username=user, domain=domain)


def _message_type(kind: EmailKind) -> str:
    """Upstream's word for a kind in headers: its template's name."""
    if kind is EmailKind.REAUTHENTICATION:
        return "reauthenticate"
    return kind.value if kind.is_notice else kind.template
