"""The data API as a service: its mounts and its life."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.types import ASGIApp

from isobase_platform.config import RestSettings
from isobase_platform.runtime import Platform
from isobase_platform.service import ApiKeyRule, Mount
from isobase_services.database.cache_keeper import CacheKeeper
from isobase_services.database.dynamic import create_dynamic_app
from isobase_services.database.dynamic.openapi import OPENAPI
from isobase_services.database.rest.app import create_rest_app
from isobase_services.database.rest.front import Front, traced

__all__ = ["DatabaseService", "RestService"]

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
)


class DatabaseService:
    """See ``isobase_platform.service.Service``."""

    name = "database"

    def __init__(self, platform: Platform) -> None:
        self._keeper = CacheKeeper(platform)
        self.mounts = (
            Mount(
                MOUNT_PATH,
                traced(create_rest_app(platform, self._keeper, platform.settings.base_url + MOUNT_PATH), self._keeper),
                ApiKeyRule.BEARER,
                serves_bare=True,
                cors_expose=EXPOSED_HEADERS,
            ),
            Mount("/db", create_dynamic_app(platform, self._keeper), ApiKeyRule.BEARER),
        )

    @property
    def openapi(self) -> Mapping[str, Any]:
        """The simple face's part of the API description."""
        return OPENAPI

    async def start(self) -> None:
        """Load the schema cache and keep it fresh."""
        await self._keeper.start()

    async def drain(self, timeout_s: float) -> None:
        """Stop the background tasks; requests in flight are the server's to await."""
        await self._keeper.stop()


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
