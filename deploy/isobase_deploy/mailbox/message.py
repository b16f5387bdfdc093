"""One message of the mailbox, parsed once, in the shapes of Mailpit's API v1.

Source: Mailpit's API documentation (Message, MessageSummary, Attachment); names and empty values are its.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage, MIMEPart
from email.parser import BytesParser
from email.utils import getaddresses
from html.parser import HTMLParser

__all__ = ["Json", "Part", "StoredMessage", "parse_message", "time_text"]

Json = dict[str, object]

SNIPPET_CHARS = 200
ID_BYTES = 16
_SPACES = re.compile(r"\s+")
_FOLD = re.compile(r"\r?\n[ \t]*")
_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
_TAG = re.compile(r"<[^>]*>")
_UNSEEN = frozenset({"script", "style", "title", "head"})


@dataclass(slots=True, frozen=True)
class Part:
    """An attachment or an inline file."""

    id: str
    name: str
    content_type: str
    content_id: str
    content: bytes
    is_inline: bool

    @property
    def json(self) -> Json:
        """Mailpit's Attachment."""
        return {
            "PartID": self.id,
            "FileName": self.name,
            "ContentType": self.content_type,
            "ContentID": self.content_id,
            "Size": len(self.content),
            # The shape asks for all three; nothing is protected by them.
            "Checksums": {
                "MD5": hashlib.md5(self.content, usedforsecurity=False).hexdigest(),
                "SHA1": hashlib.sha1(self.content, usedforsecurity=False).hexdigest(),
                "SHA256": hashlib.sha256(self.content).hexdigest(),
            },
        }


@dataclass(slots=True)
class StoredMessage:
    """A message as it was received, and what lists and searches want to know of it. Only ``is_read`` and ``tags`` change."""

    id: str
    raw: bytes
    received_at: datetime
    sender: Json
    addresses: dict[str, list[Json]]
    """By To, Cc, Bcc, ReplyTo."""
    message_id: str
    return_path: str
    subject: str
    date: datetime
    text: str
    html: str
    parts: tuple[Part, ...]
    headers: dict[str, list[str]]
    search_text: str
    tags: tuple[str, ...] = ()
    is_read: bool = False

    @property
    def attachments(self) -> list[Part]:
        """The parts that are no inline files."""
        return [part for part in self.parts if not part.is_inline]

    @property
    def summary(self) -> Json:
        """Mailpit's MessageSummary."""
        return {
            "ID": self.id,
            "MessageID": self.message_id,
            "Read": self.is_read,
            "From": self.sender,
            **self.addresses,
            "Subject": self.subject,
            "Created": time_text(self.received_at),
            "Username": "",
            "Tags": list(self.tags),
            "Size": len(self.raw),
            "Attachments": len(self.attachments),
            "Snippet": self.snippet,
        }

    @property
    def json(self) -> Json:
        """Mailpit's Message."""
        return {
            "ID": self.id,
            "MessageID": self.message_id,
            "From": self.sender,
            **self.addresses,
            "ReturnPath": self.return_path,
            "Subject": self.subject,
            "ListUnsubscribe": self._list_unsubscribe,
            "Date": time_text(self.date),
            "Tags": list(self.tags),
            "Username": "",
            "Text": self.text,
            "HTML": self.html,
            "Size": len(self.raw),
            "Inline": [part.json for part in self.parts if part.is_inline],
            "Attachments": [part.json for part in self.attachments],
        }

    @property
    def snippet(self) -> str:
        """The beginning of what a reader would see."""
        seen = visible_text(self.html) if self.html.strip() else _SPACES.sub(" ", self.text).strip()
        return seen if len(seen) <= SNIPPET_CHARS else seen[:SNIPPET_CHARS] + "..."

    @property
    def _list_unsubscribe(self) -> Json:
        header = " ".join(self.headers.get("List-Unsubscribe", ()))
        return {
            "Header": header,
            "Links": re.findall(r"<([^<>]+)>", header),
            "Errors": "",
            "HeaderPost": " ".join(self.headers.get("List-Unsubscribe-Post", ())),
        }


