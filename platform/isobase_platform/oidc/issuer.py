"""One issuer: its document and keys, fetched when they are wanted and kept; never once per request."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from isobase_platform.jwk_set import JwkSet, public_jwk_set
from isobase_platform.keys import Key
from isobase_platform.oidc.discovery import WELL_KNOWN_PATH, Discovery, parse_discovery
from isobase_platform.outbound import OutboundError, OutboundHttp

__all__ = ["Issuer", "IssuerTiming"]

T = TypeVar("T")
_log = logging.getLogger("isobase.oidc")


@dataclass(slots=True, frozen=True)
class IssuerTiming:
    """How long what was fetched is used, in seconds.

    ``max_age_s``: then it is fetched anew. ``min_interval_s``: no sooner than this after the last try, however many tokens
    with unknown keys arrive. ``max_stale_s``: how long an issuer that cannot be reached is trusted by its last keys.
    """

    max_age_s: float = 600.0
    min_interval_s: float = 30.0
    max_stale_s: float = 86_400.0


class _Kept(Generic[T]):
    """A value that is fetched when it is missing or old; one fetch at a time, the old value in its stead where it fails."""

    def __init__(
        self, issuer: str, fetch: Callable[[], Awaitable[T]], timing: IssuerTiming, clock: Callable[[], float]
    ) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._timing = timing
        self._clock = clock
        self._lock = asyncio.Lock()
        self._tried_at_s = float("-inf")
        self._fetched_at_s = float("-inf")
        self._failure: OutboundError | None = None
        self.value: T | None = None

    async def get(self, *, is_enough: Callable[[T], bool] | None = None) -> T:
        """The value, fresh enough in time and, where it may be fetched again already, in content.

        Raises ``OutboundError`` where it cannot be had.
        """
        if self._is_fine(is_enough):
            assert self.value is not None
            return self.value
        async with self._lock:
            # Somebody else may have fetched it while this one waited.
            if not self._is_fine(is_enough) and self._may_try:
                await self._renew()
        now_s = self._clock()
        if self.value is None or now_s - self._fetched_at_s > self._timing.max_stale_s:
            raise self._failure or OutboundError("the issuer cannot be reached")
        return self.value

    def _is_fine(self, is_enough: Callable[[T], bool] | None) -> bool:
        if self.value is None or self._clock() - self._fetched_at_s > self._timing.max_age_s:
            return False
        return is_enough is None or is_enough(self.value)

    @property
    def _may_try(self) -> bool:
        return self._clock() - self._tried_at_s >= self._timing.min_interval_s

    async def _renew(self) -> None:
        self._tried_at_s = self._clock()
        try:
            self.value = await self._fetch()
        except OutboundError as error:
            self._failure = error
            _log.warning(
                "an issuer's document cannot be fetched", extra={"issuer": self._issuer, "reason": error.message}
            )
            return
        self._fetched_at_s = self._clock()
        self._failure = None


class Issuer:
    """An issuer by its URL. ``jwks_url`` names its keys where there is no discovery document.

    ``url`` comes from the settings, or is made of a host that the code names; never from a request alone.
    """

    def __init__(
        self,
        http: OutboundHttp,
        url: str,
        *,
        jwks_url: str = "",
        timing: IssuerTiming | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url
        self._http = http
        self._jwks_url = jwks_url
        timing = timing or IssuerTiming()
        self._document = _Kept(url, self._fetch_document, timing, clock)
        self._keys = _Kept(url, self._fetch_keys, timing, clock)

    async def discovery(self) -> Discovery:
        """The discovery document. Raises ``OutboundError`` where none is to be had."""
        return await self._document.get()

    async def keys_for(self, kid: str | None, algorithm: str | None) -> Sequence[Key]:
        """The keys that may verify a token with this header; an unknown ``kid`` is a reason to fetch them anew.

        Raises ``OutboundError`` where they were never fetched or are too old.
        """
        keys = await self._keys.get(is_enough=lambda known: bool(known.candidates(kid, algorithm)))
        return keys.candidates(kid, algorithm)

    async def refresh(self, kid: str | None, algorithm: str | None) -> None:
        """Fetch the keys where they are old, or do not hold one for this header. Raises ``OutboundError``."""

        def is_enough(known: JwkSet) -> bool:
            return algorithm is None or bool(known.candidates(kid, algorithm))

        await self._keys.get(is_enough=is_enough)

    @property
    def known_keys(self) -> JwkSet | None:
        """The keys as last fetched, without any waiting."""
        return self._keys.value

    async def _fetch_document(self) -> Discovery:
        return parse_discovery(await self._http.get_json(self.url.rstrip("/") + WELL_KNOWN_PATH), self.url)

    async def _fetch_keys(self) -> JwkSet:
        url = self._jwks_url or (await self.discovery()).jwks_uri
        document = await self._http.get_json(url)
        members = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(members, list):
            raise OutboundError(f"the keys of {self.url} are no JWK set")
        keys = public_jwk_set(members)
        if keys.is_empty:
            raise OutboundError(f"the keys of {self.url} hold none that can be used")
        return keys
