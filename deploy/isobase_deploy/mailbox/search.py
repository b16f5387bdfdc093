"""The language of searches: ``to:alice subject:"your code" -is:read word``.

Source: Mailpit's search filters (its documentation, usage/search-filters, and internal/storage/search.go).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TypeAlias

from isobase_deploy.mailbox.message import StoredMessage, formatted

__all__ = ["Matcher", "matcher_of"]

Matcher: TypeAlias = Callable[[StoredMessage], bool]

_TERM = re.compile(r'(?:[^\s"]|"[^"]*")+')
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s?(k|kb|m|mb)?")
_UNIT_BYTES = {None: 1, "k": 1024, "kb": 1024, "m": 1024 * 1024, "mb": 1024 * 1024}


def matcher_of(query: str) -> Matcher:
    """What tells whether a message meets every term of ``query``; terms that say nothing are passed over."""
    terms = [term for text in _TERM.findall(query) if (term := _term(text.replace('"', ""))) is not None]
    return lambda message: all(term(message) for term in terms)


def _term(text: str) -> Matcher | None:
    is_excluded = len(text) > 1 and text[0] in "-!"
    matches = _positive(text[1:].lower() if is_excluded else text.lower())
    if matches is None or not is_excluded:
        return matches
    return lambda message: not matches(message)


def _positive(text: str) -> Matcher | None:
    if text in _STATES:
        return _STATES[text]
    name, colon, wanted = text.partition(":")
    wanted = wanted.strip()
    if colon and name in _FIELDS:
        found_in = _FIELDS[name]
        return (lambda message: wanted in found_in(message).lower()) if wanted else None
    if colon and name == "tag":
        return lambda message: wanted in {tag.lower() for tag in message.tags}
    if colon and name in {"larger", "smaller"} and (size := _size_bytes(wanted)):
        return (
            (lambda message: len(message.raw) > size) if name == "larger" else (lambda message: len(message.raw) < size)
        )
    if colon and name in {"after", "before"}:
        return _by_time(name, wanted)
    words = " ".join(text.split())
    return (lambda message: words in message.search_text) if words else None


def _by_time(name: str, wanted: str) -> Matcher | None:
    try:
        moment = datetime.fromisoformat(wanted.upper())
    except ValueError:
        return None
    at = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (
        (lambda message: message.received_at >= at) if name == "after" else (lambda message: message.received_at <= at)
    )


def _size_bytes(text: str) -> int:
    match = _SIZE.fullmatch(text)
    return int(float(match[1]) * _UNIT_BYTES[match[2]]) if match else 0


def _people(message: StoredMessage, names: Iterable[str]) -> str:
    return " ".join(formatted(one) for name in names for one in message.addresses[name])


_FIELDS: dict[str, Callable[[StoredMessage], str]] = {
    "to": lambda message: _people(message, ["To"]),
    "from": lambda message: formatted(message.sender),
    "cc": lambda message: _people(message, ["Cc"]),
    "bcc": lambda message: _people(message, ["Bcc"]),
    "reply-to": lambda message: _people(message, ["ReplyTo"]),
    "addressed": lambda message: f"{formatted(message.sender)} {_people(message, message.addresses)}",
    "subject": lambda message: message.subject,
    "message-id": lambda message: message.message_id,
}
_STATES: dict[str, Matcher] = {
    "is:read": lambda message: message.is_read,
    "is:unread": lambda message: not message.is_read,
    "is:tagged": lambda message: bool(message.tags),
    "has:inline": lambda message: any(part.is_inline for part in message.parts),
    "has:inlines": lambda message: any(part.is_inline for part in message.parts),
    "has:attachment": lambda message: bool(message.attachments),
    "has:attachments": lambda message: bool(message.attachments),
}
