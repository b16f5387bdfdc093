"""Reading a URL that a caller chose, as strictly as the upstream server's language does. Pure functions.

What a browser makes of a URL and what a parser makes of it must not differ, or an allow-list can be walked around.
Python's ``urlsplit`` repairs what it gets (drops newlines, lower-cases hosts, lets backslashes pass); here whatever is not
plainly a URL is refused. Source: Go's net/url Parse (RFC 3986 with its deviations); contracts auth 2.10.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["ParsedUrl", "parse_url"]

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")
_USERINFO = re.compile(r"[a-zA-Z0-9._:~!$&'()*+,;=%@-]*")
_PORT = re.compile(r"(?::[0-9]*)?")
_BAD_HOST_CHARACTER = re.compile(r"[^a-zA-Z0-9._~!$&'()*+,;=:\[\]<>\"%\u0080-\U0010ffff-]")
_ASCII_ESCAPE = re.compile(r"%[0-7]")


@dataclass(slots=True, frozen=True)
class ParsedUrl:
    """A URL's parts: scheme in lower case, host name without brackets, port as text; each empty where absent."""

    scheme: str
    userinfo: str
    hostname: str
    port: str
    authority: str
    """Everything between ``//`` and the path, as it was written."""

    @property
    def is_web(self) -> bool:
        """True for http and https."""
        return self.scheme in ("http", "https")


def parse_url(text: str) -> ParsedUrl | None:
    """The parts of ``text``, or None where it is no URL."""
    before_fragment, _, fragment = text.partition("#")
    if _CONTROL.search(text) or _BAD_ESCAPE.search(fragment):
        return None
    scheme, rest = _split_scheme(before_fragment)
    if scheme is None:
        return None
    rest = rest.partition("?")[0]
    if not rest.startswith("/"):
        if scheme:
            # Opaque, as mailto:someone or javascript:code: there is no host.
            return ParsedUrl(scheme, "", "", "", "")
        if ":" in rest.partition("/")[0]:
            return None
    authority = ""
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
    if _BAD_ESCAPE.search(rest):
        return None
    return _with_authority(scheme, authority)


def _split_scheme(text: str) -> tuple[str | None, str]:
    """(scheme, rest); an empty scheme where there is none, None where the text begins with a colon."""
    if text.startswith(":"):
        return None, ""
    match = _SCHEME.match(text)
    if match is None or text[match.end() : match.end() + 1] != ":":
        return "", text
    return match[0].lower(), text[match.end() + 1 :]


def _with_authority(scheme: str, authority: str) -> ParsedUrl | None:
    userinfo, _, host = authority.rpartition("@")
    if not _USERINFO.fullmatch(userinfo) or _BAD_ESCAPE.search(userinfo):
        return None
    if host.startswith("["):
        hostname, bracket, port = host[1:].rpartition("]")
        if not bracket:
            return None
    else:
        hostname, colon, number = host.rpartition(":")
        if not colon:
            hostname, number = number, ""
        port = colon + number
    if not _PORT.fullmatch(port) or _BAD_ESCAPE.search(hostname):
        return None
    if _BAD_HOST_CHARACTER.search(hostname) or _ASCII_ESCAPE.search(hostname):
        return None
    return ParsedUrl(scheme, userinfo, hostname, port[1:], authority)