def time_text(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_message(raw: bytes, *, sender: str = "", recipients: Iterable[str] = ()) -> StoredMessage:
    """Read a message. Never fails: what is no proper mail is shown as far as it goes.

    ``sender`` and ``recipients`` are the envelope's; recipients that no header names are its blind copies.
    """
    received_at = datetime.now(UTC)
    message = BytesParser(policy=policy.default).parsebytes(raw)
    addresses = {name: _addresses(message, header) for name, header in _ADDRESS_HEADERS.items()}
    named = {str(one["Address"]).lower() for found in addresses.values() for one in found}
    addresses["Bcc"] += [{"Name": "", "Address": one} for one in recipients if one.lower() not in named]
    senders = _addresses(message, "From") or [{"Name": "", "Address": sender}]
    text, html, parts = _bodies(message)
    subject = _header(message, "Subject")
    people = " ".join(f"{one['Name']} {one['Address']}" for found in (senders, *addresses.values()) for one in found)
    return StoredMessage(
        id=secrets.token_hex(ID_BYTES),
        raw=raw,
        received_at=received_at,
        sender=senders[0],
        addresses=addresses,
        message_id=_header(message, "Message-ID").strip("<>"),
        return_path=_header(message, "Return-Path").strip("<>") or sender or str(senders[0]["Address"]),
        subject=subject,
        date=_date(message) or received_at,
        text=text,
        html=html,
        parts=parts,
        headers=_headers(message),
        search_text=_SPACES.sub(" ", f"{people} {subject} {visible_text(html)} {text}").lower(),
        tags=tuple(sorted({tag.strip() for tag in _header(message, "X-Tags").split(",") if tag.strip()})),
    )


_ADDRESS_HEADERS = {"To": "To", "Cc": "Cc", "Bcc": "Bcc", "ReplyTo": "Reply-To"}


def _header(message: EmailMessage, name: str) -> str:
    """A header's text; what cannot be read as one is empty."""
    try:
        return _clean(str(message.get(name, ""))).strip()
    except (ValueError, IndexError, LookupError, AttributeError):
        return ""


def _headers(message: EmailMessage) -> dict[str, list[str]]:
    """As they came, not decoded, on one line each."""
    found: dict[str, list[str]] = {}
    for name, value in message.raw_items():
        found.setdefault(_clean(name).title(), []).append(_FOLD.sub(" ", _clean(str(value))).strip())
    return dict(sorted(found.items()))


def _clean(text: str) -> str:
    """Text without the halves of characters that stand for bytes that are none."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _addresses(message: EmailMessage, header: str) -> list[Json]:
    try:
        values = message.get_all(header, [])
        parsed = [one for value in values for one in getattr(value, "addresses", ())]
        if all(isinstance(one, Address) for one in parsed) and (parsed or not values):
            return [{"Name": _clean(one.display_name), "Address": _clean(one.addr_spec)} for one in parsed]
        return [
            {"Name": _clean(name), "Address": _clean(address)}
            for name, address in getaddresses([str(value) for value in values])
            if address
        ]
    except (ValueError, IndexError, LookupError, AttributeError):
        return []


def _date(message: EmailMessage) -> datetime | None:
    try:
        moment: datetime | None = getattr(message["Date"], "datetime", None)
    except (ValueError, IndexError, LookupError, AttributeError):
        return None
    if moment is not None and moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment


def _bodies(message: EmailMessage) -> tuple[str, str, tuple[Part, ...]]:
    """The plain text, the HTML and the files."""
    texts: dict[str, list[str]] = {"text/plain": [], "text/html": []}
    parts: list[Part] = []
    for number, part in enumerate(message.walk(), start=1):
        if part.is_multipart():
            continue
        kind = part.get_content_type() if _TYPE.fullmatch(part.get_content_type()) else "application/octet-stream"
        name = _clean(part.get_filename() or "")
        disposition = part.get_content_disposition()
        if kind in texts and disposition != "attachment" and not name:
            texts[kind].append(_text_of(part))
            continue
        content_id = _clean(str(part.get("Content-ID", ""))).strip("<> ")
        payload = part.get_payload(decode=True)
        parts.append(
            Part(
                id=str(number),
                name=name,
                content_type=kind,
                content_id=content_id,
                content=payload if isinstance(payload, bytes) else b"",
                is_inline=disposition == "inline" or (disposition is None and bool(content_id)),
            )
        )
    return _clean("\n".join(texts["text/plain"])), _clean("\n".join(texts["text/html"])), tuple(parts)


def _text_of(part: MIMEPart | EmailMessage) -> str:
    try:
        return str(part.get_content()).replace("\r\n", "\n")
    except (LookupError, ValueError):  # a charset that nobody knows
        payload = part.get_payload(decode=True)
        return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""


def visible_text(html: str) -> str:
    """What a reader sees of some HTML, on one line."""
    reader = _Text()
    try:
        reader.feed(html)
        reader.close()
    except AssertionError:  # how this parser says that a declaration is broken
        return _SPACES.sub(" ", _TAG.sub(" ", html)).strip()
    return _SPACES.sub(" ", " ".join(reader.found)).strip()


class _Text(HTMLParser):
    """Collects text outside of what is not shown."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unseen += tag in _UNSEEN and tag != "head"

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN and tag != "head" and self._unseen:
            self._unseen -= 1

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.found.append(data)


def formatted(person: Json) -> str:
    """A name and an address, for searches."""
    return f"{person['Name']} <{person['Address']}>"
