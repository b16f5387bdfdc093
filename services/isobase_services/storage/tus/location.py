"""The URL by which a client comes back to its upload.

Source: upstream ``src/http/routes/tus/lifecycle.ts`` (``generateUrl``). What a request says of its host and scheme behind
a proxy is believed from trusted proxies only: a client that sent the headers itself would otherwise choose where the next
one sends its token.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from starlette.types import Scope

from isobase_platform.config import Settings
from isobase_platform.http.client_address import NO_PROXIES, TrustedProxies
from isobase_platform.http.request import PROXIES_KEY, header

__all__ = ["UploadUrls"]

_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9a-fA-F:.]+\](:[0-9]{1,5})?")
_FORWARDED_HOST = re.compile(r'host="?([^";,]+)', re.IGNORECASE)
_FORWARDED_PROTO = re.compile(r"proto=(https?)", re.IGNORECASE)
_PORT = re.compile(r"[0-9]{1,5}")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_DEFAULT_PORTS = {"80", "443"}


@dataclass(slots=True, frozen=True)
class UploadUrls:
    """Builds absolute URLs. ``public_url`` wins over what requests say; in production they are https without it."""

    public_url: str | None
    is_https_only: bool

    @classmethod
    def of(cls, settings: Settings) -> UploadUrls:
        """By the settings."""
        return cls(settings.public_url, settings.is_production)

    def url(self, scope: Scope, path: str, segment: str) -> str:
        """The absolute URL of ``path/segment``; ``path`` is that of the face, without the mount's prefix."""
        proxies: TrustedProxies = scope.get(PROXIES_KEY, NO_PROXIES)
        is_proxied = proxies.sent(scope)
        prefix = (header(scope, "x-forwarded-prefix") or "").rstrip("/") if is_proxied else ""
        place = f"{prefix if _PREFIX.fullmatch(prefix) else ''}{scope.get('root_path', '')}{path}/{segment}"
        if self.public_url is not None:
            return f"{self.public_url.rstrip('/')}{scope.get('root_path', '')}{path}/{segment}"
        scheme, host = _forwarded(scope) if is_proxied else (None, None)
        scheme = "https" if self.is_https_only else scheme or scope.get("scheme", "http")
        return f"{scheme}://{host or _own_host(scope)}{quote(place)}"


def _forwarded(scope: Scope) -> tuple[str | None, str | None]:
    """Scheme and host as proxies name them: RFC 7239 first, then the X-Forwarded headers."""
    forwarded = header(scope, "forwarded") or ""
    host_match, scheme_match = _FORWARDED_HOST.search(forwarded), _FORWARDED_PROTO.search(forwarded)
    scheme = scheme_match[1] if scheme_match else header(scope, "x-forwarded-proto")
    host = host_match[1] if host_match else header(scope, "x-forwarded-host")
    if host is None or not _HOST.fullmatch(host):
        return scheme, None
    port = header(scope, "x-forwarded-port") or ""
    if header(scope, "x-forwarded-host") and _PORT.fullmatch(port) and port not in _DEFAULT_PORTS:
        host = f"{re.sub(r':[0-9]+$', '', host)}:{port}"
    return scheme, host


def _own_host(scope: Scope) -> str:
    host = header(scope, "host")
    if host is not None and _HOST.fullmatch(host):
        return host
    server = scope.get("server") or ("localhost", None)
    return f"{server[0]}:{server[1]}" if server[1] else str(server[0])
