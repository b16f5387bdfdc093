"""One variable's text -> the value of a setting, as Go's envconfig reads it. A text that does not fit raises ``ValueError``.

The message of the error completes "NAME must be ..." and never repeats the text, which may be a secret.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from isobase_platform.config_postgrest.connection import LIBPQ_ONLY

__all__ = [
    "Converter",
    "at_least",
    "character_sets",
    "code_length",
    "code_life_s",
    "database_url",
    "duration_s",
    "flag",
    "inverted_flag",
    "jwks",
    "mail_headers",
    "number",
    "pairs",
    "password_length",
    "pause_s",
    "per_hour",
    "port",
    "rounded",
    "sms_provider",
    "test_codes",
    "text",
    "texts",
    "texts_between_bars",
    "token_life_s",
    "url",
    "whole_seconds",
]

Converter: TypeAlias = Callable[[str], object]

MAX_PORT = 65_535
SMS_PROVIDERS = ("twilio", "twilio_verify", "messagebird", "textlocal", "vonage")
_TRUE = frozenset({"1", "t", "true"})
_FALSE = frozenset({"0", "f", "false"})
_DURATION = re.compile(r"\+?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|ms|s|m|h)")
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def text(value: str) -> str:
    """The text as it stands."""
    return value


def url(value: str) -> str:
    """An absolute URL, without the slash at its end. Source: Go's url.ParseRequestURI, which upstream checks with."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/]", value) is None:
        raise ValueError("an absolute URL")
    return value.rstrip("/")


def database_url(value: str) -> str:
    """A PostgreSQL URL, without the parameters that only libpq and its like heed."""
    if not value.startswith(("postgres://", "postgresql://")):
        raise ValueError("a URL such as postgres://user:password@host:5432/database")
    try:
        parts = urlsplit(value)
        parameters = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        raise ValueError("a valid URL") from None
    kept = urlencode([(name, held) for name, held in parameters if name not in LIBPQ_ONLY], quote_via=quote)
    return urlunsplit(parts._replace(query=kept))


def flag(value: str) -> bool:
    """True or false. Source: Go's strconv.ParseBool."""
    lowered = value.strip().lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise ValueError("true or false")


def inverted_flag(value: str) -> bool:
    """A switch that is the opposite of our setting."""
    return not flag(value)


def number(value: str) -> int:
    """A whole number that is not negative."""
    if re.fullmatch(r"[0-9]{1,18}", value.strip()) is None:
        raise ValueError("a whole number, not negative")
    return int(value)


def rounded(value: str) -> int:
    """A number that upstream keeps as a fraction and we as a whole one, rounded up."""
    if re.fullmatch(r"[0-9]{1,15}(?:\.[0-9]{1,15})?", value.strip()) is None:
        raise ValueError("a number, not negative")
    return math.ceil(float(value))


def port(value: str) -> int:
    """A TCP port; 0 takes a free one."""
    found = number(value)
    if found > MAX_PORT:
        raise ValueError(f"a port from 0 to {MAX_PORT}")
    return found


def duration_s(value: str) -> float:
    """Seconds of a Go duration such as ``1h30m`` or ``500ms``. Source: Go's time.ParseDuration; none here is negative."""
    rest = value.strip()
    if rest.lstrip("+") == "0":
        return 0.0
    total_s = 0.0
    if not rest:
        raise ValueError("a duration such as 90s or 1h30m")
    while rest:
        match = _DURATION.match(rest)
        if match is None:
            raise ValueError("a duration such as 90s or 1h30m")
        amount, unit = re.fullmatch(r"\+?([0-9.]+)(\D+)", match.group()).groups()  # type: ignore[union-attr]
        total_s += float(amount) * _UNIT_S[unit]
        rest = rest[match.end() :]
    return total_s


def whole_seconds(value: str) -> int:
    """A duration in whole seconds, rounded up: what is on must not become 0, which means off."""
    return math.ceil(duration_s(value))


def at_least(minimum_s: int) -> Converter:
    """Seconds of a duration, or of a bare number; what is shorter counts as ``minimum_s``, as upstream corrects it."""

    def convert(value: str) -> int:
        try:
            found_s = rounded(value)
        except ValueError:
            found_s = whole_seconds(value)
        return max(found_s, minimum_s)

    return convert


def pause_s(value: str) -> float:
    """A pause between two messages; none at all means a minute, as upstream reads it."""
    return duration_s(value) or 60.0


def per_hour(value: str) -> int:
    """Events per hour, from a number or from ``EVENTS/DURATION``. Source: supabase/auth internal/conf/rate.go."""
    events, slash, period = value.partition("/")
    if not slash:
        return rounded(value)
    period_s = duration_s(period)
    if period_s == 0:
        raise ValueError("a number of events per hour, or events/duration such as 10/1h")
    return math.ceil(number(events) * 3600 / period_s)


def code_length(value: str) -> int:
    """Digits of a code; what is not from 6 to 10 counts as 6, as upstream corrects it."""
    digits = number(value)
    return digits if 6 <= digits <= 10 else 6


def token_life_s(value: str) -> int:
    """Whole seconds; 0 counts as an hour, as upstream corrects it."""
    return number(value) or 3600


def code_life_s(default_s: int) -> Converter:
    """Whole seconds that a code is good; 0 counts as ``default_s``, as upstream corrects it."""
    return lambda value: number(value) or default_s


def password_length(value: str) -> int:
    """The least length of a password; fewer than 6 characters count as 6, as upstream corrects it."""
    return max(number(value), 6)


def character_sets(value: str) -> tuple[str, ...]:
    """Sets of characters between colons; ``\\:`` stands for a colon in a set."""
    return tuple(part.replace("\\:", ":") for part in re.split(r"(?<!\\):", value) if part)


def texts(value: str) -> tuple[str, ...]:
    """Texts between commas, without empty ones."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def texts_between_bars(value: str) -> tuple[str, ...]:
    """Texts between ``|``, as hooks keep their secrets."""
    return tuple(part for part in value.split("|") if part)


def pairs(value: str) -> dict[str, str]:
    """``name:value`` pairs between commas, such as test numbers and their codes."""
    found: dict[str, str] = {}
    for part in texts(value):
        name, colon, held = part.partition(":")
        if not colon:
            raise ValueError("pairs such as name:value, between commas")
        found[name.strip()] = held.strip()
    return found


def test_codes(value: str) -> dict[str, str]:
    """Phone numbers, without plus and blanks as they are kept, and their codes."""
    return {phone.removeprefix("+").replace(" ", ""): code for phone, code in pairs(value).items()}


def sms_provider(value: str) -> dict[str, dict[str, bool]]:
    """The provider of text messages that is switched on."""
    if value not in SMS_PROVIDERS:
        raise ValueError(f"one of {', '.join(SMS_PROVIDERS)}")
    return {value: {"enabled": True}}


def mail_headers(value: str) -> dict[str, str]:
    """A JSON object of lists, or of texts; the values of one header are joined by commas."""
    try:
        given = json.loads(value)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise ValueError("a JSON object of headers")
    return {name: ", ".join(map(str, held)) if isinstance(held, list) else str(held) for name, held in given.items()}


def jwks(value: str) -> str:
    """A JSON array of JWKs, kept as text until the key ring reads it."""
    try:
        keys = json.loads(value)
    except ValueError:
        keys = None
    if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) for key in keys):
        raise ValueError("a JSON array of JWKs")
    return value
