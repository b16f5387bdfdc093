"""Sends requests to the simple face."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from isobase._face.errors import error_of
from isobase._face.wire import json_bytes
from isobase._http import READ, AsyncSession

__all__ = ["AsyncFace"]

JSON_TYPE = {"Content-Type": "application/json"}
TIMEOUT_S = 60.0


class AsyncFace:
    """One project's simple face.

    url: the project's. headers: sent with every request. http_client: sends them; default: a client of its own, which
    ``aclose`` closes.
    """

    def __init__(self, url: str, headers: Mapping[str, str], http_client: httpx.AsyncClient | None = None) -> None:
        self.url: str = url.rstrip("/")
        self.headers: dict[str, str] = dict(headers)
        self._owns_client = http_client is None
        self.session: httpx.AsyncClient = http_client or AsyncSession(timeout=TIMEOUT_S)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        params: list[tuple[str, str]] | None = None,
        json: object = None,
        form: Mapping[str, Any] | None = None,
        is_repeatable: bool = False,
    ) -> httpx.Response:
        """Send a request and give its answer. Raises ``IsobaseAPIError`` for a refusal, and httpx's exceptions when
        nothing answers.

        json: sent as the body, unless None. form: ``data`` and ``files`` of a form, as httpx takes them.
        is_repeatable: whether doing it twice is the same as once, so that it is sent again when its answer is lost.
        """
        arguments: dict[str, Any] = dict(form or {})
        headers = dict(self.headers)
        if json is not None:
            arguments["content"] = json_bytes(json)
            headers |= JSON_TYPE
        if params:
            arguments["params"] = params
        if is_repeatable:
            arguments["extensions"] = READ
        response = await self.session.request(method, f"{self.url}{path}", headers=headers, **arguments)
        if not response.is_success:
            raise error_of(response)
        return response

    async def aclose(self) -> None:
        """Close the connections, unless they are those of a client that was given."""
        if self._owns_client:
            await self.session.aclose()
