"""The data API as a service: its mounts and its life."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from starlette.types import ASGIApp

from isobase_platform.config import RestSettings
from isobase_platform.errors import DatabaseError, Unavailable
from isobase_platform.recurring import Recurring
from isobase_platform.runtime import Platform
from isobase_platform.service import ApiKeyRule, Mount
from isobase_services.database.cache_keeper import CacheKeeper
from isobase_services.database.dynamic import create_dynamic_app
from isobase_services.database.dynamic.openapi import OPENAPI
from isobase_services.database.idempotency import SWEEP_INTERVAL_S, IdempotentWrites
from isobase_services.database.rest.app import create_rest_app
from isobase_services.database.rest.front import Front, traced

__all__ = ["DatabaseService", "RestService"]

_log = logging.getLogger("isobase.database")

MOUNT_PATH = "/rest/v1"
EXPOSED_HEADERS = (
    "Content-Encoding",
    "Content-Location",
    "Content-Range",
    "Content-Type",
    "Date",
    "Location",
    "Server",
    "Transfer-Encoding",
    "Range-Unit",
    "Content-Profile",
    "Preference-Applied",
    "Proxy-Status",
    "Idempotency-Replayed",
)


class DatabaseService:
    """See ``isobase_platform.service.Service``."""

    name = "database"

    def __init__(self, platform: Platform) -> None:
        self._keeper = CacheKeeper(platform)
        rest = platform.settings.rest
        self._once = IdempotentWrites(
            platform.pools,
            life_s=rest.idempotency_key_life_s,
            max_answer_bytes=rest.idempotency_max_answer_bytes,
        )
        self._sweeper = Recurring("sweep of idempotency keys", SWEEP_INTERVAL_S, self._sweep)
        url = platform.settings.base_url + MOUNT_PATH
        self.features: tuple[str, ...] = ("databases", "idempotency-key") if self._once.is_enabled else ("databases",)
        self.mounts = (
            Mount(
                MOUNT_PATH,
                traced(create_rest_app(platform, self._keeper, url, self._once), self._keeper),
                ApiKeyRule.BEARER,
                serves_bare=True,
                cors_expose=EXPOSED_HEADERS,
            ),
            Mount(
                "/db",
                create_dynamic_app(platform, self._keeper, self._once),
                ApiKeyRule.BEARER,
                cors_expose=("Idempotency-Replayed",),
            ),
        )

    @property
    def openapi(self) -> Mapping[str, Any]:
        """The simple face's part of the API description."""
        return OPENAPI

    async def start(self) -> None:
        """Load the schema cache and keep it fresh."""
        await self._keeper.start()
        self._sweeper.start()

    async def drain(self, timeout_s: float) -> None:
        """Stop the background tasks; requests in flight are the server's to await."""
        await self._sweeper.stop()
        await self._keeper.stop()

    async def _sweep(self) -> None:
        try:
            await self._once.sweep()
        except (Unavailable, DatabaseError) as error:
            _log.warning("expired idempotency keys were not deleted", extra={"reason": error.message})


class RestService:
    """The data API alone, as the PostgREST program serves it: at the root, on a database that knows nothing of Isobase.

    ``read_settings`` gives the settings anew for a reload; ``url`` is where the API is reached.
    """

    def __init__(self, platform: Platform, read_settings: Callable[[], RestSettings], url: str) -> None:
        self.keeper = CacheKeeper(platform, read_settings=read_settings, is_bare=True)
        self.app: ASGIApp = Front(create_rest_app(platform, self.keeper, url), self.keeper)

    def start(self) -> None:
        """Begin to load the schema cache; requests are answered 503 until it is there."""
        self.keeper.start_trying()

    async def drain(self, timeout_s: float) -> None:
        """Stop the background tasks; requests in flight are the server's to await."""
        await self.keeper.stop()
