"""What a server can do beyond Supabase's, as it says itself at ``GET /.well-known/isobase``. Supabase answers 404:
nothing.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import httpx

from isobase._http.options import call_options

if TYPE_CHECKING:
    from isobase._http._async.session import AsyncSession

__all__ = ["AsyncFeatures"]

logger = logging.getLogger("isobase.http")

ASKING_TIMEOUT_S = 5.0


class AsyncFeatures:
    """The features of one server, asked for when somebody first wants to know, and remembered.

    session: what the question is sent with. url: the server's ``/.well-known/isobase``.
    """

    def __init__(self, session: AsyncSession, url: str) -> None:
        self._session = session
        self._url = url
        self._known: frozenset[str] | None = None

    async def has(self, name: str, within_s: float = math.inf) -> bool:
        """Whether the server has a feature; False also while it does not answer, and asked again then.

        within_s: the seconds that the call has left for whose sake it is asked; half of them are waited at most.
        """
        if self._known is None:
            self._known = await self._ask(min(ASKING_TIMEOUT_S, max(0.0, within_s / 2)))
        return self._known is not None and name in self._known

    async def _ask(self, timeout_s: float) -> frozenset[str] | None:
        try:
            with call_options(timeout=timeout_s, retries=0):
                response = await self._session.request("GET", self._url)
        except httpx.TransportError as error:
            logger.debug("%s: %s", self._url, type(error).__name__)
            return None
        if response.status_code >= 500:
            return None
        try:
            features = response.json()["features"] if response.status_code == 200 else []
            return frozenset(str(each) for each in features)
        except (ValueError, TypeError, LookupError):
            return frozenset()
