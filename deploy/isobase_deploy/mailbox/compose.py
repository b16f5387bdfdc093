"""Mail from the body of ``POST /api/v1/send``: what is wrong with it, or the raw message.

Source: Mailpit's API documentation, SendMessage; its messages of what is wrong.
"""

from __future__ import annotations

import base64
import binascii
import re
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, localtime, make_msgid

from pydantic import BaseModel, ConfigDict, Field, ValidationError

__all__ = ["BadMailError", "Composed", "compose"]

_RESTRICTED = frozenset(
    {
        "to",
        "from",
        "cc",
        "bcc",
        "reply-to",
        "date",
        "subject",
        "content-type",
        "mime-version",
        "content-transfer-encoding",
    }
)
_HEADER_NAME = re.compile(r"[!-9;-~]+")
_BREAKS = re.compile(r"[\r\n]+")


class BadMailError(ValueError):
    """The message says what is wrong with the body."""


class _Person(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str = Field(default="", alias="Name")
    email: str = Field(default="", alias="Email")


class _Attachment(BaseModel):
    model_config = ConfigDict(extra="ignore")

    content: str = Field(default="", alias="Content")
    filename: str = Field(default="", alias="Filename")
    content_type: str = Field(default="application/octet-stream", alias="ContentType")
    content_id: str = Field(default="", alias="ContentID")


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore")

    sender: _Person = Field(default=_Person(), alias="From")
    to: tuple[_Person, ...] = Field(default=(), alias="To")
    cc: tuple[_Person, ...] = Field(default=(), alias="Cc")
    bcc: tuple[str, ...] = Field(default=(), alias="Bcc")
    reply_to: tuple[_Person, ...] = Field(default=(), alias="ReplyTo")
    subject: str = Field(default="", alias="Subject")
    text: str = Field(default="", alias="Text")
    html: str = Field(default="", alias="HTML")
    tags: tuple[str, ...] = Field(default=(), alias="Tags")
    headers: dict[str, str] = Field(default_factory=dict, alias="Headers")
    attachments: tuple[_Attachment, ...] = Field(default=(), alias="Attachments")


class Composed:
    """A raw message with its envelope."""

    __slots__ = ("raw", "recipients", "sender")

    def __init__(self, raw: bytes, sender: str, recipients: tuple[str, ...]) -> None:
        self.raw = raw
        self.sender = sender
        self.recipients = recipients


def compose(body: bytes) -> Composed:
    """Make the message that the JSON ``body`` describes. Raises ``BadMailError``."""
    try:
        given = _Body.model_validate_json(body)
    except ValidationError as error:
        problem = error.errors()[0]
        raise BadMailError(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}".lstrip(": ")
        ) from error
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = _addresses("From", (given.sender,))
    for header, people in (("To", given.to), ("Cc", given.cc), ("Reply-To", given.reply_to)):
        if people:
            message[header] = _addresses(header, people)
    message["Subject"] = _BREAKS.sub(" ", given.subject)
    message["Date"] = format_datetime(localtime())
    for name, value in given.headers.items():
        if name.lower() in _RESTRICTED or not _HEADER_NAME.fullmatch(name):
            raise BadMailError(f'cannot overwrite header: "{name}"')
        message[name] = _BREAKS.sub(" ", value)
    if "Message-ID" not in message:
        message["Message-ID"] = make_msgid(domain="mailbox.localhost")
    if given.tags:
        message["X-Tags"] = _BREAKS.sub(" ", ", ".join(given.tags))
    message.set_content(given.text, cte="quoted-printable")
    if given.html:
        message.add_alternative(given.html, subtype="html", cte="quoted-printable")
    for attachment in given.attachments:
        _attach(message, attachment)
    _addresses("Bcc", [_Person(Email=one) for one in given.bcc])
    recipients = (*(one.email for one in (*given.to, *given.cc)), *given.bcc)
    return Composed(message.as_bytes(), given.sender.email, recipients)


def _addresses(header: str, people: tuple[_Person, ...] | list[_Person]) -> tuple[Address, ...]:
    found = []
    for person in people:
        try:
            if not person.email.partition("@")[2]:
                raise ValueError("no domain")
            found.append(Address(display_name=_BREAKS.sub(" ", person.name), addr_spec=person.email))
        except (ValueError, IndexError) as error:
            raise BadMailError(f"invalid {header} address: {person.email}") from error
    return tuple(found)


def _attach(message: EmailMessage, attachment: _Attachment) -> None:
    try:
        # A data: URL is taken too, as browsers make it.
        content = base64.b64decode(attachment.content.rpartition(",")[2], validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadMailError(f'error decoding base64 attachment "{attachment.filename}"') from error
    main_type, _, subtype = _BREAKS.sub("", attachment.content_type).partition("/")
    message.add_attachment(
        content,
        maintype=main_type or "application",
        subtype=subtype or "octet-stream",
        filename=_BREAKS.sub("", attachment.filename) or None,
        disposition="inline" if attachment.content_id else "attachment",
        cid=f"<{_BREAKS.sub('', attachment.content_id)}>" if attachment.content_id else None,
    )
