"""The data API as a service: its mounts and its life."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isobase_platform.runtime import Platform
from isobase_platform.service import ApiKeyRule, Mount
from isobase_services.database.cache_keeper import CacheKeeper
from isobase_services.database.dynamic import create_dynamic_app
from isobase_services.database.dynamic.openapi import OPENAPI
from isobase_services.database.rest.app import create_rest_app

__all__ = ["DatabaseService"]

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
                "/rest/v1",
                create_rest_app(platform, self._keeper),
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
