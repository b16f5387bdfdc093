"""The service as the composition root sees it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from isobase_platform.runtime import Platform
from isobase_platform.service import ApiKeyRule, Mount
from isobase_services.auth.core import AuthCore
from isobase_services.auth.housekeeping import Housekeeper
from isobase_services.auth.simple import simple_app
from isobase_services.auth.simple.openapi import OPENAPI
from isobase_services.auth.v1 import gotrue_app

__all__ = ["AuthService", "create_service"]

HASHES_SHARE = 0.5
"""The part of the time to end in that hashes may take: what comes after them needs some of it too."""


class AuthService:
    """Auth: ``/auth/v1`` as GoTrue, ``/auth`` as the simple face."""

    name = "auth"
    features: tuple[str, ...] = ()

    def __init__(self, core: AuthCore) -> None:
        self._core = core
        self._housekeeper = Housekeeper(core)
        self.mounts: tuple[Mount, ...] = (
            Mount(
                "/auth/v1",
                gotrue_app(core),
                ApiKeyRule.OPAQUE_ONLY,
                serves_bare=True,
                cors_expose=("X-Total-Count", "Link", "X-Supabase-Api-Version"),
            ),
            Mount("/auth", simple_app(core), ApiKeyRule.NONE),
        )

    @property
    def openapi(self) -> Mapping[str, Any]:
        """The simple face's part of the API description."""
        return OPENAPI

    async def start(self) -> None:
        """Nothing is loaded ahead: the first request opens the first connection. Housekeeping begins to wait for its time."""
        self._core.providers.warn_of_incomplete()
        self._housekeeper.start()

    async def drain(self, timeout_s: float) -> None:
        """Let the hashes that requests in flight wait for be done and the mail that waits leave."""
        deadline_s = time.monotonic() + timeout_s
        await self._housekeeper.stop()
        # In this order: a request that waits for its hash may have mail to send after it.
        await self._core.hasher.close(timeout_s * HASHES_SHARE)
        await self._core.messages.close(max(0.0, deadline_s - time.monotonic()))
        await self._core.hooks.close()
        await self._core.captcha.close()
        await self._core.pwned.close()
        await self._core.providers.close()


def create_service(platform: Platform) -> AuthService:
    """Build the service on an open platform."""
    return AuthService(AuthCore.of(platform))
