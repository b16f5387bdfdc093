"""Where a mail's link or a provider's callback may send a browser: the site and the allow-list, nowhere else.

Source: contracts auth 2.10; supabase/auth internal/utilities/request.go. Stricter than upstream in what only an attacker
writes: see ``_is_disguised`` and ``_matches``.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from functools import lru_cache

from isobase_platform.config import AuthSettings
from isobase_platform.http.request import header
from isobase_services.auth.globs import Glob, GlobError, compile_glob
from isobase_services.auth.request import Request
from isobase_services.auth.urls import ParsedUrl, parse_url

__all__ = ["allowed_redirect", "is_allowed_redirect", "redirect_target"]

MAX_REDIRECT_URL_CHARS = 8192
LOCALHOSTS = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"})  # noqa: S104  names to compare with
SCRIPT_SCHEMES = frozenset({"javascript", "data", "vbscript"})
_DECIMAL_HOST = re.compile(r"[0-9]+")
_REGULAR_HOST = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")

_log = logging.getLogger("isobase.auth")


def redirect_target(request: Request, settings: AuthSettings) -> str:
    """Where to send the browser in the end: the first allowed one of ``redirect_to`` and Referer, else the site's URL.

    ``redirect_to`` is a header or a query parameter. A refused value is passed over silently, as upstream does.
    """
    wanted = header(request.scope, "redirect_to") or request.query("redirect_to")
    return allowed_redirect(settings, wanted, header(request.scope, "referer") or "")


def allowed_redirect(settings: AuthSettings, *candidates: str) -> str:
    """The first candidate that is allowed, else the site's URL."""
    return next((url for url in candidates if is_allowed_redirect(url, settings)), settings.site_url)


def is_allowed_redirect(url: str, settings: AuthSettings) -> bool:
    """Whether a browser may be sent to ``url``: the site itself, a loopback address, or what the allow-list matches."""
    if not url or len(url) > MAX_REDIRECT_URL_CHARS:
        return False
    site, parsed = parse_url(settings.site_url), parse_url(url)
    if site is None or parsed is None or parsed.scheme in SCRIPT_SCHEMES:
        return False
    if _is_same_site(site, parsed):
        return True
    if _DECIMAL_HOST.fullmatch(parsed.hostname):
        return False
    try:
        # By http only, as RFC 8252 has it. Upstream takes any scheme, and on a telephone the scheme decides which app it is.
        return ipaddress.ip_address(parsed.hostname).is_loopback and parsed.is_web
    except ValueError:
        pass
    if parsed.is_web and _is_disguised(parsed):
        return False
    target = url.partition("#")[0]
    return any(_matches(pattern, target, parsed) for pattern in settings.additional_redirect_urls)


def _is_same_site(site: ParsedUrl, parsed: ParsedUrl) -> bool:
    # Apps on a user's machine listen on whatever port is free (RFC 8252 section 7.3).
    return (site.hostname, site.scheme) == (parsed.hostname, parsed.scheme) and (
        site.port == parsed.port or parsed.hostname.lower() in LOCALHOSTS
    )


def _is_disguised(parsed: ParsedUrl) -> bool:
    """True for a web address whose host a browser may read otherwise than a pattern does.

    A host with unusual characters, as upstream; also one that browsers take for an IPv4 address though it is not written as
    one (0x7f.1, 0177.0.0.1), and anything before an @.
    """
    if parsed.userinfo or not _REGULAR_HOST.fullmatch(parsed.hostname):
        return True
    return _NUMERIC_LABEL.fullmatch(parsed.hostname.rpartition(".")[2]) is not None


def _matches(pattern: str, target: str, parsed: ParsedUrl) -> bool:
    whole = _compiled(pattern)
    if whole is None or not whole.matches(target):
        return False
    # "https://**.example.com" is meant for hosts below example.com, yet as a mere text it also fits
    # "https://evil.test/.example.com" and "https://evil.test?.example.com": where there is a star in the pattern's host
    # the host alone must fit too.
    _, separator, rest = pattern.partition("://")
    of_host = rest.partition("/")[0]
    if not parsed.is_web or not separator or "*" not in of_host:
        return True
    host_glob = _compiled(of_host)
    return host_glob is None or host_glob.matches(parsed.authority)


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> Glob | None:
    try:
        return compile_glob(pattern)
    except GlobError as error:
        _log.error(
            "a pattern of additional_redirect_urls matches nothing", extra={"pattern": pattern, "reason": str(error)}
        )
        return None
