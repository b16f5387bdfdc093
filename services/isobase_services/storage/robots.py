"""The X-Robots-Tag header that an upload may carry: is it one that search engines understand?

Source: upstream ``src/storage/validators/x-robots-tag.ts``; the rules are those of the robots meta specification.
"""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import parsedate_to_datetime

from isobase_services.storage.errors import StorageError, refuse

__all__ = ["check_robots_tag"]

_SIMPLE = frozenset(
    {"all", "noindex", "nofollow", "none", "nosnippet", "indexifembedded", "notranslate", "noimageindex"}
)
_WITH_VALUE = ("max-snippet", "max-image-preview", "max-video-preview", "unavailable_after")
_IMAGE_PREVIEWS = frozenset({"none", "standard", "large"})
_INTEGER = re.compile(r"-?[0-9]+")
# A date holds a comma ("Sat, 01 Jan 2028 ..."): it ends where a comma is followed by another rule or a user agent.
_DATE_END = re.compile(rf",\s*(?=(?:{'|'.join(sorted(_SIMPLE))})(?:$|\s*,)|[a-zA-Z0-9_-]+:)")
_MAX_AGENT_DEPTH = 5


def check_robots_tag(value: str) -> None:
    """Raise InvalidRequest (label ``invalid_x_robots_tag``) for a value that is no list of robots rules."""
    _check(value, _MAX_AGENT_DEPTH)


def _check(value: str, depth: int) -> None:
    if not value.strip() or depth == 0:
        raise _refusal("X-Robots-Tag header value must be a non-empty string")
    for rule in _split(value.strip()):
        if not rule:
            raise _refusal("X-Robots-Tag header contains empty rule")
        name, colon, rest = rule.partition(":")
        if colon and name in _WITH_VALUE:
            _check_value(name, rest.strip())
        elif rule in _SIMPLE:
            continue
        elif colon:
            if not rest.strip():
                raise _refusal(f'X-Robots-Tag user agent "{name.strip()}" has no rules specified')
            _check(rest, depth - 1)
        else:
            raise _refusal(f'Invalid X-Robots-Tag rule: "{rule}"')


def _split(value: str) -> list[str]:
    rules: list[str] = []
    rest = value
    while rest:
        if rest.startswith("unavailable_after:"):
            end = _DATE_END.search(rest)
            cut, after = (end.start(), end.end()) if end else (len(rest), len(rest))
        else:
            comma = rest.find(",")
            cut, after = (comma, comma + 1) if comma >= 0 else (len(rest), len(rest))
        rules.append(rest[:cut].strip())
        rest = rest[after:].strip()
    return rules


def _check_value(name: str, value: str) -> None:
    if not value:
        raise _refusal(f'X-Robots-Tag rule "{name}" requires a value')
    if name in {"max-snippet", "max-video-preview"}:
        if not _INTEGER.fullmatch(value) or (value.startswith("-") and value.lstrip("-0") not in {"", "1"}):
            raise _refusal(f'X-Robots-Tag "{name}" value must be an integer >= -1, got: "{value}"')
    elif name == "max-image-preview":
        if value not in _IMAGE_PREVIEWS:
            message = f'X-Robots-Tag "{name}" value must be one of: none, standard, large, got: "{value}"'
            raise _refusal(message)
    elif not _is_date(value):
        raise _refusal(f'X-Robots-Tag "{name}" value must be a valid date, got: "{value}"')


def _is_date(value: str) -> bool:
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            parse(value)
        except (ValueError, OverflowError):
            continue
        return True
    return False


def _refusal(message: str) -> StorageError:
    return refuse.invalid_request(f"Invalid X-Robots-Tag header: {message}", label="invalid_x_robots_tag")
