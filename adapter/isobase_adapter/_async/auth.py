"""The official auth client, whose links for browsers lead to the side that is written first."""

from __future__ import annotations

from typing import Any

from httpx import QueryParams
from supabase._async.auth_client import AsyncSupabaseAuthClient

from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.core import Core
from isobase_adapter.sides import Side

__all__ = ["AsyncMigrationAuthClient"]


class AsyncMigrationAuthClient(AsyncSupabaseAuthClient):
    """supabase-py's auth client. ``sign_in_with_oauth`` gives a URL that no request of ours will pass by again."""

    _core: Core | None = None

    @classmethod
    def on(cls, core: Core, **given: Any) -> AsyncMigrationAuthClient:
        """Make it with what the official client takes."""
        made = cls(**given)
        made._core = core
        return made

    async def _get_url_for_provider(self, url: str, provider: Any, params: dict[str, str]) -> tuple[str, QueryParams]:
        """Build a URL as the official client does, below the side that is written first."""
        if self._core is not None and url.startswith(f"{self._url}/"):
            side = self._core.decider.acted(Capability(Kind.AUTH), lambda: None).write_route.first
            if side is Side.ISOBASE:
                url = f"{self._core.addresses.base(side)}auth/v1{url.removeprefix(self._url)}"
        return await super()._get_url_for_provider(url, provider, params)
