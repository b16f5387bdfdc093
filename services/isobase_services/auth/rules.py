"""Rules on what callers send: e-mail, phone, password, PKCE pair, ban duration, page. Pure functions.

Each returns the value in the form in which it is kept, or raises the error that upstream answers with.
Source: supabase/auth internal/api (mail.go, phone.go, password.go, pkce.go, pagination.go); contracts auth 2.6, 2.10, 2.14.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from isobase_platform.config import AuthSettings
from isobase_services.auth.errors import AuthError, ErrorCode, WeakPassword, bad_request
from isobase_services.auth.passwords import MAX_PASSWORD_BYTES

__all__ = [
    "check_password_length",
    "check_pkce_pair",
    "check_send_frequency",
    "normal_email",
    "normal_phone",
    "parse_duration",
    "trim_phone",
    "weakness_of",
]

MAX_EMAIL_BYTES = 255
MIN_CODE_CHALLENGE_CHARS = 43
MAX_CODE_CHALLENGE_CHARS = 128

_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_EMAIL = re.compile(rf"[a-zA-Z0-9.!#$%&'*+/=?^_`{{|}}~-]+@{_LABEL}(?:\.{_LABEL})*")
"""The HTML standard's pattern for <input type=email>, which upstream uses too."""
_PHONE = re.compile(r"[1-9][0-9]{1,14}")
_CODE_CHALLENGE = re.compile(r"[a-zA-Z0-9._~-]+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(rf"[+-]?(?:{_DURATION_PART.pattern})+")
_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+")
_UNIT = re.compile(r"[^.0-9]+")
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
MAX_DURATION_S = float(2**63 - 1) / 1e9
"""Go's durations end at about 292 years."""

_LOWER = "abcdefghijklmnopqrstuvwxyz"
_UPPER = _LOWER.upper()
_DIGITS = "0123456789"
_SYMBOLS = "!@#$%^&*()_+-=[]{};'\\:\"|<>?,./`~"
_REQUIRED_SETS: dict[str, tuple[str, ...]] = {
    "": (),
    "letters_digits": (_LOWER + _UPPER, _DIGITS),
    "lower_upper_letters_digits": (_LOWER, _UPPER, _DIGITS),
    "lower_upper_letters_digits_symbols": (_LOWER, _UPPER, _DIGITS, _SYMBOLS),
}


def normal_email(email: str) -> str:
    """``email`` in lower case. Raises 400 validation_failed for one that is empty, too long or no address."""
    if not email:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "An email address is required")
    if len(email.encode()) > MAX_EMAIL_BYTES:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "An email address is too long")
    if not _EMAIL.fullmatch(email):
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Unable to validate email address: invalid format")
    return email.lower()


def trim_phone(phone: str) -> str:
    """``phone`` without the leading plus and spaces, as it is kept."""
    return phone.removeprefix("+").replace(" ", "")


def normal_phone(phone: str) -> str:
    """As ``trim_phone``; raises 400 validation_failed unless it is an E.164 number."""
    trimmed = trim_phone(phone)
    if not _PHONE.fullmatch(trimmed):
        raise bad_request(ErrorCode.VALIDATION_FAILED, "Invalid phone number format (E.164 required)")
    return trimmed


def check_password_length(password: str) -> None:
    """Raise 400 validation_failed for more bytes than bcrypt can tell apart."""
    if len(password.encode()) > MAX_PASSWORD_BYTES:
        raise bad_request(
            ErrorCode.VALIDATION_FAILED, f"Password cannot be longer than {MAX_PASSWORD_BYTES} characters"
        )


def weakness_of(password: str, settings: AuthSettings) -> WeakPassword | None:
    """What makes ``password`` too weak, or None. Length counts bytes, as upstream does."""
    messages: list[str] = []
    reasons: list[str] = []
    if len(password.encode()) < settings.minimum_password_length:
        reasons.append("length")
        messages.append(f"Password should be at least {settings.minimum_password_length} characters.")
    required = settings.password_required_characters or _REQUIRED_SETS[settings.password_requirements]
    if any(not any(character in wanted for character in password) for wanted in required):
        reasons.append("characters")
        messages.append(f"Password should contain at least one character of each: {', '.join(required)}.")
    return WeakPassword(" ".join(messages), tuple(reasons)) if reasons else None


def check_pkce_pair(challenge: str, method: str) -> str | None:
    """Return the method in lower case (s256 or plain), or None where neither is given; raise 400 for a wrong pair."""
    if not challenge and not method:
        return None
    if not challenge or not method:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "PKCE flow requires code_challenge_method and code_challenge")
    if not MIN_CODE_CHALLENGE_CHARS <= len(challenge) <= MAX_CODE_CHALLENGE_CHARS:
        raise bad_request(
            ErrorCode.VALIDATION_FAILED,
            f"code challenge has to be between {MIN_CODE_CHALLENGE_CHARS} and {MAX_CODE_CHALLENGE_CHARS} characters",
        )
    if not _CODE_CHALLENGE.fullmatch(challenge):
        raise bad_request(
            ErrorCode.VALIDATION_FAILED,
            "code challenge can only contain alphanumeric characters, hyphens, periods, underscores and tildes",
        )
    lowered = method.lower()
    if lowered not in ("s256", "plain"):
        # Upstream lets this one through to a 500; a caller's mistake is a 4xx here.
        raise bad_request(ErrorCode.VALIDATION_FAILED, "unsupported code_challenge_method, use s256 or plain")
    return lowered


def parse_duration(text: str) -> timedelta | None:
    """A ban's length in Go's notation ("24h", "1h30m"); None for "none". Raises 400 validation_failed."""
    if text == "none":
        return None
    sign = -1.0 if text.startswith("-") else 1.0
    if text in ("0", "+0", "-0"):
        return timedelta(0)
    if not _DURATION.fullmatch(text):
        raise bad_request(ErrorCode.VALIDATION_FAILED, f"invalid format for ban duration: {_duration_problem(text)}")
    seconds = sign * sum(float(number) * _UNIT_S[unit] for number, unit in _DURATION_PART.findall(text))
    if abs(seconds) > MAX_DURATION_S:
        raise bad_request(
            ErrorCode.VALIDATION_FAILED, f'invalid format for ban duration: time: invalid duration "{text}"'
        )
    return timedelta(seconds=seconds)


def _duration_problem(text: str) -> str:
    """What Go says about a text that is no duration."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    while found := _NUMBER.match(rest):
        rest = rest[found.end() :]
        unit = _UNIT.match(rest)
        name = unit[0] if unit is not None else ""
        if not name:
            return f'time: missing unit in duration "{text}"'
        if name not in _UNIT_S:
            return f'time: unknown unit "{name}" in duration "{text}"'
        rest = rest[len(name) :]
    return f'time: invalid duration "{text}"'


def check_send_frequency(
    sent_at: datetime | None,
    now: datetime,
    interval_s: float,
    code: ErrorCode = ErrorCode.OVER_EMAIL_SEND_RATE_LIMIT,
) -> None:
    """Raise 429 with ``code`` when the last message of the kind went out less than ``interval_s`` seconds ago."""
    if sent_at is None:
        return
    left_s = (sent_at + timedelta(seconds=interval_s) - now).total_seconds()
    if left_s > 0:
        raise AuthError(
            429,
            code,
            f"For security purposes, you can only request this after {int(left_s)} seconds.",
        )
