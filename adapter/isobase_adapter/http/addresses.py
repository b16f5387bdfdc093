"""Where the two sides are and which keys they take: a request as the app wrote it becomes one for a side.

The app speaks to Supabase's URL with Supabase's key. For Isobase the URL is put below Isobase's, and an ``apikey`` or
``Authorization`` that equals one of Supabase's keys becomes Isobase's of the same rights; users' tokens pass as they are.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from functools import lru_cache
from typing import Any

import httpx

from isobase_adapter.settings import MigrationSettings, SettingsError
from isobase_adapter.sides import Side

__all__ = ["Addresses", "claims_unverified", "is_service_key", "is_well_formed"]

SERVICE_ROLE = "service_role"


class Addresses:
    """Both sides' URLs and keys, as one client has them."""

    def __init__(self, supabase_url: str, supabase_key: str, settings: MigrationSettings) -> None:
        """Take what the app gave and what the settings say.

        Raises ``SettingsError`` where both URLs are the same, and where the app's key is Supabase's service-role key and the
        settings name none of Isobase's.
        """
        self._bases = {Side.SUPABASE: _base(supabase_url), Side.ISOBASE: _base(settings.isobase_url)}
        if self._bases[Side.SUPABASE] == self._bases[Side.ISOBASE]:
            raise SettingsError("ISOBASE_URL is the URL that the app gives for Supabase: the two sides are one")
        self._origins = {side: (base.scheme, base.netloc) for side, base in self._bases.items()}
        self._prefixes = {side: base.raw_path for side, base in self._bases.items()}
        self._own_keys = {Side.SUPABASE: supabase_key, Side.ISOBASE: settings.isobase_key}
        self._keys: dict[str, str] = {}
        if settings.supabase_service_role_key and settings.isobase_service_role_key:
            self._keys[settings.supabase_service_role_key] = settings.isobase_service_role_key
        if supabase_key not in self._keys and not _is_false(supabase_key, settings.supabase_service_role_key):
            if is_service_key(supabase_key) or supabase_key == settings.supabase_service_role_key:
                if settings.isobase_service_role_key is None:
                    raise SettingsError("ISOBASE_SERVICE_ROLE_KEY is not set, and the app uses a service-role key")
                self._keys[supabase_key] = settings.isobase_service_role_key
            else:
                self._keys[supabase_key] = settings.isobase_key

    def base(self, side: Side) -> httpx.URL:
        """A side's URL, with a slash at its end."""
        return self._bases[side]

    @property
    def isobase_url(self) -> str:
        """Isobase's URL, with a slash at its end."""
        return str(self._bases[Side.ISOBASE])

    def key(self, side: Side) -> str:
        """Give a key of a side that anybody may hold: the app's own at Supabase."""
        return self._own_keys[side]

    def is_key(self, token: str) -> bool:
        """Whether a token is one of Supabase's api keys."""
        return token in self._keys

    def place(self, url: httpx.URL) -> tuple[Side, str] | None:
        """Say below which side's URL a URL is, and its path there (still encoded, no query); None: neither's."""
        origin = (url.scheme, url.netloc)
        for side in Side:
            if origin == self._origins[side]:
                path, prefix = url.raw_path.partition(b"?")[0], self._prefixes[side]
                if path.startswith(prefix):
                    return side, path[len(prefix) :].decode("ascii")
        return None

    def isobase_key(self, key: str) -> str:
        """Isobase's key in place of one of Supabase's; another token as it is."""
        return self._keys.get(key, key)

    def addressed(self, request: httpx.Request, side: Side) -> httpx.Request:
        """Give the request as ``side`` wants it; the body's stream is shared, not read."""
        place = self.place(request.url)
        if side is Side.SUPABASE or place is None or place[0] is side:
            return request
        raw_path = request.url.raw_path[len(self._prefixes[place[0]]) :]
        url = self._bases[side].copy_with(raw_path=self._prefixes[side] + raw_path)
        headers: list[tuple[bytes, bytes]] = []
        for name, value in request.headers.raw:
            lowered = name.lower()
            if lowered == b"host":
                value = url.netloc
            elif lowered == b"apikey":
                value = self.isobase_key(value.decode("latin-1")).encode("latin-1")
            elif lowered == b"authorization":
                scheme, _, token = value.decode("latin-1").partition(" ")
                value = f"{scheme} {self.isobase_key(token)}".encode("latin-1")
            headers.append((name, value))
        return httpx.Request(
            request.method, url, headers=headers, stream=request.stream, extensions=dict(request.extensions)
        )

    def user_of(self, request: httpx.Request) -> str | None:
        """Give the user's id of the call's token, unverified (the sides verify it); None for keys and nobody."""
        return self.user_of_authorization(request.headers.get("authorization"))

    def user_of_authorization(self, authorization: str | None) -> str | None:
        """Give the user's id of an ``Authorization`` header; see ``user_of``."""
        token = (authorization or "").partition(" ")[2]
        if not token or token in self._keys:
            return None
        subject = claims_unverified(token).get("sub")
        return subject if isinstance(subject, str) else None


def is_well_formed(url: object, key: object) -> bool:
    """Whether a project's URL and key have the form that the official client takes."""
    return isinstance(url, str) and re.match("https?://.", url) is not None and isinstance(key, str) and bool(key)


def _base(url: str) -> httpx.URL:
    return httpx.URL(url if url.endswith("/") else f"{url}/")


@lru_cache(maxsize=1024)
def claims_unverified(token: str) -> dict[str, Any]:
    """Read a JWT's claims without looking at its signature; empty where it is none."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _is_false(key: str, service_key: str | None) -> bool:
    """Whether a key says of itself that it is the project's service-role key, and the settings know that it is another.

    Nobody has verified it: it must not become Isobase's, and goes there as it is.
    """
    return service_key not in (None, key) and "role" in claims_unverified(service_key or "") and _says_service(key)


def _says_service(token: str) -> bool:
    return claims_unverified(token).get("role") == SERVICE_ROLE


def is_service_key(key: str) -> bool:
    """Whether an api key has all rights, by its form: a secret key, or a JWT of the role ``service_role``."""
    return key.startswith("sb_secret_") or _says_service(key)
